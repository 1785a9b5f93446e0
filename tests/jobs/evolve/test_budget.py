"""What cannot be scored is told before the search, and what a run forwards stays in its budget."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from evoprompt.choices import LIKELIHOOD
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.budget import Costs
from evoprompt.jobs.evolve.conclude import answered_right
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import LINEAGE
from evoprompt.jobs.evolve.session import start
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.units import Wanted
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example, LabelScores
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.tasks.base import Task

pytestmark = pytest.mark.usefixtures("no_pages")

WINDOW = 100
PLAIN = Policy("Say it.", template=Template("T: ", "\nL:", "\n"))


def example(name: str, length: int, choices: tuple[str, ...] = ("bad", "good")) -> Example:
    return Example(name, "x" * length, choices[0], choices, origin=f"some.jsonl:{name}")


def costs(
    tokenizer,
    *policies: Policy,
    verdicts: bool = False,
    window: int = WINDOW,
    of: Task | None = None,
    **splits,
) -> Costs:
    """Return costs with one short example in each split that is not given; one byte is a token."""
    short = (example("1", 5),)
    task = of or Task(
        "t",
        (),
        **(dict.fromkeys(("fitness", "validation", "test"), short) | splits),
        starting_policies=policies or (PLAIN,),
    )
    executor = SimpleNamespace(info=lambda: SimpleNamespace(window=window))
    config = SimpleNamespace(
        final=SimpleNamespace(candidates=2),
        budget=SimpleNamespace(prefill_tokens=None, logical_tokens=None),
    )
    return Costs(config, task, Measurer(tokenizer, executor, Wanted(verdicts=verdicts)))


class Rewriting:
    """Splits other texts than those that are given, so that a character is not a token."""

    def __init__(self, tokenizer: Tokenizer, pattern: str, by: str) -> None:
        self._own, self._pattern, self._by = tokenizer, pattern, by
        self.begin_token, self.break_tokens = tokenizer.begin_token, tokenizer.break_tokens

    def encode(self, texts, *, add_special_tokens=True):
        return self._own.encode([re.sub(self._pattern, self._by, t) for t in texts])


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Tokenizer:
    return Tokenizer(tiny_model)


# "Say it.\nT: " is 11 tokens, "\nL:" 3, " good" 5 of which 4 are fed: an input may have 82.
@pytest.mark.parametrize("split", ["fitness", "validation", "test"])
def test_an_input_that_is_too_long_is_told_with_its_line_in_any_split(tokenizer, split: str):
    costs(tokenizer, **{split: (example("7", 82),)}).check_founders()
    long = (example("6", 5), example("7", 83), example("9", 90))
    with pytest.raises(UserError) as told:
        costs(tokenizer, replace(PLAIN, instruction=""), PLAIN, **{split: long}).check_founders()
    message = str(told.value)
    assert "2 examples cannot be scored: some.jsonl:7, some.jsonl:9. some.jsonl:7: " in message
    assert "with starting policy 2" in str(told.value)
    assert "101 tokens, longer than the model's window of 100" in str(told.value)


def test_added_demonstrations_that_are_too_long_are_left_out_with_a_note(tokenizer):
    # "T: bb...\nL: bad\n" before "T: xxxxx\nL: good" of 16 tokens of which the last is not fed
    one, many = (
        replace(PLAIN, demonstrations=tuple(Demonstration("b" * 20, "bad") for _ in range(n)))
        for n in (1, 9)
    )
    task = Task(
        "t",
        (),
        **dict.fromkeys(("fitness", "validation", "test"), (example("1", 5),)),
        starting_policies=(PLAIN, one, many),
        added=frozenset([one, many]),
    )
    fitting = costs(tokenizer, of=task).fitting()
    assert fitting.starting_policies == (PLAIN, one)
    assert fitting.notes[0].startswith("1 of 3 starting policies are left out: ")
    assert costs(tokenizer, of=fitting).fitting() is fitting
    # those that were given are never left out, and there is always one
    for own in (replace(task, added=frozenset()), replace(task, starting_policies=(many,))):
        unchanged = costs(tokenizer, of=own)
        assert unchanged.fitting() is own
        with pytest.raises(UserError, match="cannot be scored"):
            unchanged.check_founders()


def test_all_are_counted_and_three_are_shown(tokenizer):
    long = tuple(example(str(i), 90 + i) for i in range(5))
    with pytest.raises(UserError, match=r"5 examples .*:0, some.jsonl:1, some.jsonl:2 and 2 more"):
        costs(tokenizer, fitness=long).check_founders()


def test_the_longest_is_told_by_tokens_and_by_every_candidate(tokenizer):
    """The most characters are not the most tokens, and the gold label not the longest choice."""
    wide = Example("8", "w" * 28, "bad", ("bad", "good"), origin="some.jsonl:8")  # 84 tokens
    with pytest.raises(UserError, match="some.jsonl:8: "):
        these = Rewriting(tokenizer, "w", "xxx")
        costs(these, fitness=(example("7", 60), wide)).check_founders()
    many = example("5", 40, ("bad", "y" * 50))
    with pytest.raises(UserError, match="some.jsonl:5: "):
        costs(tokenizer, fitness=(example("7", 60), many)).check_founders()


def test_the_default_evaluator_is_asked_for_too(tokenizer):
    # of 200 tokens 182 are for the input, less the package's clause and "\nProposed answer: good"
    task = {"fitness": (example("7", 150),), "window": 200}
    costs(tokenizer, **task).check_founders()
    with pytest.raises(UserError, match="1 example cannot be scored: some.jsonl:7"):
        costs(tokenizer, verdicts=True, **task).check_founders()


def test_a_child_is_held_against_fitness_and_validation_but_not_the_test(tokenizer):
    child = replace(PLAIN, instruction=PLAIN.instruction + "!" * 10)
    for split, fits in (("fitness", False), ("validation", False), ("test", True)):
        assert costs(tokenizer, **{split: (example("7", 80),)}).fits(child) is fits
        assert costs(tokenizer, **{split: (example("7", 72),)}).fits(child)


def test_a_policy_that_cannot_be_tokenized_is_told_or_passed_over(tokenizer):
    # a token has ": " and what follows, so no answer can stand after a colon
    merging = Rewriting(tokenizer, r": (?=\w)", "_")
    with pytest.raises(UserError, match="1 example cannot be scored: some.jsonl:1.*not a prefix"):
        costs(merging, PLAIN).check_founders()
    fine = replace(PLAIN, template=Template("T ", "\nL", "\n"))
    these = costs(merging, fine)
    these.check_founders()
    assert these.fits(fine)
    assert not these.fits(PLAIN)


CHEAP = ("evolution.generations=3", "task.test_examples=8")
RUNS = {
    "plain": (),
    "prior": ("fitness.kind=pmi",),
    "cross-entropy": ("traits.prompt_cross_entropy=true",),
    "verdicts": ("fitness.self_evaluation=0.5",),
    "evaluators": ("fitness.self_evaluation=0.5", "evolution.operators={evaluator_change: 9.0}"),
    "steps": ("evolution.operators={step_add: 9.0}",),
    "author": ("evolution.operators={context_stuffing: 9.0}",),
}


def test_a_policy_that_was_weighed_is_not_weighed_again_for_another_start(tokenizer, monkeypatch):
    task = Task("t", (), *[(example("1", 5),)] * 3, starting_policies=(PLAIN,))
    known, unknown = costs(tokenizer, of=task), costs(tokenizer, of=task)
    weighed = known.of([PLAIN])
    other = known.starting(replace(task, starting_policies=(PLAIN, Policy("Other."))), ())
    monkeypatch.setattr(Measurer, "weigh", lambda *_: pytest.fail("weighed again"))
    assert other.of([PLAIN]) == weighed
    for fresh, policy in ((other, Policy("Other.")), (unknown, PLAIN)):
        with pytest.raises(pytest.fail.Exception, match="weighed again"):
            fresh.of([policy])


def needed(config_file: Path, folder: Path, overrides) -> int:
    with pytest.raises(UserError, match=r"budget.prefill_tokens is 1, and .* take (\d+)") as told:
        start(load_config(config_file, [*overrides, "budget.prefill_tokens=1"]), folder)
    assert not folder.exists()
    return int(re.findall(r"take (\d+) together", str(told.value))[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUNS)
def test_a_run_keeps_its_budget_from_the_founders_to_the_test(
    config_file: Path, tmp_path: Path, kind: str
):
    overrides = [*CHEAP, *RUNS[kind]]
    more = 8 if kind == "steps" else 3  # what steps may write is kept free for
    least = needed(config_file, tmp_path / "refused", overrides)
    for name, limit in (("least", least), ("more", least * more)):
        summary = start(
            load_config(config_file, [*overrides, f"budget.prefill_tokens={limit}"]),
            tmp_path / name,
        )
        assert summary["tokens"]["prefill"] <= limit
        assert summary["tokens"]["floor"] <= limit
    assert summary["generations"] > 0, "nothing was searched with more"


def test_a_budget_is_refused_before_anything_is_forwarded_and_taken_at_what_it_names(
    config_file: Path, tmp_path: Path
):
    least = needed(config_file, tmp_path / "refused", CHEAP)
    for limit in (least - 1, least):
        config = load_config(config_file, [*CHEAP, f"budget.prefill_tokens={limit}"])
        if limit < least:
            with pytest.raises(UserError, match="give budget.prefill_tokens at least that"):
                start(config, tmp_path / "less")
        else:
            assert start(config, tmp_path / "least")["generations"] == 0
    rows = [json.loads(line) for line in (tmp_path / "least" / LINEAGE).read_text().splitlines()]
    assert {row["generation"] for row in rows} == {0}


def test_test_examples_that_do_not_fit_the_champion_are_left_out_and_counted_wrong(tokenizer):
    # 82 characters fit a founder; a champion with ten more has room for 72
    test = (example("1", 72), example("2", 73), example("3", 5))
    champion = replace(PLAIN, instruction=PLAIN.instruction + "!" * 10)
    these = costs(tokenizer, test=test)
    assert these.answerable(PLAIN) == test
    assert these.answerable(champion) == (test[0], test[2])
    assert these.answerable(replace(PLAIN, instruction="!" * WINDOW)) == ()
    one = np.ones((1, 2, 2), dtype=np.int64)
    scores = LabelScores(
        policy_ids=("p",),
        example_ids=("1", "3"),
        gold=np.zeros(2, dtype=np.int64),
        log_likelihood=np.array([[[-1.0, -2.0], [-1.0, -2.0]]]),
        num_tokens=one,
        num_bytes=one,
        is_greedy=one > 0,
    )
    assert answered_right(test, scores, LIKELIHOOD).tolist() == [True, False, True]
    assert not answered_right(test, None, LIKELIHOOD).any()
    # with verdicts, an evaluator that has no room for an answer leaves the example out as well
    judging = costs(tokenizer, test=(example("1", 5), example("2", 150)), verdicts=True, window=200)
    assert judging.answerable(PLAIN) == (example("1", 5),)


def test_a_champion_that_some_test_examples_do_not_fit_ends_the_run_all_the_same(
    config_file: Path, tmp_path: Path, task_file: Path
):
    """The founder has room for 250 characters of 256, one with demonstrations has not."""
    rows = [json.loads(line) for line in task_file.read_text().splitlines()[:40]]
    test = tmp_path / "test.jsonl"
    long = [row | {"id": f"l{i}", "input": f"{i} " + "so " * 78} for i, row in enumerate(rows[:4])]
    short = [row | {"id": f"s{i}", "input": f"{i} so"} for i, row in enumerate(rows[:16])]
    test.write_text("".join(json.dumps(row) + "\n" for row in long + short))
    policies = "[{instruction: '', input_prefix: '', output_prefix: '='}]"
    adding = (
        "evolution.generations=2",
        "evolution.operators={demonstration_add: 1000.0}",
        f"task.starting_policies={policies}",
    )
    summary = start(load_config(config_file, [f"task.test_path={test}", *adding]), tmp_path / "run")
    assert summary["champion"]["policy"]["demonstrations"]
    assert summary["unanswered"] == 4
    assert summary["test"]["num_examples"] == 20
    assert summary["test"]["champion"]["value"] <= 16 / 20


def test_children_whose_answers_a_model_cannot_tell_apart_are_passed_over(
    config_file: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """To the tokenizer "Fine" and "fine" are the same; as texts they are not."""
    folder = shutil.copytree(tiny_model, tmp_path / "uncased")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Lowercase"}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = load_config(
        config_file,
        [
            f"model.name={folder}",
            "task.label_words={bad: [Fine], good: [fine]}",
            "task.starting_policies=[{label_words: {bad: Fine}}, {label_words: {good: fine}}]",
            "evolution.operators={label_word_change: 1000.0}",
        ],
    )
    start(config, tmp_path / "run")
    words = [
        json.loads(line)["policy"].get("label_words", {})
        for line in (tmp_path / "run" / LINEAGE).read_text().splitlines()
    ]
    assert {"bad": "Fine"} in words
    assert {"good": "fine"} in words
    assert all(len(both) < 2 for both in words)
    monkeypatch.setattr(Costs, "fits", lambda self, policy: True)
    with pytest.raises(UserError, match="cannot be told apart by the model"):
        start(config, tmp_path / "unchecked")
