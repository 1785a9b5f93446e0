"""A dialogue with a run's champion, with all that surrounds it: the run's folder, the model, the
lines that come in, the feedback that is kept.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TextIO

from rich.console import Console

from evoprompt.errors import UserError
from evoprompt.jobs.base import Champion, job_of
from evoprompt.jobs.play.dialogue import Dialogue, Offer, Player, Reply, offer_of
from evoprompt.jobs.play.lines import HELP, Act, Line, parse, reply_lines
from evoprompt.jobs.play.marks import Feedback, FeedbackFiles
from evoprompt.jobs.play.speaker import Speaker
from evoprompt.measurement.asker import Asker
from evoprompt.measurement.model import build_asker
from evoprompt.records import Example
from evoprompt.scoring.models import fetching, is_fetched
from evoprompt.tasks.blank import refuse_blank
from evoprompt.tasks.load import load_task
from evoprompt.tasks.sources.jsonl import read_questions
from evoprompt.terminal import PlainConsole, short_path
from evoprompt.text_files import MARK

FEEDBACK = "feedback.jsonl"  #: in the run's folder, where no other file is given


def play(
    run: Path,
    feedback: Path | None,
    *,
    seed: int | None,
    choices: str | None,
    url: str | None = None,
) -> None:
    """Talk with the champion of a complete run or loop until the input ends.

    Args:
        run: the folder.
        feedback: file of what the user says of the answers; by default one in the folder.
        seed: of what the model writes; by default the run's.
        choices: that every input is offered, with commas between them; by default the task's.
        url: of a server that holds the run's model; None is who scored in the run.

    Raises:
        UserError: there is no complete run, its task cannot be read, the choices are no choice, or
            the feedback cannot be written.
    """
    champion = job_of(run).champion(run).at(url)
    player = player_of(champion, choices)
    files = FeedbackFiles(feedback if feedback is not None else run / FEEDBACK)
    files.check()
    console = PlainConsole(soft_wrap=not sys.stdout.isatty())
    name = champion.config.model.name
    if console.is_terminal or not is_fetched(name):
        console.print(f"loading {name} {'' if is_fetched(name) else fetching(name)}".rstrip())
    speaker = speaker_of(champion)
    session = Session(
        Dialogue(player, speaker, champion.config.seed if seed is None else seed), files, console
    )
    try:
        session.open(run.resolve())
        session.go(joined(typed(sys.stdin, console)))
    except KeyboardInterrupt:
        if console.is_terminal:
            console.print()  # what was being typed keeps its line
        raise
    finally:
        speaker.close()
        session.close()


def player_of(champion: Champion, choices: str | None = None) -> Player:
    """Return a champion as it is played with: how it judges, and what its task offers.

    Raises:
        UserError: as `play`.
    """
    refuse_blank(champion.config.task, "this gives")
    return Player(
        champion.policy,
        champion.evaluator,
        _offer(champion, choices),
        among_rivals=champion.among_rivals,
        threshold=champion.threshold,
        abstain_below=champion.abstain_below,
    )


def speaker_of(champion: Champion) -> Speaker:
    """Return the model of a champion; a loop's answers and judges one input alone as it did all
    test inputs.
    """
    return Speaker(asker_of(champion), champion.verdict_prior)


def asker_of(champion: Champion) -> Asker:
    """Return what asks a champion's model, one input or many, and compares answers as it does.

    Raises:
        UserError: its task scores what follows a choice.
    """
    refuse_blank(champion.config.task, "this gives")
    return build_asker(
        champion.config,
        answer_tokens=champion.answer_tokens,
        answered_by=champion.answered_by,
        calibration=champion.calibration,
        verdict_calibration=champion.verdict_calibration,
        answering=champion.answering,
    )


@dataclass(frozen=True, slots=True)
class Mark:
    """What the user said of an answer so far."""

    feedback: Literal["good", "wrong"] | None = None
    target: str | None = None
    note: str | None = None


class Session:
    """Lines in, replies shown, feedback kept.

    Args:
        dialogue: what is talked with.
        files: where feedback goes.
        console: where everything is shown; bars and colours on a terminal alone.
    """

    def __init__(self, dialogue: Dialogue, files: FeedbackFiles, console: Console) -> None:
        self._dialogue = dialogue
        self._files = files
        self._console = console
        self._errors = PlainConsole(stderr=True, soft_wrap=True)
        self._begun = time.time_ns() // 1_000_000
        self._mark = Mark()
        self._num_answers = 0
        self._saved: dict[Path, set[str]] = {}

    def open(self, run: Path) -> None:
        """Say who answers, and how to be helped."""
        offer = self._dialogue.player.offer
        answers = (
            f"choices: {', '.join(offer.choices)}"
            if offer.choices
            else "no common choices: the model writes options"
        )
        self._console.print(
            f"champion of {short_path(run)}; {answers}; /help says what can be typed"
        )

    def go(self, lines: Iterable[str]) -> None:
        """Answer each line until there are no more, or one says so. A mistake is told, and the
        dialogue goes on.
        """
        for typed_line in lines:
            try:
                line = parse(typed_line, self._dialogue.num_options)
                if line is not None and line.act is Act.QUIT:
                    return
                if line is not None:
                    self._do(line)
            except UserError as error:
                self._errors.print(f"! {error}")

    def close(self) -> None:
        """Say where the feedback is."""
        for file, ids in self._saved.items():
            if ids:
                use = "a task: {path: ...}" if file == self._files.path else "questions: ..."
                self._console.print(
                    f"feedback on {len(ids)} answer{'s' if len(ids) != 1 else ''} is in "
                    f"{short_path(file)} (a config reads it as {use})"
                )

    def _do(self, line: Line) -> None:
        dialogue = self._dialogue
        match line.act:
            case Act.SAY:
                self._show(dialogue.say(line.text))
            case Act.GO:
                self._show(dialogue.say(dialogue.reply.answer.text))
            case Act.AGAIN:
                self._show(dialogue.again())
            case Act.CHOOSE:
                self._show(dialogue.choose(int(line.text)))
            case Act.GOOD:
                self._keep(Mark("good", dialogue.mark(True), self._mark.note))
            case Act.WRONG:
                self._keep(Mark("wrong", dialogue.mark(False, line.text or None), self._mark.note))
            case Act.NOTE:
                self._keep(Mark(self._mark.feedback, self._mark.target, line.text))
            case Act.NEW:
                dialogue.begin_anew()
                self._console.print("a new dialogue")
            case Act.PROMPT:
                self._console.print(dialogue.prompt())
            case Act.HELP:
                self._console.print(HELP)

    def _show(self, reply: Reply) -> None:
        self._mark = Mark()
        self._num_answers += 1
        for text, style in reply_lines(
            self._dialogue.player, reply, bars=self._console.is_terminal
        ):
            self._console.print(text, style=style)
        if self._console.is_terminal and self._dialogue.num_options > 1:
            self._console.print(
                f"which one do you choose? 0 to {self._dialogue.num_options - 1}, or the next "
                f"input",
                style="dim",
            )

    def _keep(self, mark: Mark) -> None:
        reply = self._dialogue.reply
        feedback = Feedback(
            input=reply.input,
            target=mark.target,
            choices=choices_of(self._dialogue.player.offer, reply, mark.target),
            id=f"{self._begun}-{self._num_answers}",
            answer=reply.answer.text,
            feedback=mark.feedback,
            note=mark.note,
            log_odds=reply.log_odds,
            probability=reply.answer.probability,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        file = self._files.save(feedback)
        self._mark = mark
        for ids in self._saved.values():
            ids.discard(feedback.id)
        self._saved.setdefault(file, set()).add(feedback.id)
        known = (
            f"; the right answer is {mark.target}"
            if mark.feedback == "wrong" and mark.target
            else ""
        )
        self._console.print(f"saved in {short_path(file)}{known}", style="green")


def choices_of(offer: Offer, reply: Reply, target: str | None) -> tuple[str, ...] | None:
    """Return the choices of a line of feedback: the task's, or what was offered and the right
    answer with it; None in free form.
    """
    if offer.choices is not None or not offer.compares:
        return offer.choices
    offered = tuple(
        dict.fromkeys([*(o.text for o in reply.options), *([target] if target is not None else [])])
    )
    return offered if len(offered) > 1 else None


def typed(stream: TextIO, console: Console) -> Iterator[str]:
    """Yield the lines of a terminal, with a prompt, or of a pipe.

    Raises:
        UserError: what comes in is not text.
    """
    try:
        for number, line in enumerate(_lines(stream, console)):
            line.encode()  # a terminal or pipe of ASCII gives bytes as halves of surrogate pairs
            yield line if number else line.removeprefix(MARK)
    except UnicodeError as error:
        raise UserError(
            f"the input is not UTF-8 text ({getattr(error, 'reason', error)})"
        ) from None


def _lines(stream: TextIO, console: Console) -> Iterator[str]:
    if not (stream.isatty() and console.is_terminal):
        yield from stream
        return
    with suppress(ImportError):  # not on every system: then lines are typed without editing
        import readline  # noqa: F401
    while True:
        try:
            yield input("> ")
        except EOFError:
            console.print()
            return


def joined(lines: Iterable[str]) -> Iterator[str]:
    r"""Yield the lines, those that end in a \ together with the next."""
    begun = ""
    for line in lines:
        whole = begun + line.rstrip("\r\n")
        if whole.endswith("\\"):
            begun = whole[:-1] + "\n"
            continue
        begun = ""
        yield whole
    if begun:
        yield begun


def _offer(champion: Champion, choices: str | None) -> Offer:
    given = tuple(c.strip() for c in choices.split(",")) if choices is not None else ()
    if choices is not None and (len(set(given)) < max(2, len(given)) or not all(given)):
        raise UserError(
            f"--choices {choices!r}: expected at least two different answers with commas between "
            f"them, e.g. --choices yes,no"
        )
    try:
        offer = offer_of(_examples(champion))
    except UserError as error:
        if not given:
            raise UserError(
                f"{error}; the answers that are possible are the task's: give them with "
                f"--choices where its file is gone"
            ) from None
        offer = Offer()
    return Offer(given, compares=True, refusal=offer.refusal) if given else offer


def _examples(champion: Champion) -> tuple[Example, ...]:
    asked = read_questions(champion.questions) if champion.questions is not None else ()
    if champion.config.task is None:
        return asked
    task = load_task(champion.config.task)
    return (*asked, *task.pool, *task.fitness, *task.validation, *task.test)
