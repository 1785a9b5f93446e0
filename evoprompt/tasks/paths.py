"""Paths: examples of several moves, of which the expert's are scored. Pure.

A line of a file that has `steps` is a path:

    {"steps": [{"input": state, "target": action, "choices": [action, ...] (optional),
                "instruction": text (optional)}, ...],
     "instructions": [text, ...] (optional), "id": text (optional)}

`choices` are all actions there are in a state. `instructions` are all that may be said before an
action; without them, those of the steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from math import log
from typing import Any

from evoprompt.config.task import TaskConfig
from evoprompt.errors import UserError, quoted
from evoprompt.examples import Example, Move
from evoprompt.policy import Demonstration
from evoprompt.seeding import Stream, generator
from evoprompt.text_files import check_choices, check_keys, in_quotes, refuse

#: What a line is, for errors.
FORM = '{"steps": [{"input": text, "target": text, "instruction": text}, ...]}'

#: What a step has, each with what others call it.
KEYS = {
    "input": ("state", "observation"),
    "target": ("action",),
    "choices": ("options", "actions"),
    "instruction": ("goal", "subgoal"),
}


def path_of(example_id: str, moves: Iterable[Move], origin: str = "") -> Example:
    """Return the example of a path."""
    path = tuple(moves)
    actions = "\n".join(move.action for move in path if not move.is_given)
    return Example(example_id, path[0].state, actions, origin=origin, path=path)


def read_path(row: dict[str, Any], where: str, origin: str = "") -> Example:
    """Return the path of a line of a file, without an id where it gives none; each of its moves is
    scored after every instruction there may be.

    Raises:
        UserError: the line is malformed.
    """
    steps = row["steps"]
    if not isinstance(steps, list) or not steps:
        refuse(where, f"'steps' must be a list of steps{in_quotes(steps)}, as in {FORM}", steps)
    moves = [_read_move(step, f"{where}, step {n}") for n, step in enumerate(steps, 1)]
    told = [move.instruction for move in moves]
    if any(told) and not all(told):
        raise UserError(f"{where}: some steps have an instruction and some have none; give all one")
    offered = row.get("instructions") or list(dict.fromkeys(filter(None, told)))
    if not isinstance(offered, list) or not all(isinstance(t, str) and t.strip() for t in offered):
        refuse(where, "'instructions' must be a list of texts that are not blank", offered)
    if missing := set(filter(None, told)) - set(offered):
        raise UserError(f"{where}: 'instructions' lacks what a step has: {', '.join(missing)}")
    if all(told):
        moves = [replace(move, scored=tuple(dict.fromkeys(offered))) for move in moves]
    return path_of("", moves, origin)


def _read_move(step: object, where: str) -> Move:
    row = check_keys(step, where, FORM, KEYS, ("input", "target"))
    texts = [row["input"], row["target"], row.get("instruction") or ""]
    for name, text in zip(("input", "target", "instruction"), texts, strict=True):
        if not isinstance(text, str):
            refuse(where, f"'{name}' must be a text{in_quotes(text)}", text)
    if not texts[1].strip():
        refuse(where, "the target is blank, and such an action has no likelihood", texts[1])
    if (choices := row.get("choices")) is None:
        return Move(*texts)
    check_choices(choices, where)
    if texts[1] not in choices:
        raise UserError(f"{where}: the target {quoted(texts[1])} is not among the choices")
    others = tuple(choice for choice in choices if choice != texts[1])
    return replace(Move(*texts), others=others)


def as_scored(splits: list[list[Example]], config: TaskConfig) -> list[list[Example]]:
    """Return splits whose paths are scored as `task.instructions` says; of the first, which
    demonstrations are made of, each move by itself. Splits without paths are returned as they are.

    Raises:
        UserError: some examples are paths and some are not, or the configuration asks for what
            they do not have.
    """
    examples = [e for split in splits for e in split]
    _check(examples, config)
    if not any(e.path for e in examples):
        return splits
    shown, *scored = [[_instructed(path, config) for path in split] for split in splits]
    return [_moves_alone(shown), *scored]


def _instructed(path: Example, config: TaskConfig) -> Example:
    """Return a path whose moves are scored as `task.instructions` says.

    Raises:
        UserError: that takes instructions, and a move has none.
    """
    if config.written:
        path = replace(path, path=tuple(replace(move, others=()) for move in path.path))
    elif config.instructions != "off":
        path = replace(path, path=tuple(replace(m, offered=m.scored) for m in path.path))
    if config.instructions == "off":
        return replace(path, path=tuple(replace(move, scored=()) for move in path.path))
    if not all(move.instruction for move in path.path):
        raise UserError(
            f"task.instructions={config.instructions} takes paths whose steps have an instruction, "
            f"and {_named(path)} has none; give each step one, or leave it off"
        )
    if config.instructions == "written":
        told = tuple(
            replace(move, scored=(move.instruction,), offered=(), is_written=True)
            for move in path.path
        )
        return replace(path, path=told)
    if config.instructions == "joint":
        told = tuple(replace(move, scored=(move.instruction,)) for move in path.path)
        return replace(path, path=told)
    if config.instruction_draws is None:
        return path
    return replace(path, path=tuple(_drawn(path, step, config) for step in range(len(path.path))))


def _drawn(path: Example, step: int, config: TaskConfig) -> Move:
    """Return a move with instructions that are drawn evenly, again and again the same ones of the
    same path: all policies are compared on them.
    """
    move, num = path.path[step], config.instruction_draws or 0
    digest = hashlib.blake2b(path.example_id.encode(), digest_size=8, person=b"paths").digest()
    draws = generator(0, Stream.INSTRUCTIONS, int.from_bytes(digest), step)
    places = draws.integers(len(move.scored), size=num)
    shift = log(len(move.scored) / num)
    return replace(move, scored=tuple(move.scored[i] for i in places), shift=shift)


def in_stages(paths: Sequence[Example]) -> tuple[Example, ...]:
    """Return a path for each stage of each path: for the moves, one after another, that have one
    instruction. Those before it are given, so that the likelihood of a path is the product of its
    stages'.

    Raises:
        UserError: an example is no path, or a move has no instruction.
    """
    stages = []
    for path in paths:
        told = [move.instruction for move in path.path]
        if not all(told) or not told:
            raise UserError(
                f"task.stages takes paths whose steps have an instruction, and {_named(path)} is "
                f"none; leave it out"
            )
        begin = 0
        for number, (_, moves) in enumerate(groupby(told)):
            end = begin + len(list(moves))
            given = (replace(move, is_given=True) for move in path.path[:begin])
            stage = (*given, *path.path[begin:end])
            stages.append(path_of(f"{path.example_id}/{number}", stage, path.origin))
            begin = end
    return tuple(stages)


def _named(example: Example) -> str:
    """Return where an example is, for errors."""
    return example.origin or f"example {example.example_id!r}"


def _moves_alone(examples: Sequence[Example]) -> list[Example]:
    """Return each move of paths as an example in free form, once; other examples as they are."""
    found: dict[Demonstration, Example] = {}
    for example in examples:
        for step, move in enumerate(example.path):
            alone = Example(f"{example.example_id}/{step}", move.state, move.answer)
            found.setdefault(Demonstration(move.state, move.answer), alone)
    return [*(e for e in examples if not e.path), *found.values()]


def _check(examples: Sequence[Example], config: TaskConfig) -> None:
    paths = [e for e in examples if e.path]
    if not paths and config.instructions != "off":
        raise UserError(
            f"task.instructions={config.instructions} takes paths, whose lines have 'steps', and "
            "the examples are none; leave it off"
        )
    other = next((e for e in examples if not e.path), None)
    if not paths:
        return
    if other is not None:
        raise UserError(
            f"{_named(paths[0])} is a path and {_named(other)} is not; give each kind a file of "
            "its own"
        )
    asked = ("blank", "steps", "label_words")
    given = [f"task.{key}" for key in asked if getattr(config, key)]
    policies = [policy.slots() for policy in config.starting_policies]
    given += ["a starting policy's steps" for slots in policies if slots["steps"]]
    if given:
        raise UserError(f"{given[0]} does not go with paths, whose moves are scored; leave it out")
