"""What a run's numbers say to do next, where they carry it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import sqrt
from typing import Any

from evoprompt.jobs.evolve.record import Summary

#: Births from which on an operator is judged.
ENOUGH = 10
#: Level under which a test of drift is worth a word.
LEVEL = 0.05


def advice(summary: Summary | None, dynamics: Mapping[str, Any]) -> list[str]:
    """Return in a sentence each what to do next, the most useful first.

    Args:
        summary: of the run; None where it has not ended.
        dynamics: what holds over the run, as `History.summary` gives it.
    """
    found = [*_on_test(summary)] if summary is not None else []
    return [*found, *_on_operators(dynamics["operators"]), *_on_drift(dynamics.get("drift"))]


def _on_test(summary: Summary) -> Iterator[str]:
    test, headroom = summary.test, summary.headroom
    is_hopeless = headroom is not None and headroom.verdict == "little to win"
    if not summary.generations and not is_hopeless:
        yield (
            "The run ended with its first generation, so hardly anything was searched: give it a "
            "larger budget (budget), or more generations (evolution.generations)."
        )
    if summary.claim is not None and summary.claim.verdict == "not shown" and test.mcnemar:
        differ = test.mcnemar.num_different
        # a paired difference is seen from about 2 standard errors on, sqrt(differ) / n each
        least = 2 * sqrt(max(differ, 1)) / test.num_examples
        is_behind = test.difference.value < 0
        yield (
            f"{'Keep the best starting prompt for now. ' if is_behind else ''}To be surer, give "
            f"more test examples (task.test_examples), or run several seeds (evoprompt sweep): of "
            f"{test.num_examples} the two prompts answer {differ} differently, so a difference "
            f"below about {100 * least:.0f} points cannot be told from chance."
        )
    if summary.claim is not None and summary.claim.verdict == "worse":
        yield (
            "Keep the best starting prompt. The champion was the best on the examples that chose "
            "it, and those were too few or unlike the test: give more of them "
            "(task.validation_examples, task.fitness_examples), or a larger budget."
        )
    if is_hopeless:
        yield (
            "The sets of demonstrations that the search began with differ little, so there is "
            "little for it to win on this task with this model: a larger model, or other label "
            "words, may do more than a longer search."
        )


def _on_operators(operators: Mapping[str, Any]) -> Iterator[str]:
    """Yield whose births are shown to be better than their best parent more seldom, or more often,
    than those of all operators: where the 95 % interval of the share does not hold theirs.
    """
    total = sum(o["num_children"] for o in operators.values())
    if not total:
        return
    overall = sum(o["share_better"] * o["num_children"] for o in operators.values()) / total
    for name, found in sorted(operators.items(), key=lambda item: -item[1]["num_children"]):
        num, (low, high) = found["num_children"], found["share_better_ci"]
        better = round(found["share_better"] * num)
        told = f"{better} of {num} births by {name} beat their best parent"
        usual = f"{overall:.0%} of all births did"
        if num >= ENOUGH and high < overall:
            yield f"{told}, and {usual}: lower its weight (evolution.operators.{name})."
        elif num >= ENOUGH and low > overall:
            yield f"{told}, and {usual}: raise its weight (evolution.operators.{name})."


def _on_drift(test: Mapping[str, Any] | None) -> Iterator[str]:
    if test is None or test.get("p_value") is None or test["p_value"] >= LEVEL:
        return
    by_chance = (
        f"One run in {round(1 / test['p_value'])} does so by chance alone"
        if test["p_value"]
        else "Chance alone does not do so"
    )
    yield (
        f"What selection did strays further from what its scheme gives in the mean than chance "
        f"usually does (p = {test['p_value']:.2g}). {by_chance}: look whether other seeds do too "
        f"before anything is read into it."
    )
