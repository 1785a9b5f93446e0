"""How far a model follows its context: the error rate in contexts of labelled pairs that are all right, or all wrong.

    labelled questions --fill, spoil--> context --answer the test examples--> error rate by impurity --fit--> floor and ceiling

Labels only measure here: no pair of these contexts gets into the loop.
"""

from __future__ import annotations

import numpy as np

from evoprompt.build import BoostParts
from evoprompt.dynamics.imitation import ImitationFit, fit_imitation
from evoprompt.evolution.self_evaluation import Judged, choose, in_context
from evoprompt.records import Example
from evoprompt.runtime.asker import Asker, is_right
from evoprompt.seeding import Stream, generator


def measure_imitation(parts: BoostParts, asker: Asker) -> ImitationFit | None:
    """Return the floor and ceiling from so many contexts of each kind as `loop.measure_imitation` says; None if it says 0.

    Raises:
        UserError: a prompt does not fit the model.
    """
    num_draws, seed = parts.config.loop.measure_imitation, parts.config.seed
    if not num_draws or parts.task is None:
        return None
    impurities = [0.0] * num_draws + [1.0] * num_draws
    rates = []
    for place, impurity in enumerate(impurities):
        shown = labelled_context(parts, impurity, generator(seed, Stream.IMITATION, place))
        rates.append(error_rate_in(parts, asker, shown))
    return fit_imitation(impurities, rates, [len(parts.task.test)] * len(rates))


def error_rate_in(parts: BoostParts, asker: Asker, context: tuple[Judged, ...]) -> float:
    """Return the error rate on the test examples with these pairs in the context."""
    assert parts.task is not None
    answers = asker.answers(in_context(parts.policy, context), parts.task.test, "measuring")
    return float(np.mean([not is_right(a.text, e.target) for a, e in zip(answers, parts.task.test, strict=True)]))


def labelled_context(parts: BoostParts, impurity: float, rng: np.random.Generator) -> tuple[Judged, ...]:
    """Return a context as the loop would show it, of questions with their right answers but for this share of them, which have a wrong one."""
    known = labelled(parts.questions)
    drawn = [known[i] for i in rng.permutation(len(known))]
    right = [Judged(0, e.example_id, e.input, e.target, 1.0, float(rng.random())) for e in drawn]
    loop = parts.config.loop
    shown = choose(right, loop.choose, loop.context_pairs, loop.context_tokens, parts.pair_tokens, rng)
    wrong = set(rng.permutation(len(shown))[: round(impurity * len(shown))].tolist())
    return tuple(_spoilt(j, parts.question(j), known, rng) if i in wrong else j for i, j in enumerate(shown))


def labelled(questions: tuple[Example, ...]) -> list[Example]:
    """Return the questions whose right answer is known."""
    return [e for e in questions if e.target]


def _spoilt(judged: Judged, question: Example, known: list[Example], rng: np.random.Generator) -> Judged:
    """Return the pair with another of its choices as the answer; without choices with another question's answer."""
    offered = question.candidates if question.choices is not None else [e.target for e in known]
    others = [c for c in offered if not is_right(c, question.target)]
    return Judged(0, judged.question_id, judged.input, str(rng.choice(others)), 1.0, 0.0) if others else judged
