"""Instruct, then act: paths whose instructions the policy writes itself, move by move.

    state, what came before --write--> instruction --> log p(action | state, instruction)

An action is scored after the one instruction that was written, and what was written stands before
the moves after it, as it would where the policy acts. The expert's instructions are not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from evoprompt.conversation import Prompt
from evoprompt.examples import Move
from evoprompt.measurement.requests import encode_prompts
from evoprompt.measurement.units import Weight
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Example, LabelScores, TokenCount
from evoprompt.scoring.trie import TokenRequest, count_rows
from evoprompt.tasks.render import render_prompt

#: Scores of a policy, and what they cost.
Scored = tuple[LabelScores, TokenCount]
#: `Measurer.measure`.
Measure = Callable[..., Mapping[str, Scored]]

#: Written at most for an instruction, in tokens.
INSTRUCTION_TOKENS = 8
#: Tokens by which a prompt may grow where an instruction is joined to it.
JOIN_SLACK = 2


def are_written(examples: Sequence[Example]) -> bool:
    """Return whether a policy writes instructions of these itself."""
    return any(_is_open(move) for example in examples for move in example.path)


def instructed_by(
    policy: Policy,
    paths: Sequence[Example],
    writer: Writer,
    max_tokens: int = INSTRUCTION_TOKENS,
) -> tuple[tuple[Example, ...], TokenCount]:
    """Return the paths with what the policy writes, token by likeliest token, before each action,
    and what that cost.

    What is written ends at a colon, as `examples.said` puts one, or at a line's end. Where nothing
    is written the move has no instruction, and its action is scored as without. `p(a | s, g)` is
    then of one instruction g, which counts as sure: the likelihood is that of acting on what was
    said, not of saying it. The floor of the cost has each different beginning of a prompt once.

    Args:
        policy: writes and is to be scored; its demonstrations show instructions.
        paths: whose moves are written before in turn, all paths at once; those that are given stay.
        writer: with the model that acts.
        max_tokens: of an instruction.

    Raises:
        UserError: a prompt is longer than the model's window.
    """
    found: list[list[Move]] = [[] for _ in paths]
    count, asked = TokenCount(), []
    for step in range(max(len(path.path) for path in paths)):
        left = [n for n, path in enumerate(paths) if step < len(path.path)]
        given = [n for n in left if paths[n].path[step].is_given]
        for n in given:
            found[n].append(paths[n].path[step])
        left = [n for n in left if n not in given]
        prompts = [_prompt(policy, found[n], paths[n].path[step]) for n in left]
        written = writer.write(prompts, max_tokens=max_tokens, stops=(":", "\n")) if left else []
        asked += prompts
        for n, each in zip(left, written, strict=True):
            found[n].append(_told(paths[n].path[step], each.text.strip()))
            count += each.count
    told = tuple(replace(p, path=tuple(moves)) for p, moves in zip(paths, found, strict=True))
    begins = encode_prompts(writer.tokenizer, asked)
    floor = count_rows([TokenRequest(tokens, (0,)) for tokens in begins])
    return told, replace(count, floor_body_tokens=floor)


def measure_instructed(
    measure: Measure,
    writer: Writer | None,
    policies: Sequence[Policy],
    examples: Sequence[Example],
    on_policy: Callable[[TokenCount], None],
    timed: Callable[[str], AbstractContextManager[None]],
) -> dict[str, Scored]:
    """Return each policy's scores on the paths that it has instructed itself, and what both cost.

    Args:
        measure: `Measurer.measure`.
        writer: with the model that acts.
        policies: one after another, since each has paths of its own.
        examples: paths whose instructions are not written yet.
        on_policy: is told what each cost.
        timed: is given the phase `writing`.

    Raises:
        ValueError: there is no writer.
    """
    if writer is None:
        raise ValueError("instructions are to be written: give the Measurer a writer")
    found: dict[str, Scored] = {}
    for policy in policies:
        with timed("writing"):
            told, wrote = instructed_by(policy, examples, writer)
        for name, (scores, count) in measure([policy], told, lambda _: None, timed).items():
            on_policy(count + wrote)
            found[name] = scores, count + wrote
    return found


def with_instructions(weight: Weight, examples: Sequence[Example]) -> Weight:
    """Return what measuring examples forwards at most where a policy writes instructions of paths
    itself; as it is where it does not.

    The same prompts are read once more, to write. Each of n moves has one instruction, which stands
    after the move's state and before the moves after it; each of a move's c continuations has those
    up to its own.

    Args:
        weight: of the same paths with the expert's instructions.
        examples: that are measured.
    """
    if not are_written(examples):
        return weight
    each = INSTRUCTION_TOKENS + JOIN_SLACK
    sizes = [[1 + len(move.others) for move in example.path] for example in examples]
    rows = 2 * each * sum(map(len, sizes))
    logical = sum(each * (n + 1) * (c + 1) for path in sizes for n, c in enumerate(path))
    longest = weight.longest + each * max(map(len, sizes))
    return Weight(2 * (weight.rows + rows), longest, 2 * (weight.logical + logical))


def _is_open(move: Move) -> bool:
    """Return whether a move's instruction is still to be written: it has the expert's."""
    return move.is_written and not move.is_given and bool(move.scored) and not move.offered


def _prompt(policy: Policy, before: Sequence[Move], move: Move) -> Prompt:
    """Return what stands before what is said at a move."""
    shown = tuple(Demonstration(each.state, each.answer) for each in before)
    told = replace(policy, demonstrations=(*policy.demonstrations, *shown))
    return render_prompt(told, move.state)


def _told(move: Move, instruction: str) -> Move:
    """Return a move whose action is scored after this instruction alone."""
    only = (instruction,) if instruction else ()
    changed = replace(move, instruction=instruction, scored=only, offered=only, shift=0.0)
    return replace(changed, is_written=True)
