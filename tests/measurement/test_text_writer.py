"""A line that a model writes after a prompt: what of it is kept, that the seed draws it, and that
its work is within what is allowed.
"""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree

import pytest

from evoprompt.backends.local import LocalExecutor
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.evolve.writers import writer_config
from evoprompt.measurement.allowance import Allowance
from evoprompt.measurement.text_writer import ModelTextWriter
from evoprompt.measurement.writer import Writer, Written
from evoprompt.records import TokenCount
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.tokenizer import Tokenizer

pytestmark = pytest.mark.usefixtures("no_pages")

MOST = 12


class Told:
    """A writer that says what it is told to; the prompt is forwarded, and a token is written for
    each word.
    """

    def __init__(self, writer: Writer, text: str, num_tokens: int) -> None:
        self.tokenizer, self.executor = writer.tokenizer, writer.executor
        self.asked: list[tuple] = []
        self._text, self._num_tokens = text, num_tokens

    def write(self, prompts, *, max_tokens, temperature, seeds, stops):
        self.asked.append((prompts, max_tokens, temperature, seeds, stops))
        count = TokenCount(10, 10, generated_tokens=self._num_tokens)
        return [Written(self._text, -1.0, self._num_tokens, count)]


@pytest.fixture(scope="module")
def own(tiny_model: Path) -> Writer:
    scorer = Scorer(TransformersLM(tiny_model, threads=1), chunk_tokens=64)
    return Writer(Tokenizer(tiny_model), LocalExecutor(scorer))


def told(own: Writer, text: str, num_tokens: int, allowance: Allowance | None = None):
    writer = Told(own, text, num_tokens)
    return writer, ModelTextWriter(writer, 0.5, MOST, allowance or Allowance())


@pytest.mark.parametrize(
    ("text", "num_tokens", "line"),
    [
        (" Sort the mail. ", 4, "Sort the mail."),
        ("   ", 1, None),
        # as many tokens as there may be: it was broken off
        ("Sort it. Look twice! Then", MOST, "Sort it. Look twice!"),
        ("Sort the mail and then", MOST, None),
        ("Version 2.5 of it", MOST, None),
    ],
)
def test_a_line_is_kept_and_of_one_broken_off_the_whole_sentences(own, text, num_tokens, line):
    writer, ours = told(own, text, num_tokens)
    assert ours.write("Say:", 7) == line
    assert writer.asked == [(["Say:"], MOST, 0.5, [7], ("\n",))]


def test_what_was_written_once_is_known_and_costs_nothing_more(own):
    allowance = Allowance()
    writer, ours = told(own, "Sort.", 2, allowance)
    assert ours.write("Say:", 7) == ours.write("Say:", 7)
    assert len(writer.asked) == 1
    # 10 of the prompt are forwarded, and 2 that were written
    assert allowance.take_count() == TokenCount(10, 12, generated_tokens=2)
    assert allowance.take_count() == TokenCount()


def test_logical_tokens_are_taken_where_they_are_counted(own):
    for logical, left in ((False, 88), (True, 60)):
        allowance = Allowance(logical=logical)
        allowance.allow(100)
        allowance.add(TokenCount(12, 12, logical_tokens=40))
        assert allowance.has_room(left)
        assert not allowance.has_room(left + 1)


def test_nothing_is_written_that_there_is_no_room_for(own):
    allowance = Allowance()
    _, ours = told(own, "Sort.", 2, allowance)
    most = 4 + MOST  # "Say:" is four bytes
    allowance.allow(most - 1)
    assert ours.write("Say:", 1) is None
    allowance.allow(most)
    assert ours.write("Say:", 1) == "Sort."
    # 12 were taken: there is room for 4 of 16
    assert ours.write("Say:", 2) is None
    allowance.allow(None)
    assert ours.write("Say:", 2) == "Sort."
    assert ours.write("x" * 250, 2) is None, "no room in the window of 256"


def test_the_seed_alone_draws_what_a_model_writes(own):
    def lines(seeds):
        ours = ModelTextWriter(own, 1.0, MOST, Allowance())
        return {seed: ours.write("poor film.\nSay", seed) for seed in seeds}

    first, again = lines(range(20)), lines(reversed(range(20)))
    assert first == again
    assert len(set(first.values())) > 1


@pytest.mark.slow
def test_what_a_model_writes_evolves_and_is_counted_within_the_budget(
    config_file: Path, tmp_path: Path, long_model: Path
):
    overrides = [
        f"model.name={long_model}",
        "evolution={generations: 2, operators: {instruction_induce: 40}}",
        "writer={temperature: 1.0, max_tokens: 24}",
    ]
    summary = start(load_config(config_file, overrides), tmp_path / "run")
    rows = [json.loads(x) for x in (tmp_path / "run" / "lineage.jsonl").read_text().splitlines()]
    written = {
        row["policy"]["instruction"] for row in rows if row["operator"] == "instruction_induce"
    }
    assert written
    assert summary["tokens"]["by_phase"]["variation"] > summary["tokens"]["generated"] > 0
    start(load_config(config_file, overrides), tmp_path / "again")
    assert (tmp_path / "again" / "lineage.jsonl").read_bytes() == (
        tmp_path / "run" / "lineage.jsonl"
    ).read_bytes()
    limit = 5000
    overrides.append(f"budget.prefill_tokens={limit}")
    summary = start(load_config(config_file, overrides), tmp_path / "cheap")
    assert summary["generations"] < 2
    assert summary["tokens"]["total"] <= limit


def test_another_model_may_write_and_is_remembered(
    config_file: Path, tmp_path: Path, long_model: Path
):
    other = tmp_path / "other"
    copytree(long_model, other)
    overrides = [
        "evolution={generations: 1, operators: {instruction_induce: 40}}",
        f"writer={{model: {other}, max_tokens: 24}}",
    ]
    config = load_config(config_file, overrides)
    summary = start(config, tmp_path / "run")
    assert summary["tokens"]["by_phase"]["variation"] > 0
    known = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert known["writer"]["folder"] == str(other)
    unwritten = load_config(config_file, [f"writer={{model: {other}}}"])
    assert writer_config(unwritten) is None, "no operator has anything written"
    missing = load_config(config_file, [overrides[0], "writer.model=no/such/folder/at/all"])
    with pytest.raises(UserError, match="no/such"):
        start(missing, tmp_path / "none")
    assert not (tmp_path / "none").exists()
