"""The change of a prompt that does most harm, within a bound: (1 + lambda) over all sources of
changes, put together edit by edit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

from evoprompt.interrupt import raise_if_interrupted
from evoprompt.jobs.robustness.config import AttackConfig
from evoprompt.jobs.robustness.record import DIGITS, Edit
from evoprompt.policy import Policy
from evoprompt.seeding import Stream, generator
from evoprompt.variation.perturbations import PERTURBATIONS, Sources

#: The coordinates of an attack in the stream, beyond the places of sources; of what an edit is
#: made of, and of the order in which the sources have their turns.
ATTACKS, SOURCES = 1000, 1001
#: That may differ where no bound is given and the prompt is shorter.
LEAST_TOKENS = 40


def search(
    policy: Policy,
    sources: Sources,
    config: AttackConfig,
    seed: int,
    worth: Callable[[Policy], float],
    tokens: Callable[[Policy], Sequence[int]],
) -> tuple[Policy, tuple[Edit, ...]]:
    """Return the policy with the change that was found, and its edits; the policy itself where none
    does harm.

    Args:
        policy: to do harm to.
        sources: of changes.
        config: the bound, and how many are tried.
        seed: of the draws.
        worth: of a policy, which is made small, e.g. the mean log-likelihood of the right answers.
        tokens: of the prompt of a policy before the input.
    """
    begun = tokens(policy)
    bound = max(LEAST_TOKENS, len(begun)) if config.tokens is None else config.tokens
    found, edits, least = policy, list[Edit](), round(worth(policy), DIGITS)
    seen = {policy}
    for step in range(config.edits):
        best: tuple[Policy, Edit] | None = None
        order = generator(seed, Stream.ROBUSTNESS, SOURCES, step).permutation(len(config.sources))
        names = [config.sources[place] for place in order.tolist()]
        for candidate in range(config.candidates):
            raise_if_interrupted()
            edit = Edit(names[candidate % len(names)], step, candidate)
            child = with_edit(found, edit, sources, seed)
            if child in seen or distance(begun, tokens(child)) > bound:
                continue
            seen.add(child)
            value = round(worth(child), DIGITS)
            if value < least:
                least, best = value, (child, edit)
        if best is not None:
            found, edits = best[0], [*edits, best[1]]
    return found, tuple(edits)


def with_edit(policy: Policy, edit: Edit, sources: Sources, seed: int) -> Policy:
    """Return the policy with an edit; as it is where there is nothing to change."""
    rng = generator(seed, Stream.ROBUSTNESS, ATTACKS, edit.step, edit.candidate)
    return PERTURBATIONS[edit.source].prompt(policy, sources, rng) or policy


def distance(before: Sequence[int], after: Sequence[int]) -> int:
    """Return how many tokens were put in, left out or exchanged, the longer part of each change."""
    parts = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return sum(max(b - a, d - c) for kind, a, b, c, d in parts if kind != "equal")
