"""Cells -> what changes do to a policy, with standard errors; and whether harm carries over. Pure.

All is paired with the policy as it is: on the same examples, and calibrated by the same offsets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from evoprompt.arrays import Floats
from evoprompt.jobs.robustness.record import ATTACK, ATTACKED, NONE, TRANSFERRED, Cell
from evoprompt.seeding import Stream, generator
from evoprompt.stats.clustered import ClusteredMean, clustered_mean
from evoprompt.stats.resampling import NUM_RESAMPLES

#: The chance that a policy which no source harms is called brittle by any, and that an interval
#: does not hold the truth.
ALPHA = 0.05
#: The coordinate of the resamples in the stream of bootstraps.
RESAMPLES = 28


@dataclass(frozen=True, slots=True)
class Plain:
    """A policy as it is."""

    subject: str
    num_examples: int
    accuracy: float
    freed_accuracy: float  #: with each choice's mean over the examples taken off
    log_likelihood: float  #: nats, of the right choice among the choices


@dataclass(frozen=True, slots=True)
class Effect:
    """What the changes of a source do to a policy. Means are over draws and examples, and their
    errors clustered by both.
    """

    subject: str
    source: str
    num_draws: int  #: the m of `worst`
    accuracy: ClusteredMean
    drop: ClusteredMean  #: of accuracy, below that of the policy as it is
    freed_drop: ClusteredMean  #: the same of `Plain.freed_accuracy`
    nats: ClusteredMean  #: that the log-likelihood loses
    flip_rate: ClusteredMean  #: the share of answers that are another, right or wrong
    #: the share of right answers that stay right; None where none was right
    kept: ClusteredMean | None
    #: the share of examples that are answered right in each of the draws; the more there are, the
    #: smaller at an equal mean, and without a change it is the accuracy itself
    worst: float
    worst_error: float | None
    #: whether the drop under these changes is above 0 on any examples of the task, and whether the
    #: freed one is; one-sided, all sources of the policy counted. None of a single example
    is_brittle: bool | None
    is_brittle_freed: bool | None


@dataclass(frozen=True, slots=True)
class Persistence:
    """Whether what an attack turned wrong stays the same wrong answer, with other words for the
    labels.
    """

    subject: str
    source: str  #: of the words
    num_flipped: int  #: examples that the attack turned wrong
    num_draws: int
    #: the share of them whose answer is that wrong one: of the attacked prompt, of its twin without
    #: the attack, and the difference; None where no example was turned
    share: ClusteredMean | None
    twin: ClusteredMean | None
    difference: ClusteredMean | None


@dataclass(frozen=True, slots=True)
class Crossing:
    """Whether one change harms both policies, over examples that both had right and draws."""

    source: str
    harmed: str  #: whose answers are looked at
    given: str  #: by whether the change turned those of this one wrong
    num_turned: int
    num_kept: int
    share_turned: float | None  #: that are wrong where the other is turned
    share_kept: float | None  #: and where it is not


@dataclass(frozen=True, slots=True)
class Gain:
    """The share of the champion's gain over the baseline that is left under changes; None where
    the gain as it is may be none.
    """

    source: str
    gain: float  #: of accuracy, as it is
    changed: float  #: under the changes
    share: float | None
    ci: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the cells tell."""

    plain: tuple[Plain, ...]
    effects: tuple[Effect, ...]
    persistence: tuple[Persistence, ...]
    crossings: tuple[Crossing, ...]
    gains: tuple[Gain, ...]


Groups = Mapping[tuple[str, str], Sequence[Cell]]


def findings_of(cells: Sequence[Cell], seed: int) -> Findings:
    """Return what the cells tell, in their order; of a part of them what is known.

    Args:
        cells: each policy as it is before its changes.
        seed: of resamples.
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.subject, cell.source), []).append(cell)
    clean = {subject: group[0] for (subject, source), group in groups.items() if source == NONE}
    plain = [_plain(cell) for cell in clean.values()]
    changed = {k: g for k, g in groups.items() if k[1] != NONE and not k[1].startswith(ATTACKED)}
    number = {subject: sum(k[0] == subject for k in changed) for subject in clean}
    effects = [effect_of(clean[k[0]], g, number[k[0]]) for k, g in changed.items()]
    kept = [
        persistence_of(clean[s], groups[s, ATTACK][0], g, groups.get((s, _words(source)), ()))
        for (s, source), g in groups.items()
        if source.startswith(ATTACKED)
    ]
    sources = list(dict.fromkeys(s for _, s in changed if s not in (ATTACK, TRANSFERRED)))
    pairs = [(a, b) for a in clean for b in clean if a != b]
    both = [(s, a, b) for s in sources for a, b in pairs if (a, s) in groups and (b, s) in groups]
    crossings = [crossing_of(clean, groups[a, s], groups[b, s]) for s, a, b in both] + [
        crossing_of(clean, groups[a, TRANSFERRED], groups[b, ATTACK])
        for a, b in pairs
        if (a, TRANSFERRED) in groups
    ]
    gains = [gain_of(clean, groups, s, seed) for s, a, _ in both if a == next(iter(clean))]
    return Findings(tuple(plain), tuple(effects), tuple(kept), tuple(crossings), tuple(gains))


def _words(source: str) -> str:
    return source.removeprefix(ATTACKED)


def _plain(cell: Cell) -> Plain:
    means = (cell.right, cell.freed_right, cell.log_likelihood)
    return Plain(cell.subject, len(cell.right), *(float(np.mean(row)) for row in means))


def effect_of(clean: Cell, changed: Sequence[Cell], num_sources: int) -> Effect:
    """Return what changes do, against the policy as it is.

    Args:
        clean: the policy as it is.
        changed: its cells of one source, one or more.
        num_sources: that are looked at for the policy, of which each may call it brittle.
    """

    def rows(name: str) -> Floats:
        return np.array([getattr(cell, name) for cell in changed], dtype=np.float64)

    def lost(name: str) -> ClusteredMean:
        return clustered_mean(np.array(getattr(clean, name), dtype=np.float64) - rows(name))

    def is_above(drop: ClusteredMean) -> bool | None:
        if drop.error_examples is None:
            return None
        return drop.value > float(t.ppf(1 - ALPHA / num_sources, num - 1)) * drop.error_examples

    right, was_right, num = rows("right"), np.array(clean.right, dtype=bool), len(clean.right)
    worst, drop, freed = right.min(axis=0), lost("right"), lost("freed_right")
    error = float(worst.std(ddof=1) / np.sqrt(num)) if num > 1 else None
    return Effect(
        clean.subject,
        changed[0].source,
        len(changed),
        clustered_mean(right),
        drop,
        freed,
        lost("log_likelihood"),
        clustered_mean((rows("answers") != np.array(clean.answers)).astype(np.float64)),
        clustered_mean(right[:, was_right]) if was_right.any() else None,
        float(worst.mean()),
        error,
        is_above(drop),
        is_above(freed),
    )


def persistence_of(
    clean: Cell, attack: Cell, attacked: Sequence[Cell], unattacked: Sequence[Cell]
) -> Persistence:
    """Return how often what an attack turned wrong is the same wrong answer with other words for
    the labels, and how often it is that for the twin with the same words and without the attack.

    Args:
        clean: the policy as it is.
        attack: attacked, in its own words.
        attacked: attacked, in other words, a cell for each draw.
        unattacked: not attacked, in the same other words.
    """
    twins = {cell.draw: cell for cell in unattacked}
    pairs = [(cell, twins[cell.draw]) for cell in attacked if cell.draw in twins]
    turned = np.array(clean.right, dtype=bool) & ~np.array(attack.right, dtype=bool)
    wrong = np.array(attack.answers)[turned]
    named = clean.subject, _words(attacked[0].source), int(turned.sum()), len(pairs)
    if not len(wrong) or not pairs:
        return Persistence(*named, None, None, None)
    own, twin = (
        np.array([np.array(pair[i].answers)[turned] == wrong for pair in pairs], dtype=np.float64)
        for i in range(2)
    )
    return Persistence(*named, *map(clustered_mean, (own, twin, own - twin)))


def crossing_of(
    clean: Mapping[str, Cell], looked_at: Sequence[Cell], others: Sequence[Cell]
) -> Crossing:
    """Return whether changes that turn the answers of another policy turn those of one.

    Args:
        clean: each policy as it is.
        looked_at: cells of the one.
        others: those of the other, under the same changes where the draw is the same.
    """
    first = {cell.draw: cell for cell in looked_at}
    pairs = [(first[cell.draw], cell) for cell in others if cell.draw in first]
    harmed, given = looked_at[0].subject, others[0].subject
    had = np.array(clean[harmed].right, dtype=bool) & np.array(clean[given].right, dtype=bool)
    wrong, other = (
        np.array([~np.array(pair[i].right, dtype=bool)[had] for pair in pairs]).ravel()
        for i in range(2)
    )
    turned = other.astype(bool)
    return Crossing(
        others[0].source,
        harmed,
        given,
        int(turned.sum()),
        int((~turned).sum()),
        float(wrong[turned].mean()) if turned.any() else None,
        float(wrong[~turned].mean()) if (~turned).any() else None,
    )


def gain_of(clean: Mapping[str, Cell], groups: Groups, source: str, seed: int) -> Gain:
    """Return how much of the last policy's gain over the first is left under a source's changes;
    the share with a bootstrap interval over examples, where that of the gain does not hold 0.
    """
    first, last = list(clean)

    def by_example(subject: str) -> Floats:
        rows = [cell.right for cell in groups[subject, source]]
        means: Floats = np.array(rows, dtype=np.float64).mean(axis=0)
        return means

    plain = np.array(clean[last].right, dtype=np.float64) - np.array(clean[first].right)
    changed = by_example(last) - by_example(first)
    gain, left = float(plain.mean()), float(changed.mean())
    rng = generator(seed, Stream.BOOTSTRAP, RESAMPLES)
    draws = rng.integers(0, len(plain), size=(NUM_RESAMPLES, len(plain)), dtype=np.int32)
    gains = plain[draws].mean(axis=1)
    low, high = _ends(gains)
    if low <= 0 <= high:
        return Gain(source, gain, left, None, None)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = changed[draws].mean(axis=1) / gains
    return Gain(source, gain, left, left / gain, _ends(shares[np.isfinite(shares)]))


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [ALPHA / 2, 1 - ALPHA / 2])
    return float(low), float(high)


def numbers_of(findings: Findings) -> dict[str, Any]:
    """Return the findings as `summary.json` has them."""
    return asdict(findings)


def metrics_of(findings: Findings) -> dict[str, float]:
    """Return the metrics of a measurement by name; what is undefined is not there."""
    found: dict[str, float] = {}
    for each in findings.plain:
        found[f"robust/accuracy/{each.subject}"] = each.accuracy
    for effect in findings.effects:
        end = f"{effect.subject} {effect.source}"
        found[f"robust/flip_rate/{end}"] = effect.flip_rate.value
        found[f"robust/drop/{end}"] = effect.drop.value
        found[f"robust/worst_of_{effect.num_draws}/{end}"] = effect.worst
        if effect.kept is not None:
            found[f"robust/transfer/{end}"] = effect.kept.value
    for kept in findings.persistence:
        if kept.share is not None and kept.twin is not None:
            found[f"robust/persistence/{kept.subject} {kept.source}"] = kept.share.value
            found[f"robust/persistence_twin/{kept.subject} {kept.source}"] = kept.twin.value
    for gain in findings.gains:
        if gain.share is not None:
            found[f"robust/gain_transfer/{gain.source}"] = gain.share
    return found
