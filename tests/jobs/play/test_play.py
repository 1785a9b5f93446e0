"""Talking with a champion: what a line means, what a reply says, what the dialogue remembers, and
feedback that a later run learns from.

Invariants: (1) a mistake costs a sentence and changes nothing; (2) the same seed and the same lines
give the same session; (3) what was saved is on the disk at once, and every file of feedback is read
back by the reader it is meant for.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from math import exp, log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from evoprompt import cli
from evoprompt.config.sections import TrackingConfig
from evoprompt.config.task import TaskConfig
from evoprompt.errors import UserError
from evoprompt.jobs.base import job_of
from evoprompt.jobs.boost.build import build_boost
from evoprompt.jobs.evolve.config import check_config
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.play.dialogue import Dialogue, Offer, Player, offer_of, weigh, why_abstain
from evoprompt.jobs.play.lines import Act, Line, parse, reply_lines
from evoprompt.jobs.play.marks import Feedback, FeedbackFiles
from evoprompt.jobs.play.session import Session, joined, player_of, speaker_of, typed
from evoprompt.jobs.play.speaker import Measure, Speaker
from evoprompt.measurement.asker import Asker
from evoprompt.measurement.model import build_asker
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Example
from evoprompt.store.folder import SUMMARY, RunFolder
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.judge import DEFAULT_EVALUATOR
from evoprompt.tasks.load import load_task
from evoprompt.tasks.render import render_prompt
from evoprompt.tasks.sources.jsonl import read_jsonl, read_questions

pytestmark = pytest.mark.usefixtures("no_pages")

CHOICES = ("complaint", "praise", "request")
SHARED = Offer(CHOICES, compares=True)


class ToySpeaker:
    """Says what it is told to; remembers by which policies. It writes `draws[seed % len]`, and
    `greedy` at temperature 0.
    """

    def __init__(
        self,
        likelihood: dict[str, float] | None = None,
        greedy: str = "Rome",
        draws: tuple[str, ...] = ("Oslo", "Lima", "", "Rome"),
    ):
        self.likelihood = likelihood or {}
        self.greedy, self.draws = greedy, draws
        self.odds = {"praise": 1.5}
        self.rivals: list[str] = []
        self.most_demonstrations = 100
        self.policies: list[Policy] = []
        self.closed = False

    def fits(self, policy, text, answers):
        self.fitted = answers
        return len(policy.demonstrations) <= self.most_demonstrations

    def shown(self, policy):
        return render_prompt(policy)

    def prompt(self, policy, text):
        return render_prompt(policy, text)

    def measure(self, policy, text, answers):
        if text == "too long":
            raise UserError("a prompt longer than the window")
        self.policies.append(policy)
        return [Measure(self.likelihood.get(a, -5.0), 2) for a in answers]

    def write(self, policy, text, *, temperature, seeds):
        return [self.draws[s % len(self.draws)] if temperature else self.greedy for s in seeds]

    def log_odds(self, evaluator, text, answer, rivals=()):
        self.rivals = list(rivals)
        return self.odds.get(answer, -0.5)


def dialogue(
    speaker: ToySpeaker | None = None, offer: Offer = SHARED, seed: int = 0, **player
) -> Dialogue:
    policy = Policy("Sort it.", (Demonstration("Hello!", "praise"),))
    return Dialogue(
        Player(policy, player.pop("evaluator", DEFAULT_EVALUATOR), offer, **player),
        speaker or ToySpeaker(),
        seed,
    )


# --- what a line means


@pytest.mark.parametrize(
    ("line", "num_options", "meaning"),
    [
        ("  Where is my parcel? ", 0, Line(Act.SAY, "Where is my parcel?")),
        ("   ", 0, None),
        ("Good", 0, Line(Act.GOOD)),
        ("good morning", 0, Line(Act.SAY, "good morning")),
        ("wrong", 0, Line(Act.WRONG)),
        ("Wrong : a request: mine", 0, Line(Act.WRONG, "a request: mine")),
        ("wrong size delivered", 0, Line(Act.SAY, "wrong size delivered")),
        ("2", 3, Line(Act.CHOOSE, "2")),
        ("2", 0, Line(Act.SAY, "2")),
        ("/say good", 0, Line(Act.SAY, "good")),
        ("/note it is rude", 0, Line(Act.NOTE, "it is rude")),
        ("/quit", 0, Line(Act.QUIT)),
    ],
)
def test_a_line_is_an_input_unless_it_is_a_word_a_number_or_a_command_of_the_session(
    line, num_options, meaning
):
    assert parse(line, num_options) == meaning


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/promt", "did you mean 'prompt'"),
        ("/note", "needs a text"),
        ("/say  ", "needs a text"),
        ("3", "choose 0 to 2"),
    ],
)
def test_a_line_that_means_nothing_is_answered_with_what_would(line, message):
    with pytest.raises(UserError, match=message):
        parse(line, 3)


@given(st.lists(st.text(st.characters(exclude_characters="\\\r\n", codec="utf-8"))))
def test_lines_stay_apart_unless_a_backslash_ends_them(lines):
    assert list(joined(f"{line}\n" for line in lines)) == lines
    assert list(joined(f"{line}\\\n" for line in lines)) == (
        ["\n".join(lines) + "\n"] if lines else []
    )


# --- what is answered


def test_options_are_weighed_by_hand_among_each_other_and_per_token():
    # exp(l): 0.2 and 0.6, together 0.8: 0.25 and 0.75. Per token exp(ln(0.2) / 1) = 0.2 and
    # exp(ln(0.6) / 2) = sqrt(0.6).
    measures = [Measure(log(0.2), 1), Measure(log(0.6), 2)]
    compared = weigh(["a", "b c"], measures, compares=True, keep_first=False)
    assert [(o.text, pytest.approx(o.probability)) for o in compared] == [
        ("b c", 0.75),
        ("a", 0.25),
    ]
    free = weigh(["a", "b c"], measures, compares=False, keep_first=True)
    assert [(o.text, pytest.approx(o.probability)) for o in free] == [("a", 0.2), ("b c", 0.6**0.5)]
    assert free[1].log_likelihood_per_token == pytest.approx(log(0.6) / 2)
    # Beyond what they have anyway, 0.4 and 0.9: 1/2 and 2/3.
    beyond = weigh(
        ["a", "b c"],
        [Measure(log(0.2), 1, log(0.4)), Measure(log(0.6), 2, log(0.9))],
        compares=True,
        keep_first=False,
    )
    assert [(o.text, pytest.approx(o.probability)) for o in beyond] == [
        ("b c", 4 / 7),
        ("a", 3 / 7),
    ]


@given(
    st.lists(st.tuples(st.floats(-2000, 0), st.integers(1, 9)), min_size=1, max_size=6),
    st.floats(-100, 100),
)
def test_compared_options_sum_to_one_sorted_and_do_not_change_when_all_get_likelier(drawn, shift):
    answers = [str(i) for i in range(len(drawn))]
    options = weigh(answers, [Measure(v, n) for v, n in drawn], compares=True, keep_first=False)
    assert sum(o.probability for o in options) == pytest.approx(1)
    assert [o.probability for o in options] == sorted(
        (o.probability for o in options), reverse=True
    )
    shifted = {
        o.text: o.probability
        for o in weigh(
            answers, [Measure(v + shift, n) for v, n in drawn], compares=True, keep_first=False
        )
    }
    assert shifted == pytest.approx({o.text: o.probability for o in options})


def example(*choices: str, target: str | None = None) -> Example:
    return Example("", "q", target or choices[0], choices or None)


def test_what_a_task_offers_follows_from_the_choices_of_its_examples():
    assert offer_of([example("a", "b"), example("b", "a")]) == Offer(("a", "b"), compares=True)
    assert offer_of([example("a", "b", "no"), example("c", "d", "no")]) == Offer(
        None, compares=True, refusal="no"
    )
    assert offer_of([example("a", "b"), example("c", "d")]) == Offer(None, compares=True)
    assert offer_of([example("a", "b"), example("b", "a", "c", "d")]).refusal is None, (
        "two common choices: neither is a refusal"
    )
    assert offer_of([example("a", "b"), example(target="x")]) == offer_of([]) == Offer()


def test_a_reply_has_the_choices_by_probability_and_the_evaluators_verdict():
    speaker = ToySpeaker({"complaint": log(0.1), "praise": log(0.3), "request": log(0.1)})
    talk = dialogue(speaker)
    lines = [line for line, _ in reply_lines(talk.player, talk.say("Thank you!"), bars=False)]
    # 0.3 / 0.5 and twice 0.1 / 0.5; log-odds 1.5: 1 / (1 + exp(-1.5)) = 0.818
    assert lines == [
        "  praise     0.600",
        "  complaint  0.200",
        "  request    0.200",
        "answer: praise",
        "self-evaluation: TRUE, log-odds +1.50, probability right 0.818",
    ]
    assert reply_lines(talk.player, talk.reply, bars=True)[0] == (
        "  praise     0.600  " + "█" * 14,
        "bold",
    )


def test_it_says_why_the_policy_would_abstain():
    talk = dialogue(abstain_below=0.5)
    assert (
        why_abstain(talk.player, talk.say("Thank you!"))
        == "the answer's probability 0.333 is below 0.5"
    )
    talk = dialogue()
    assert why_abstain(talk.player, talk.say("Thank you!")) == "the self-evaluation says FALSE"
    talk = dialogue(threshold=-0.6)
    assert why_abstain(talk.player, talk.say("Thank you!")) is None
    assert (
        "self-evaluation: TRUE, log-odds -0.50, TRUE from -0.60, probability right 0.378"
        in dict(reply_lines(talk.player, talk.reply, bars=False))
    )


def test_an_answer_is_judged_against_its_rivals_where_the_loop_did_so():
    speaker = ToySpeaker({"praise": -1.0})
    dialogue(speaker).say("Thank you!")
    assert speaker.rivals == []
    talk = dialogue(speaker, among_rivals=True)
    shown = [line for line, _ in reply_lines(talk.player, talk.say("Thank you!"), bars=False)]
    assert speaker.rivals == ["complaint", "request"]
    assert shown[-1].startswith("self-evaluation (against the other options): TRUE")


def test_without_an_evaluator_the_answers_own_probability_judges():
    talk = dialogue(
        ToySpeaker({"praise": log(0.8), "complaint": log(0.1), "request": log(0.1)}), evaluator=None
    )
    assert talk.say("Thank you!").log_odds == pytest.approx(log(0.8 / 0.2))
    assert "the answer's own probability" in reply_lines(talk.player, talk.reply, bars=False)[4][0]
    certain = dialogue(
        ToySpeaker({"praise": 0.0, "complaint": -2000.0, "request": -2000.0}), evaluator=None
    )
    assert certain.say("Thank you!").log_odds < 30


def test_where_the_task_is_free_form_the_model_writes_the_options_its_own_answer_first():
    speaker = ToySpeaker({"Oslo": -1.0, "Lima": -2.0, "Rome": -3.0})
    talk = dialogue(speaker, Offer(), seed=4)
    reply = talk.say("Which city?")
    assert [o.text for o in reply.options] == ["Rome", "Oslo", "Lima"], (
        "empty and equal ones are left out, the others are sorted"
    )
    assert reply.answer.probability == pytest.approx(exp(-3 / 2)), "per token"
    assert reply_lines(talk.player, reply, bars=False)[1][0] == "  1) Oslo  (-0.50 nats per token)"
    assert talk.num_options == 3
    assert talk.choose(2).answer.text == "Lima"
    assert talk.prompt().endswith("Input: Which city?\nOutput:")
    talk.say("And then?")
    assert speaker.policies[-1].demonstrations[-1] == Demonstration("Which city?", "Lima")


def test_where_choices_differ_the_refusal_is_among_the_options_and_means_nonsense():
    offer = Offer(None, compares=True, refusal="yo be real")
    talk = dialogue(
        ToySpeaker({"yo be real": -0.1}, draws=("Oslo", "Lima", "Bonn", "Kyiv", "yo be real")),
        offer,
    )
    reply = talk.say("How many bonks are in a quoit?")
    assert reply.answer.text == "yo be real"
    assert len(reply.options) == 4
    assert sum(o.probability for o in reply.options) == pytest.approx(1)
    assert "this is the task's refusal: the question is held for nonsense" in dict(
        reply_lines(talk.player, reply, bars=False)
    )
    assert not any(
        "nonsense" in line for line, _ in reply_lines(talk.player, talk.choose(1), bars=False)
    )


def test_the_same_seed_and_lines_give_the_same_options_and_another_seed_or_attempt_others():
    draws = tuple(f"city {i}" for i in range(97))
    replies = [
        dialogue(ToySpeaker(draws=draws), Offer(), seed).say("Which city?").options
        for seed in (1, 1, 2)
    ]
    assert replies[0] == replies[1]
    assert replies[0] != replies[2]
    talk = dialogue(ToySpeaker(draws=draws), Offer(), 1)
    attempts = [talk.say("Which city?").options, talk.again().options, talk.again().options]
    assert len({tuple(sorted(o.text for o in options)) for options in attempts}) == 3
    second = [o.text for o in talk.say("Which city?").options]
    assert second != [o.text for o in replies[0]], "each input has draws of its own"


def test_a_model_that_writes_nothing_is_told_and_no_other_options_where_the_task_has_choices():
    with pytest.raises(UserError, match="writes nothing"):
        dialogue(ToySpeaker(greedy="", draws=("",)), Offer()).say("Which city?")
    talk = dialogue()
    talk.say("Thank you!")
    with pytest.raises(UserError, match="the choices are the task's"):
        talk.again()


# --- what the dialogue remembers


def shown(speaker: ToySpeaker) -> list[tuple[str, str]]:
    """The turns that the latest prompt showed, after the policy's own demonstration."""
    return [(d.input, d.target) for d in speaker.policies[-1].demonstrations[1:]]


def test_turns_stay_with_their_answer_a_wrong_one_leaves_and_the_right_one_takes_its_place():
    speaker = ToySpeaker({"praise": 0.0})
    talk = dialogue(speaker)
    for text in "abcd":
        talk.say(text)
        assert talk.mark(text == "a", {"c": " Request "}.get(text)) == {
            "a": "praise",
            "c": "request",
        }.get(text)
    talk.say("e")
    assert shown(speaker) == [("a", "praise"), ("c", "request")]
    talk.say("f")
    assert shown(speaker)[-1] == ("e", "praise"), "unmarked turns stay with the answer given"
    talk.begin_anew()
    talk.say("g")
    assert shown(speaker) == []


def test_of_two_choices_the_other_one_is_right():
    talk = dialogue(ToySpeaker({"no": 0.0}), Offer(("yes", "no"), compares=True))
    talk.say("Is it?")
    assert talk.mark(False) == "yes"


@pytest.mark.parametrize(
    ("target", "message"),
    [("prase", "did you mean 'praise'"), ("complaint", "is the answer that was given")],
)
def test_a_right_answer_that_cannot_be_is_refused_and_changes_nothing(target, message):
    speaker = ToySpeaker({"complaint": 0.0})
    talk = dialogue(speaker)
    talk.say("a")
    with pytest.raises(UserError, match=message):
        talk.mark(False, target)
    talk.say("b")
    assert shown(speaker) == [("a", "complaint")]


def test_what_the_user_said_of_an_answer_outlives_other_options_until_he_chooses_one():
    speaker = ToySpeaker()
    talk = dialogue(speaker, Offer())
    talk.say("a")
    talk.mark(False, "Ankara")
    talk.again()
    talk.say("b")
    assert shown(speaker) == [("a", "Ankara")]
    talk.mark(False, "Ankara")
    other = talk.choose(1).answer.text
    talk.say("c")
    assert shown(speaker)[1] == ("b", other)


def test_the_earliest_turns_are_forgotten_where_the_window_is_full_and_the_reply_says_so():
    speaker = ToySpeaker()
    speaker.most_demonstrations = 3  # the policy's own and two turns
    talk = dialogue(speaker)
    assert [talk.say(text).forgotten for text in "abcde"] == [0, 0, 0, 1, 2]
    assert [i for i, _ in shown(speaker)] == ["c", "d"]
    assert speaker.fitted == CHOICES, "the longest of them must fit too"
    assert (
        reply_lines(talk.player, talk.reply, bars=False)[0][0]
        == "the first 2 turns no longer fit the model's window and are not shown to it"
    )
    speaker.most_demonstrations = 1
    assert (talk.say("f").forgotten, shown(speaker)) == (5, [])
    speaker.most_demonstrations = 3
    talk.say("g")
    assert [i in talk.prompt() for i in ("Input: d\n", "Input: e\n", "Input: g\n")] == [
        False,
        True,
        True,
    ]


def test_an_input_that_cannot_be_answered_leaves_the_dialogue_as_it_was():
    speaker = ToySpeaker()
    talk = dialogue(speaker)
    with pytest.raises(UserError, match="no answer yet"):
        talk.mark(True)
    first = talk.say("a")
    with pytest.raises(UserError, match="longer than the window"):
        talk.say("too long")
    assert talk.reply == first
    assert talk.say("b").number == 2
    assert shown(speaker) == [("a", first.answer.text)]


# --- feedback


def feedback(line_id: str, target: str | None, **other) -> Feedback:
    row = Feedback(
        "Thank you!",
        target,
        CHOICES,
        line_id,
        "praise",
        "good" if target else "wrong",
        None,
        0.5,
        0.9,
        "2025-01-01T00:00:00+00:00",
    )
    return replace(row, **other)


def test_lines_with_a_right_answer_are_a_tasks_and_the_others_a_loops_questions(tmp_path: Path):
    files = FeedbackFiles(tmp_path / "said.jsonl")
    assert files.save(feedback("1", "praise")) == tmp_path / "said.jsonl"
    assert (
        files.save(feedback("2", None, input="a\u2028b\nc", note="wörtlich"))
        == tmp_path / "said.unlabelled.jsonl"
    )
    assert read_jsonl(files.path) == [Example("1", "Thank you!", "praise", CHOICES)]
    assert read_questions(files.unlabelled) == (Example("2", "a\u2028b\nc", "", CHOICES),)
    assert "wörtlich" in files.unlabelled.read_text()
    keys = [
        "input",
        "target",
        "choices",
        "id",
        "answer",
        "feedback",
        "note",
        "log_odds",
        "probability",
        "time",
    ]
    assert list(json.loads(files.path.read_text())) == keys


def test_the_last_word_on_an_answer_counts_and_other_lines_stay(tmp_path: Path):
    path = tmp_path / "said.jsonl"
    path.write_text('{"id": "1", "input": "of an earlier session"}\nno JSON')
    files = FeedbackFiles(path)
    files.save(feedback("7", "praise"))
    files.save(feedback("8", "praise"))
    files.save(feedback("7", "praise", note="kind"))
    rows = path.read_text().splitlines()
    assert rows[:2] == ['{"id": "1", "input": "of an earlier session"}', "no JSON"]
    assert [(json.loads(r)["id"], json.loads(r)["note"]) for r in rows[2:]] == [
        ("8", None),
        ("7", "kind"),
    ]
    files.save(feedback("7", None))
    assert [json.loads(r)["id"] for r in path.read_text().splitlines()[2:]] == ["8"]
    assert [json.loads(r)["id"] for r in files.unlabelled.read_text().splitlines()] == ["7"]


def test_files_that_cannot_be_written_are_told_before_anything_is_said(tmp_path: Path):
    for path in (tmp_path / "none" / "said.jsonl", tmp_path):
        with pytest.raises(UserError, match="feedback cannot be written"):
            FeedbackFiles(path).check()


# --- a session


def session(lines: str, path: Path, talk: Dialogue | None = None) -> str:
    """Have a session with these lines; return what was shown."""
    shown_text = io.StringIO()
    console = Console(file=shown_text, highlight=False, markup=False, soft_wrap=True)
    talking = Session(talk or dialogue(ToySpeaker({"praise": 0.0})), FeedbackFiles(path), console)
    talking.go(joined(typed(io.StringIO(lines), console)))
    talking.close()
    return shown_text.getvalue()


def test_a_session_by_pipe_is_plain_lines_and_goes_on_after_a_mistake(tmp_path: Path, capsys):
    out = session(
        "Thank you!\ngood\n/frob\n\nIt [bold]broke.\\\nTwice.\n/note odd\nwrong: "
        "Complaint\n/prompt\n/help\n/new\n/quit\nnever\n",
        tmp_path / "f.jsonl",
    )
    assert "\x1b" not in out
    assert out.count("answer: praise\n") == 2
    assert "no command '/frob'" in capsys.readouterr().err
    assert "Input: It [bold]broke.\nTwice.\nOutput:" in out
    assert "the right answer is complaint" in out
    assert out.count("feedback on ") == out.count("feedback on 2 answers is in") == 1
    assert "a new dialogue\n" in out
    assert "never" not in out
    rows = [json.loads(line) for line in (tmp_path / "f.jsonl").read_text().splitlines()]
    assert [(r["input"], r["target"], r["answer"], r["feedback"], r["note"]) for r in rows] == [
        ("Thank you!", "praise", "praise", "good", None),
        ("It [bold]broke.\nTwice.", "complaint", "praise", "wrong", "odd"),
    ]
    assert not (tmp_path / "f.unlabelled.jsonl").exists(), (
        "the note alone was there, until the right answer was known"
    )


def test_each_chosen_option_is_an_answer_of_its_own_and_free_form_feedback_has_no_choices(
    tmp_path: Path,
):
    session(
        "Which city?\nwrong\n1\ngood\n/go\n", tmp_path / "f.jsonl", talk := dialogue(offer=Offer())
    )
    [right] = read_jsonl(tmp_path / "f.jsonl")
    [open_question] = read_questions(tmp_path / "f.unlabelled.jsonl")
    assert right.choices is open_question.choices is None
    assert right.example_id != open_question.example_id
    assert talk.reply.input == right.target, "/go takes the answer as the next input"


def test_feedback_where_choices_differ_offers_what_was_written_and_the_right_answer(tmp_path: Path):
    talk = dialogue(offer=Offer(None, compares=True, refusal="yo be real"))
    session("Which city?\nwrong: Ankara\n", tmp_path / "f.jsonl", talk)
    [row] = read_jsonl(tmp_path / "f.jsonl")
    assert row.target == row.choices[-1] == "Ankara"
    assert {"Rome", "yo be real"} <= set(row.choices)


def test_a_file_of_feedback_is_a_task(tmp_path: Path):
    lines = [
        f"message {i}\n"
        + ("good\n" if i % 2 else "wrong: request\n")
        + ("/new\n" if i % 5 == 0 else "")
        for i in range(60)
    ]
    session("".join(lines), tmp_path / "f.jsonl")
    task = load_task(TaskConfig(path=tmp_path / "f.jsonl"))
    assert task.choices == CHOICES
    assert len(task.pool) + len(task.fitness) + len(task.validation) + len(task.test) == 60
    assert {e.target for e in task.test} == {"praise", "request"}


def test_input_that_is_not_text_is_the_users_mistake():
    stream = io.TextIOWrapper(io.BytesIO(b"caf\xe9\n"), encoding="utf-8")
    with pytest.raises(UserError, match="not UTF-8"):
        list(typed(stream, Console(file=io.StringIO())))
    ascii_pipe = io.TextIOWrapper(io.BytesIO(b"caf\xe9\n"), "ascii", errors="surrogateescape")
    with pytest.raises(UserError, match="not UTF-8"):
        list(typed(ascii_pipe, Console(file=io.StringIO())))


def test_a_byte_order_mark_before_the_first_line_is_no_input():
    stream = io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfone\ntwo\n"), encoding="utf-8")
    assert list(typed(stream, Console(file=io.StringIO()))) == ["one\n", "two\n"]


def test_lines_of_others_in_the_feedback_file_stay_byte_for_byte(tmp_path: Path):
    path = tmp_path / "f.jsonl"
    others = b'\xef\xbb\xbf{"id": "x"}\r\ncaf\xe9\n' + b"[" * 100_000 + b"\n"
    path.write_bytes(others)
    files = FeedbackFiles(path)
    for note in ("a", "b"):
        files.save(Feedback("in", "x", None, "1", "x", "good", note, 0.0, 1.0, "now"))
    content = path.read_bytes()
    assert content.startswith(others)
    [line] = content.removeprefix(others).splitlines()
    assert json.loads(line)["note"] == "b"


def test_feedback_to_what_is_no_file_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "f.unlabelled.jsonl")
    with pytest.raises(UserError, match="feedback cannot be written"):
        FeedbackFiles(tmp_path / "f.jsonl").check()


# --- with a model, through the command line


@pytest.fixture
def evoprompt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: object, lines: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["evoprompt", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def finished_run(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, task_file: Path
) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    values = {
        "model": {"name": str(tiny_model), "chunk_tokens": 64, "memo": False},
        "task": {
            "path": str(task_file),
            "fitness_examples": 4,
            "validation_examples": 4,
            "test_examples": 4,
        },
        "evolution": {"population": 2, "children": 2, "generations": 1},
        "workers": {"backend": "local"},
        "tracking": {"enabled": False},
    }
    start(check_config(values, "test"), folder / "run")
    return folder / "run"


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A run of the tiny model, for one test alone."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.mark.slow
def test_a_later_run_learns_from_what_was_said_to_an_earlier_ones_champion(
    evoprompt, run: Path, config_file: Path, tmp_path: Path
):
    words = ("film", "book", "meal", "room", "train", "tea", "hat", "pen")
    lines = [
        f"the {a} and the {b}\n{'good' if a < b else 'wrong'}\n/new\n" for a in words for b in words
    ]
    code, out, err = evoprompt("play", run, lines="".join(lines))
    assert (code, err) == (0, "")
    assert out.startswith(f"champion of {run}; choices: bad, good;")
    assert "\x1b" not in out
    assert out.count("\nanswer: ") == 64
    assert len(read_jsonl(run / "feedback.jsonl")) == 64, "of two choices the other one is right"
    path = f"task.path={run / 'feedback.jsonl'}"
    assert (
        evoprompt(
            "run",
            config_file,
            "--out",
            tmp_path / "next",
            "--set",
            path,
            "--set",
            "evolution.generations=1",
        )[0]
        == 0
    )
    assert (
        json.loads((tmp_path / "next" / "summary.json").read_text())["test"]["num_examples"] == 20
    )


def test_choices_may_be_given_and_the_feedbacks_file_too(evoprompt, run: Path, tmp_path: Path):
    options = ("--choices", "up, down,left", "--feedback", tmp_path / "mine.jsonl")
    code, out, err = evoprompt("play", run, *options, lines="the film\ngood\nthe hat\nwrong\n")
    assert (code, "choices: up, down, left" in out) == (0, True), err
    [known], [unknown] = (
        read_jsonl(tmp_path / "mine.jsonl"),
        read_questions(tmp_path / "mine.unlabelled.jsonl"),
    )
    assert known.choices == unknown.choices == ("up", "down", "left")
    assert not (run / "feedback.jsonl").exists()


def test_a_champion_answers_as_it_did_in_its_run(run: Path):
    """The same model, asked by the run's own way, gives the same answer with the same
    probability.
    """
    champion = replace(job_of(run).champion(run), policy=Policy("Say how it was."))
    player = player_of(champion)
    asker = build_asker(champion.config, answer_tokens=16)
    talk = Dialogue(player, Speaker(asker), 0)
    for text in ("a good film", "a bad train"):
        talk.begin_anew()
        reply = talk.say(text)
        [answer] = asker.answers(
            player.policy, [Example("e", text, "bad", ("bad", "good"))], "test"
        )
        assert (answer.text, pytest.approx(answer.probability, abs=1e-6)) == (
            reply.answer.text,
            reply.answer.probability,
        )
        assert reply.log_odds == pytest.approx(
            asker.verdicts(DEFAULT_EVALUATOR, [text], [answer.text], "test")[0], abs=1e-5
        )
    other = asker.answers(
        Policy("Is it sad?"), [Example("e", text, "bad", ("bad", "good"))], "test"
    )[0]
    assert abs(other.probabilities[0] - answer.probabilities[0]) > 1e-4, (
        "power twin: another prompt is another probability"
    )


def test_a_free_form_champion_writes_with_the_model(evoprompt, config_file: Path, tmp_path: Path):
    rng = np.random.default_rng(3)
    rows = [{"input": f"say {i}", "target": "".join(rng.choice(list("abc"), 2))} for i in range(60)]
    (tmp_path / "free.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    free = (
        "--set",
        f"task={{path: {tmp_path / 'free.jsonl'}, test_examples: 4}}",
        "--set",
        "evolution.generations=1",
    )
    assert evoprompt("run", config_file, "--out", tmp_path / "free", *free)[0] == 0
    lines = "say 3\n1\ngood\n/again\nsay 4\nwrong: bb\n"
    code, out, err = evoprompt("play", tmp_path / "free", "--seed", 5, lines=lines)
    assert (code, err) == (0, "")
    assert out.count("nats per token") >= 8
    assert [e.choices for e in read_jsonl(tmp_path / "free" / "feedback.jsonl")] == [None, None]
    again = evoprompt(
        "play", tmp_path / "free", "--seed", 5, "--feedback", tmp_path / "f.jsonl", lines=lines
    )[1]
    assert [x for x in again.splitlines() if "saved" not in x and "feedback" not in x] == [
        x for x in out.splitlines() if "saved" not in x and "feedback" not in x
    ]


def test_a_wrong_folder_an_unfinished_run_and_choices_that_are_none_cost_a_sentence(
    evoprompt, run: Path, tmp_path: Path, task_file: Path
):
    code, _, err = evoprompt("play", tmp_path / "nowhere")
    assert (code, "there is no run in" in err, "Traceback" in err) == (2, True, False)
    for choices in ("yes", "yes,yes", "yes,,no"):
        assert evoprompt("play", run, "--choices", choices)[0] == 2
    code, _, err = evoprompt("play", run, "--feedback", tmp_path / "nowhere" / "f.jsonl")
    assert (code, "feedback cannot be written" in err) == (2, True)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace(str(task_file), "gone.jsonl"))
    code, _, err = evoprompt("play", run)
    assert (code, "--choices" in err) == (2, True)
    assert evoprompt("play", run, "--choices", "bad,good", lines="the film\n")[0] == 0
    (run / "summary.json").unlink()
    code, _, err = evoprompt("play", run)
    assert (code, "is not complete" in err) == (2, True)


def test_a_loops_champion_is_judged_by_the_loops_evaluator_and_abstains_as_the_loop_does(
    evoprompt, boost_file: Path, tmp_path: Path
):
    loop = (
        "--set",
        "loop.rounds=1",
        "--set",
        "loop.threshold=0.25",
        "--set",
        "loop.abstain_below=0.999",
    )
    judge = ("--set", 'evaluator={instruction: "Is it right?", output_prefix: "\\nSay:"}')
    code, _, err = evoprompt("boost", boost_file, "--out", tmp_path / "loop", *loop, *judge)
    assert code == 0, err
    code, out, err = evoprompt("play", tmp_path / "loop", lines="the film\nthe book\n")
    assert (code, err) == (0, "")
    assert out.count("TRUE from +0.25") == 2
    assert out.count("would abstain: the answer's probability") == 2
    player = player_of(job_of(tmp_path / "loop").champion(tmp_path / "loop"))
    assert player.evaluator is not None
    assert (player.evaluator.instruction, player.threshold, player.abstain_below) == (
        "Is it right?",
        0.25,
        0.999,
    )


@pytest.mark.parametrize("answers", ["batch", "pmi", "likelihood"])
def test_a_loops_champion_answers_and_judges_one_input_as_the_loop_did_all(
    evoprompt, boost_file: Path, tmp_path: Path, answers: str
):
    loop = (
        "--set",
        "loop.rounds=1",
        "--set",
        f"loop.answers={answers}",
        "--set",
        "loop.judge=rivals",
    )
    code, _, err = evoprompt("boost", boost_file, "--out", tmp_path / "loop", *loop)
    assert code == 0, err
    folder = RunFolder(tmp_path / "loop")
    champion = job_of(folder.path).champion(folder.path)
    config, policy = champion.config, champion.policy
    parts = build_boost(
        config.model_copy(update={"tracking": TrackingConfig(enabled=False)}), tmp_path
    )
    asker = Asker(parts.measurer, parts.writer, Ledger(), answered_by=answers)
    together = asker.answers(policy, parts.task.test, "test")
    log_odds = asker.verdicts_among(
        parts.evaluator, parts.task.test, [a.text for a in together], "test"
    )
    talk = Dialogue(player_of(champion), speaker_of(champion), 0)
    for example, answer, odds in zip(parts.task.test, together, log_odds, strict=True):
        talk.begin_anew()
        reply = talk.say(example.input)
        assert (reply.answer.text, pytest.approx(reply.answer.probability, abs=1e-5)) == (
            answer.text,
            answer.probability,
        )
        assert reply.log_odds == pytest.approx(odds, abs=1e-4)
    assert (folder.read(SUMMARY)["champion"]["prior"] is not None) == (answers == "batch")
    parts.close()


def heed_ctrl_c() -> None:
    """A shell starts its background jobs with Ctrl-C ignored, and children inherit that; a user's
    terminal does not.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_ctrl_c_exits_130_and_what_was_said_is_kept(run: Path):
    command = [sys.executable, "-m", "evoprompt.cli", "play", str(run)]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen(command, preexec_fn=heed_ctrl_c, **pipes)
    process.stdin.write("the film\ngood\n")
    process.stdin.flush()
    assert any(line.startswith("saved in") for line in process.stdout), process.stderr.read()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert "feedback on 1 answer is in" in out
    assert len(read_jsonl(run / "feedback.jsonl")) == 1
