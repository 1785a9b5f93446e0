"""Steps: the model answers each in turn, the whole prompt carries the answers, and the ledger has
the work.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evoprompt.backends.local import LocalExecutor
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start
from evoprompt.measurement.asker import Asker
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.steps import JOIN_SLACK, STEP_TOKENS, StepWriter, most_tokens
from evoprompt.measurement.units import Wanted
from evoprompt.measurement.writer import Writer, Written
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example, TokenCount
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.scoring.trie import TokenRequest, count_rows
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.render import CONTENT_FREE, render_prompt, render_queries, render_step

pytestmark = pytest.mark.usefixtures("no_pages")

EXAMPLES = (
    Example("a", "fine film", "good", ("bad", "good")),
    Example("b", "poor", "bad", ("bad", "good")),
)
PLAIN = Policy("Sort.", (Demonstration("lovely", "good"),), Template("T: ", "\nL:", "\n"))
STEPPED = Policy(PLAIN.instruction, PLAIN.demonstrations, PLAIN.template, steps=("Who?", "Why?"))


class Told:
    """A writer that answers with the number of line ends in the prompt, between spaces, and keeps
    what it was asked.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.prompts: list[str] = []
        self.stops: tuple[str, ...] = ()

    def write(
        self, prompts, *, max_tokens, temperature=0.0, seeds=None, stops=("\n",)
    ) -> list[Written]:
        assert temperature == 0
        self.prompts += prompts
        self.stops = tuple(stops)
        return [
            Written(
                f" {p.count(chr(10))} ",
                -1.0,
                3,
                TokenCount(body_tokens=len(p), forwards=4, generated_tokens=3),
            )
            for p in prompts
        ]


@pytest.fixture(scope="module")
def scorer(tiny_model: Path) -> Scorer:
    return Scorer(TransformersLM(tiny_model, threads=1), chunk_tokens=48)


@pytest.fixture
def tokenizer(tiny_model: Path) -> Tokenizer:
    return Tokenizer(tiny_model)


def measurer(scorer: Scorer, tokenizer: Tokenizer, writer=None, **wanted) -> Measurer:
    return Measurer(tokenizer, LocalExecutor(scorer), Wanted(**wanted), writer=writer)


def measure(measurer: Measurer, *policies: Policy):
    return measurer.measure(policies, EXAMPLES, lambda _: None, Ledger().timed)


def test_each_step_is_answered_in_turn_and_the_whole_prompt_carries_the_answers(scorer, tokenizer):
    told = Told(tokenizer)
    [prompt], count = measurer(scorer, tokenizer, told).prompts(STEPPED, ["poor"])
    # Before the first step: the instruction, the demonstration's two lines and the input end in
    # line ends: 4. Its answer adds none, the second step another line.
    head = "Sort.\nT: lovely\nL: good\nT: poor\nWho?"
    assert told.prompts == [head, head + " 4\nWhy?"]
    assert prompt == head + " 4\nWhy? 5\nL:"
    assert (count.generated_tokens, count.body_tokens) == (6, len(head) + len(head + " 4\nWhy?"))


def test_the_likelihoods_are_those_of_the_prompt_with_what_the_model_wrote(scorer, tokenizer):
    """A slow twin: one token after another by whole forwards, then the answer after the text."""
    import torch

    def log_probs(tokens):
        with torch.no_grad():
            return scorer.model.network(torch.tensor([tokens])).logits[0].float().log_softmax(-1)

    scores, count = measure(
        measurer(scorer, tokenizer, Writer(tokenizer, LocalExecutor(scorer))), STEPPED
    )[STEPPED.policy_id]
    num_written = 0
    for e, example in enumerate(EXAMPLES):
        written: list[str] = []
        for _ in STEPPED.steps:
            [prompt] = tokenizer.encode([render_step(STEPPED, example.input, written)])
            drawn: list[int] = []
            while len(drawn) < STEP_TOKENS:
                token = int(log_probs([*prompt, *drawn])[-1].argmax())
                if token in tokenizer.break_tokens | tokenizer.special_tokens:
                    break
                drawn.append(token)
            num_written += len(drawn)
            written.append(tokenizer.decode(drawn).strip())
        text = render_prompt(STEPPED, example.input, written)
        for c, choice in enumerate(example.candidates):
            [whole] = tokenizer.encode([f"{text} {choice}"])
            rows = log_probs(whole)
            expected = sum(float(rows[i - 1, whole[i]]) for i in range(len(text), len(whole)))
            assert scores.log_likelihood[0, e, c] == pytest.approx(expected, abs=1e-4)
    assert count.generated_tokens == num_written > 0


def test_a_policy_without_steps_costs_nothing_more_and_has_the_same_bits(scorer, tokenizer):
    told = Told(tokenizer)
    without, with_writer = (
        measure(measurer(scorer, tokenizer, w), PLAIN)[PLAIN.policy_id] for w in (None, told)
    )
    assert told.prompts == []
    assert without[0].log_likelihood.tolist() == with_writer[0].log_likelihood.tolist()
    assert without[1] == with_writer[1]
    beside = measure(measurer(scorer, tokenizer, told), STEPPED, PLAIN)[PLAIN.policy_id]
    assert beside[0].log_likelihood.tolist() == without[0].log_likelihood.tolist()


@pytest.mark.parametrize("wanted", [{"prior": True}, {"prompt": True}])
def test_the_content_free_input_has_its_steps_answered_too(scorer, tokenizer, wanted):
    told = Told(tokenizer)
    measure(measurer(scorer, tokenizer, told, **wanted), STEPPED)
    assert [p.rpartition("T: ")[2] for p in told.prompts] == [
        *(f"{text}\nWho?" for text in ("fine film", "poor", CONTENT_FREE)),
        *(f"{text}\nWho? 4\nWhy?" for text in ("fine film", "poor", CONTENT_FREE)),
    ]


def test_what_was_written_is_remembered_and_charged_again_to_the_budget_alone(scorer, tokenizer):
    told = Told(tokenizer)
    steps = StepWriter(told)
    first, count = steps.write(STEPPED, ["poor", "fine"])
    again, less = steps.write(STEPPED, ["poor", "fine"])
    assert first == again
    assert len(told.prompts) == 4
    assert less == TokenCount(
        floor_body_tokens=count.floor_body_tokens, logical_tokens=count.logical_tokens
    )
    # Byte tokens. Both inputs share "Sort.\nT: lovely\nL: good\nT: ", 27. First step: "poor\nWho?"
    # and "fine\nWho?", 9 each; second: with " 4\nWhy?", 7 more.
    assert count.floor_body_tokens == (27 + 2 * 9) + (27 + 2 * 16)


def test_the_forecast_is_exact_without_steps_and_never_too_small_with_them(scorer, tokenizer):
    real = measurer(scorer, tokenizer, Writer(tokenizer, LocalExecutor(scorer)), prior=True)
    for policy in (PLAIN, STEPPED):
        [(_, count)] = measure(real, policy).values()
        assert real.forecast([policy], EXAMPLES) >= count.floor_body_tokens
    assert (
        real.forecast([PLAIN], EXAMPLES)
        == measure(real, PLAIN)[PLAIN.policy_id][1].floor_body_tokens
    )
    assert most_tokens(tokenizer, PLAIN, ["poor"]) == 0
    # Power twin: with the steps' texts alone, as if nothing were written, it is too small.
    blank = count_rows(
        [
            TokenRequest(t, (0,))
            for t in tokenizer.encode([q.context for q in render_queries(STEPPED, EXAMPLES)])
        ]
    )
    assert blank < measure(real, STEPPED)[STEPPED.policy_id][1].floor_body_tokens


def test_a_policy_fits_only_with_room_for_what_may_be_written(scorer, tokenizer):
    ours = measurer(scorer, tokenizer)
    # "T: fine film\nL:" is 15 tokens, " good" 5 of which 4 are fed, and the separator 1:
    # the instruction may have 256 - 15 - 4 - 1 = 236.
    template = Template("T: ", "\nL:", "\n")
    assert ours.fits(Policy("x" * 236, template=template), EXAMPLES)
    assert not ours.fits(Policy("x" * 237, template=template), EXAMPLES)
    # A step takes "\nWho? ", 6, and 24 written, with 16 for where they are joined.
    assert JOIN_SLACK == 16
    assert ours.fits(Policy("x" * 190, template=template, steps=("Who?",)), EXAMPLES)
    assert not ours.fits(Policy("x" * 191, template=template, steps=("Who?",)), EXAMPLES)


def test_free_form_answers_are_written_after_the_steps(scorer, tokenizer):
    told = Told(tokenizer)
    ledger = Ledger()
    asker = Asker(measurer(scorer, tokenizer, told), told, ledger)
    [answer] = asker.answers(STEPPED, [Example("q", "poor", "", None)], "answers")
    assert told.prompts[-1] == render_prompt(STEPPED, "poor", ["4", "5"])
    assert (answer.text, told.stops) == ("6", ("\n",))
    assert ledger.tokens["answers"].generated_tokens == 9


def test_a_free_answer_ends_as_the_policys_own_do(scorer, tokenizer):
    told = Told(tokenizer)
    asker = Asker(measurer(scorer, tokenizer, told), told, Ledger())
    asker.answers(Policy(template=Template("", ":", " |\n")), [Example("q", "x", "", None)], "a")
    assert told.stops == ("\n", " |")


def test_steps_without_a_writer_are_refused(scorer, tokenizer):
    with pytest.raises(ValueError, match="give the Measurer a writer"):
        measure(measurer(scorer, tokenizer), STEPPED)


STEPPING = [
    "evolution.operators={step_add: 3, step_drop: 1}",
    "task.steps=['Mood?']",
    "evolution.generations=2",
]


def test_steps_evolve_and_their_work_is_in_the_ledger(config_file: Path, tmp_path: Path):
    summary = start(load_config(config_file, STEPPING), tmp_path / "run")
    births = [
        json.loads(line) for line in (tmp_path / "run" / "lineage.jsonl").read_text().splitlines()
    ]
    added = [b for b in births if b["operator"] == "step_add"]
    assert added
    assert all(1 <= len(b["policy"]["steps"]) <= 3 for b in added)
    assert summary["tokens"]["generated"] > 0
    assert (
        summary["tokens"]["total"]
        == summary["tokens"]["prefill"] + summary["tokens"]["generated"]
        == sum(summary["tokens"]["by_phase"].values())
    )
    assert summary["seconds"]["writing"] > 0
    start(load_config(config_file, STEPPING), tmp_path / "again")
    assert (tmp_path / "again" / "lineage.jsonl").read_bytes() == (
        tmp_path / "run" / "lineage.jsonl"
    ).read_bytes()


def test_a_search_with_steps_stays_within_its_budget(config_file: Path, tmp_path: Path):
    start(load_config(config_file, STEPPING), tmp_path / "free")
    free = json.loads((tmp_path / "free" / "summary.json").read_text())
    limit = free["tokens"]["floor"] * 9 // 10
    summary = start(
        load_config(config_file, [*STEPPING, f"budget.prefill_tokens={limit}"]), tmp_path / "cheap"
    )
    assert summary["tokens"]["prefill"] <= limit
    assert summary["generations"] < 2


def test_a_step_that_no_policy_could_have_is_refused_before_the_run(
    config_file: Path, tmp_path: Path
):
    with pytest.raises(UserError, match="do not end in white space"):
        start(load_config(config_file, ["task.steps=['Why? ']"]), tmp_path / "run")
