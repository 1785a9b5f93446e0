"""What is left of the budget when everything is chosen: labels for the calibration of the champion
and of the baseline, for what is fitted on few is worth more with each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from evoprompt.jobs.evolve.build import Parts
from evoprompt.jobs.evolve.gauge import Gauge, Watcher, measure
from evoprompt.jobs.evolve.journal import Journal
from evoprompt.policy import Policy
from evoprompt.records import Example, LabelScores

#: Of the ledger: what is measured for calibrations alone.
PHASE = "calibration"


def longest_prompt(journal: Journal) -> int:
    """Return the tokens of the longest prompt before an input that was measured."""
    return max(int(e.traits["prompt_tokens"]) for e in journal.evaluations.values())


def learn_more(
    parts: Parts,
    journal: Journal,
    policies: Sequence[Policy],
    validated: Mapping[str, LabelScores],
    watcher: Watcher,
) -> dict[str, tuple[LabelScores, ...]]:
    """Measure policies, one after another, on the fitness examples that they lack and on labelled
    examples that nothing was chosen by, as far as budget and `final.labels` go. Return what was
    measured beyond the fitness examples, by policy id; the journal gets the rest.
    """
    found: dict[str, tuple[LabelScores, ...]] = {p.policy_id: () for p in policies}
    if not parts.calibrator.is_used:
        return found

    def room() -> int | None:
        return parts.costs.unspent(journal.ledger, policies, longest_prompt(journal))

    for policy in dict.fromkeys(policies):
        begin = journal.num_measured(policy)
        num = parts.costs.reach(policy, begin, room())
        if num > begin:
            Gauge(parts, journal, watcher).raise_to([policy], num, PHASE)
        labels = max(begin, num) + len(validated[policy.policy_id].gold)
        others = _others(parts, policy)[: max(0, parts.config.final.labels - labels)]
        asked = others[: _affordable(parts, policy, others, room())]
        if asked:
            watcher.phase(PHASE, 1)
            scores = measure(parts.measurer, [policy], asked, journal.ledger, PHASE, watcher)
            found[policy.policy_id] = (scores[policy.policy_id],)
    return found


def _others(parts: Parts, policy: Policy) -> list[Example]:
    """Return the labelled examples of no split, then those of the pool of demonstrations; without
    those that a policy shows or cannot be scored on.
    """
    shown, task = {d.input for d in policy.demonstrations}, parts.task
    return [
        e
        for e in (*task.spare, *task.pool)
        if e.input not in shown
        and e.candidates == task.choices
        and parts.measurer.fits(policy, [e])
    ]


def _affordable(parts: Parts, policy: Policy, examples: Sequence[Example], room: int | None) -> int:
    """Return how many of the first examples may be measured with so many tokens."""
    if room is None:
        return len(examples)
    numbers = range(1, len(examples) + 1)
    return bisect_left(numbers, True, key=lambda n: parts.costs.beside(policy, examples[:n]) > room)
