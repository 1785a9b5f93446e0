"""The model as an author: what it writes, how it labels it, what that gains, and that its work is
counted.
"""

from __future__ import annotations

import json
from math import inf
from pathlib import Path

import numpy as np
import pytest

from evoprompt.backends.local import LocalExecutor
from evoprompt.choices import COMPARISONS, predicted
from evoprompt.fitness.catalog import KINDS
from evoprompt.jobs.evolve.build import build, check_task
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start
from evoprompt.measurement.allowance import Allowance
from evoprompt.measurement.author import LENGTH_RATIO, TEMPERATURE, ModelAuthor, author_of
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.writer import Writer, Written
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example, LabelScores, TokenCount
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.base import Task

pytestmark = pytest.mark.usefixtures("no_pages")

POLICY = Policy(
    "Mood?", (Demonstration("lovely", "good"),), Template("T: ", "\nL:", "\n"), (("good", "fine"),)
)
HELD_OUT = (Demonstration("poor meal", "bad"), Demonstration("great", "good"))
CHOICES = ("bad", "good")


class Told:
    """A writer that says what it is told to, and keeps what it was asked."""

    def __init__(self, tokenizer: Tokenizer, text: str, num_tokens: int = 3) -> None:
        self.tokenizer = tokenizer
        self.asked: list[tuple] = []
        self.stops: list[tuple] = []
        self._written = Written(
            text, -1.0, num_tokens, TokenCount(body_tokens=7, generated_tokens=num_tokens)
        )

    def write(self, prompts, *, max_tokens, temperature=0.0, seeds=None, stops=("\n",)):
        self.stops.append(tuple(stops))
        self.asked += [
            (p, max_tokens, temperature, s)
            for p, s in zip(prompts, seeds or [None] * len(prompts), strict=True)
        ]
        return [self._written] * len(prompts)


@pytest.fixture(scope="module")
def scorer(tiny_model: Path) -> Scorer:
    return Scorer(TransformersLM(tiny_model, threads=1), chunk_tokens=64)


@pytest.fixture
def measurer(scorer: Scorer, tiny_model: Path) -> Measurer:
    tokenizer, executor = Tokenizer(tiny_model), LocalExecutor(scorer)
    return Measurer(tokenizer, executor, writer=Writer(tokenizer, executor))


def author(measurer: Measurer, writer=None, choices=CHOICES, allowance=None) -> ModelAuthor:
    writer = writer or Writer(measurer.tokenizer, measurer.executor)
    return ModelAuthor(measurer, writer, choices, allowance=allowance)


def measured(measurer: Measurer, policy: Policy, examples: list[Example]):
    return measurer.measure([policy], examples, lambda _: None, Ledger().timed)[policy.policy_id][0]


def test_an_input_is_written_after_others_in_the_policys_template(measurer: Measurer):
    told = Told(measurer.tokenizer, " nice train ")
    assert author(measurer, told).write_input(POLICY, ["poor", "good film"], seed=5) == "nice train"
    # Byte tokens: the longest input shown has 9.
    assert told.asked == [("T: poor\nT: good film\nT:", LENGTH_RATIO * 9, TEMPERATURE, 5)]
    author(measurer, told).write_input(Policy(template=Template("", " =>", "\n")), ["poor"], seed=5)
    assert told.asked[-1][0] == "poor\n", "the line end before an input without a prefix is kept"


@pytest.mark.parametrize(
    ("text", "num_tokens", "shown", "why"),
    [
        ("  ", 1, ["poor"], "nothing was written"),
        ("never ends", 8, ["poor"], "it did not end: 8 is twice the 4 tokens of the input shown"),
        ("fine", 3, ["two\nlines"], "inputs of several lines"),
        ("fine", 3, ["x" * 100], "no room in the window of 256"),
    ],
)
def test_what_is_not_a_whole_input_is_none(measurer: Measurer, text, num_tokens, shown, why):
    assert (
        author(measurer, Told(measurer.tokenizer, text, num_tokens)).write_input(
            POLICY, shown, seed=0
        )
        is None
    ), why


def test_the_seed_alone_draws_the_input(measurer: Measurer):
    texts = {
        author(measurer).write_input(POLICY, ["poor film today", "good film"], seed=seed)
        for seed in range(6)
    }
    assert len(texts) > 1
    assert texts == {
        author(measurer).write_input(POLICY, ["poor film today", "good film"], seed=seed)
        for seed in range(6)
    }


def test_the_label_is_the_likeliest_choice_of_the_policy(measurer: Measurer):
    for text in ("poor meal", "very good", "train", "sad room", "so so"):
        scores = measured(measurer, POLICY, [Example("x", text, "bad", CHOICES)])
        assert (
            author(measurer).label(POLICY, text)
            == CHOICES[int(scores.log_likelihood[0, 0].argmax())]
        )


@pytest.mark.parametrize(
    ("compared_by", "label"), [("likelihood", "bad"), ("per_token", "good"), ("pmi", "good")]
)
def test_the_label_is_what_the_runs_own_comparison_answers(compared_by: str, label: str):
    """bad -2 nats in 1 token and -1 without content, good -3 in 3 and -4: per token -2 and -1,
    beyond the prior -1 and +1.
    """

    class Unlike:
        def fits(self, policy, examples):
            return True

        def measure(self, policies, examples, on_policy, timed):
            tokens = np.array([[[1, 3]]])
            scores = LabelScores(
                ("p",),
                ("",),
                np.zeros(1, dtype=int),
                np.array([[[-2.0, -3.0]]]),
                tokens,
                tokens,
                tokens > 0,
                prior=np.array([[[-1.0, -4.0]]]),
            )
            return {policies[0].policy_id: (scores, TokenCount())}

    told = Told(None, "")
    assert ModelAuthor(Unlike(), told, CHOICES, COMPARISONS[compared_by]).label(POLICY, "") == label


def test_an_author_labels_as_its_run_answers(config_file: Path, tmp_path: Path):
    texts = ("poor meal", "very good", "train", "sad room", "so so", "x", "lovely lovely")
    examples = [Example(text, text, "bad", CHOICES) for text in texts]
    overrides = ["fitness.kind=pmi", "evolution.operators={context_stuffing: 1}"]
    parts = build(load_config(config_file, overrides), tmp_path)
    scores = measured(parts.measurer, POLICY, examples)
    labels = [parts.strategy.materials.author.label(POLICY, text) for text in texts]
    parts.measurer.close()
    assert labels == [CHOICES[i] for i in predicted(scores, COMPARISONS["pmi"])[0]]
    assert labels != [CHOICES[i] for i in predicted(scores)[0]], "the comparisons differ here"


def test_the_label_in_free_form_is_what_the_model_writes_after_the_steps(measurer: Measurer):
    told = Told(measurer.tokenizer, " fine ")
    assert author(measurer, told, choices=None).label(POLICY, "poor") == "fine"
    assert told.asked == [("Mood?\nT: lovely\nL: fine\nT: poor\nL:", 16, 0.0, None)]
    stepped = Policy("Mood?", template=POLICY.template, steps=("Why?",))
    [prompt], _ = measurer.prompts(stepped, ["poor"])
    author(measurer, told, choices=None).label(stepped, "poor")
    assert told.asked[-1][0] == prompt


def test_what_is_written_ends_as_the_policys_own_answers_do(measurer: Measurer):
    ours = author(measurer, told := Told(measurer.tokenizer, "fine"), choices=None)
    chat = Policy(template=Template("", "\nL:", " ;\n", "\n"))
    ours.write_input(chat, ["poor"], seed=0)
    ours.label(chat, "poor")
    assert told.stops == [("\n", " ;")] * 2
    assert told.asked[-1][0] == "poor\nL:\n"


def test_the_gain_is_that_of_the_mean_log_likelihood_of_the_right_answers(measurer: Measurer):
    after = Policy(
        POLICY.instruction,
        (*POLICY.demonstrations, Demonstration("sad", "bad")),
        POLICY.template,
        POLICY.label_words,
    )
    for choices, kind in ((CHOICES, "label_normalized"), (None, "sum")):
        examples = [Example(str(i), d.input, d.target, choices) for i, d in enumerate(HELD_OUT)]
        low, high = (
            KINDS[kind].cases(measured(measurer, p, examples)).mean() for p in (POLICY, after)
        )
        ours = author(measurer, choices=choices)
        assert ours.gain(POLICY, after, HELD_OUT) == pytest.approx(high - low, abs=1e-5)
        assert ours.gain(after, POLICY, HELD_OUT) == pytest.approx(low - high, abs=1e-5)
        assert ours.gain(POLICY, POLICY, HELD_OUT) == 0


def test_making_all_choices_likelier_is_no_gain(measurer: Measurer):
    """What a first demonstration does to a model that has not seen how the task is answered."""

    class Louder:
        def fits(self, policy, examples):
            return True

        def measure(self, policies, examples, on_policy, timed):
            ones = np.ones((1, 2, 2), dtype=np.int64)

            def scores(level):
                return LabelScores(
                    ("p",),
                    ("0", "1"),
                    np.zeros(2, dtype=int),
                    np.full((1, 2, 2), level),
                    ones,
                    ones,
                    ones > 0,
                )

            return {
                p.policy_id: (scores(-5.0 if p == POLICY else -1.0), TokenCount()) for p in policies
            }

    after = Policy("Other.")
    assert (
        ModelAuthor(Louder(), Told(measurer.tokenizer, ""), CHOICES).gain(POLICY, after, HELD_OUT)
        == 0
    )
    assert (
        ModelAuthor(Louder(), Told(measurer.tokenizer, ""), None).gain(POLICY, after, HELD_OUT) == 4
    )


def test_a_policy_that_does_not_fit_the_window_gains_nothing_and_labels_nothing(measurer: Measurer):
    long = Policy("x" * 250)
    assert author(measurer).gain(POLICY, long, HELD_OUT) == -inf
    assert author(measurer).label(long, "poor") == ""


def test_all_work_is_counted_until_it_is_taken(measurer: Measurer):
    told = Told(measurer.tokenizer, " fine ")
    account = Allowance()
    ours = author(measurer, told, allowance=account)
    ours.write_input(POLICY, ["poor"], seed=0)
    assert account.take_count() == TokenCount(body_tokens=7, generated_tokens=3)
    ours.label(POLICY, "poor")
    assert account.take_count().requests == 2
    ours.gain(POLICY, Policy("Mood!"), HELD_OUT)
    assert account.take_count().requests == 8
    assert account.take_count() == TokenCount()


def test_where_choices_differ_there_is_no_author(measurer: Measurer, config_file: Path):
    def task(*offers) -> Task:
        split = tuple(Example(str(i), "x", "a", offer) for i, offer in enumerate(offers))
        return Task("t", (), split, split, split, (Policy(),))

    writer = Writer(measurer.tokenizer, measurer.executor)
    assert author_of(task(("a", "b"), ("a", "c")), measurer, writer) is None
    assert author_of(task(("a", "b"), None), measurer, writer) is None
    assert author_of(task(("a", "b"), ("a", "b")), measurer, writer) is not None
    assert author_of(task(None, None), measurer, writer) is not None
    assert author_of(check_task(load_config(config_file))[0], measurer, writer) is not None


def test_what_the_model_wrote_evolves_and_is_counted_as_variation(
    config_file: Path, tmp_path: Path
):
    overrides = ["evolution.operators={context_stuffing: 6}", "evolution.generations=3"]
    summary = start(load_config(config_file, overrides), tmp_path / "run")
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "lineage.jsonl").read_text().splitlines()
    ]
    pool = {(d.input, d.target) for d in check_task(load_config(config_file))[0].demonstrations}
    own = [
        d
        for b in rows
        if b["operator"] == "context_stuffing"
        for d in b["policy"].get("demonstrations", [])
        if tuple(d) not in pool
    ]
    assert own
    assert {target for _, target in own} <= {"bad", "good"}
    assert summary["tokens"]["by_phase"]["variation"] > summary["tokens"]["generated"] > 0
    assert summary["seconds"]["variation"] > 0
    start(load_config(config_file, overrides), tmp_path / "again")
    assert (tmp_path / "again" / "lineage.jsonl").read_bytes() == (
        tmp_path / "run" / "lineage.jsonl"
    ).read_bytes()


def test_an_authors_work_is_within_the_budget(config_file: Path, tmp_path: Path):
    overrides = ["evolution.operators={context_stuffing: 6}", "evolution.generations=3"]
    start(load_config(config_file, overrides), tmp_path / "free")

    def spent(run: str) -> int:
        phases = json.loads((tmp_path / run / "checkpoint.json").read_text())["ledger"]["tokens"]
        return sum(phases[p]["floor_body_tokens"] for p in ("search", "variation") if p in phases)

    limit = spent("free")
    summary = start(
        load_config(config_file, [*overrides, f"budget.prefill_tokens={limit}"]), tmp_path / "cheap"
    )
    assert spent("cheap") <= limit
    assert summary["generations"] < 3
