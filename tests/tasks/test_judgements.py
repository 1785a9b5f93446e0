"""The judging task: each example once with its right answer and once with a wrong one."""

from __future__ import annotations

from evoprompt.config.task import TaskConfig
from evoprompt.policy import Policy
from evoprompt.records import Example
from evoprompt.tasks.judge import (
    DEFAULT_EVALUATOR,
    FALSE,
    STARTING_EVALUATORS,
    TRUE,
    judge_task,
    judged_input,
    judgement,
    judgements,
)
from evoprompt.tasks.load import load_task
from evoprompt.tasks.render import render_prompt

CHOICES = ("red", "green", "blue")


def test_a_judgement_is_true_for_the_right_answer_only():
    example = Example("e1", "The sky is", "blue", CHOICES)
    right, wrong = judgement(example, "blue"), judgement(example, "red")
    assert (right.target, wrong.target) == (TRUE, FALSE)
    assert right.choices == (TRUE, FALSE)
    assert right.input == "The sky is\nProposed answer: blue"
    assert right.example_id != wrong.example_id


def test_half_of_all_judgements_are_true_and_the_wrong_answers_are_spread_over_the_choices():
    examples = [Example(f"e{i}", f"thing {i}", CHOICES[i % 3], CHOICES) for i in range(300)]
    pairs = judgements(examples)
    assert [e.target for e in pairs] == [TRUE, FALSE] * 300
    wrong = [e.input.rsplit(": ", 1)[1] for e in pairs[1::2]]
    assert all(w != e.target for w, e in zip(wrong, examples, strict=True))
    # Each choice is the wrong answer 100 times in the mean with a standard deviation of sqrt(200 /
    # 4) = 7.1; four of them either way.
    assert all(72 <= wrong.count(c) <= 128 for c in CHOICES)
    assert judgements(examples[5:6]) == pairs[10:12]  # what is wrong follows from the example alone


def test_without_choices_the_wrong_answer_is_the_next_target_that_differs():
    examples = [Example("a", "1+1", "2"), Example("b", "2+0", "2"), Example("c", "1+2", "3")]
    assert [e.input for e in judgements(examples)[1::2]] == [
        judged_input("1+1", "3"),
        judged_input("2+0", "3"),
        judged_input("1+2", "2"),
    ]
    assert judgements(examples[:2]) == ()


def test_every_task_has_its_judging_task_with_the_same_splits():
    task = load_task(
        TaskConfig(name="inbox", fitness_examples=6, validation_examples=4, test_examples=5)
    )
    judging = judge_task(task)
    assert [len(split) for split in (judging.fitness, judging.validation, judging.test)] == [
        12,
        8,
        10,
    ]
    assert judging.choices == (TRUE, FALSE)
    assert len(judging.demonstrations) == 2 * len(task.demonstrations) == len(judging.pool)
    texts = [
        {e.input.split("\nProposed")[0] for e in split}
        for split in (judging.fitness, judging.validation, judging.test, judging.pool)
    ]
    assert sum(map(len, texts)) == len(set.union(*texts))


def test_starting_evaluators_are_policies_of_the_judging_task():
    assert DEFAULT_EVALUATOR in STARTING_EVALUATORS
    assert len(set(STARTING_EVALUATORS)) == len(STARTING_EVALUATORS)
    prompt = render_prompt(DEFAULT_EVALUATOR, judged_input("The sky is", "blue"))
    assert prompt.startswith("Judge the proposed answer.")
    assert prompt.endswith("TRUE or FALSE?")
    assert Policy(evaluator=DEFAULT_EVALUATOR).to_dict()["evaluator"] == DEFAULT_EVALUATOR.to_dict()
