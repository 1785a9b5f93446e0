"""The champion is shown whole: what has to be copied for its accuracy to be had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from evoprompt.calibration import LabelCalibration
from evoprompt.jobs.evolve.champion_page import answers_section, champion_section
from evoprompt.jobs.evolve.predictions import Prediction
from evoprompt.jobs.evolve.showcase import showcase_of, showcase_text
from evoprompt.jobs.held_out import Share
from evoprompt.policy import Policy
from evoprompt.report.diff import is_same
from evoprompt.tasks.render import render_prompt

BASELINE = Policy("Sort it.")
CHAMPION = Policy("Sort it now.", label_words=(("complaint", "negative"),))
CHOICES = ("complaint", "praise")


def row(example: str, policy: Policy, target: str, answer: str | None) -> Prediction:
    nats = None if answer is None else (-1.0, -2.0)
    about = ("test", example, f"text <b>{example}</b>\x1b[31m", target, CHOICES, policy.policy_id)
    return Prediction(*about, answer, answer == target, nats, nats)


ROWS = [
    row("1", BASELINE, "complaint", "praise"),
    row("2", BASELINE, "praise", "praise"),
    row("3", BASELINE, "praise", "praise"),
    row("1", CHAMPION, "complaint", "complaint"),
    row("2", CHAMPION, "praise", "complaint"),
    row("3", CHAMPION, "praise", None),
]


def told(policy: Policy, prompt: str) -> dict[str, object]:
    return {"policy": policy.to_dict(), "policy_id": policy.policy_id, "prompt": prompt}


def summary(champion: Policy = CHAMPION, prompt: str | None = None) -> SimpleNamespace:
    calibration = LabelCalibration("labelled", 1.0, {"complaint": 0.5, "praise": -0.5}, 20)
    return SimpleNamespace(
        name="night",
        model=SimpleNamespace(name="m"),
        task="inbox",
        seed=3,
        claim=SimpleNamespace(text="It is better.", verdict="better"),
        champion=SimpleNamespace(
            **told(champion, prompt or str(render_prompt(champion))),
            calibration=calibration,
            offsets=None,
        ),
        baseline=SimpleNamespace(**told(BASELINE, str(render_prompt(BASELINE)))),
        test=SimpleNamespace(
            num_examples=3,
            champion=Share(0.9, (0.8, 1.0)),
            champion_raw=Share(0.5, (0.2, 0.8)),
            baseline_raw=Share(0.25, (0.1, 0.4)),
            difference=Share(0.1, (0.0, 0.2)),
        ),
    )


def test_the_text_has_the_label_words_the_calibration_an_example_and_what_changed():
    text = showcase_text(showcase_of(summary(), ROWS, Path("a run")))
    assert "complaint: ' negative'" in text
    assert "praise: ' praise'" in text
    assert "adding: complaint +0.50, praise -0.50" in text
    assert "gets 50.0 % of the same examples right (the best starting prompt alone: 25.0 %)" in text
    # the first that is answered right, with the word that is written for its label
    assert "Input: text <b>1</b>\\x1b[31m\nOutput: negative\n(answered complaint" in text
    assert "Sort it{+ now+}." in text
    assert "complaint: ' [-complaint-]{+negative+}'" in text
    assert "evoprompt export 'a run' --to python" in text


def test_nothing_is_said_of_calibration_where_answers_are_as_they_are():
    plain = summary()
    plain.champion.calibration = plain.test.champion_raw = plain.test.baseline_raw = None
    shown = showcase_of(plain, ROWS, Path("run"))
    assert shown.alone == ""
    assert "alibrat" not in showcase_text(shown) + champion_section(shown, plain)


def test_a_chat_is_shown_as_the_model_reads_it():
    chat = replace(CHAMPION, chat="turns")
    rows = [row("1", chat, "complaint", "complaint")]
    prompt = "<|user|>{input} is no input, Input: {input}<|assistant|>Output:"
    text = showcase_text(showcase_of(summary(chat, prompt), rows, Path("run")))
    assert prompt in text
    assert "{input} is no input, Input: text <b>1</b>\\x1b[31m<|assistant|>Output: negative" in text
    assert "chat template: the model's own, demonstrations as turns" in text


def test_a_champion_that_is_the_starting_prompt_is_said_to_be():
    shown = showcase_of(summary(BASELINE), [], Path("run"))
    assert is_same(shown.changed)
    assert "It is the best starting prompt itself" in showcase_text(shown)
    assert "It is the best starting prompt itself" in champion_section(shown, summary(BASELINE))


@pytest.mark.parametrize("text", ["Sort it now.", "complaint: &#x27; negative&#x27;", "copy the"])
def test_the_page_has_the_same(text: str):
    assert text in champion_section(showcase_of(summary(), ROWS, Path("run")), summary()).replace(
        "<ins> now</ins>", " now"
    )


def test_the_page_tells_which_answers_changed_and_what_is_taken_for_what():
    page = answers_section(summary(), ROWS)
    assert (
        "Of 3 test examples, 1 that the best starting prompt answers wrong are right now, 2 that "
        "it answers right are wrong now; 0 are right and 0 wrong under both." in page
    )
    assert "text &lt;b&gt;1&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "no answer (too long)" in page
    # of 2 praises 2 were right, and none is now
    assert ">1.00<" in page
    assert ">0.00<" in page
    assert answers_section(summary(), []) == ""
