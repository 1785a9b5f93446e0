"""The judging task: is a proposed answer to an input right? Self-evaluation clauses are its
policies, and evolve on it like any others.

Each example of a task becomes two: its input with the right answer, which is TRUE, and with a wrong
one, which is FALSE. So half of every split is TRUE, and the mean log-likelihood of the right
verdicts weighs sensitivity and specificity alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from evoprompt.errors import UserError
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example, Query, QueryKind
from evoprompt.tasks.base import Task
from evoprompt.tasks.render import render_queries

TRUE, FALSE = VERDICTS = ("TRUE", "FALSE")

QUESTION = "\nIs the proposed answer right, TRUE or FALSE?"

#: The clause of a policy that has none of its own.
DEFAULT_EVALUATOR = Policy("Judge the proposed answer.", template=Template("", QUESTION))

STARTING_EVALUATORS = (
    DEFAULT_EVALUATOR,
    Policy("", template=Template("", QUESTION)),
    Policy(
        "Say TRUE if the proposed answer is right and FALSE if it is wrong.",
        template=Template("", "\nVerdict:"),
    ),
    Policy(
        "",
        template=Template("", "\nThe proposed answer is"),
        label_words=((TRUE, "right"), (FALSE, "wrong")),
    ),
)

PHRASES = (
    "Judge the proposed answer.",
    "Say TRUE if the proposed answer is right and FALSE if it is wrong.",
    "Many proposed answers are wrong.",
    "Compare the answer with the text.",
    "Does the answer fit?",
    "A teacher marks the answers of a pupil.",
)

TEMPLATES = (
    Template("", QUESTION),
    Template("", "\nVerdict:"),
    Template("", "\nThe proposed answer is"),
    Template("Text: ", "\nCorrect?"),
    Template("", "\nRight or wrong?"),
    Template("", "\nIs this correct?"),
)

LABEL_WORDS = {
    TRUE: (TRUE, "True", "true", "yes", "Yes", "right", "correct", "good"),
    FALSE: (FALSE, "False", "false", "no", "No", "wrong", "incorrect", "bad"),
}


def judged_input(text: str, answer: str) -> str:
    """Return an input of the judging task."""
    return f"{text}\nProposed answer: {answer}"


def judgement(example: Example, answer: str) -> Example:
    """Return the example of the judging task that asks for the verdict on an answer; its id tells
    the answer.
    """
    verdict = TRUE if answer == example.target else FALSE
    return Example(
        f"{example.example_id}/{answer}",
        judged_input(example.input, answer),
        verdict,
        VERDICTS,
        example.origin,
    )


def judgements(examples: Sequence[Example]) -> tuple[Example, ...]:
    """Return both judgements of each example: the right answer, then a wrong one.

    The wrong one is a choice that follows from the hash of the input, the same in every run;
    without choices it is the nearest following target that differs. An example for which there is
    none is left out.
    """
    return tuple(judged for pair in _pairs(examples) if pair is not None for judged in pair)


def own_judgements(examples: Sequence[Example], answers: Mapping[str, str]) -> tuple[Example, ...]:
    """Return the judgements of what a model answered itself, by input: its wrong answers and as
    many of its right ones, in turn; an example without an answer is left out.
    """
    judged = [judgement(e, answers[e.input]) for e in examples if e.input in answers]
    right, wrong = ([j for j in judged if j.target == verdict] for verdict in VERDICTS)
    return tuple(j for pair in zip(right, wrong, strict=False) for j in pair)


def evaluator_of(policy: Policy) -> Policy:
    """Return what judges a policy's answers: its own clause, or the package's, rendered as the
    policy is.
    """
    return policy.evaluator or replace(DEFAULT_EVALUATOR, chat=policy.chat)


def mistake_in_words(policy: Policy, offers: Iterable[Sequence[str]]) -> str | None:
    """Return what is wrong with the words of a policy, or of its evaluator, a clause; None where no
    two choices that are compared share a word and none is blank.

    Args:
        policy: any.
        offers: the different sets of choices that examples have.
    """
    found = next(filter(None, map(policy.mistake_in_words, offers)), None)
    if found is None and policy.evaluator is not None:
        judged = policy.evaluator.mistake_in_words(VERDICTS)
        found = judged and f"in its evaluator {judged}"
    return found


def verdict_queries(evaluator: Policy, examples: Sequence[Example]) -> tuple[Query, ...]:
    """Return the queries for an evaluator's verdicts on the right and on a wrong answer to each
    example. `example_id` is that of the example, `answer` 0 or 1, and `candidate` the verdict's
    place in `VERDICTS`.

    Raises:
        ValueError: an example has no wrong answer.
    """
    queries: list[Query] = []
    for example, pair in zip(examples, _pairs(examples), strict=True):
        if pair is None:
            raise ValueError(f"example '{example.example_id}' has no wrong answer to judge")
        queries += [
            replace(query, kind=QueryKind.VERDICT, example_id=example.example_id, answer=answer)
            for answer, judged in enumerate(pair)
            for query in render_queries(evaluator, [judged])
        ]
    return tuple(queries)


def judge_task(task: Task, answers: Mapping[str, str] | None = None) -> Task:
    """Return the judging task of a task: the same splits, twice as many examples in each; with a
    model's own answers by input those of `own_judgements`.
    """

    def judged(examples: Sequence[Example]) -> tuple[Example, ...]:
        return judgements(examples) if answers is None else own_judgements(examples, answers)

    pool = judged(task.pool)
    return Task(
        name=f"{task.name}-judge",
        demonstrations=tuple(Demonstration(e.input, e.target) for e in pool),
        pool=pool,
        fitness=judged(task.fitness),
        validation=judged(task.validation),
        test=judged(task.test),
        starting_policies=STARTING_EVALUATORS,
        phrases=PHRASES,
        templates=TEMPLATES,
        label_words=LABEL_WORDS,
    )


def check_judgements(task: Task) -> None:
    """Find out whether every example that is measured has a wrong answer.

    Raises:
        UserError: it has none, since it has no choices and all examples of its split have one
            answer.
    """
    for name, split in (
        ("fitness", task.fitness),
        ("validation", task.validation),
        ("test", task.test),
    ):
        if len(judgements(split)) < 2 * len(split):
            raise UserError(
                f"to judge answers takes a wrong one beside each right one, and all {name} "
                f"examples of task '{task.name}' have the same answer; "
                "give examples with choices or with different targets, or leave "
                "fitness.self_evaluation and task.judge out"
            )


def _pairs(examples: Sequence[Example]) -> list[tuple[Example, Example] | None]:
    """Return the judgements of the right and of a wrong answer to each example, or None where there
    is no wrong one.
    """
    pairs: list[tuple[Example, Example] | None] = []
    for index, example in enumerate(examples):
        others = [e.target for e in (*examples[index + 1 :], *examples[:index])]
        wrong = _wrong_answer(example, others)
        pairs.append(
            (judgement(example, example.target), judgement(example, wrong))
            if wrong is not None
            else None
        )
    return pairs


def _wrong_answer(example: Example, others: Sequence[str]) -> str | None:
    wrong = (
        [c for c in example.choices if c != example.target]
        if example.choices
        else [t for t in others if t != example.target][:1]
    )
    if not wrong:
        return None
    digest = hashlib.blake2b(example.input.encode(), digest_size=8, person=b"judge").digest()
    return wrong[int.from_bytes(digest, "big") % len(wrong)]
