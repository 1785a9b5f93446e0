"""What is left of the budget when everything is chosen: labels for the calibration of the champion
and of the baseline, for what is fitted on few is worth more with each.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from itertools import islice

from evoprompt.jobs.evolve.build import Parts
from evoprompt.jobs.evolve.gauge import Watcher, measure
from evoprompt.jobs.evolve.journal import Journal
from evoprompt.policy import Policy
from evoprompt.records import Example, LabelScores
from evoprompt.store.ledger import REPORT

#: Of the ledger: what is measured for calibrations alone.
PHASE = "calibration"
#: Of the tokens that a search leaves, what choosing among finalists may take where the one that is
#: chosen needs labels too.
CHOICE = 0.5


def learn_more(
    parts: Parts,
    journal: Journal,
    champion: Policy,
    baseline: Policy,
    validated: Mapping[str, LabelScores],
    watcher: Watcher,
) -> dict[str, tuple[LabelScores, ...]]:
    """Measure champion and baseline on as many labelled examples more as budget and `final.labels`
    allow, each on as many as the other, so that none is better for having met more. Return what
    was measured of each beside the search, by policy id: the validation examples, then these,
    without verdicts.

    A budget in logical tokens, by which optimizers are compared, pays for the champion's alone: the
    baseline's are for the report.
    """
    both = dict.fromkeys((champion, baseline))
    found: dict[str, tuple[LabelScores, ...]] = {
        p.policy_id: (validated[p.policy_id],) for p in both
    }
    if not parts.calibrator.is_used:
        return found
    more = {p: _more(parts, journal, p, validated[p.policy_id]) for p in both}
    room = parts.costs.unspent(journal.ledger, list(both), journal.longest_prompt)
    paid = [champion] if parts.costs.is_logical else list(both)

    def over(num: int) -> bool:
        return room is not None and room < sum(parts.costs.beside(p, more[p][:num]) for p in paid)

    most, measurer = max(map(len, more.values())), parts.measurer.without_verdicts()
    num = bisect_left(range(1, most + 1), True, key=over)
    for policy, examples in more.items():
        if asked := examples[:num]:
            phase = PHASE if policy == champion else REPORT
            watcher.phase(phase, 1)
            scores = measure(measurer, [policy], asked, journal.ledger, phase, watcher)
            found[policy.policy_id] += (scores[policy.policy_id],)
    return found


def learn_under_changes(
    parts: Parts, journal: Journal, champion: Policy, baseline: Policy
) -> dict[str, tuple[LabelScores, ...]]:
    """Measure champion and baseline under changes, where their heads are fitted on these too;
    return the scores, by policy id.
    """
    looked, calibrator = parts.learned_changes, parts.calibrator
    if looked is None or not calibrator.is_used or calibrator.way != "head":
        return {}
    return {
        p.policy_id: looked.learned(p, journal.ledger, PHASE if p == champion else REPORT)
        for p in dict.fromkeys((champion, baseline))
    }


def _more(parts: Parts, journal: Journal, policy: Policy, validated: LabelScores) -> list[Example]:
    """Return the labelled examples that a policy was not measured on, does not show and can be
    scored on: of validation and fitness, of no split, and of the pool; as many as may be used.
    """
    task, met = parts.task, journal.num_measured(policy)
    labels = met + len(validated.gold)
    shown = {d.input for d in policy.demonstrations}
    rest = (*task.validation[len(validated.gold) :], *task.fitness[met:], *task.spare, *task.pool)
    usable = (
        e
        for e in rest
        if e.input not in shown
        and e.candidates == task.choices
        and parts.measurer.fits(policy, [e])
    )
    return list(islice(usable, max(0, parts.config.final.labels - labels)))
