"""Instructions that a policy writes itself before each action of a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toys.instant import ByteTokenizer

from evoprompt.backends.local import LocalExecutor
from evoprompt.examples import Example, Move
from evoprompt.measurement.instructing import are_written, instructed_by
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.writer import Writer, Written
from evoprompt.policy import Policy, Template
from evoprompt.records import TokenCount
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.paths import path_of
from evoprompt.tasks.render import render_queries

POLICY = Policy("Act.", template=Template("", "\n>"))
LONG = path_of(
    "a", [Move("here", "up", "get", ("get", "use"), ("down",), 0.5), Move("there", "down", "use")]
)
SHORT = path_of("b", [Move("far", "up", "get", ("get", "use"))])


class Scripted:
    """Writes what a test says, and keeps what it was asked."""

    tokenizer = ByteTokenizer()

    def __init__(self, *texts: str) -> None:
        self.texts, self.asked = list(texts), []

    def write(self, prompts: Sequence[str], *, max_tokens: int, stops: Sequence[str]):
        self.asked.append(list(prompts))
        assert ":" in stops
        return [Written(self.texts.pop(0), -1.0, 1, TokenCount()) for _ in prompts]


def test_an_action_is_scored_after_what_was_written_and_so_are_those_after_it():
    writer = Scripted(" find it", " wait", " go on")
    (first, second), _ = instructed_by(POLICY, [LONG, SHORT], writer)  # type: ignore[arg-type]
    assert [move.instruction for move in first.path] == ["find it", "go on"]
    assert second.path[0].scored == second.path[0].offered == ("wait",)
    assert first.path[0].shift == 0
    assert first.path[0].others == ("down",)
    # all first moves at once, then those that are left, after what was written and the expert's act
    assert [len(prompts) for prompts in writer.asked] == [2, 1]
    assert writer.asked[1][0].endswith("here\n> find it: up\n\nthere\n>")
    assert "get" not in writer.asked[1][0]
    # saying it counts as sure, and is not asked
    assert all(q.is_partial for q in render_queries(POLICY, [first]))
    queries = [q for q in render_queries(POLICY, [first]) if q.step == 1]
    assert queries[0].context.endswith("there\n> go on:")
    assert queries[0].continuation == " down"


def test_where_nothing_is_written_the_action_is_scored_as_without():
    [told], _ = instructed_by(POLICY, [SHORT], Scripted("  "))  # type: ignore[arg-type]
    assert told.path[0].scored == ()
    assert told.path[0].answer == "up"


def written(path: Example) -> Example:
    moves = (replace(m, scored=(m.instruction,), offered=(), is_written=True) for m in path.path)
    return replace(path, path=tuple(moves))


def test_moves_that_are_given_keep_the_experts_instruction():
    given = replace(LONG, path=(replace(LONG.path[0], is_given=True), LONG.path[1]))
    [told], count = instructed_by(POLICY, [written(given)], Scripted(" go on"))  # type: ignore[arg-type]
    assert [move.instruction for move in told.path] == ["get", "go on"]
    # of characters, each a token, and all different beginnings
    assert count.floor_body_tokens == len("Act.\n\nhere\n> get: up\n\nthere\n>")
    assert not are_written([told])


@pytest.fixture(scope="module")
def measurer(tiny_model: Path) -> Measurer:
    tokenizer = Tokenizer(tiny_model)
    executor = LocalExecutor(Scorer(TransformersLM(tiny_model)))
    return Measurer(tokenizer, executor, writer=Writer(tokenizer, executor))


def test_a_measurers_scores_are_those_of_the_paths_that_each_policy_instructed(measurer: Measurer):
    paths = [written(LONG), written(SHORT)]
    policies = [POLICY, Policy("Do it.", template=Template("", "\n>"))]
    heard: list[TokenCount] = []
    found = measurer.measure(policies, paths, heard.append, Ledger().timed)
    for policy, told in zip(policies, heard, strict=True):
        scores, count = found[policy.policy_id]
        own, wrote = instructed_by(policy, paths, Writer(measurer.tokenizer, measurer.executor))
        again = measurer.measure([policy], own, lambda _: None, Ledger().timed)
        np.testing.assert_array_equal(scores.moves, again[policy.policy_id][0].moves)
        assert scores.said is None
        assert told == count
        assert count.generated_tokens == wrote.generated_tokens > 0
        weight = measurer.weigh(policy, paths)
        assert count.floor_body_tokens + count.generated_tokens <= weight.rows
        assert count.logical_tokens <= weight.logical


def test_without_a_writer_instructions_are_not_written(measurer: Measurer):
    silent = Measurer(measurer.tokenizer, measurer.executor)
    with pytest.raises(ValueError, match="give the Measurer a writer"):
        silent.measure([POLICY], [written(SHORT)], lambda _: None, Ledger().timed)
