"""Instruct, then act: paths whose instructions the policy writes itself, move by move.

    state, what came before --write--> instruction --> log p(action | state, instruction)

An action is scored after the one instruction that was written, and what was written stands before
the moves after it, as it would where the policy acts. The expert's instructions are not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from evoprompt.examples import Move
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Example
from evoprompt.tasks.render import render_prompt

#: Written at most for an instruction, in tokens.
INSTRUCTION_TOKENS = 8


def instructed_by(
    policy: Policy,
    paths: Sequence[Example],
    writer: Writer,
    max_tokens: int = INSTRUCTION_TOKENS,
) -> tuple[Example, ...]:
    """Return the paths with what the policy writes, token by likeliest token, before each action.

    What is written ends at a colon, as `examples.said` puts one, or at a line's end. Where nothing
    is written the move has no instruction, and its action is scored as without. `p(a | s, g)` is
    then of one instruction g, which counts as sure: the likelihood is that of acting on what was
    said, not of saying it.

    Args:
        policy: writes and is to be scored; its demonstrations show instructions.
        paths: whose moves are written before in turn, all paths at once.
        writer: with the model that acts.
        max_tokens: of an instruction.

    Raises:
        UserError: a prompt is longer than the model's window.
    """
    found: list[list[Move]] = [[] for _ in paths]
    for step in range(max(len(path.path) for path in paths)):
        left = [n for n, path in enumerate(paths) if step < len(path.path)]
        prompts = [_prompt(policy, found[n], paths[n].path[step]) for n in left]
        written = writer.write(prompts, max_tokens=max_tokens, stops=(":", "\n"))
        for n, each in zip(left, written, strict=True):
            found[n].append(_told(paths[n].path[step], each.text.strip()))
    return tuple(replace(p, path=tuple(moves)) for p, moves in zip(paths, found, strict=True))


def _prompt(policy: Policy, before: Sequence[Move], move: Move) -> str:
    """Return what stands before what is said at a move."""
    shown = tuple(Demonstration(each.state, each.answer) for each in before)
    told = replace(policy, demonstrations=(*policy.demonstrations, *shown))
    prompt = render_prompt(told, move.state)
    assert isinstance(prompt, str), "a policy that is no chat has a text"
    return prompt


def _told(move: Move, instruction: str) -> Move:
    """Return a move whose action is scored after this instruction alone."""
    only = (instruction,) if instruction else ()
    return replace(move, instruction=instruction, scored=only, offered=only, shift=0.0)
