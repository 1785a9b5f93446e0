"""A run whose starting prompts a chat template renders: what is recorded, shown and refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toys.chats import NO_SYSTEM, TINY, chat_model

import evoprompt as ep
from evoprompt.errors import UserError
from evoprompt.jobs.base import job_of
from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.boost.session import start as start_boost
from evoprompt.jobs.evolve.build import build
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.variation.edits import ChatChange

pytestmark = pytest.mark.usefixtures("no_pages")

FEW = ["evolution.generations=2", "evolution.max_demonstrations=1"]


@pytest.fixture
def model(long_model: Path, tmp_path: Path) -> Path:
    return chat_model(long_model, tmp_path / "chat")


def run(config_file: Path, folder: Path, model: Path, chat: str, *more: str) -> Mapping:
    named = f"model={{name: {model}, chat: {chat}, memo: false}}"
    return start(load_config(config_file, [named, *FEW, *more]), folder)


def lineage(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "lineage.jsonl").read_text().splitlines()]


def test_a_search_starts_from_both_ways_and_the_better_stays(
    config_file: Path, model: Path, tmp_path: Path
):
    summary = run(config_file, tmp_path / "run", model, "auto", "evolution.population=1")
    founders = [b for b in lineage(tmp_path / "run") if b["generation"] == 0]
    plain = [b for b in founders if "chat" not in b["policy"]]
    assert len(founders) == 2 * len(plain)
    assert [b["policy"] for b in founders if "chat" in b["policy"]] == [
        b["policy"] | {"chat": "turns"} for b in plain
    ]
    best = max(b["fitness"] for b in founders)
    assert summary["fitness"]["first"] == best
    assert summary["baseline"]["fitness"] == best, "the better of both is what is compared with"
    assert summary["price_residual_max"] < 1e-9


@pytest.mark.parametrize(("chat", "chats"), [("auto", ("off", "turns")), ("turns", ())])
def test_an_operator_changes_the_rendering_where_both_ways_are_tried(
    config_file: Path, model: Path, tmp_path: Path, chat: str, chats: tuple[str, ...]
):
    parts = build(load_config(config_file, [f"model={{name: {model}, chat: {chat}}}"]), tmp_path)
    materials, rng = parts.strategy.materials, np.random.default_rng(0)
    assert materials.chats == chats
    parents = parts.task.starting_policies[:1]
    child = ChatChange().apply(parents, materials, rng)
    assert child == (replace(parents[0], chat="turns") if chats else None)
    parts.close()


@pytest.mark.pages
def test_the_prompt_is_shown_as_the_template_writes_it(
    config_file: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "run"
    summary = run(config_file, folder, model, "turns")
    prompt = summary["champion"]["prompt"]
    assert "<s>user\n" in prompt
    assert prompt.endswith("{input}</s>\n<s>assistant\nLabel:")
    assert prompt in capsys.readouterr().out
    assert prompt in (folder / "champion.txt").read_text()
    assert prompt.replace("<", "&lt;").replace(">", "&gt;") in (folder / "report.html").read_text()
    assert job_of(folder).champion(folder).prompt == prompt
    assert all(b["policy"]["chat"] == "turns" for b in lineage(folder))
    result = ep.load(folder)
    [shares] = result.probabilities(["a fine <s> film"])
    assert sum(shares.values()) == pytest.approx(1.0)
    result.close()


def test_what_the_template_refuses_is_said_before_the_run(
    config_file: Path, long_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    model = chat_model(long_model, tmp_path / "model", NO_SYSTEM + TINY)
    policy = (
        "task.starting_policies=[{instruction: Sort it., input_prefix: '', output_prefix: ':'}]"
    )
    summary = run(config_file, tmp_path / "run", model, "single", policy)
    assert "has no turn of a system: the instruction stands at" in capsys.readouterr().out
    assert summary["baseline"]["prompt"].startswith("<s>user\nSort it.\n\n")


def test_without_a_template_auto_is_off_and_the_rest_is_refused(
    config_file: Path, long_model: Path, tmp_path: Path
):
    run(config_file, tmp_path / "run", long_model, "auto")
    assert not any("chat" in b["policy"] for b in lineage(tmp_path / "run"))
    with pytest.raises(UserError, match=r"this model has none; set model\.chat=off"):
        run(config_file, tmp_path / "no", long_model, "turns")
    assert not (tmp_path / "no").exists()


def test_a_chat_under_off_is_refused(config_file: Path, model: Path, tmp_path: Path):
    policy = "task.starting_policies=[{instruction: Sort it., chat: turns}]"
    with pytest.raises(UserError, match=r"`chat`, and model\.chat is off"):
        run(config_file, tmp_path / "run", model, "off", policy)


def test_a_run_goes_on_under_its_own_template_alone(config_file: Path, model: Path, tmp_path: Path):
    folder = tmp_path / "run"
    run(config_file, folder, model, "turns")
    whole = lineage(folder)
    (folder / "summary.json").unlink()
    (model / "chat_template.jinja").write_text(TINY.replace("assistant", "bot"))
    with pytest.raises(UserError, match="model"):
        resume(folder, ["evolution.generations=3"])
    (model / "chat_template.jinja").write_text(TINY)
    resume(folder, ["evolution.generations=3"])
    assert lineage(folder)[: len(whole)] == whole


def test_a_loop_asks_and_judges_in_the_chat(boost_file: Path, model: Path, tmp_path: Path):
    named = f"model={{name: {model}, chat: turns, memo: false, chunk_tokens: 64}}"
    start_boost(load_boost(boost_file, [named]), tmp_path / "loop")
    summary = json.loads((tmp_path / "loop" / "summary.json").read_text())
    for part in ("champion", "evaluator"):
        assert summary[part]["policy"]["chat"] == "turns"
        assert "{input}" in summary[part]["prompt"]
        assert summary[part]["prompt"].startswith("<s>")
