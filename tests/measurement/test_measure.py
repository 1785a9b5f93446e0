"""Measuring, the run folder and the ledger."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from evoprompt.backends.local import LocalExecutor
from evoprompt.backends.placement import place
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.dynamics.account import FitnessAccount, GenerationAccount
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.folder import (
    LINEAGE,
    MEASUREMENTS,
    EvolveFolder,
    lineage_line,
)
from evoprompt.jobs.evolve.measurement_lines import measurement_line
from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.requests import tokenize
from evoprompt.measurement.units import Wanted
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import (
    Birth,
    Evaluation,
    Example,
    LabelScores,
    LineageEntry,
    Member,
    Rung,
    State,
    TokenCount,
)
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.prefix_store import PrefixStore
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.render import render_prompt, render_queries

EXAMPLES = (
    Example("a", "fine film", "good", ("bad", "good", "so so")),
    Example("b", "poor", "bad", ("bad", "good")),
)


@pytest.fixture(scope="module")
def measurer(tiny_model: Path) -> Measurer:
    executor = LocalExecutor(
        Scorer(TransformersLM(tiny_model, threads=1), chunk_tokens=48, store=PrefixStore(2**20))
    )
    return Measurer(Tokenizer(tiny_model), executor, Wanted(prior=True))


def measure(measurer: Measurer, policies: list[Policy]):
    return measurer.measure(policies, EXAMPLES, lambda _: None, Ledger().timed)


def test_measured_likelihoods_are_those_of_the_rendered_text(measurer: Measurer):
    import torch

    policy = Policy(
        "Sort.", (Demonstration("lovely", "good"),), Template("T: ", "\nL:"), (("good", "great"),)
    )
    scores, count = measure(measurer, [policy])[policy.policy_id]
    model = measurer.executor._scorer.model
    for e, example in enumerate(EXAMPLES):
        for c, candidate in enumerate(example.candidates):
            [context, whole] = measurer.tokenizer.encode(
                [
                    render_prompt(policy, example.input),
                    f"{render_prompt(policy, example.input)} {policy.word(candidate)}",
                ]
            )
            with torch.no_grad():
                log_probs = model.network(torch.tensor([whole])).logits[0].log_softmax(-1)
            expected = sum(
                float(log_probs[i - 1, whole[i]]) for i in range(len(context), len(whole))
            )
            assert scores.log_likelihood[0, e, c] == pytest.approx(expected, abs=1e-4)
            assert scores.num_tokens[0, e, c] == len(whole) - len(context)
            assert scores.num_bytes[0, e, c] == len(" " + policy.word(candidate))
    assert scores.log_likelihood[0, 1, 2] == -np.inf
    assert scores.present.tolist() == [[[True, True, True], [True, True, False]]]
    assert scores.prior is not None
    assert np.isfinite(scores.prior[scores.present]).all()
    assert count.body_tokens == count.floor_body_tokens


def test_a_policy_scores_the_same_alone_and_among_others(measurer: Measurer):
    policies = [
        Policy("Sort."),
        Policy("Sort it."),
        Policy(demonstrations=(Demonstration("x", "bad"),)),
    ]
    together = measure(measurer, policies)
    for policy in policies:
        alone, _ = measure(measurer, [policy])[policy.policy_id]
        assert (
            alone.log_likelihood.tolist() == together[policy.policy_id][0].log_likelihood.tolist()
        ), "not equal to the bit"


def test_a_prompt_longer_than_the_window_names_the_policy_before_anything_is_scored(
    measurer: Measurer,
):
    policy = Policy("word " * 100)
    with pytest.raises(
        UserError,
        match=rf"policy {policy.policy_id} makes a prompt of 5\d\d tokens, longer than the "
        rf"model's window of 256",
    ):
        measure(measurer, [policy])


def test_a_boundary_inside_a_token_is_refused_and_both_sides_are_shown():
    class Merging:
        """A tokenizer that joins ': a' into one token."""

        begin_token = 0

        def encode(self, texts, *, add_special_tokens=True):
            return [tuple(ord(c) for c in t.replace(": a", "\u1234")) for t in texts]

    policy = Policy(template=Template("T: ", "\nL:"))
    with pytest.raises(UserError, match=r"not a prefix.*\[58\].*\[4660") as caught:
        tokenize(Merging(), render_queries(policy, [Example("e", "x", "a")]))
    assert "output_prefix" in str(caught.value)


def sample_entries() -> tuple[State, tuple[LineageEntry, ...], LabelScores]:
    policy = Policy("é", (Demonstration("x", "bad"),))
    member = Member(
        Birth("0.0.0", policy, (), (), "found"),
        Evaluation(-0.1, (-0.1, 1 / 3), {"fitness": -0.1, "z": 1 / 3}, 2),
    )
    child = Member(
        Birth("1.0.0", Policy("b"), ("0.0.0",), (1.0,), "edit"),
        Evaluation(
            -0.2,
            (-0.3, -0.1),
            {"fitness": -0.2, "z": 0.1},
            2,
            (Rung(1, {"fitness": -0.3, "z": 0.0}), Rung(2, {"fitness": -0.2, "z": 0.1})),
        ),
    )
    scores = LabelScores(
        (policy.policy_id,),
        ("a", "b"),
        np.array([0, 1]),
        np.array([[[-1 / 3, -2.0], [-3.0, -np.inf]]]),
        np.array([[[1, 1], [1, 0]]]),
        np.array([[[4, 4], [4, 0]]]),
        np.array([[[True, False], [False, False]]]),
    )
    return (
        State(5, 1, (member, child)),
        (LineageEntry(1, 0, member, True), LineageEntry(1, 0, child, False)),
        scores,
    )


#: A generation in which one birth is selected.
ACCOUNT = GenerationAccount(1, 1, 1, FitnessAccount(-1.0, -1.0, -1.0), {"fitness": -1.0})
LINE = GenerationLine(0, 0, ACCOUNT, None, Ledger().token_summary(), 1.5)


def new_folder(path: Path) -> EvolveFolder:
    folder = EvolveFolder.create(path, "x")
    folder.begin(Config.model_validate({"task": {"name": "inbox"}}), {"seed": 5})
    return folder


def test_a_committed_generation_comes_back_as_it_was(tmp_path: Path):
    state, entries, scores = sample_entries()
    folder = new_folder(tmp_path / "run")
    ledger = Ledger({"search": TokenCount(10, 9, 2, 1, 3)}, {"scoring": 1.5})
    folder.commit(state, entries, LINE, [scores], ledger)
    checkpoint = EvolveFolder.open(tmp_path / "run").restore()
    assert checkpoint is not None
    assert checkpoint.state == state
    assert checkpoint.ledger == ledger
    assert [lineage_line(e) for e in folder.lineage()] == [lineage_line(e) for e in entries]
    assert folder.generations() == [LINE]
    [again] = folder.measurements().values()
    assert measurement_line(again) == measurement_line(scores)
    assert again.log_likelihood.tolist() == scores.log_likelihood.tolist()


def test_the_lineage_line_has_the_documented_keys():
    _, entries, _ = sample_entries()
    keys = (
        "generation island birth_id policy_id parent_ids shares operator selected fitness "
        "traits examples policy survival_probability"
    )
    assert list(lineage_line(entries[0])) == keys.split()
    line = lineage_line(entries[1])
    assert set(line) - set(keys.split()) == {"rungs"}
    assert line["rungs"] == [
        {"examples": 1, "traits": {"fitness": -0.3, "z": 0.0}},
        {"examples": 2, "traits": {"fitness": -0.2, "z": 0.1}},
    ]


def test_what_was_never_committed_is_cut_off(tmp_path: Path):
    state, entries, scores = sample_entries()
    folder = new_folder(tmp_path / "run")
    folder.commit(state, entries, LINE, [scores], Ledger())
    before = {name: (folder.path / name).read_bytes() for name in (LINEAGE, MEASUREMENTS)}
    for name in before:
        with (folder.path / name).open("a") as file:
            file.write('{"half a li')
    folder.restore()
    assert {name: (folder.path / name).read_bytes() for name in before} == before


def test_a_folder_that_lost_lines_is_refused(tmp_path: Path):
    state, entries, scores = sample_entries()
    folder = new_folder(tmp_path / "run")
    folder.commit(state, entries, LINE, [scores], Ledger())
    (folder.path / LINEAGE).write_text("")
    with pytest.raises(UserError, match="damaged"):
        folder.restore()


def test_nothing_that_exists_is_overwritten(tmp_path: Path):
    new_folder(tmp_path / "run")
    with pytest.raises(UserError, match="in use.*evoprompt resume"):
        EvolveFolder.create(tmp_path / "run", "x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("dear")
    with pytest.raises(UserError, match="in use.*does not exist"):
        EvolveFolder.create(tmp_path / "other", "x")
    assert EvolveFolder.create(None, "run", tmp_path).path.name == "run-2"
    with pytest.raises(UserError, match="no run in"):
        EvolveFolder.open(tmp_path / "other")


def test_the_ledger_adds_up_and_survives_json():
    ledger = Ledger()
    ledger.count("search", TokenCount(5, 4, 3, 2, 1, 7, 8, 9))
    ledger.count("search", TokenCount(5, 4, 3, 2, 1, 7, 8, 9, 1))
    ledger.count("test", TokenCount(1, 1, 1, 1, 1))
    ledger.count("test", TokenCount(2, 2, generated_tokens=40, logical_tokens=42))
    ledger.count("search", TokenCount(logical_tokens=12))
    # Prompts: 5 + 5 in the search, 1 + 2 in the test; written: 40 in the test.
    assert asdict(ledger.token_summary()) == {
        "prefill": 13,
        "generated": 40,
        "total": 53,
        "floor": 11,
        "head_rows": 7,
        "floor_head_rows": 5,
        "forwards": 3,
        "requests": 14,
        "stored": 16,
        "memo_requests": 18,
        "halvings": 1,
        "by_phase": {"search": 10, "test": 43},
        "logical": 12,
    }
    assert Ledger.from_dict(json.loads(json.dumps(ledger.to_dict()))) == ledger


@pytest.mark.parametrize(
    ("workers", "cpus", "gpus", "expected"),
    [
        ({}, 8, 0, "8 Ray workers with 1 CPU thread each"),
        ({"threads": 3}, 8, 0, "2 Ray workers with 3 CPU threads each"),
        ({"count": 1, "threads": 4}, 4, 0, "1 Ray worker with 4 CPU threads each"),
        ({}, 8, 4, "4 Ray workers with 1 GPU each"),
        ({"gpus_per_worker": 0.5}, 8, 2, "4 Ray workers with 0.5 GPU each"),
        ({"gpus_per_worker": 2}, 8, 4, "2 Ray workers with 2 GPU each"),
        ({"gpus_per_worker": 0.4}, 8, 1, "2 Ray workers with 0.4 GPU each"),
        ({"gpus_per_worker": 0}, 2, 4, "2 Ray workers with 1 CPU thread each"),
        ({}, 2, 4, "2 Ray workers with 1 GPU each"),
    ],
)
def test_workers_are_placed_on_what_there_is(workers, cpus, gpus, expected):
    assert str(place(WorkersConfig(**workers), cpus, gpus)) == expected


@pytest.mark.parametrize(
    ("workers", "cpus", "gpus", "message"),
    [
        (
            {"count": 3},
            2,
            0,
            "3 workers with 1 CPU threads each do not fit on 2 CPUs and 0 GPUs; at most 2 do",
        ),
        ({"gpus_per_worker": 1}, 2, 0, "at most 0 do"),
        ({"gpus_per_worker": 1.5}, 2, 4, "whole number or a fraction"),
    ],
)
def test_more_than_there_is_is_refused_instead_of_waited_for(workers, cpus, gpus, message):
    config = WorkersConfig(**({"count": 1} | workers))
    with pytest.raises(UserError, match=message):
        place(config, cpus, gpus)


def test_an_embedded_model_is_only_one_of_several_ways_to_name_one(
    tiny_model: Path, tmp_path: Path
):
    from evoprompt.scoring.models import resolve_model

    assert resolve_model(str(tiny_model)) == tiny_model
    with pytest.raises(UserError, match="no config.json"):
        resolve_model(str(tmp_path))
    with pytest.raises(UserError, match="there is no model 'smollm2'.*did you mean 'smollm2-135m'"):
        resolve_model("smollm2")
    assert ModelConfig().name == "smollm2-135m"
