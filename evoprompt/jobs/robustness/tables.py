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


def effect_table(findings: Findings) -> Table:
    """Return what each source does to each policy, the policy as it is first."""
    heads = ("policy", "change", "m", "accuracy", "drop", "freed drop", "flips", "worst of m")
    rows: list[list[Cell | str]] = []
    for plain in findings.plain:
        accuracy = percent(plain.accuracy)
        rows.append([plain.subject, "as it is", "", accuracy, "", "", "", accuracy, "", ""])
        rows += [_effect(e) for e in findings.effects if e.subject == plain.subject]
    title = f"Under changes, %; {_examples(findings)}"
    return new_table((*heads, "nats lost", "brittle"), rows, align="ll", title=title)


def _effect(effect: Effect) -> list[Cell | str]:
    verdict = {None: "", True: "yes", False: "no"}[effect.is_brittle]
    return [
        *(effect.subject, words_of(effect.source), str(effect.num_draws)),
        *(percent(effect.accuracy.value), shown(effect.drop), shown(effect.freed_drop)),
        *(shown(effect.flip_rate), Cell(percent(effect.worst), _error(effect.worst_error))),
        Cell(f"{effect.nats.value:.3f}", _nats(effect.nats.error)),
        Cell(verdict, emphasis="bad" if effect.is_brittle else "plain"),
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
