"""The frozen records that travel between the parts; nothing else does.

    State --ask--> Matings --vary--> Brood --render--> Queries --score--> LabelScores --interpret-->
    Evaluations --tell--> State

Array axes are always in the order (policy, example, candidate).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprompt.authors import Author, Reader, TextWriter
from evoprompt.conversation import Prompt
from evoprompt.examples import Example as Example
from evoprompt.examples import Move as Move
from evoprompt.policy import Chat, Demonstration, Policy, Template

SURVIVE = "survive"  #: the operator of a birth that is its own parent carried over
FOUND = "found"  #: the operator of a birth without parents
CLONE = "clone"  #: the operator of a birth that is its parent again, since no operator made a child
MIGRATE = "migrate"  #: the operator of a birth that is its own parent on another island
RESTART = "restart"  #: the operator of a birth without parents, of a policy that was scored before

#: Fitness and traits are rounded to this many digits before anything compares them, so that the
#: last bits of a score, which depend on the shape of a forward pass, do not decide who survives.
FITNESS_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Grade:
    """What a metric gives a written answer."""

    value: float  #: how right it is; by the package's metrics from 0 to 1
    feedback: str = ""  #: what a metric of the user's own says of it


#: Grades from which on an answer counts as right.
RIGHT = 0.5


class QueryKind(StrEnum):
    """What a query measures."""

    CANDIDATE = "candidate"  #: the continuation under the prompt with the example's input
    PRIOR = "prior"  #: the same continuation under the prompt with a content-free input
    PROMPT = "prompt"  #: the prompt itself with a content-free input, all tokens but the first
    #: a token by which an answer in free form ends, right after the answer
    END = "end"
    VERDICT = "verdict"  #: a verdict on an answer to the example, under the self-evaluation clause
    #: of a path: the instruction or, `is_partial`, the action of a move
    MOVE = "move"


@dataclass(frozen=True, slots=True)
class Query:
    """One likelihood to measure: log p(continuation | context)."""

    policy_id: str
    example_id: str  #: empty where it is of no example, as the prompt's own is
    candidate: int  #: which of the continuations that are compared it is, from 0
    kind: QueryKind
    context: Prompt
    continuation: str
    #: which answer a verdict is on, or which action of a move it is: 0 the right one
    answer: int = 0
    end: str = "\n"  #: what ends the continuation, where that has to be scored too
    is_ended: bool = False  #: whether the end is scored with it
    is_only: bool = False  #: whether nothing is compared with it: a whole answer in free form
    #: whether the candidate stands in the context, and what follows it is scored
    is_partial: bool = False
    step: int = 0  #: the place of a move in its path; its `candidate` is that of the instruction


@dataclass(frozen=True, slots=True)
class LabelScores:
    """What was measured, and all that was measured. Everything that interprets it is a pure
    function of it, `calibrated` too.

    An absent candidate (an example with fewer choices than the widest) has `num_tokens` 0 and
    log-likelihood -inf.
    """

    policy_ids: tuple[str, ...]
    example_ids: tuple[str, ...]
    gold: NDArray[np.int64]  #: index of the right candidate, shape (example,)
    #: nats, summed over the continuation, shape (policy, example, candidate)
    log_likelihood: NDArray[np.float64]
    num_tokens: NDArray[np.int64]  #: of the continuation, shape (policy, example, candidate)
    #: of the continuation in UTF-8, shape (policy, example, candidate)
    num_bytes: NDArray[np.int64]
    #: every token of the continuation is the model's first choice, and in free form one that ends
    #: it is so after it
    is_greedy: NDArray[np.bool_]
    #: log-likelihood after a content-free input, same shape; for PMI only
    prior: NDArray[np.float64] | None = None
    #: nats per token of the prompt itself, shape (policy,); where it was asked for
    prompt_cross_entropy: NDArray[np.float64] | None = None
    #: log-likelihood that the policy's evaluator gives to each verdict on each answer, where it was
    #: asked for: shape (policy, example, answer, verdict), with the right answer before a wrong one
    #: and TRUE before FALSE
    verdict: NDArray[np.float64] | None = None
    #: log-probability that each of the run's feature words follows the prompt, nats, shape (policy,
    #: example, word); where it was asked for
    features: NDArray[np.float64] | None = None
    #: what the model writes as an answer, texts, shape (policy, example); where it was asked for,
    #: and then with what the run's metric gives it and says of it, same shape
    written: NDArray[np.object_] | None = None
    grade: NDArray[np.float64] | None = None
    feedback: NDArray[np.object_] | None = None
    #: log-likelihood of each of the expert's moves, nats, shape (policy, example, move), nan after
    #: the last; where examples are paths. They sum to that of the path
    moves: NDArray[np.float64] | None = None
    #: log-probability that what the expert is about to do is said, at each of these moves, nats,
    #: same shape; where instructions are scored
    said: NDArray[np.float64] | None = None
    #: log-probability of each choice among the choices, freed of the policy's own favour for some
    #: of them, nats, shape (policy, example, candidate): not measured but fitted, by `calibration`
    calibrated: NDArray[np.float64] | None = None

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which candidates exist, shape (policy, example, candidate)."""
        return self.num_tokens > 0

    @property
    def is_scored(self) -> bool:
        """Whether likelihoods were measured; where answers were only written, they are -inf."""
        return bool(np.isfinite(self.of_gold(self.log_likelihood)).any())

    def of_gold(self, values: NDArray[Any]) -> NDArray[Any]:
        """Pick the right candidate's entry of an array of this shape; shape (policy, example)."""
        return np.take_along_axis(values, self.gold[None, :, None], axis=2)[:, :, 0]

    def first(self, num: int) -> LabelScores:
        """Return what was measured on the first `num` examples, uncalibrated where there are
        more: what was fitted on others is not theirs.
        """
        if num >= len(self.example_ids):
            return self
        parts: dict[str, Any] = {"example_ids": self.example_ids[:num], "gold": self.gold[:num]}
        parts["calibrated"] = None
        for name in BY_EXAMPLE:
            values = getattr(self, name)
            parts[name] = None if values is None else values[:, :num]
        return replace(self, **parts)

    def at(self, places: Sequence[int] | NDArray[np.int64]) -> LabelScores:
        """Return what was measured on the examples in these places, uncalibrated."""
        rows = np.array(places, dtype=np.int64)
        parts: dict[str, Any] = {
            name: None if (values := getattr(self, name)) is None else values[:, rows]
            for name in BY_EXAMPLE
        }
        ids = tuple(self.example_ids[i] for i in rows.tolist())
        return replace(self, example_ids=ids, gold=self.gold[rows], calibrated=None, **parts)

    def joined(self, more: LabelScores) -> LabelScores:
        """Return these scores and, after them, those of the same policies on more examples,
        uncalibrated.
        """
        joined: dict[str, Any] = {}
        for name, empty in BY_EXAMPLE.items():
            both = [getattr(self, name), getattr(more, name)]
            known = [v for v in both if v is not None]
            if name in WIDENED:
                width = max((v.shape[2] for v in known), default=0)
                known = [_widened(v, width, empty) for v in known]
            joined[name] = np.concatenate(known, axis=1) if len(known) == 2 else None
        return replace(
            self,
            example_ids=self.example_ids + more.example_ids,
            gold=np.concatenate([self.gold, more.gold]),
            calibrated=None,
            **joined,
        )


#: The fields of `LabelScores` of shape (policy, example, ...), each with what stands where there is
#: no candidate.
BY_EXAMPLE: Mapping[str, float] = {
    "log_likelihood": -np.inf,
    "num_tokens": 0,
    "num_bytes": 0,
    "is_greedy": False,
    "prior": -np.inf,
    "verdict": np.nan,
    "features": np.nan,
    "written": 0,
    "grade": np.nan,
    "feedback": 0,
    "moves": np.nan,
    "said": np.nan,
}

#: Those of them that have an entry for each candidate or move, of which examples differ in number.
WIDENED = ("log_likelihood", "num_tokens", "num_bytes", "is_greedy", "prior", "moves", "said")


def _widened(values: NDArray[Any], width: int, empty: float) -> NDArray[Any]:
    """Return an array with as many candidates or moves as others have."""
    room = ((0, 0), (0, 0), (0, width - values.shape[2]))
    return np.pad(values, room, constant_values=empty)


@dataclass(frozen=True, slots=True)
class Mating:
    """Parents chosen to have a child by an operator: indices into the population, as many as the
    operator takes.
    """

    parents: tuple[int, ...]
    operator: str


@dataclass(frozen=True, slots=True)
class Birth:
    """A policy entering a generation. Parents are births of the generation before; `shares` sum to
    1, or there are none.
    """

    birth_id: str
    policy: Policy
    parent_ids: tuple[str, ...]
    shares: tuple[float, ...]
    operator: str
    #: every operator that made the policy, in order, as "operator:way" where it has several ways;
    #: `operator` is the first. Empty where that says all
    edits: tuple[str, ...] = ()
    island: int = 0  #: on which it lives; that of its brood where there is one alone
    #: by which operators its own children are made, as shares that sum to 1; empty: as given
    rates: tuple[tuple[str, float], ...] = ()
    founded: int = 0  #: the generation in which the earliest of its founders was born

    def again(self, operator: str) -> Birth:
        """Return the birth, yet unnamed, of the same policy with this one as its parent."""
        found = Birth("", self.policy, (self.birth_id,), (1.0,), operator, rates=self.rates)
        return replace(found, founded=self.founded)


@dataclass(frozen=True, slots=True)
class Brood:
    """All births of one generation, survivors included; on one island, or on all of them."""

    generation: int
    island: int
    births: tuple[Birth, ...]


@dataclass(frozen=True, slots=True)
class Rung:
    """What one policy was worth on the first so many of the fitness examples, rounded alike."""

    examples: int
    traits: Mapping[str, float]  #: includes `fitness`


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one policy is worth on the fitness examples that it was measured on last. All numbers
    are rounded to `FITNESS_DIGITS`.
    """

    fitness: float
    case_fitness: tuple[float, ...]  #: by example, in the run's order
    traits: Mapping[str, float]  #: includes `fitness`
    examples: int = 0  #: how many it was measured on last: the first ones; 0: not known
    #: each number of examples of its generation that it was measured on, ascending, the last as
    #: `traits`; empty where the generation has only one
    rungs: tuple[Rung, ...] = ()
    #: by example, in the run's order: what selection adds times a weight; empty where nothing is
    case_bonus: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A birth together with its evaluation."""

    birth: Birth
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class LineageEntry:
    """A member's line in the lineage: what it was, and whether it was selected. Births that are not
    selected are kept too.
    """

    generation: int
    island: int
    member: Member
    selected: bool
    #: of being selected, given all births; None where it was not worked out
    survival_probability: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """The population after a generation's survival. It is the checkpoint: no generator, no model,
    no open file.
    """

    seed: int
    generation: int
    members: tuple[Member, ...]
    island: int = 0


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Work done by the model. `floor_*` is what a forward of every distinct prefix once would need,
    without store and memo.
    """

    body_tokens: int = 0
    floor_body_tokens: int = 0
    head_rows: int = 0
    floor_head_rows: int = 0
    forwards: int = 0
    requests: int = 0
    stored_tokens: int = 0  #: taken from the prefix store instead of being forwarded
    memo_requests: int = 0  #: answered from the memo
    halvings: int = 0  #: times that memory did not suffice and the passes were made half as long
    generated_tokens: int = 0  #: written by the model, one forward each; the stop token not counted
    #: what nothing shared would take: each prompt with all its candidates, or with what is written
    logical_tokens: int = 0

    def __add__(self, other: TokenCount) -> TokenCount:
        return TokenCount(*(getattr(self, f) + getattr(other, f) for f in self.__slots__))


@dataclass(frozen=True, slots=True)
class Tried:
    """A policy that was scored."""

    policy: Policy
    score: int  #: how good it is, from 0 to 100


@dataclass(frozen=True, slots=True)
class Mistake:
    """An example that a policy answers wrong."""

    policy_id: str
    input: str
    target: str
    answer: str  #: the choice that it takes instead, or what it writes
    feedback: str = ""  #: what a metric says of it


@dataclass(frozen=True, slots=True)
class Credit:
    """What demonstrations were worth in the policies that were scored so far."""

    #: by how much fitter a policy is that shows it, units of fitness; without those never shown
    gains: Mapping[Demonstration, float]
    #: the share of the variance of fitness that they explain beyond all else, in policies left out;
    #: may be negative
    r_squared: float


@dataclass(frozen=True, slots=True)
class Materials:
    """What operators draw from. Pools are tuples: their order is part of the task, not of the
    machine.
    """

    phrases: tuple[str, ...] = ()
    demonstrations: tuple[Demonstration, ...] = ()
    templates: tuple[Template, ...] = ()
    label_words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    max_demonstrations: int = 8
    steps: tuple[str, ...] = ()
    #: of the judging task, for edits of the self-evaluation clause; None: there is none to edit
    evaluator: Materials | None = None
    author: Author | None = None  #: writes demonstrations; None where nobody does
    #: every different set of choices that an example offers
    choices: tuple[tuple[str, ...], ...] = ()
    credit: Credit | None = None  #: of demonstrations; None where nobody asked for it
    #: words that may stand for one another in instructions, in small letters; none in two groups
    synonyms: tuple[tuple[str, ...], ...] = ()
    reader: Reader | None = None  #: proposes words; None where nobody does
    writer: TextWriter | None = None  #: writes instructions; None where nobody does
    #: what the run has scored so far, no two with one instruction, the best first
    history: tuple[Tried, ...] = ()
    mistakes: tuple[Mistake, ...] = ()  #: of the population, each policy's from its worst on
    chats: tuple[Chat, ...] = ()  #: what a policy's `chat` may be; none where it is to stay
