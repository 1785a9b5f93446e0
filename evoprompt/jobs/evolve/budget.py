"""When a search ends before its last generation. Pure.

A policy is charged the distinct prefixes of its own prompts, whatever store and memo spare: so the
search is the same each time.
"""

from __future__ import annotations

from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.journal import Journal
from evoprompt.records import State, TokenCount
from evoprompt.tasks.base import Task


def goes_on(config: Config, state: State, seconds: float) -> bool:
    """Return whether there is a next generation, and time for it; `seconds` were spent so far."""
    limit = config.budget.seconds
    return state.generation < config.evolution.generations and (limit is None or seconds < limit)


def exceeds(config: Config, task: Task, journal: Journal, brood_tokens: int) -> bool:
    """Return whether a brood and the validation after it would take more tokens than are left.

    Args:
        config: of the run.
        task: its numbers of examples.
        journal: what was spent so far.
        brood_tokens: of the brood, counted before anything is forwarded, exactly but for what the
            model writes after steps: that is taken to be as long as it may get. The validation is
            forecast from the dearest policy so far.
    """
    limit = config.budget.prefill_tokens
    if limit is None:
        return False
    longest = max(e.traits["prompt_tokens"] for e in journal.evaluations.values())
    searched = journal.ledger.tokens["search"].floor_body_tokens
    per_example = searched / (len(journal.evaluations) * len(task.fitness))
    validation = config.final.candidates * (longest + per_example * len(task.validation))
    varied = journal.ledger.tokens.get("variation", TokenCount()).floor_body_tokens
    return searched + varied + brood_tokens + validation > limit
