"""What policies write as answers: kept with its grades, never more than was forecast, the same in
any company.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from evoprompt.backends.local import LocalExecutor
from evoprompt.config.metric import MetricConfig
from evoprompt.config.sections import ModelConfig
from evoprompt.errors import UserError
from evoprompt.fitness.grading import Grader
from evoprompt.measurement.answers import Answering
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.units import Wanted
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example, LabelScores, TokenCount
from evoprompt.scoring.load import load_scorer
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.tasks.judge import DEFAULT_EVALUATOR

EXAMPLES = [Example(f"e{i}", f"{i} and {i + 1}", str(2 * i + 1)) for i in range(5)]
PLAIN = Policy("Add.", template=Template("", "\nSum:"))
SHOWN = replace(PLAIN, demonstrations=(Demonstration("1 and 1", "2"),))
STEPS = replace(SHOWN, steps=("First:", "Then:"))


@pytest.fixture(scope="module")
def executor(long_model: Path) -> Iterator[LocalExecutor]:
    found = LocalExecutor(load_scorer(ModelConfig(name=str(long_model)), 1))
    yield found
    found.close()


def measurer(
    executor: LocalExecutor, long_model: Path, *, likelihood: bool = False, **metric: object
) -> Measurer:
    tokenizer = Tokenizer(long_model)
    config = MetricConfig(**{"name": "number", "max_tokens": 5, **metric})
    answering = Answering(
        Grader(config), DEFAULT_EVALUATOR, config.max_tokens, config.temperature, seed=3
    )
    wanted = Wanted(answers=answering, likelihood=likelihood)
    return Measurer(tokenizer, executor, wanted, writer=Writer(tokenizer, executor))


def measured(found: Measurer, *policies: Policy) -> dict[str, tuple[LabelScores, TokenCount]]:
    return found.measure(policies, EXAMPLES, lambda _: None, lambda _: nullcontext())


@pytest.mark.parametrize("name", ["number", "judge"])
@pytest.mark.parametrize("likelihood", [False, True])
def test_nothing_takes_more_than_was_forecast(
    executor: LocalExecutor, long_model: Path, name: str, likelihood: bool
):
    found = measurer(executor, long_model, name=name, likelihood=likelihood)
    for policy in (PLAIN, SHOWN, STEPS):
        [(scores, count)] = measured(found, policy).values()
        most = found.weigh(policy, EXAMPLES)
        assert 0.5 * most.rows < count.floor_body_tokens <= most.rows
        assert 0.5 * most.logical < count.logical_tokens <= most.logical
        assert scores.is_scored == likelihood
        assert scores.written is not None


def test_a_policy_writes_the_same_in_any_company(executor: LocalExecutor, long_model: Path):
    found = measurer(executor, long_model, temperature=0.8)
    together = measured(found, PLAIN, SHOWN)
    for policy in (PLAIN, SHOWN):
        [(alone, count)] = measured(found, policy).values()
        scores, charged = together[policy.policy_id]
        assert scores.written.tolist() == alone.written.tolist()
        assert charged.floor_body_tokens == count.floor_body_tokens
    assert len(set(alone.written[0])) > 1


def test_likelihoods_are_those_of_a_measurement_without_writing(
    executor: LocalExecutor, long_model: Path
):
    found = measurer(executor, long_model, likelihood=True)
    plain = Measurer(found.tokenizer, executor)
    [(both, _)] = measured(found, SHOWN).values()
    [(alone, _)] = measured(plain, SHOWN).values()
    assert both.log_likelihood.tolist() == alone.log_likelihood.tolist()
    assert alone.written is None


def test_what_is_judged_or_chosen_is_scored_and_not_written(
    executor: LocalExecutor, long_model: Path
):
    found = measurer(executor, long_model)
    asked = [replace(e, choices=(e.target, "0")) for e in EXAMPLES]
    [(scores, _)] = found.measure([PLAIN], asked, lambda _: None, lambda _: nullcontext()).values()
    assert scores.written is None
    assert scores.is_scored


def test_an_answer_that_may_leave_the_window_is_refused_before(
    executor: LocalExecutor, long_model: Path
):
    found = measurer(executor, long_model, max_tokens=4090)
    with pytest.raises(UserError, match="longer than the model's window of 4096"):
        found.weigh(PLAIN, EXAMPLES)
    assert not found.fits(PLAIN, EXAMPLES)
