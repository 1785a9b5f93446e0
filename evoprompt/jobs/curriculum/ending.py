"""What a curriculum ends with: the champion, by validation examples, and what it does on the test
examples of each region.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.evolution.curriculum import game
from evoprompt.jobs.curriculum.config import CurriculumConfig
from evoprompt.jobs.curriculum.loop import Progress, weights
from evoprompt.jobs.curriculum.meter import Meter
from evoprompt.jobs.curriculum.players import ANTAGONIST, PROTAGONIST, best_by_region
from evoprompt.jobs.curriculum.record import DIGITS
from evoprompt.jobs.curriculum.regions import Batch, Regions
from evoprompt.policy import Policy
from evoprompt.stats.significance import Estimate, mean_interval

VALIDATION, TEST = "validation", "test"  #: phases of the ledger


@dataclass(frozen=True, slots=True)
class Ending:
    """Who was chosen, and what they do."""

    champion: Policy
    baseline: Policy
    summary: Mapping[str, Any]  #: what `summary.json` has of them


def conclude(
    config: CurriculumConfig, regions: Regions, meter: Meter, progress: Progress
) -> Ending:
    """Choose among the members of both players and the starting policies by their mean over
    regions on the validation examples, each region alike, the baseline among the starting policies;
    measure both on the test examples, and with them the best member of each region, of either
    population, named before.
    """
    ours, given = progress.players[PROTAGONIST].policies, regions.given
    theirs = progress.players[ANTAGONIST].policies if config.has_antagonist else ()
    validation = _whole([task.validation for task in regions.tasks])
    found = _measured(meter, progress, (*ours, *theirs, *given), validation, VALIDATION)
    champion, baseline = _best((*given, *ours, *theirs), found), _best(given, found)
    best: Sequence[Policy] = ()
    summary: dict[str, Any] = {}
    if theirs:
        best = best_by_region(list(progress.players.values()), len(regions.names))
        summary["game"] = _game(config, progress, found, best)
    test = _whole([task.test for task in regions.tasks])
    measured = _measured(meter, progress, (champion, baseline, *best), test, TEST)
    after, before = measured[champion.policy_id], measured[baseline.policy_id]
    rows = [
        {
            "region": name,
            **_compared(before[e], after[e], measured[best[e].policy_id][e] if best else None),
        }
        for e, name in enumerate(regions.names)
    ]
    validated = {"validation": _means(found[champion.policy_id])}
    summary["test"] = {
        "metric": "probability of the right choice",
        "regions": rows,
        **_compared(np.concatenate(before), np.concatenate(after), None),
    }
    return Ending(champion, baseline, validated | summary)


def _measured(
    meter: Meter, progress: Progress, policies: Sequence[Policy], batch: Batch, phase: str
) -> dict[str, list[Floats]]:
    """Return the utilities of policies by region, by policy id."""
    distinct = list(dict.fromkeys(policies))
    values, count = meter.utilities(distinct, batch.all, progress.ledger)
    progress.ledger.count(phase, count)
    return {key: batch.by_region(row) for key, row in values.items()}


def _whole(splits: Sequence[Sequence[Any]]) -> Batch:
    return Batch(np.ones(len(splits), dtype=np.int64), tuple(map(tuple, splits)))


def _best(policies: Sequence[Policy], found: Mapping[str, Sequence[Floats]]) -> Policy:
    """Return the policy with the greatest mean over regions; of equal ones the first."""
    worth = [round(float(np.mean(_means(found[p.policy_id]))), DIGITS) for p in policies]
    return policies[int(np.argmax(worth))]


def _game(
    config: CurriculumConfig,
    progress: Progress,
    found: Mapping[str, Sequence[Floats]],
    best: Sequence[Policy],
) -> dict[str, Any]:
    """Return where the last members stand against the last weights, on the validation examples."""
    ours = progress.players[PROTAGONIST].policies
    theirs = [found[p.policy_id][e].mean() for e, p in enumerate(best)]
    regret = np.array(theirs) - [_means(found[p.policy_id]) for p in ours]
    last = game(regret, np.full(len(ours), 1 / len(ours)), weights(config, progress.totals))
    return {
        "duality_gap": round(last.gap, DIGITS),
        "worst_regret": round(last.worst, DIGITS),
        "minimax_regret": round(last.minimax, DIGITS),
        "regret": [round(float(r), DIGITS) for r in regret.mean(axis=0)],
    }


def _compared(before: Floats, after: Floats, best: Floats | None) -> dict[str, Any]:
    """Return the means of the baseline and the champion, and their difference, with intervals;
    where there is an antagonist, also those of the best member, and how far the champion is behind
    it.
    """
    told = {
        "num_examples": len(after),
        "baseline": _told(mean_interval(before)),
        "champion": _told(mean_interval(after)),
        "difference": _told(mean_interval(after - before)),
    }
    if best is not None:
        told |= {
            "best": _told(mean_interval(best)),
            "regret": _told(mean_interval(best - after)),
        }
    return told


def _told(estimate: Estimate) -> dict[str, Any]:
    values = asdict(estimate)
    low, high = values["low"], values["high"]
    ends = None if low is None else [round(low, DIGITS), round(high, DIGITS)]
    return {"value": round(values["value"], DIGITS), "ci": ends}


def _means(parts: Sequence[Floats]) -> list[float]:
    return [round(float(part.mean()), DIGITS) for part in parts]
