"""A champion in the forms of other packages, read back by them where they are installed."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from toys.chats import chat_model

from evoprompt.errors import UserError
from evoprompt.jobs.base import job_of
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.export.chat import PLAIN, as_chat
from evoprompt.jobs.export.dspy import as_dspy
from evoprompt.jobs.export.exported import Exported
from evoprompt.jobs.export.forms import export
from evoprompt.jobs.export.gepa import as_gepa
from evoprompt.jobs.export.lm_eval import as_lm_eval
from evoprompt.jobs.export.mlflow import as_mlflow
from evoprompt.jobs.play.session import asker_of
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.tasks.render import render_prompt

#: A text that Jinja, `str.format` and regular expressions would all take for something.
ODD = r"{input} {0} \1 {{ 50 {# off #} }}"
POLICY = Policy(
    "What {mood} is it?",
    (Demonstration("a bad film", "bad"), Demonstration(ODD, "good")),
    Template("Text: ", "\nMood:", "\n\n"),
    (("bad", "poor"),),
)


@pytest.fixture(scope="module")
def run(tiny_model: Path, task_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run whose answers are calibrated."""
    place = tmp_path_factory.mktemp("exports")
    (place / "run.yaml").write_text(
        f"""
model: {{name: "{tiny_model}", chunk_tokens: 256, memo: false}}
task: {{path: "{task_file}", fitness_examples: 6, validation_examples: 6, test_examples: 20,
  starting_demonstrations: [0]}}
fitness: {{calibration: labelled}}
evolution: {{population: 2, children: 2, generations: 1}}
workers: {{backend: local}}
tracking: {{enabled: false}}
"""
    )
    start(load_config(place / "run.yaml"), place / "run")
    return place / "run"


@pytest.fixture
def exported(run: Path) -> Exported:
    """Its champion with a policy of the test's, and not calibrated."""
    champion = job_of(run).champion(run)
    return Exported(run, replace(champion, policy=POLICY, calibration=None, offsets=None))


def with_policy(exported: Exported, policy: Policy) -> Exported:
    return Exported(exported.folder, replace(exported.champion, policy=policy))


def test_mlflow_formats_what_the_run_read(exported: Exported, tmp_path: Path, monkeypatch):
    logging.getLogger("alembic").setLevel(logging.CRITICAL)
    from mlflow.entities.model_registry import PromptVersion

    values = json.loads(as_mlflow(exported))
    prompt = PromptVersion(values["name"], 1, values["template"])
    for text in ("a fine meal", ODD):
        assert prompt.format(input=text) == render_prompt(POLICY, text)
    chat = replace(POLICY, chat="turns")
    values = json.loads(as_mlflow(with_policy(exported, chat)))
    messages = PromptVersion("chat", 1, values["template"]).format(input=ODD)
    said = render_prompt(chat, ODD)
    assert [(m["role"], m["content"]) for m in messages] == [
        *((turn.role, turn.content) for turn in said.turns),
        ("assistant", said.begun),
    ]
    for taken in ("say {{name}}", "50 {% off %}"):
        shown = replace(POLICY, demonstrations=(Demonstration(taken, "bad"),))
        with pytest.raises(UserError, match="MLflow would take for a variable"):
            as_mlflow(with_policy(exported, shown))


def test_messages_give_the_text_that_the_model_reads(
    exported: Exported, tiny_model: Path, tmp_path: Path
):
    from transformers import AutoTokenizer

    model = chat_model(tiny_model, tmp_path / "chat")
    config = exported.champion.config
    config = config.model_copy(
        update={"model": config.model.model_copy(update={"name": str(model), "chat": "turns"})}
    )
    chat = replace(exported.champion, config=config, policy=replace(POLICY, chat="turns"))
    values = json.loads(as_chat(Exported(exported.folder, chat)))
    text = AutoTokenizer.from_pretrained(model).apply_chat_template(
        values["messages"],
        tokenize=False,
        continue_final_message=values["continue_final_message"],
        add_generation_prompt=values["add_generation_prompt"],
    )
    asker = asker_of(chat)
    assert text == asker.measurer.shown(chat.policy)
    asker.measurer.close()
    assert values["answers"] == {"poor": "bad", "good": "good"}
    assert values["notes"] == []
    assert json.loads(as_chat(exported))["notes"] == [PLAIN]


def test_a_task_of_the_harness_has_the_test_examples_of_the_run(exported: Exported):
    found = yaml.safe_load(as_lm_eval(exported))
    file = Path(found["dataset_kwargs"]["data_files"]["test"])
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({row["id"] for row in rows}) == len(rows) == 20
    assert found["doc_to_choice"] == ["poor", "good"]
    assert found["target_delimiter"] == " "
    assert found["description"].startswith("{% raw %}What {mood} is it?\n\nText: a bad film")
    with pytest.raises(UserError, match="rendered by a chat template"):
        as_lm_eval(with_policy(exported, replace(POLICY, chat="single")))


def test_a_calibration_that_a_prompt_cannot_have_is_said(run: Path):
    assert "not in the prompt: answers are compared" in export(run, "lm-eval")
    assert "not in the prompt" in json.loads(export(run, "chat"))["notes"][-1]


def test_dspy_and_gepa_get_the_instruction_and_the_demonstrations(exported: Exported):
    state = json.loads(as_dspy(exported))
    assert state["demos"] == [
        {"input": "a bad film", "answer": "poor"},
        {"input": ODD, "answer": "good"},
    ]
    assert state["signature"]["instructions"] == "What {mood} is it?"
    assert state["signature"]["fields"][1]["description"] == "one of: poor, good"
    shown = json.loads(as_gepa(exported))["system_prompt"]
    assert render_prompt(POLICY, "x").startswith(shown)
    assert shown.endswith("Mood: good")
    stepped = with_policy(exported, replace(POLICY, steps=("Why?",)))
    for form in (as_dspy, as_gepa, as_chat, as_mlflow, as_lm_eval):
        with pytest.raises(UserError, match="answers to 1 steps before"):
            form(stepped)
