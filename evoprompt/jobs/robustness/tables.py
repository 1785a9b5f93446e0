"""Findings under changes -> tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evoprompt.jobs.robustness.analysis import Crossing, Effect, Findings, Gain, Persistence
from evoprompt.jobs.robustness.record import ATTACK, TRANSFERRED
from evoprompt.report.table import Cell, Table, new_table
from evoprompt.stats.clustered import ClusteredMean

#: What pages and terminals call what is no source of changes.
WORDS: Mapping[str, str] = {ATTACK: "attack", TRANSFERRED: "the other's attack"}


def words_of(source: str) -> str:
    """Return what people call a source."""
    return WORDS.get(source, source.replace("_", " "))


def effect_table(findings: Findings, *, whole: bool = False) -> Table:
    """Return what each source does to each policy, the policy as it is first; the whole table has
    the right answers that stay right, and log-likelihoods, too.
    """
    heads = ["policy", "change", "m", "accuracy", "drop", "freed drop", "flips", "worst of m"]
    more = ("kept right", "nats lost") if whole else ()
    rows: list[list[Cell | str]] = []
    for plain in findings.plain:
        accuracy = percent(plain.accuracy)
        row: list[Cell | str] = [plain.subject, "as it is", "", accuracy, "", "", "", accuracy]
        rows.append([*row, *("" for _ in more), ""])
        rows += [_effect(e, whole) for e in findings.effects if e.subject == plain.subject]
    title = f"Under changes, %; {_examples(findings)}"
    return new_table((*heads, *more, "brittle"), rows, align="ll", title=title)


def _effect(effect: Effect, whole: bool) -> list[Cell | str]:
    kept = Cell("") if effect.kept is None else shown(effect.kept)
    nats = Cell(f"{effect.nats.value:.3f}", _nats(effect.nats.error))
    verdict = "yes" if effect.is_brittle_freed else "favour"
    return [
        *(effect.subject, words_of(effect.source), str(effect.num_draws)),
        *(percent(effect.accuracy.value), shown(effect.drop), shown(effect.freed_drop)),
        *(shown(effect.flip_rate), Cell(percent(effect.worst), _error(effect.worst_error))),
        *((kept, nats) if whole else ()),
        Cell(verdict, emphasis="bad") if effect.is_brittle else Cell(_no(effect.is_brittle)),
    ]


def persistence_table(found: Sequence[Persistence]) -> Table:
    """Return whether flips by an attack stay with other words for the labels."""
    heads = ("policy", "words", "flipped", "m", "same wrong answer", "without attack", "difference")
    rows: list[list[Cell | str]] = [
        [
            *(p.subject, words_of(p.source), str(p.num_flipped), str(p.num_draws)),
            *(Cell("") if mean is None else shown(mean) for mean in (p.share, p.twin)),
            Cell("") if p.difference is None else shown(p.difference),
        ]
        for p in found
    ]
    return new_table(heads, rows, align="ll", title="Persistence of flips by the attack, %")


def crossing_table(found: Sequence[Crossing]) -> Table:
    """Return whether changes that turn one policy's answers turn the other's."""
    heads = ("change", "wrong of", "where turned", "of", "where kept", "of")
    rows: list[list[Cell | str]] = [
        [
            *(words_of(c.source), f"{c.harmed}, by {c.given}"),
            *("" if c.share_turned is None else percent(c.share_turned), str(c.num_turned)),
            *("" if c.share_kept is None else percent(c.share_kept), str(c.num_kept)),
        ]
        for c in found
    ]
    return new_table(heads, rows, align="ll", title="Harm to one policy where the other is, %")


def gain_table(found: Sequence[Gain]) -> Table:
    """Return what is left of the champion's gain under changes."""
    rows: list[list[Cell | str]] = [
        [
            *(words_of(g.source), _points(g.gain), _points(g.changed)),
            Cell("" if g.share is None else percent(g.share), _range(g.ci)),
        ]
        for g in found
    ]
    heads = ("change", "gain as it is", "gain under it", "share left")
    return new_table(heads, rows, align="l", title="The champion's gain over the baseline, %")


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.1f}"


def shown(mean: ClusteredMean) -> Cell:
    """Return a share in percent with its standard error below."""
    return Cell(percent(mean.value), _error(mean.error))


def _no(is_brittle: bool | None) -> str:
    return "" if is_brittle is None else "no"


def _examples(findings: Findings) -> str:
    num = findings.plain[0].num_examples if findings.plain else 0
    return f"{num} test example{'' if num == 1 else 's'}"


def _error(error: float | None) -> str:
    return "" if error is None else f"±{percent(error)}"


def _nats(error: float | None) -> str:
    return "" if error is None else f"±{error:.3f}"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _range(ci: tuple[float, float] | None) -> str:
    return "" if ci is None else f"{percent(ci[0])} to {percent(ci[1])}"
