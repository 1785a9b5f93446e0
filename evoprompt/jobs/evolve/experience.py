"""What the operators of a run may be shown of it, from its journal."""

from __future__ import annotations

from dataclasses import replace

from evoprompt.evolution.engine import Strategy
from evoprompt.evolution.experience import history_of, mistakes_of
from evoprompt.jobs.evolve.build import Parts
from evoprompt.jobs.evolve.journal import Journal
from evoprompt.records import State
from evoprompt.variation.base import Need, needs_of


def experienced(strategy: Strategy, parts: Parts, journal: Journal, state: State) -> Strategy:
    """Return a strategy of the run with what its operators need to know of the run so far: the best
    that was tried, and what each member answers wrong.
    """
    comparison = parts.fitness.comparison
    needs, materials = needs_of(strategy.operators.values()), strategy.materials
    if Need.HISTORY in needs:
        scored = ((journal.policies[p], e) for p, e in journal.evaluations.items())
        materials = replace(materials, history=history_of(scored))
    if Need.MISTAKES in needs:
        examples = {example.example_id: example for example in parts.task.fitness}
        members = dict.fromkeys(m.birth.policy for m in state.members)
        found = (
            mistakes_of(
                p, parts.calibrator.left_out(journal.scores[p.policy_id]), examples, comparison
            )
            for p in members
        )
        materials = replace(materials, mistakes=tuple(m for each in found for m in each))
    return replace(strategy, materials=materials)
