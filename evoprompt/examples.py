"""What a task asks: examples, and the moves of those that are paths."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a path: a state, and what the expert does there.

    Without `scored`, the likelihood of a move is log p(a | s) with s the state and what came
    before, a the action; where there are others, among them all. With it, it is

        shift + log sum_g p(g | s) p(a | s, g)

    over the instructions g that are scored: of the expert's own alone that is the joint likelihood
    of instruction and action, of all that may be said the marginal one of the action, and of drawn
    ones an importance-weighted estimate of it.
    """

    state: str
    action: str
    instruction: str = ""  #: what the expert is about to do, in words; empty where it is not said
    scored: tuple[str, ...] = ()  #: instructions that the action is scored after
    others: tuple[str, ...] = ()  #: all else that can be done there; empty where that is not said
    shift: float = 0.0  #: nats; log(n / k) of k instructions that were drawn from n
    #: all that may be said: then p(g | s) is that among these; empty: among all texts
    offered: tuple[str, ...] = ()
    is_given: bool = False  #: whether it only stands before those after it, and is not scored
    #: whether the policy writes what is said: then the action is scored after that, and saying it
    #: counts as sure; until it is written, the instruction is the expert's
    is_written: bool = False

    @property
    def answer(self) -> str:
        """What stands after the state where the move is shown."""
        return f"{said(self.instruction)} {self.action}" if self.scored else self.action

    @property
    def sayings(self) -> tuple[str, ...]:
        """The instructions whose likelihood is needed."""
        return () if self.is_written else self.offered or self.scored

    @property
    def is_joint(self) -> bool:
        """Whether the instruction is scored as part of what the expert does."""
        return self.scored == (self.instruction,) and not self.shift and not self.is_written


def said(instruction: str) -> str:
    """Return an instruction as it stands before an action: with what ends it, so that of no two
    the one begins the other.
    """
    return f"{instruction}:"


@dataclass(frozen=True, slots=True)
class Example:
    """One item of a task. Without `choices` the answer is free text and `target` is scored
    alone.
    """

    example_id: str
    input: str
    target: str
    choices: tuple[str, ...] | None = None
    #: where it stands, as "file:line", for sentences alone; empty where it stands in no file
    origin: str = field(default="", compare=False, repr=False)
    also: tuple[str, ...] = ()  #: further right answers, that metrics of written answers take too
    #: of one without choices: whether the right answer need not end where the target does
    may_go_on: bool = False
    rest: str = ""  #: what follows the choice: then this is scored, after the prompt with a choice
    #: of a path: then the expert's moves are scored; `input` is the first state and `target` the
    #: actions, a line each
    path: tuple[Move, ...] = ()

    @property
    def candidates(self) -> tuple[str, ...]:
        """The continuations that are scored: all choices, or the target alone."""
        return self.choices if self.choices is not None else (self.target,)

    @property
    def gold(self) -> int:
        """The index of the target among the candidates."""
        return self.candidates.index(self.target)

    @property
    def golds(self) -> tuple[str, ...]:
        """Every right answer."""
        return (self.target, *self.also)
