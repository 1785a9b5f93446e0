"""What the finalists answered on the validation and the test examples (`predictions.jsonl`), and
what is read off that: which answers changed, what is taken for what. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from evoprompt.choices import Comparison, correct, has_choices, predicted
from evoprompt.records import Example, LabelScores

#: The file's name.
PREDICTIONS = "predictions.jsonl"

Split = Literal["validation", "test"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One policy's answer to one example."""

    split: Split
    example_id: str
    input: str
    target: str
    choices: tuple[str, ...] | None  #: None where answers are free text
    policy_id: str
    #: the choice that it takes, or what it writes; None in free text that was not written, and
    #: where it has none
    answer: str | None
    is_right: bool
    #: nats of each choice, or of the target alone; None where the example does not fit the prompt,
    #: or it was not scored
    log_likelihood: tuple[float, ...] | None
    #: what choices were compared by, after calibration; None where there are no choices
    compared: tuple[float, ...] | None
    grade: float | None = None  #: what the metric gives a written answer; None where none is
    feedback: str = ""  #: what the metric says of it
    moves: tuple[float, ...] | None = None  #: nats of each move of a path; None of what is none

    @property
    def fits(self) -> bool:
        """Whether the example fits the prompt."""
        return self.log_likelihood is not None or self.answer is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the line of the file, without what there is of written answers, or of paths,
        alone where it is none.
        """
        graded = () if self.grade is not None else ("grade", "feedback")
        absent = graded if self.moves is not None else (*graded, "moves")
        return {name: v for name, v in asdict(self).items() if name not in absent}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the prediction of a line."""
        found: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in values.items()
        }
        return cls(**found)


def predictions_of(
    split: Split,
    examples: Sequence[Example],
    policy_ids: Iterable[str],
    scores: Mapping[str, LabelScores],
    comparison: Comparison,
) -> Iterator[Prediction]:
    """Yield what each policy answers to each example, policy by policy.

    Args:
        split: that the examples are of.
        examples: in the order of the task.
        policy_ids: of those who were asked.
        scores: by policy id, calibrated as they were compared; an example without a score has no
            answer, and counts as wrong.
        comparison: how an answer is found among choices.
    """
    for policy_id in policy_ids:
        found = scores.get(policy_id)
        told = {} if found is None else dict(_answers(found, comparison))
        moves = {} if found is None else _moves(found)
        for example in examples:
            said = Prediction(
                split,
                example.example_id,
                example.input,
                example.target,
                example.choices,
                policy_id,
                *_told(example, told.get(example.example_id)),
            )
            yield replace(said, moves=moves.get(example.example_id))


@dataclass(frozen=True, slots=True)
class _Answer:
    """What scores say of one example."""

    choice: int | None  #: None where there are no choices
    is_right: bool
    log_likelihood: np.ndarray
    compared: np.ndarray
    written: tuple[str, float, str] | None = None  #: with its grade, and what is said of it


def _answers(scores: LabelScores, comparison: Comparison) -> Iterator[tuple[str, _Answer]]:
    """Yield the answer to each example of one policy's scores, by example id."""
    chosen, offered = predicted(scores, comparison)[0], has_choices(scores)
    right, values = correct(scores, comparison)[0], comparison.values(scores)[0]
    for n, example_id in enumerate(scores.example_ids):
        choice = int(chosen[n]) if offered else None
        nats = scores.log_likelihood[0, n]
        yield example_id, _Answer(choice, bool(right[n]), nats, values[n], _written(scores, n))


def _moves(scores: LabelScores) -> dict[str, tuple[float, ...]]:
    """Return the log-likelihood of each move of each path, by example id; none where there are
    none.
    """
    if scores.moves is None:
        return {}
    rows = zip(scores.example_ids, scores.moves[0], strict=True)
    return {example_id: _numbers(row[~np.isnan(row)]) for example_id, row in rows}


def _written(scores: LabelScores, n: int) -> tuple[str, float, str] | None:
    if scores.written is None or scores.grade is None or scores.feedback is None:
        return None
    return scores.written[0, n], float(scores.grade[0, n]), scores.feedback[0, n]


def _told(example: Example, found: _Answer | None) -> tuple[Any, ...]:
    """Return the answer in words, whether it is right, the log-likelihoods, what was compared, and
    of a written answer its grade and what is said of it.
    """
    if found is None:
        return None, False, None, None
    nats = _numbers(found.log_likelihood[: len(example.candidates)])
    if found.written is not None:
        text, grade, feedback = found.written
        scored = nats if np.isfinite(nats).all() else None
        return text, found.is_right, scored, None, grade, feedback
    if found.choice is None:
        return None, found.is_right, nats, None
    compared = _numbers(found.compared[: len(example.candidates)])
    return example.candidates[found.choice], found.is_right, nats, compared


def _numbers(values: np.ndarray) -> tuple[float, ...]:
    return tuple(values.tolist())


@dataclass(frozen=True, slots=True)
class Change:
    """An example of the test that one of two policies answers right, and the other does not."""

    before: Prediction
    after: Prediction

    @property
    def is_mended(self) -> bool:
        """Whether the second policy is the one that answers it right."""
        return self.after.is_right


def changes(rows: Sequence[Prediction], first: str, last: str) -> list[Change]:
    """Return the test examples on which two policies differ in being right, those that the second
    answers right before the others.
    """
    before = {r.example_id: r for r in rows if r.split == "test" and r.policy_id == first}
    after = [r for r in rows if r.split == "test" and r.policy_id == last]
    pairs = [Change(before[r.example_id], r) for r in after if r.example_id in before]
    found = [p for p in pairs if p.before.is_right != p.after.is_right]
    return sorted(found, key=lambda change: not change.is_mended)


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each label's examples got each answer."""

    labels: tuple[str, ...]  #: in the order of the choices
    counts: Mapping[tuple[str, str | None], int]  #: by target and answer; None is no answer

    def of(self, target: str) -> int:
        """Return how many examples have this label."""
        return sum(n for (label, _), n in self.counts.items() if label == target)

    def right(self, target: str) -> int:
        """Return how many of them were answered right."""
        return self.counts.get((target, target), 0)


def confusion(rows: Iterable[Prediction], policy_id: str) -> Confusion | None:
    """Return what a policy took for what on the test; None where answers are free text, or the
    examples offer different choices.
    """
    own = [r for r in rows if r.split == "test" and r.policy_id == policy_id]
    offered = {r.choices for r in own}
    if len(offered) != 1 or (choices := offered.pop()) is None:
        return None
    return Confusion(choices, Counter((r.target, r.answer) for r in own))
