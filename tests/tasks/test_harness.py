"""Tasks of the LM Evaluation Harness: what is asked is what the harness asks, to the byte, and what
cannot be is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys.harness_rows import ROWS, data_files

from evoprompt.backends.local import LocalExecutor
from evoprompt.choices import correct
from evoprompt.config.task import TaskConfig
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.measurement.measure import Measurer
from evoprompt.policy import Policy
from evoprompt.records import Example, LabelScores
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.load import load_task
from evoprompt.tasks.render import render_answer, render_prompt
from evoprompt.tasks.sources.base import Raw
from evoprompt.tasks.sources.harness import HarnessSource
from evoprompt.testing.sources import check_source, check_splits

pytest.importorskip("lm_eval", reason="the extra lm-eval is not installed")

#: Tasks that have one context for all choices, or none.
TAKEN = [name for name in ROWS if name not in ("winogrande", "blimp_adjunct_island")]

Opener = Callable[..., tuple[Raw, Any]]


def harness_task(name: str, files: dict[str, Path], **settings: Any) -> Any:
    """The harness's own task on local files, opened as its users do."""
    from lm_eval.tasks._yaml_loader import load_yaml
    from lm_eval.tasks.manager import TaskManager

    from evoprompt.tasks.harness.files import _shipped

    found = load_yaml(_shipped(name)) | settings
    for key in ("training_split", "validation_split", "test_split"):
        if found.get(key) not in files:
            found[key] = None
    data = {"data_files": {split: str(path) for split, path in files.items()}}
    found |= {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": data}
    [task] = TaskManager(include_defaults=False).load([found])["tasks"].values()
    return task


@pytest.fixture
def open_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opener:
    """Return what is read here of a task, and the harness's own."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def both(name: str, number: int = 32, **settings: Any) -> tuple[Raw, Any]:
        files = data_files(tmp_path, name, number)
        config = TaskConfig(lm_eval=name, data_files=files)
        return HarnessSource().read(config), harness_task(name, files, **settings)

    return both


def asked_here(policy: Policy, example: Example) -> list[tuple[str, str]]:
    prompt = str(render_prompt(policy, example.input))
    return [(prompt, render_answer(policy, answer)) for answer in example.candidates]


@pytest.mark.parametrize("name", TAKEN)
def test_every_prompt_and_answer_is_the_harness_own_to_the_byte(name: str, open_both: Opener):
    raw, task = open_both(name)
    [policy] = raw.starting_policies
    docs = list(task.eval_docs)
    if policy.demonstrations:  # the harness draws others for each question: these, for all
        from lm_eval.api.samplers import FirstNSampler

        shown = [d.input for d in policy.demonstrations]
        pool = {doc["question"]: doc for doc in task.fewshot_docs()}
        task.sampler = FirstNSampler([pool[text] for text in shown])
    examples = raw.test or raw.examples
    assert len(examples) == len(docs) == 32
    for example, doc in zip(examples, docs, strict=True):
        said = task.fewshot_context(doc, len(policy.demonstrations))
        requests = task.construct_requests(doc, said)
        if task.OUTPUT_TYPE == "generate_until":
            assert render_prompt(policy, example.input) == requests.args[0]
        else:
            asked = requests if isinstance(requests, list) else [requests]
            assert asked_here(policy, example) == [request.args[:2] for request in asked]


def test_the_words_of_the_task_become_slots_that_a_search_can_change(open_both: Opener):
    slots = {
        name: open_both(name)[0].starting_policies[0]
        for name in ("arc_easy", "mmlu_anatomy", "truthfulqa_mc1")
    }
    assert slots["arc_easy"].template.input_prefix == "Question: "
    assert slots["arc_easy"].template.output_prefix == "\nAnswer:"
    about = "The following are multiple choice questions (with answers) about anatomy."
    assert slots["mmlu_anatomy"].instruction == about
    # its template is one expression: the lines that all its prompts share are found in them
    assert slots["truthfulqa_mc1"].instruction.endswith("held in Barcelona, Spain.")
    assert slots["truthfulqa_mc1"].template.output_prefix == "\nA:"


def test_a_task_holds_the_contract_of_sources_and_keeps_its_splits(tmp_path: Path):
    config = TaskConfig(lm_eval="arc_easy", data_files=data_files(tmp_path, "arc_easy", 60))
    check_source(HarnessSource(), config)
    check_splits(config)
    task = load_task(config)
    assert len(task.test) == len(task.validation) == 60


def test_what_the_prompt_shows_is_in_no_split(open_both: Opener):
    raw, _ = open_both("gsm8k")
    [policy] = raw.starting_policies
    shown = {d.input for d in policy.demonstrations}
    assert len(shown) == 5
    assert len(raw.examples) == 32 - 5
    assert not shown & {e.input for e in (*raw.examples, *raw.test)}


def test_paths_in_a_configuration_are_seen_from_its_folder(tmp_path: Path):
    files = {split: path.name for split, path in data_files(tmp_path, "race").items()}
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps({"task": {"lm_eval": "mine.yaml", "data_files": files}}))
    task = load_config(path).task
    assert task.lm_eval == str(tmp_path / "mine.yaml")
    assert task.data_files == {"test": tmp_path / "race.test.jsonl"}


def refused(tmp_path: Path, **task: Any) -> str:
    with pytest.raises(UserError) as error:
        HarnessSource().read(TaskConfig(**task))
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("winogrande", "its choices stand in the prompt"),
        ("blimp_adjunct_island", "all its examples have one prompt"),
        ("wikitext", "its output_type is loglikelihood_rolling"),
        ("truthfulqa_mc2", "a Python function of its own grades the answers"),
        ("squad_completion", "it is a Python class"),
        ("mmlu", "it is a group of tasks"),
        ("arc_eazy", "did you mean 'arc_easy'?"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_the_reason(name: str, reason: str, tmp_path: Path):
    files = data_files(tmp_path, name) if name in ROWS else {}
    assert reason in refused(tmp_path, lm_eval=name, data_files=files)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"description": "About {{question}}:"}, "its description differs by example"),
        ({"target_delimiter": " so: "}, "its prompt would be another here"),
        ({"doc_to_target": "{{1 if answerKey == 'B' else 9}}"}, "has no right answer"),
        ({"repeats": 3}, "drawn by chance"),
        ({"doc_to_text": "{{no_such_column}}"}, "the harness cannot open"),
        ({"test_split": "exam", "validation_split": None}, "nor its validation split"),
    ],
)
def test_a_file_of_ones_own_is_refused_with_the_reason(changes, reason: str, tmp_path: Path):
    settings = {
        "task": "mine",
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "{{choices.label.index(answerKey)}}",
        "doc_to_choice": "{{choices.text}}",
    }
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(settings | changes))
    files = data_files(tmp_path, "arc_easy")
    assert reason in refused(tmp_path, lm_eval=str(path), data_files=files)


def measured(folder: Path, policy: Policy, examples: tuple[Example, ...]) -> LabelScores:
    executor = LocalExecutor(Scorer(TransformersLM(folder, threads=1)))
    measurer = Measurer(Tokenizer(folder), executor)
    [(scores, _)] = measurer.measure([policy], examples, lambda _: None, Ledger().timed).values()
    return scores


def harness_scores(folder: Path, task: Any) -> dict[str, float]:
    """What the harness itself gives a model on a task."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=8)
    manager = TaskManager(include_defaults=False)
    found = lm_eval.simple_evaluate(
        model, tasks=[task], bootstrap_iters=0, task_manager=manager, log_samples=False
    )
    [results] = found["results"].values()
    return {key.partition(",")[0]: value for key, value in results.items()}


@pytest.mark.parametrize("name", ["arc_easy", "sst2", "lambada_openai"])
def test_the_unevolved_prompt_scores_as_in_the_harness(
    name: str, open_both: Opener, long_model: Path
):
    raw, task = open_both(name)
    scores = measured(long_model, raw.starting_policies[0], raw.test or raw.examples)
    expected = harness_scores(long_model, task)
    assert correct(scores).mean() == pytest.approx(expected["acc"], abs=1e-9)
    if "perplexity" in expected:
        mean = scores.of_gold(scores.log_likelihood).mean()
        assert np.exp(-mean) == pytest.approx(expected["perplexity"], rel=1e-4)
