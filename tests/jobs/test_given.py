"""Starting prompts from elsewhere give the prompts that they were there."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from evoprompt.config.task import PolicyConfig
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.given import policy_from, read_policy
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.tasks.load import policy_of
from evoprompt.tasks.render import render_prompt


@pytest.mark.parametrize(
    "text",
    [
        "Say it.\n\nText: {input}\nMood:",
        "Say it.\nIn a word.\nText: {input}\nMood:",
        "Text: {input} ->",
        "\n\n{input}\nMood:",
        "{input}",
    ],
)
def test_a_text_is_rendered_as_it_is(tmp_path: Path, text: str):
    (tmp_path / "p.txt").write_text(text + "\n")
    policy = policy_from("p.txt", tmp_path)
    assert render_prompt(policy, "a {film}") == text.replace("{input}", "a {film}")
    config = read_policy(PolicyConfig.model_validate({"from": "p.txt"}), tmp_path)
    assert policy_of(config) == policy


def test_a_blank_line_ends_the_instruction(tmp_path: Path):
    (tmp_path / "p.txt").write_text("Say it.\n\nText: {input}\nMood: ")
    assert policy_from("p.txt", tmp_path) == Policy(
        "Say it.", (), Template("Text: ", "\nMood:", "\n\n", " ")
    )


def test_files_of_others_are_read(tmp_path: Path):
    own = Policy("Sort.", (Demonstration("a", "b"),), Template("X", "Y"), (("b", "c"),))
    fields = [{"prefix": "Q:", "description": "${q}"}, {"prefix": "A:", "description": "${a}"}]
    dspy = {
        "traces": [],
        "demos": [{"augmented": True, "q": "1 + 1", "a": "2"}],
        "signature": {"instructions": "Add.", "fields": fields},
    }
    gepa = {"candidates": [{"p": "no"}, {"p": "yes"}], "val_aggregate_scores": [0.1, 0.9]}
    files = {
        "own": ({"policy": own.to_dict()}, own),
        "dspy": (dspy, Policy("Add.", (Demonstration("1 + 1", "2"),), Template("Q: ", "\nA:"))),
        "program": ({"predict": dspy, "metadata": {}}, None),
        "gepa": (gepa, Policy("yes")),
        "seed": ({"system_prompt": "Sort."}, Policy("Sort.")),
    }
    for name, (values, expected) in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(values))
        found = policy_from(f"{name}.json", tmp_path)
        assert found == (expected or files["dspy"][1])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.txt", "no place", "has 0 times {input}"),
        ("p.txt", "{input} {input}", "has 2 times {input}"),
        ("p.txt", "{input}\n\n# answer: bad\n", "an export as text"),
        ("p.json", "[1]", "expected the JSON of"),
        ("p.json", '{"a": "x", "b": "y"}', "it has a, b"),
        ("p.json", '{"signature": {"fields": [{}]}}', "a signature of 1 fields"),
        ("p.json", '{"candidates": [{"a": "x"}]}', "without a val_aggregate_scores"),
        ("q.txt", "", "cannot read|there is no"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, text: str, said: str):
    if text:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=said):
        policy_from(name, tmp_path)


def test_a_configuration_writes_out_what_it_takes(config_file: Path, tmp_path: Path):
    (tmp_path / "p.txt").write_text("Say it.\n\nText: {input}\nMood:")
    given = 'task.starting_policies=[{from: p.txt, instruction: "Now!"}]'
    config = load_config(config_file, [given])
    [policy] = config.task.starting_policies
    assert (policy.instruction, policy.input_prefix, policy.from_) == ("Now!", "Text: ", None)
    assert "from" not in json.dumps(config.model_dump(mode="json")["task"]["starting_policies"])
    unread = PolicyConfig.model_validate({"from": "p.txt"})
    with pytest.raises(UserError, match="is not read here"):
        unread.slots()


@pytest.mark.slow
def test_prompts_of_the_registry_are_read_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    logging.getLogger("alembic").setLevel(logging.CRITICAL)
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.register_prompt("plain", "Say it.\n\nText: {{ text }}\nMood:")
    chat = [
        {"role": "system", "content": "Say it."},
        {"role": "user", "content": "T: bad meal"},
        {"role": "assistant", "content": "Mood: bad"},
        {"role": "user", "content": "T: {{text}}"},
        {"role": "assistant", "content": "Mood:"},
    ]
    client.register_prompt("chat", chat)
    client.register_prompt("two", "{{a}} {{b}}")
    client.set_prompt_alias("chat", "best", 1)
    plain = policy_from("prompts:/plain/1", tmp_path)
    assert render_prompt(plain, "x") == "Say it.\n\nText: x\nMood:"
    found = policy_from("prompts:/chat@best", tmp_path)
    assert (found.chat, found.demonstrations) == ("turns", (Demonstration("bad meal", "bad"),))
    with pytest.raises(UserError, match=r"2 variables \(a, b\)"):
        policy_from("prompts:/two/1", tmp_path)
    with pytest.raises(UserError, match="has no prompts:/nobody/1"):
        policy_from("prompts:/nobody/1", tmp_path)
