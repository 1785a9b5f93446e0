"""Self-evaluation as a part of the fitness: what evaluators say is measured once, counts everywhere
alike, and evolves.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evoprompt.backends.local import LocalExecutor
from evoprompt.config.sections import FitnessConfig
from evoprompt.errors import UserError
from evoprompt.fitness.base import Fitness
from evoprompt.fitness.catalog import fitness_of
from evoprompt.fitness.self_evaluation import verdict_log_likelihood
from evoprompt.fitness.traits import case_traits, evaluate
from evoprompt.jobs.evolve.build import build
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.measurement_lines import measurement_line
from evoprompt.jobs.evolve.page import history_of
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.units import Wanted
from evoprompt.policy import Policy, Template
from evoprompt.records import Example, LabelScores, QueryKind, TokenCount
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.judge import DEFAULT_EVALUATOR, FALSE, TRUE, judgements, verdict_queries
from evoprompt.tasks.render import render_prompt

pytestmark = pytest.mark.usefixtures("no_pages")

EXAMPLES = (
    Example("a", "fine film", "good", ("bad", "good")),
    Example("b", "poor", "bad", ("bad", "good")),
)
EVALUATOR = Policy(
    "True?", template=Template("", "\nSo:", "\n"), label_words=((TRUE, "yes"), (FALSE, "no"))
)


def fitness(kind: str, self_evaluation: float) -> Fitness:
    return fitness_of(FitnessConfig(kind=kind, self_evaluation=self_evaluation), has_choices=True)


def judged_scores(right: tuple[float, float], wrong: tuple[float, float]) -> LabelScores:
    """One example with two choices of log-likelihood log 0.5 and log 0.25, the first right;
    p(TRUE), p(FALSE) of the right and the wrong answer.
    """
    ones = np.ones((1, 1, 2), dtype=np.int64)
    return LabelScores(
        (Policy().policy_id,),
        ("a",),
        np.array([0]),
        np.log([[[0.5, 0.25]]]),
        ones,
        ones,
        ones > 0,
        verdict=np.log([[[right, wrong]]]),
    )


def test_the_verdicts_part_of_the_fitness_worked_by_hand():
    # Right answer: TRUE 0.6 to FALSE 0.2, so 3/4 of both; wrong answer: FALSE 0.1 to TRUE 0.3, so
    # 1/4. The answers: 0.5 of 0.75.
    scores = judged_scores((0.6, 0.2), (0.3, 0.1))
    v = (np.log(0.75) + np.log(0.25)) / 2
    assert verdict_log_likelihood(scores) == pytest.approx(v)
    assert fitness("label_normalized", 0.5).cases(scores) == pytest.approx(np.log(2 / 3) + 0.5 * v)
    assert fitness("label_normalized", 0).cases(scores) == pytest.approx(np.log(2 / 3))
    evaluation = evaluate(Policy(), scores, fitness("sum", 2.0), 0)
    assert evaluation.fitness == pytest.approx(np.log(0.5) + 2 * v, abs=1e-6)
    # It accepts both answers: the right one rightly, the wrong one wrongly.
    assert (evaluation.traits["sensitivity"], evaluation.traits["specificity"]) == (1, 0)
    assert evaluation.traits["verdict_log_likelihood"] == pytest.approx(v, abs=1e-6)


def test_an_evaluator_that_always_says_the_same_is_at_chance_at_best():
    # p = sigmoid(d) for both answers: (log p + log(1 - p)) / 2 is at most log 1/2, by the
    # inequality of the means.
    for p in (0.1, 0.5, 0.9):
        assert (
            verdict_log_likelihood(judged_scores((p, 1 - p), (p, 1 - p)))[0, 0]
            <= np.log(0.5) + 1e-12
        )
    assert verdict_log_likelihood(judged_scores((0.7, 0.3), (0.3, 0.7)))[0, 0] > np.log(0.5)


def test_extreme_verdicts_stay_finite():
    scores = replace(
        judged_scores((0.5, 0.5), (0.5, 0.5)),
        verdict=np.array([[[[-1000.0, 0.0], [0.0, -1000.0]]]]),
    )
    assert verdict_log_likelihood(scores).tolist() == [[-1000.0]]


def test_the_traits_of_verdicts_are_traits_by_example():
    scores = judged_scores((0.6, 0.2), (0.1, 0.3))
    assert {
        name: values.tolist()
        for name, values in case_traits(scores).items()
        if name in ("sensitivity", "specificity")
    } == {
        "sensitivity": [[1.0]],
        "specificity": [[1.0]],
    }
    assert "sensitivity" not in case_traits(replace(scores, verdict=None))


def test_a_weight_without_verdicts_is_refused():
    with pytest.raises(ValueError, match="were not measured"):
        fitness("sum", 1.0).cases(replace(judged_scores((0.5, 0.5), (0.5, 0.5)), verdict=None))


def test_each_example_is_asked_about_with_its_right_and_a_wrong_answer():
    queries = verdict_queries(EVALUATOR, EXAMPLES)
    assert {q.kind for q in queries} == {QueryKind.VERDICT}
    assert [(q.example_id, q.answer, q.candidate, q.continuation) for q in queries] == [
        *(("a", 0, 0, " yes"), ("a", 0, 1, " no"), ("a", 1, 0, " yes"), ("a", 1, 1, " no")),
        *(("b", 0, 0, " yes"), ("b", 0, 1, " no"), ("b", 1, 0, " yes"), ("b", 1, 1, " no")),
    ]
    assert queries[2].context == "True?\nfine film\nProposed answer: bad\nSo:"
    with pytest.raises(ValueError, match="no wrong answer"):
        verdict_queries(EVALUATOR, [Example("c", "x", "y")])


@pytest.fixture(scope="module")
def scorer(tiny_model: Path) -> Scorer:
    return Scorer(TransformersLM(tiny_model, threads=1), chunk_tokens=64)


@pytest.fixture
def measurer(scorer: Scorer, tiny_model: Path) -> Measurer:
    return Measurer(Tokenizer(tiny_model), LocalExecutor(scorer), Wanted(verdicts=True))


def measure(measurer: Measurer, *policies: Policy):
    return measurer.measure(policies, EXAMPLES, lambda _: None, Ledger().timed)


def test_measured_verdicts_are_the_likelihoods_of_the_rendered_text(measurer: Measurer):
    import torch

    policy = Policy("Sort.", evaluator=EVALUATOR)
    scores, _ = measure(measurer, policy)[policy.policy_id]
    for place, judged in enumerate(judgements(EXAMPLES)):
        for v, word in enumerate(("yes", "no")):
            context, whole = measurer.tokenizer.encode(
                [p := render_prompt(EVALUATOR, judged.input), f"{p} {word}"]
            )
            with torch.no_grad():
                rows = (
                    measurer.executor._scorer.model.network(torch.tensor([whole]))
                    .logits[0]
                    .float()
                    .log_softmax(-1)
                )
            expected = sum(float(rows[i - 1, whole[i]]) for i in range(len(context), len(whole)))
            assert scores.verdict[0, place // 2, place % 2, v] == pytest.approx(expected, abs=1e-4)


def test_without_self_evaluation_nothing_more_is_measured(scorer: Scorer, measurer: Measurer):
    plain = Measurer(measurer.tokenizer, measurer.executor)
    policy = Policy("Sort.", evaluator=EVALUATOR)
    (scores, count), (judged, more) = (
        measure(plain, policy)[policy.policy_id],
        measure(measurer, policy)[policy.policy_id],
    )
    assert scores.verdict is None
    assert scores.log_likelihood.tolist() == judged.log_likelihood.tolist()
    assert count.requests == 4
    assert more.requests == 4 + 8


def test_an_evaluator_is_asked_once_and_costs_the_first_policy_that_has_it(measurer: Measurer):
    first, second, third, own = (
        Policy("One."),
        Policy("Two."),
        Policy("Three."),
        Policy("One.", evaluator=EVALUATOR),
    )
    assert measurer.forecast([first, second], EXAMPLES) > measurer.forecast([first], EXAMPLES)
    both = measurer.forecast([first, second], EXAMPLES)
    told: list[TokenCount] = []
    measured = measurer.measure([first, second], EXAMPLES, told.append, Ledger().timed)
    assert [measured[p.policy_id][1].requests for p in (first, second)] == [12, 4]
    assert [c.requests for c in told] == [12, 4]
    assert sum(count.floor_body_tokens for _, count in measured.values()) == both
    assert (
        measured[first.policy_id][0].verdict.tolist()
        == measured[second.policy_id][0].verdict.tolist()
    )
    assert measure(measurer, third)[third.policy_id][1].requests == 4
    assert measure(measurer, own)[own.policy_id][1].requests == 12
    assert (
        measurer.measure([own], EXAMPLES[:1], told.append, Ledger().timed)[own.policy_id][
            1
        ].requests
        == 2 + 4
    )  # other examples


def test_verdicts_of_an_earlier_part_of_the_run_are_not_asked_for_again(
    measurer: Measurer, scorer: Scorer
):
    policy, other = Policy("One.", evaluator=EVALUATOR), Policy("Two.", evaluator=EVALUATOR)
    scores, _ = measure(measurer, policy)[policy.policy_id]
    later = Measurer(measurer.tokenizer, measurer.executor, Wanted(verdicts=True))
    later.recall_verdicts(policy, scores)
    again, count = measure(later, other)[other.policy_id]
    assert count.requests == 4
    assert again.verdict.tolist() == scores.verdict.tolist()


def test_an_evaluator_longer_than_the_window_is_named_and_never_fits(measurer: Measurer):
    policy = Policy(evaluator=replace(EVALUATOR, instruction="x" * 230))
    with pytest.raises(
        UserError,
        match=rf"the evaluator of policy {policy.policy_id} makes a prompt of 2\d\d tokens",
    ):
        measure(measurer, policy)
    assert not measurer.fits(policy, EXAMPLES)
    assert measurer.fits(Policy(evaluator=EVALUATOR), EXAMPLES)


def test_verdicts_survive_the_run_folder(measurer: Measurer, tmp_path: Path):
    policy = Policy("One.")
    scores, _ = measure(measurer, policy)[policy.policy_id]
    folder = EvolveFolder(tmp_path)
    folder.write_lines("measurements.jsonl", [measurement_line(scores)])
    assert folder.measurements()[policy.policy_id].verdict.tolist() == scores.verdict.tolist()


JUDGING = [
    "fitness.self_evaluation=0.5",
    "evolution.operators={evaluator_change: 6}",
    "evolution.generations=3",
]


def test_a_runs_fitness_counts_verdicts_everywhere_alike(config_file: Path, tmp_path: Path):
    summary = start(load_config(config_file, JUDGING), tmp_path / "run")
    folder = EvolveFolder.open(tmp_path / "run")
    births = folder.lines("lineage.jsonl")
    assert any("evaluator" in b["policy"] for b in births if b["operator"] == "evaluator_change")
    measured = folder.measurements()
    for birth in births:
        cases = fitness("label_normalized", 0.5).cases(measured[birth["policy_id"]])
        assert birth["fitness"] == pytest.approx(cases.mean(), abs=1e-6)
        assert birth["traits"]["verdict_log_likelihood"] == pytest.approx(
            verdict_log_likelihood(measured[birth["policy_id"]]).mean(), abs=1e-6
        )
    # The page makes the dynamics from the folder alone: the same standard errors as the run had,
    # but for rounding of the fitness.
    lines = [line.account for line in folder.generations()]
    for again, line in zip(
        history_of(folder, fitness("label_normalized", 0.5)).lines[1:], lines[1:], strict=True
    ):
        for trait in ("fitness", "sensitivity", "verdict_log_likelihood"):
            errors = again.price[trait].standard_error
            assert errors == pytest.approx(line.price[trait].standard_error, abs=1e-5), trait
    assert summary["champion"]["validation_fitness"] < 0


@pytest.mark.slow
def test_a_run_that_is_resumed_spends_and_finds_the_same(config_file: Path, tmp_path: Path):
    """The verdicts of the first part are read back; else an evaluator would be charged again, and a
    budget would end the run earlier.
    """
    results = []
    for name in ("whole", "parted"):
        short = ["evolution.generations=1"] if name == "parted" else []
        start(load_config(config_file, [*JUDGING, *short]), tmp_path / name)
        if short:
            (tmp_path / name / "summary.json").unlink()
            resume(tmp_path / name, ["evolution.generations=3"])
        checkpoint = json.loads((tmp_path / name / "checkpoint.json").read_text())
        results.append(
            (
                (tmp_path / name / "lineage.jsonl").read_bytes(),
                checkpoint["ledger"]["tokens"]["search"]["floor_body_tokens"],
            )
        )
    assert results[0] == results[1]


def test_self_evaluation_that_cannot_be_measured_is_refused_before_the_run(
    config_file: Path, tmp_path: Path
):
    same = tmp_path / "same.jsonl"
    same.write_text(
        "".join(json.dumps({"input": f"say {i}", "target": "yes"}) + "\n" for i in range(80))
    )
    for overrides, message in [
        (
            [f"task={{path: {same}}}", "fitness.self_evaluation=1"],
            "all fitness examples of task 'same' have the same answer",
        ),
        (
            ["task.judge=true", "task.label_words={}", "fitness.self_evaluation=1"],
            "with task.judge the policies are evaluators",
        ),
        (["fitness.self_evaluation=-1"], "greater than or equal to 0"),
    ]:
        with pytest.raises(UserError, match=message):
            build(load_config(config_file, overrides), tmp_path)


def test_the_packages_own_clause_is_what_a_policy_without_one_is_judged_by(measurer: Measurer):
    bare, named = Policy("One."), Policy("One.", evaluator=DEFAULT_EVALUATOR)
    measured = measure(measurer, bare, named)
    assert (
        measured[bare.policy_id][0].verdict.tolist()
        == measured[named.policy_id][0].verdict.tolist()
    )
