"""What a complete run may claim of its champion, and how far the search's own numbers can be
trusted. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import sqrt
from typing import Any, Literal, Self

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.jobs.held_out import HeldOut, Share
from evoprompt.seeding import Stream, generator
from evoprompt.stats.optimism import shrinkage_optimism
from evoprompt.stats.rank_correlation import RankCorrelation, rank_correlation
from evoprompt.stats.two_way import side_by_side

#: The chance that a share of examples so large is not among those of a test.
UNLIKELY = 0.05
START, CHAMPION = "the best starting prompt", "The prompt found (the champion)"
KEPT = (
    "The search found nothing that holds against the best starting prompt, so that prompt is the "
    "champion. It is a good one for this model: keep it, or search longer, from other starting "
    "prompts, or with more examples."
)

Verdict = Literal["better", "not shown", "worse", "baseline"]


@dataclass(frozen=True, slots=True)
class Claim:
    """What the test shows of the champion and the best starting prompt, and a sentence for it."""

    verdict: Verdict
    text: str


def claim_of(test: HeldOut, *, is_baseline: bool, alpha: float = 0.05) -> Claim:
    """Return the claim: better, or worse, only where the paired interval of the difference on the
    test examples does not hold 0. Where both are calibrated, it says also what is gained over the
    best starting prompt as it is, and says that first where that is shown.

    Args:
        test: the held-out check.
        is_baseline: whether the champion is the best starting prompt itself.
        alpha: of the intervals of the check, which cover 1 - alpha.
    """
    verdict = _verdict(test, is_baseline=is_baseline)
    if leads_with_gain(test, verdict):
        return Claim(verdict, f"{_gained(test, alpha)} {_added(test, verdict)}")
    if is_baseline:
        more = f" Calibrated, it gains {_size(test.gain, alpha)}." if test.gain else ""
        return Claim(verdict, KEPT + more)
    more = ""
    if test.baseline_raw is not None:
        before = _right(test, test.baseline_raw)
        more = f" Both are with calibration; without it the starting prompt has {before} right."
    return Claim(verdict, _compared(test, verdict, alpha) + more)


def leads_with_gain(test: HeldOut, verdict: Verdict) -> bool:
    """Return whether the first thing to say is what is gained over the best starting prompt as it
    is: it is shown, and calibrated the champion is not shown to be worse than that prompt.
    """
    is_shown = test.gain is not None and test.gain.ci[0] > 0
    return is_shown and verdict in ("better", "not shown")


def _verdict(test: HeldOut, *, is_baseline: bool) -> Verdict:
    if is_baseline:
        return "baseline"
    low, high = test.difference.ci
    return "better" if low > 0 else "worse" if high < 0 else "not shown"


def _gained(test: HeldOut, alpha: float) -> str:
    """Return what is gained over the best starting prompt as it is."""
    assert test.gain is not None
    assert test.baseline_raw is not None
    right, before = _right(test, test.champion), _right(test, test.baseline_raw)
    return (
        f"{CHAMPION}, with calibration, answers {right} of {test.num_examples} test examples "
        f"right; {START}, without it, answers {before}. That is {_size(test.gain, alpha)}."
    )


def _added(test: HeldOut, verdict: Verdict) -> str:
    """Return what the search added to calibration."""
    if (most := _most_different(test)) is not None:
        return (
            f"All of this may be calibration: with it, the starting prompt answers the same ones "
            f"right. {_may_differ(most)}"
        )
    value, low, high = (100 * v for v in (test.difference.value, *test.difference.ci))
    alone = f"Calibration alone brings the starting prompt to {_right(test, test.baseline)}"
    beyond = "which may be chance" if verdict == "not shown" else "beyond chance"
    return f"{alone}; the search adds {value:+.1f} points, {beyond} ({low:+.1f} to {high:+.1f})."


def _compared(test: HeldOut, verdict: Verdict, alpha: float) -> str:
    """Return how the champion compares with the best starting prompt, calibrated alike."""
    found = {"better": "is better", "worse": "is worse"}.get(verdict, "is not shown to be better")
    if (most := _most_different(test)) is not None:
        return (
            f"{CHAMPION} {found} than {START}: both answer the same of {test.num_examples} test "
            f"examples right. {_may_differ(most)}"
        )
    size = _size(test.difference, alpha)
    chance = "which may be chance" if verdict == "not shown" else "beyond chance"
    if not test.is_counted:
        of = f"of the metric {test.metric} on {test.num_examples} test examples"
        return f"{CHAMPION} {found} than {START}: {size} {of}, {chance}."
    right, before = _right(test, test.champion), _right(test, test.baseline)
    counts = f"{right} of {test.num_examples} test examples right, and the starting prompt {before}"
    return f"{CHAMPION} {found} than {START}: it has {counts}. That is {size}, {chance}."


def _size(share: Share, alpha: float) -> str:
    """Return a difference with its interval, in points."""
    low, high = (100 * end for end in share.ci)
    ends = f"{100 * (1 - alpha):g} % interval {low:+.1f} to {high:+.1f}"
    return f"{100 * share.value:+.1f} points ({ends})"


def _right(test: HeldOut, share: Share) -> int:
    return round(share.value * test.num_examples)


def _most_different(test: HeldOut) -> float | None:
    """Return the greatest share of all examples that both may answer differently, where they answer
    the same of the test right; None where they do not.
    """
    if test.mcnemar is None or test.mcnemar.num_different:
        return None
    most: float = 1 - UNLIKELY ** (1 / test.num_examples)
    return most


def _may_differ(most: float) -> str:
    return (
        f"They may still differ on up to {100 * most:.0f} % of all examples: had they differed on "
        f"more, one of these would most likely have shown it."
    )


@dataclass(frozen=True, slots=True)
class Trust:
    """How far the fitness on the search's examples can be trusted; None where it is undefined. In
    units of the fitness, except for the correlation.
    """

    num_scored: int  #: policies that the search measured
    #: how much of the champion's fitness on the search's examples is the luck of one picked among
    #: so many (`stats.optimism.shrinkage_optimism`); for one policy or one example undefined
    optimism_est: float | None
    optimism_est_se: float | None  #: standard error of that luck
    #: the champion's fitness on the search's examples less that on the test's
    optimism_observed: float | None
    #: sqrt(s^2/n + s'^2/n') of both samples
    optimism_observed_se: float | None
    #: Spearman's, of fitness with accuracy on the search's examples
    rank_correlation: RankCorrelation | None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what a summary has."""
        found: dict[str, Any] = {f.name: values.get(f.name) for f in fields(cls)}
        if (ranks := found["rank_correlation"]) is not None:
            ends = ranks["ci"] and tuple(ranks["ci"])
            found["rank_correlation"] = RankCorrelation(**{**ranks, "ci": ends})
        return cls(**found)

    def metrics(self) -> dict[str, float]:
        """Return what a tracker is told; what is undefined is left out."""
        values = asdict(self)
        if (ranks := values.pop("rank_correlation")) is not None:
            values["rank_correlation"] = ranks["value"]
            values["rank_correlation_kendall"] = ranks["kendall"]
            low, high = ranks["ci"] or (None, None)
            values |= {"rank_correlation_low": low, "rank_correlation_high": high}
        return {f"trust/{name}": value for name, value in values.items() if value is not None}


def trust_of(
    searched: Mapping[str, Sequence[float] | Floats],
    champion: str,
    tested: Floats | None,
    ranks: RankCorrelation | None,
) -> Trust:
    """Return how far the fitness can be trusted.

    Args:
        searched: fitness by example of every policy that the search measured, on its first
            examples, by policy id.
        champion: id of the policy that the run ended with.
        tested: its fitness by example on the test, shape (example,); None without any.
        ranks: `fitness_ranks`.
    """
    ids = list(searched)
    rows = [np.asarray(searched[p], dtype=np.float64) for p in ids]
    luck = shrinkage_optimism(side_by_side(rows), ids.index(champion))
    own, seen, error = rows[ids.index(champion)], None, None
    if tested is not None and len(tested):
        seen = float(own.mean() - tested.mean())
        if min(len(own), len(tested)) > 1:
            error = sqrt(sum(float(x.var(ddof=1)) / len(x) for x in (own, tested)))
    return Trust(
        len(ids),
        None if luck is None else luck.value,
        None if luck is None else luck.standard_error,
        seen,
        error,
        ranks,
    )


def fitness_ranks(
    fitness: Floats, accuracy: Floats, seed: int, alpha: float
) -> RankCorrelation | None:
    """Return the rank correlation of fitness with accuracy, over policies on the same examples;
    None where it is undefined, also where the two are one number.

    Args:
        fitness: by example, shape (policy, example).
        accuracy: the same.
        seed: of the run.
        alpha: of the interval.
    """
    if np.array_equal(fitness, accuracy):
        return None
    return rank_correlation(fitness, accuracy, generator(seed, Stream.BOOTSTRAP, 1), alpha)


def trust_text(trust: Trust) -> str:
    """Return in sentences how far the fitness can be trusted."""
    parts, num = [], trust.num_scored
    if trust.optimism_est is not None and trust.optimism_est_se is not None:
        parts.append(
            f"Of the champion's fitness on the search's examples, {trust.optimism_est:.3f} "
            f"(standard error {trust.optimism_est_se:.3f}) is estimated to be luck, since it was "
            f"picked among {num} scored policies."
        )
    if trust.optimism_observed is not None:
        error = trust.optimism_observed_se
        known = "" if error is None else f", standard error {error:.3f}"
        parts.append(
            f"Its fitness there less that on the test examples is {trust.optimism_observed:+.3f}"
            f"{known}: luck, and how much harder the test is."
        )
    if (ranks := trust.rank_correlation) is not None:
        ends = "" if ranks.ci is None else f", interval {ranks.ci[0]:.2f} to {ranks.ci[1]:.2f}"
        parts.append(
            f"Fitness ranks policies as accuracy does with a rank correlation of {ranks.value:.2f} "
            f"(Spearman's{ends}; Kendall's {ranks.kendall:.2f}; 1 is the same order, 0 is none), "
            f"over {ranks.num_policies} policies on {ranks.num_examples} examples of the search."
        )
    return " ".join(parts)


def trust_rows(trust: Trust) -> Iterator[tuple[str, str]]:
    """Yield the same in a label and a line each, as a terminal shows it."""
    if trust.optimism_est is not None:
        parts = [
            f"{trust.optimism_est:.3f} of the champion's fitness is luck by estimate "
            f"({trust.num_scored} policies scored)"
        ]
        if trust.optimism_observed is not None:
            parts.append(f"search less test {trust.optimism_observed:+.3f}")
        yield "winner's optimism", ", ".join(parts)
    if (ranks := trust.rank_correlation) is not None:
        ends = "" if ranks.ci is None else f"  [{ranks.ci[0]:.2f}, {ranks.ci[1]:.2f}]"
        over = f"{ranks.num_policies} policies, {ranks.num_examples} examples"
        yield "rank correlation", f"{ranks.value:.2f}{ends}  (fitness with accuracy, {over})"
