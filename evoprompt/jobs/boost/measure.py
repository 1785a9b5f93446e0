"""What labels tell of a loop: how the test examples go in a context, and how far the model follows
contexts that are all right or all wrong.

    labelled questions --fill, spoil--> context --answer the test examples--> error rate by impurity
    --fit--> floor and ceiling

Labels only measure here: no pair of these contexts gets into the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from evoprompt.errors import UserError
from evoprompt.jobs.boost.build import BoostParts
from evoprompt.jobs.boost.record import Outcomes
from evoprompt.jobs.boost.state import Judged, choose, in_context
from evoprompt.measurement.asker import Asker, is_right
from evoprompt.records import Example
from evoprompt.recurrence.imitation import ImitationFit, fit_imitation
from evoprompt.seeding import Stream, generator
from evoprompt.tasks.base import Task


def measure_imitation(
    parts: BoostParts, asker: Asker, is_wide: Callable[[ImitationFit], bool]
) -> ImitationFit | None:
    """Return the floor and ceiling from `parts.num_contexts` contexts of each kind, and from as
    many more where that is wide and the number was not given; None of none.

    Raises:
        UserError: a prompt does not fit the model, or as `labelled_context`.
    """
    num_draws, seed = parts.num_contexts, parts.config.seed
    if not num_draws or parts.task is None:
        return None
    fit: ImitationFit | None = None
    impurities: list[float] = []
    rates: list[float] = []
    while fit is None or (len(rates) < parts.most_contexts and is_wide(fit)):
        for impurity in [0.0] * num_draws + [1.0] * num_draws:
            rng = generator(seed, Stream.IMITATION, len(rates))
            shown = labelled_context(parts, impurity, rng)
            impurities.append(impurity)
            rates.append(float(np.mean(~outcomes(parts, asker, parts.task, shown).right)))
        fit = fit_imitation(impurities, rates, [len(parts.task.test)] * len(rates))
        assert fit is not None, "there are contexts of both kinds"
    return fit


def outcomes(parts: BoostParts, asker: Asker, task: Task, context: Sequence[Judged]) -> Outcomes:
    """Return how the policy does on the task's test examples with these pairs in its context."""
    answers = asker.answers(in_context(parts.policy, context), task.test, "measuring")
    right = [bool(is_right(a.text, e.target)) for a, e in zip(answers, task.test, strict=True)]
    return Outcomes(np.array(right), np.array([a.probability for a in answers]))


def own_answers(parts: BoostParts, asker: Asker) -> list[dict[str, object]]:
    """Return the policy's answer without context to every example of the task, as
    `task.own_answers` reads them.
    """
    assert parts.task is not None
    examples = [e for split in parts.task.splits.values() for e in split]
    answers = asker.answers(parts.policy, examples, "measuring")
    return [
        {"input": e.input, "answer": a.text, "is_right": bool(is_right(a.text, e.target))}
        for e, a in zip(examples, answers, strict=True)
    ]


def labelled_context(
    parts: BoostParts, impurity: float, rng: np.random.Generator
) -> tuple[Judged, ...]:
    """Return a context as the loop would show it, of questions with their right answers but for
    this share of them, which have a wrong one.

    Raises:
        UserError: there is no wrong answer to a question.
    """
    known = [e for e in parts.questions if e.target]
    drawn = [known[i] for i in rng.permutation(len(known))]
    right = [Judged(0, e.example_id, e.input, e.target, 1.0, float(rng.random())) for e in drawn]
    loop = parts.config.loop
    shown = choose(
        right, loop.choose, loop.context_pairs, loop.context_tokens, parts.pair_tokens, rng
    )
    wrong = set(rng.permutation(len(shown))[: round(impurity * len(shown))].tolist())
    return tuple(
        _spoilt(j, parts.question(j), known, rng) if i in wrong else j for i, j in enumerate(shown)
    )


def _spoilt(
    judged: Judged, question: Example, known: list[Example], rng: np.random.Generator
) -> Judged:
    """Return the pair with another of its choices as the answer; without choices with another
    question's answer.
    """
    offered = question.candidates if question.choices is not None else [e.target for e in known]
    others = [c for c in offered if not is_right(c, question.target)]
    if not others:
        raise UserError(
            f"loop.measure_imitation shows wrong answers, and question {question.example_id} has "
            f"none: '{question.target}' is all there is"
        )
    return replace(judged, answer=str(rng.choice(others)))
