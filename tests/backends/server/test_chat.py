"""Instructions written by a server that takes messages alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toys.model_server import served_model
from toys.programs import TEXT, Program, data

import evoprompt as ep
from evoprompt.backends.server import client as http
from evoprompt.backends.server.chat import ChatServer
from evoprompt.errors import MachineError, UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start
from evoprompt.measurement.allowance import Allowance, Uncharged
from evoprompt.measurement.chat_writer import TASK, ChatTextWriter


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PAUSES", ())
    monkeypatch.delenv(http.KEY, raising=False)


@pytest.fixture
def server(tiny_model: Path):
    with served_model("echo", tiny_model) as (url, model):
        model.paths = ("/v1/models", "/v1/chat/completions")
        yield url, model


def writer(url: str, allowance: Allowance) -> ChatTextWriter:
    return ChatTextWriter(ChatServer(url, None), 0.5, 64, allowance)


def test_a_line_is_written_once_and_its_tokens_are_the_servers(server):
    url, model = server
    allowance = Allowance(logical=True)
    own = writer(url, allowance)
    assert own.write("Instruction: Sort.\nIn other words:", 7) == "Sort the mail by 7 rules."
    assert own.write("Instruction: Sort.\nIn other words:", 7) == "Sort the mail by 7 rules."
    [[system, user]] = model.messages
    assert system == {"role": "system", "content": TASK}
    assert user["content"] == "Instruction: Sort.\nIn other words:"
    count = allowance.take_count()
    # the server says 50 that it read and 7 that it wrote
    assert (count.body_tokens, count.generated_tokens, count.logical_tokens) == (50, 7, 57)
    allowance.allow(110)
    assert own.write("another", 1) is not None
    assert own.write("a third, for which 53 tokens are left", 1) is None


def test_of_what_breaks_off_whole_sentences_are_kept(server):
    url, model = server
    model.said, model.finish = "Sort it. And then {} of the", "length"
    assert writer(url, Allowance()).write("p", 3) == "Sort it."
    model.said = "no sentence at all"
    assert writer(url, Allowance()).write("p", 3) is None
    model.said = "   "
    assert writer(url, Allowance()).write("p", 3) is None


def test_what_is_not_charged_is_told_and_always_has_room(server):
    account = Allowance()
    account.allow(0)
    assert writer(server[0], Uncharged(account)).write("p", 3) is not None
    count = account.take_count()
    assert (count.generated_tokens, count.floor_body_tokens, count.logical_tokens) == (7, 0, 0)


def test_what_is_wrong_with_the_writers_server_is_said(server, tiny_model):
    url, model = server
    with pytest.raises(UserError, match=r"writer\.url='x' is no address"):
        ChatServer("x", None)
    with pytest.raises(UserError, match=r"has no /v1/chat/completions, or not the model"):
        model.paths = ("/v1/models",)
        writer(url, Allowance()).write("p", 1)
    model.paths, model.names = (), ["a", "b"]
    with pytest.raises(UserError, match=r"has the models 'a', 'b'; set writer\.model"):
        ChatServer(url, None)
    model.fault = "nonsense"
    with pytest.raises(UserError, match="no answer of its kind"):
        ChatServer(url, "a").complete("s", "p", max_tokens=5, temperature=0, seed=0)
    model.fault = "down"
    with pytest.raises(MachineError, match=r"whether writer\.url is its address"):
        ChatServer(url, "a").complete("s", "p", max_tokens=5, temperature=0, seed=0)


def test_a_chat_needs_an_address(config_file):
    with pytest.raises(UserError, match=r"chat=true is of a server"):
        load_config(config_file, ["writer.chat=true"])


@pytest.mark.slow
def test_a_run_has_its_instructions_written_by_messages(server, config_file, tmp_path):
    url, model = server
    keys = ["evolution.operators={instruction_mutate: 1.0}", "evolution.other_operators=none"]
    keys += [f"writer.url={url}", "writer.chat=true", "evolution.generations=1"]
    given = 'task.starting_policies=[{instruction: "Mood?"}]'
    start(load_config(config_file, [*keys, given]), tmp_path / "run")
    lines = (tmp_path / "run" / "lineage.jsonl").read_text().splitlines()
    written = [json.loads(line)["policy"].get("instruction", "") for line in lines]
    assert sum("rules." in text for text in written) == 4
    assert len(model.messages) == 4
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert "served" in json.dumps(provenance["writer"])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["tokens"]["by_phase"]["variation"] == 4 * 57


@pytest.mark.slow
def test_a_black_box_has_its_instructions_written(server):
    """Half of the calls would be gone if what is written were charged."""
    url, model = server
    program = Program(lambda prompts, inputs: float("rules" in prompts["p"]))
    optimizer = ep.EvoPromptOptimizer(
        calls=80, writer=url, settings={"task.starting_demonstrations": [0]}
    )
    found = optimizer.optimize(program, data(), {"p": TEXT}, False)
    assert model.messages
    assert "rules" in found.optimized_prompts["p"]
    assert (found.initial_eval_score, found.final_eval_score) == (0.0, 1.0)
    assert len(program.asked) <= 80
