"""Paths: which spans are scored and after what, and what the moves' likelihoods are together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import exp, log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.backends.local import LocalExecutor
from evoprompt.examples import Example, Move
from evoprompt.jobs.evolve.measurement_lines import measurement_line, measurement_of
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.moves import Told, with_moves
from evoprompt.measurement.units import Wanted
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import LabelScores, QueryKind
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.paths import in_stages, path_of
from evoprompt.tasks.render import render_queries

POLICY = Policy("Go.", (Demonstration("at 9", "up"),), Template("", "\n>", "\n"))
SAID = ("get", "use")
PATH = path_of("p", (Move("at 1", "up", "get"), Move("at 2", "down", "use")))


def scored_after(path: Example, *said: str, shift: float = 0.0) -> Example:
    """The path with these instructions at every move, or its own where none is given."""
    moves = (replace(m, scored=said or (m.instruction,), shift=shift) for m in path.path)
    return replace(path, path=tuple(moves))


def scores_of(
    paths: Sequence[Example], values: Mapping[tuple[int, str, str], float]
) -> LabelScores:
    """Scores of queries whose log-likelihood is looked up by move, instruction and action: an
    action is "" where the instruction itself is asked about. Above one half is greedy.
    """
    told = []
    for query in render_queries(POLICY, paths):
        path = next(p for p in paths if p.example_id == query.example_id)
        move = path.path[query.step]
        known = move.scored if query.is_partial else move.sayings
        said = known[query.candidate] if known else ""
        action = (move.action, *move.others)[query.answer] if query.is_partial else ""
        value = values[query.step, said, action]
        told.append(Told(query, len(query.continuation.split()), log(value), value > 0.5))
    shape = (1, len(paths), 1)
    empty = LabelScores(
        policy_ids=(POLICY.policy_id,),
        example_ids=tuple(p.example_id for p in paths),
        gold=np.zeros(len(paths), dtype=np.int64),
        log_likelihood=np.full(shape, -np.inf),
        num_tokens=np.zeros(shape, dtype=np.int64),
        num_bytes=np.zeros(shape, dtype=np.int64),
        is_greedy=np.zeros(shape, dtype=bool),
    )
    return with_moves(empty, told, paths)


def test_the_moves_before_stand_in_the_prompt_and_only_actions_are_scored():
    queries = render_queries(POLICY, [PATH])
    assert {q.kind for q in queries} == {QueryKind.MOVE}
    assert [(q.context, q.continuation) for q in queries] == [
        ("Go.\nat 9\n> up\nat 1\n>", " up"),
        ("Go.\nat 9\n> up\nat 1\n> up\nat 2\n>", " down"),
    ]


def test_an_instruction_is_scored_and_then_the_action_after_it():
    queries = render_queries(POLICY, [scored_after(PATH)])
    before, second = "Go.\nat 9\n> up\n", "at 1\n> get: up\nat 2\n>"
    assert [(q.context, q.continuation) for q in queries] == [
        (f"{before}at 1\n>", " get:"),
        (f"{before}at 1\n> get:", " up"),
        (f"{before}{second}", " use:"),
        (f"{before}{second} use:", " down"),
    ]
    # the expert's own instructions stand in the prompt, whichever are scored
    [*_, last] = render_queries(POLICY, [scored_after(PATH, *SAID)])
    assert last.context == f"{before}{second} use:"


def test_in_a_conversation_moves_are_turns():
    [*_, last] = render_queries(replace(POLICY, chat="turns"), [scored_after(PATH)])
    texts = [turn.content for turn in last.context.turns]
    assert texts == ["Go.", "at 9", "> up", "at 1", "> get: up", "at 2"]
    assert (last.context.begun, last.continuation) == ("> use:", " down")


def test_a_paths_likelihood_is_the_product_of_its_moves():
    plain = scores_of([PATH], {(0, "", "up"): 0.6, (1, "", "down"): 0.25})
    # 0.6 * 0.25 = 0.15
    assert plain.log_likelihood[0, 0, 0] == pytest.approx(log(0.15))
    np.testing.assert_allclose(plain.moves[0, 0], [log(0.6), log(0.25)])
    assert (plain.num_tokens[0, 0, 0], plain.num_bytes[0, 0, 0]) == (2, len(" up down"))
    assert not plain.is_greedy[0, 0, 0]
    both = scores_of([PATH], {(0, "", "up"): 0.6, (1, "", "down"): 0.75})
    assert both.is_greedy[0, 0, 0]


def among(path: Example, *actions: str) -> Example:
    """The path with these actions at every move, of which the expert's is one."""
    moves = (replace(m, others=tuple(a for a in actions if a != m.action)) for m in path.path)
    return replace(path, path=tuple(moves))


def test_an_action_is_likely_among_those_there_are():
    values = {(0, "", "up"): 0.3, (0, "", "down"): 0.1, (1, "", "up"): 0.3, (1, "", "down"): 0.2}
    scores = scores_of([among(PATH, "up", "down")], values)
    # 0.3 / (0.3 + 0.1) = 0.75 and 0.2 / (0.3 + 0.2) = 0.4
    np.testing.assert_allclose(scores.moves[0, 0], [log(0.75), log(0.4)])
    assert scores.num_tokens[0, 0, 0] == 2
    assert not scores.is_greedy[0, 0, 0], "the second action is not the likelier one"
    better = scores_of([among(PATH, "up", "down")], values | {(1, "", "down"): 0.31})
    assert better.is_greedy[0, 0, 0]


def test_actions_among_others_are_weighed_after_each_instruction():
    values = {(0, "get", ""): 0.6, (0, "use", ""): 0.3}
    values |= {(0, "get", "up"): 0.3, (0, "get", "down"): 0.1}
    values |= {(0, "use", "up"): 0.1, (0, "use", "down"): 0.4}
    first = among(replace(PATH, path=PATH.path[:1]), "up", "down")
    # 0.6 * 0.75 + 0.3 * 0.2 = 0.51
    marginal = scores_of([scored_after(first, *SAID)], values)
    assert marginal.log_likelihood[0, 0, 0] == pytest.approx(log(0.51))
    joint = scores_of([scored_after(first)], values)
    assert joint.log_likelihood[0, 0, 0] == pytest.approx(log(0.45))


@given(
    st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4),
    st.lists(st.floats(-5.0, 5.0), min_size=2, max_size=2),
)
def test_a_bonus_by_potential_adds_one_constant_to_all_policies(drawn, potential):
    """F = P(s') - P(s) with P(end) = 0 sums to -P(start) over a path, whatever is likely: a search
    by whole paths ranks as without it.
    """
    policies = [
        {(0, "", "up"): a, (1, "", "down"): b} for a, b in (tuple(drawn[:2]), tuple(drawn[2:]))
    ]
    before, after = potential, [potential[1], 0.0]
    bonus = [end - begin for begin, end in zip(before, after, strict=True)]
    moves = (replace(m, shift=b) for m, b in zip(PATH.path, bonus, strict=True))
    shaped = replace(PATH, path=tuple(moves))
    for values in policies:
        plain = scores_of([PATH], values).log_likelihood[0, 0, 0]
        found = scores_of([shaped], values).log_likelihood[0, 0, 0]
        assert found - plain == pytest.approx(-potential[0], abs=1e-9)


def test_what_is_said_is_no_such_bonus():
    """It depends on the policy, so that another one may be the best."""
    first = replace(PATH, path=PATH.path[:1])
    one = {(0, "", "up"): 0.5, (0, "get", ""): 0.9, (0, "get", "up"): 0.5}
    other = {(0, "", "up"): 0.8, (0, "get", ""): 0.5, (0, "get", "up"): 0.8}
    alone = [scores_of([first], v).log_likelihood[0, 0, 0] for v in (one, other)]
    joint = [scores_of([scored_after(first)], v).log_likelihood[0, 0, 0] for v in (one, other)]
    assert alone == pytest.approx([log(0.5), log(0.8)])
    # 0.9 * 0.5 = 0.45 and 0.5 * 0.8 = 0.4
    assert joint == pytest.approx([log(0.45), log(0.4)])


VALUES = {
    **{(0, "get", ""): 0.6, (0, "use", ""): 0.3, (1, "get", ""): 0.2, (1, "use", ""): 0.7},
    **{(0, "get", "up"): 0.8, (0, "use", "up"): 0.1},
    **{(1, "get", "down"): 0.5, (1, "use", "down"): 0.9},
}


def test_joint_and_marginal_likelihood_are_those_by_hand():
    joint = scores_of([scored_after(PATH)], VALUES)
    # 0.6 * 0.8 = 0.48 and 0.7 * 0.9 = 0.63
    np.testing.assert_allclose(joint.moves[0, 0], [log(0.48), log(0.63)])
    assert (joint.num_tokens[0, 0, 0], joint.num_bytes[0, 0, 0]) == (4, len(" get: up use: down"))
    assert joint.is_greedy[0, 0, 0]
    marginal = scores_of([scored_after(PATH, *SAID)], VALUES)
    # 0.48 + 0.3 * 0.1 = 0.51 and 0.63 + 0.2 * 0.5 = 0.73
    np.testing.assert_allclose(marginal.moves[0, 0], [log(0.51), log(0.73)])
    assert marginal.log_likelihood[0, 0, 0] == pytest.approx(log(0.51 * 0.73))
    assert marginal.num_tokens[0, 0, 0] == 2, "the instructions are no part of what is scored"
    # the model's first choice, get and use, is what the expert says, but no other would do either
    assert marginal.is_greedy[0, 0, 0]
    other = scores_of([scored_after(PATH, "use")], VALUES)
    assert not other.is_greedy[0, 0, 0]


def test_an_instruction_is_likely_among_those_that_may_be_said():
    def offered(path: Example) -> Example:
        return replace(path, path=tuple(replace(m, offered=SAID) for m in path.path))

    first = replace(PATH, path=PATH.path[:1])
    values = VALUES | {(0, "use", "up"): 0.1}
    joint = scores_of([offered(scored_after(first))], values)
    # 0.6 / (0.6 + 0.3) * 0.8
    assert joint.log_likelihood[0, 0, 0] == pytest.approx(log(0.6 / 0.9 * 0.8))
    assert joint.num_tokens[0, 0, 0] == 2
    assert joint.is_greedy[0, 0, 0]
    marginal = scores_of([offered(scored_after(first, *SAID))], values)
    assert marginal.log_likelihood[0, 0, 0] == pytest.approx(log(0.51 / 0.9))
    # the expert says get, whatever is scored: 0.6 / (0.6 + 0.3)
    assert joint.said[0, 0, 0] == marginal.said[0, 0, 0] == pytest.approx(log(0.6 / 0.9))
    # of two draws, both of them use: 2 / 2 * (0.03 + 0.03) / 0.9
    drawn = scores_of([offered(scored_after(first, "use", "use"))], values)
    assert drawn.log_likelihood[0, 0, 0] == pytest.approx(log(0.06 / 0.9))
    assert not drawn.is_greedy[0, 0, 0]
    assert drawn.said[0, 0, 0] == joint.said[0, 0, 0]
    # among all texts only what is drawn is asked, and get is not
    assert scores_of([scored_after(first, "use", "use")], values).said is None


def test_the_only_instruction_that_may_be_said_is_certain():
    """Among one there is no doubt, so such a path is on the scale of those with several."""
    [first, *_] = PATH.path
    only = replace(first, scored=("get",), offered=("get",))
    scores = scores_of([replace(PATH, path=(only,))], {(0, "get", ""): 1e-9, (0, "get", "up"): 0.8})
    assert scores.log_likelihood[0, 0, 0] == pytest.approx(log(0.8))
    assert scores.said[0, 0, 0] == 0.0
    assert scores.is_greedy[0, 0, 0]


def expected_bound(values: Mapping[tuple[int, str, str], float], num: int) -> float:
    """The mean, over all draws of so many instructions of the first move, of its likelihood."""
    first = replace(PATH, path=PATH.path[:1])
    shift = log(len(SAID) / num)
    found = [
        scores_of([scored_after(first, *draw, shift=shift)], values).moves[0, 0, 0]
        for draw in product(SAID, repeat=num)
    ]
    return float(np.mean(found))


def test_the_bound_of_drawn_instructions_rises_to_the_marginal_likelihood():
    # weights n p(g) p(a | g): 2 * 0.48 = 0.96 and 2 * 0.03 = 0.06; of two draws their means
    # 0.96, 0.51, 0.51 and 0.06
    one = (log(0.96) + log(0.06)) / 2
    two = (log(0.96) + 2 * log(0.51) + log(0.06)) / 4
    bounds = [expected_bound(VALUES, num) for num in (1, 2, 3, 4)]
    assert bounds[:2] == pytest.approx([one, two])
    assert bounds == sorted(bounds)
    assert bounds[-1] < log(0.51)


@given(st.lists(st.floats(0.01, 0.5), min_size=4, max_size=4))
def test_more_draws_never_lower_the_bound(drawn):
    first, second, *after = drawn
    values = {(0, "get", ""): first, (0, "use", ""): second}
    values |= {(0, "get", "up"): after[0], (0, "use", "up"): after[1]}
    marginal = log(first * after[0] + second * after[1])
    bounds = [expected_bound(values, num) for num in (1, 2, 3)]
    assert bounds[0] <= bounds[1] + 1e-12
    assert bounds[1] <= bounds[2] + 1e-12
    assert bounds[2] <= marginal + 1e-12
    # the joint likelihood of the one that is said is another, lower one
    assert log(first * after[0]) < marginal


def chain(values: Mapping[tuple[str, str], float], *offered: str) -> dict[tuple[str, ...], float]:
    """The log-likelihood of each path of three moves, each to a or to b, from wherever one is; on
    request among what is offered.
    """
    found = {}
    for actions in product("ab", repeat=3):
        states = ["o", *actions[:-1]]
        moves = (Move(state, action) for state, action in zip(states, actions, strict=True))
        looked = {(i, "", a): values[s, a] for i, s in enumerate(states) for a in "ab"}
        scores = scores_of([among(path_of("".join(actions), moves), *offered)], looked)
        found[actions] = float(scores.log_likelihood[0, 0, 0])
    return found


def test_paths_are_weighted_as_maximum_entropy_has_them():
    """P(path) = exp(sum of r) / Z with r = log p(s' | s): Z by enumeration is that of the
    recursion Z(s) = sum_a exp(r(s, a)) Z(s'), and 1 where the chances at each state sum to 1.
    """
    sure = {("o", "a"): 0.5, ("o", "b"): 0.5, ("a", "a"): 0.9, ("a", "b"): 0.1}
    sure |= {("b", "a"): 0.25, ("b", "b"): 0.75}
    assert sum(map(exp, chain(sure).values())) == pytest.approx(1.0)
    # some of what a model says is no action: half of it at b
    leaky = {**sure, ("b", "a"): 0.125, ("b", "b"): 0.375}
    logs = chain(leaky)
    total = sum(map(exp, logs.values()))
    after = {"a": 1.0, "b": 1.0}
    for _ in range(2):
        after = {s: sum(leaky[s, a] * after[a] for a in "ab") for s in "ab"}
    assert total == pytest.approx(sum(leaky["o", a] * after[a] for a in "ab"))
    # among what can be done nothing is lost, and the weight is the likelihood again
    assert sum(map(exp, chain(leaky, "a", "b").values())) == pytest.approx(1.0)
    # first to a, then 0.9 + 0.1 of which half is lost after b; first to b, half of which is lost,
    # then 0.125 + 0.375 of which half is lost again
    assert total == pytest.approx(0.5 * (0.9 + 0.1 * 0.5) + 0.5 * (0.125 + 0.375 * 0.5))


@pytest.fixture(scope="module")
def measurer(tiny_model: Path) -> Measurer:
    executor = LocalExecutor(Scorer(TransformersLM(tiny_model, threads=1), chunk_tokens=48))
    return Measurer(Tokenizer(tiny_model), executor, Wanted())


def measured(measurer: Measurer, *paths: Example) -> LabelScores:
    found = measurer.measure([POLICY], paths, lambda _: None, Ledger().timed)
    return found[POLICY.policy_id][0]


def test_a_models_moves_are_those_of_the_text_and_the_path_is_their_sum(measurer: Measurer):
    import torch

    long = path_of("q", (*PATH.path, Move("at 3", "up", "get")))
    scores = measured(measurer, PATH, scored_after(long))
    for place, path in enumerate([PATH, scored_after(long)]):
        values = np.zeros(len(path.path))
        for query in render_queries(POLICY, [path]):
            texts = [query.context, query.context + query.continuation]
            [before, whole] = measurer.tokenizer.encode(texts)
            with torch.no_grad():
                network = measurer.executor._scorer.model.network
                logs = network(torch.tensor([whole])).logits[0].log_softmax(-1)
            values[query.step] += sum(
                float(logs[i - 1, whole[i]]) for i in range(len(before), len(whole))
            )
        got = scores.moves[0, place]
        np.testing.assert_allclose(got[: len(values)], values, atol=1e-4)
        assert np.isnan(got[len(values) :]).all()
        assert scores.log_likelihood[0, place, 0] == pytest.approx(values.sum(), abs=1e-4)


def test_actions_of_which_one_begins_another_are_scored_with_their_ends(measurer: Measurer):
    path = among(path_of("p", (Move("at 1", "go"),)), "go", "go on", "stay")
    [unit] = measurer.prepare([POLICY], [path])
    ended = {a.query.continuation for a in unit.asked if a.query.is_ended}
    assert ended == {" go", " go on", " stay"}
    [plain] = measurer.prepare([POLICY], [among(PATH, "up", "down")])
    assert not any(a.query.is_ended for a in plain.asked)


def test_a_path_is_the_product_of_its_stages(measurer: Measurer):
    """Each stage is scored after the moves before it, and costs nothing that the path did not."""
    whole = scored_after(path_of("q", (*PATH.path, Move("at 3", "up", "use"))), *SAID)
    stages = in_stages([whole])
    assert [(e.example_id, e.target) for e in stages] == [("q/0", "up"), ("q/1", "down\nup")]
    one, parts = measured(measurer, whole), measured(measurer, *stages)
    assert parts.log_likelihood.sum() == pytest.approx(one.log_likelihood.sum(), abs=1e-6)
    assert parts.num_tokens.sum() == one.num_tokens.sum()
    rows = [row[~np.isnan(row)] for row in parts.moves[0]]
    np.testing.assert_allclose(np.concatenate(rows), one.moves[0, 0], atol=1e-6)
    assert measurer.weigh(POLICY, stages).rows == measurer.weigh(POLICY, [whole]).rows


def test_moves_are_joined_kept_and_read_again(measurer: Measurer):
    long = path_of("q", (*PATH.path, Move("at 3", "up", "get")))
    short, more = measured(measurer, PATH), measured(measurer, long)
    both = short.joined(more)
    assert both.moves.shape == (1, 2, 3)
    np.testing.assert_array_equal(both.first(1).moves[:, :, :2], short.moves)
    again = measurement_of(json.loads(json.dumps(measurement_line(both))))
    np.testing.assert_array_equal(again.moves, both.moves)
    told = measured(measurer, scored_after(PATH))
    kept = measurement_of(json.loads(json.dumps(measurement_line(told.joined(told)))))
    np.testing.assert_array_equal(kept.said[:, :1], told.said)
    assert short.said is None
    plain = measured(measurer, Example("e", "at 1", "up"))
    assert plain.moves is None
    assert "moves" not in measurement_line(plain)


def test_steps_of_one_path_share_their_beginnings(measurer: Measurer):
    """A path costs about what its last prompt has, and not the sum of all prompts."""
    far = path_of("far", (Move(f"at {i}", "up", "get") for i in range(12)))
    weight = measurer.weigh(POLICY, [far])
    # every action is a row of its own where the next prompt goes on with other tokens
    assert weight.rows <= weight.longest + 2 * len(far.path)
    assert weight.logical > 4 * weight.rows
