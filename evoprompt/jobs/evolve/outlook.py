"""What a search can win, judged by what its founders were worth."""

from __future__ import annotations

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.evolution.headroom import Headroom, headroom
from evoprompt.jobs.evolve.build import Parts
from evoprompt.jobs.evolve.journal import Journal
from evoprompt.policy import Policy

#: Sets of demonstrations below which nothing is said.
LEAST_SETS = 2


def outlook(parts: Parts, journal: Journal) -> Headroom | None:
    """Return what a search can win here (`evolution.headroom.headroom`): of the best given prompt
    raw and calibrated, and of the sets of demonstrations that the search starts from, all on the
    first examples that all of them met, with nothing taken off for side effects or changes. None
    where nothing is calibrated or there are no sets.
    """
    task = parts.task
    sets = [p for p in task.starting_policies if p in task.added]
    if not parts.calibrator.is_used or len(sets) < LEAST_SETS or not journal.policies:
        return None
    start = journal.best_of(task.given_policies)
    num = min(map(journal.num_measured, (start, *sets)))
    scores = journal.scores[start.policy_id].first(num)

    def measured(policy: Policy) -> Floats:
        added = parts.handicap(policy, num) + parts.taken(policy)
        return journal.cases_on(policy.policy_id, num)["fitness"] + added

    return headroom(
        parts.fitness.cases(scores, parts.measurer.prompt_tokens(start))[0],
        measured(start),
        np.stack([measured(p) for p in sets]),
        parts.config.evolution.stop.smallest_gain,
    )
