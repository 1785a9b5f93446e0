"""A champion's answers to inputs of a file or a pipe, with their probabilities."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from evoprompt.config.task import FieldsConfig, TaskConfig, is_hub_address
from evoprompt.errors import UserError, printable
from evoprompt.jobs.base import Champion, identify, job_of
from evoprompt.jobs.play.session import asker_of, player_of
from evoprompt.measurement.answers import Answering
from evoprompt.measurement.asker import Answer, Asker, is_right
from evoprompt.records import Example
from evoprompt.tasks.fields import Filled, fill, resolve
from evoprompt.tasks.labels import renamed
from evoprompt.tasks.readers.base import Table
from evoprompt.tasks.readers.open import form_of, open_plain, open_table, read_table
from evoprompt.tasks.readers.plain import COLUMN
from evoprompt.tasks.sources.file import labels_of
from evoprompt.terminal import PlainConsole

#: Inputs that are asked together, and whose answers are written then.
BATCH = 64
#: What a pipe is called, and the form of plain text.
PIPE, LINES = "-", "lines"

#: What answers choices that differ by input need.
CHOICES = "give each input its choices, as the task's file has them"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is asked."""

    rows: list[Filled]
    note: str = ""  #: what was guessed


def predict(
    run: Path,
    source: str,
    target: Path | None,
    form: str | None = None,
    url: str | None = None,
) -> None:
    """Write the answer of a run's champion to each input, a line of JSON each: `input`, `answer`,
    `probability`, `probabilities` (of each choice), `written` where the answer was found in more
    text, and `id` and `target` where these are known.

    Args:
        run: the folder of a complete run or loop.
        source: a file that `task.path` takes too, read by the run's own `task.fields`, or text
            with an input a line; `-` is the standard input.
        target: the file to write; None is the standard output.
        form: of the source, a suffix such as csv, or `lines`; None finds it out.
        url: of a server that holds the run's model; None is who scored in the run.

    Raises:
        UserError: there is no complete run, the source is malformed, the target exists, or an input
            has no answer (which is said after the others are written).
    """
    champion = job_of(run).champion(run).at(url)
    inputs = read_inputs(champion.config.task, source, form)
    asked = examples_of(champion, inputs.rows)
    if target is not None and target.exists():
        raise UserError(f"{target} exists, and nothing is overwritten; give another name")
    console = PlainConsole(stderr=True, soft_wrap=True)
    if inputs.note:
        console.print(f"note: {inputs.note}")
    identify(champion.config, console)
    asker = asker_of(champion)
    try:
        with ExitStack() as stack:
            stream: TextIO = sys.stdout
            if target is not None:
                stream = stack.enter_context(target.open("x", encoding="utf-8"))
            answers = _written(answered(asker, champion, asked), inputs.rows, asked, stream)
    finally:
        asker.measurer.close()
    _tell(console, inputs.rows, answers, champion.answering)


def read_inputs(task: TaskConfig | None, source: str, form: str | None = None) -> Inputs:
    """Return the inputs of a file, or of the standard input, as a task's fields read them; of plain
    text each line is one.

    Raises:
        UserError: as `open_table` and `fields.resolve`.
    """
    name = "the standard input" if source == PIPE else source
    with ExitStack() as stack:
        if is_hub_address(source):
            form, table = "parquet", stack.enter_context(open_table(source))
        else:
            file = _open(source, stack)
            form = form or _form(source, file)
            table = read_table(file, name, form)
        plain = form == LINES
        fields = FieldsConfig(input=COLUMN, choices="none") if plain else _fields(task, table)
        found, note = resolve(fields, table, name, labelled=False)
        rows = list(fill(found, table, name))
        names = labels_of(task, found, table) if task is not None and not plain else {}
    if not rows:
        raise UserError(f"{name} has no row; give some, one an input")
    return Inputs(renamed(rows, names, strict=False), note)


def _open(source: str, stack: ExitStack) -> BinaryIO:
    if source == PIPE:
        return BytesIO(sys.stdin.buffer.read())
    return stack.enter_context(open_plain(Path(source)))


def _form(source: str, file: BinaryIO) -> str:
    """Return the form of an input: as of a file of examples, but for text without a suffix that
    says more, which is not taken for a table.
    """
    path = Path("" if source == PIPE else source)
    found = form_of(path, file)
    suffix = path.suffix.removeprefix(".").lower()
    first = file.readline().lstrip(b"\xef\xbb\xbf \t")
    file.seek(0)
    is_text = found in ("csv", "jsonl") and not first.startswith((b"{", b"["))
    return LINES if is_text and suffix in ("", "txt", "text") else found


def _fields(task: TaskConfig | None, table: Table) -> FieldsConfig:
    """Return what the run read of its task's file; of one whose lines have the keys of an example,
    these.
    """
    if task is not None and task.fields is not None:
        return task.fields
    keys = [key for key in ("input", "target", "choices", "id") if key in table.columns]
    return FieldsConfig.model_validate({key: key for key in keys} if COLUMN in keys else {})


def examples_of(champion: Champion, rows: Sequence[Filled]) -> list[Example]:
    """Return what is asked: each input with what the champion chooses from.

    Raises:
        UserError: choices differ by input, and an input has none; or the task cannot be read.
    """
    shared: tuple[str, ...] | None = None
    differ = False
    if champion.calibration is not None:
        shared = tuple(champion.calibration.offsets)
    else:
        offer = player_of(champion).offer
        shared, differ = offer.choices, offer.compares and offer.choices is None
    asked = []
    for number, row in enumerate(rows):
        choices = row.choices if differ else shared
        if differ and (choices is None or len(choices) < 2):
            raise UserError(
                f"{row.where}: the champion chooses among choices that differ by input; {CHOICES}"
            )
        target = choices[0] if choices else "?"  # not looked at
        asked.append(Example(str(number), row.input, target, choices))
    return asked


def answered(
    asker: Asker, champion: Champion, asked: Sequence[Example]
) -> Iterator[Answer | UserError]:
    """Yield the answer to each example in turn, or why there is none."""
    size = len(asked) if asker.comparison.over_batch else BATCH
    for begin in range(0, len(asked), size):
        batch = asked[begin : begin + size]
        try:
            yield from asker.answers(champion.policy, batch, "predict")
        except UserError as error:
            if len(batch) == 1 or asker.comparison.over_batch:
                yield from [error] * len(batch)
                continue
            for example in batch:
                yield from answered(asker, champion, [example])


def _written(
    answers: Iterator[Answer | UserError],
    rows: Sequence[Filled],
    asked: Sequence[Example],
    stream: TextIO,
) -> list[Answer | UserError]:
    """Write the lines as answers come; return the answers."""
    kept = []
    for answer, row, example in zip(answers, rows, asked, strict=True):
        stream.write(_json(line_of(answer, row, example)) + "\n")
        kept.append(answer)
        if len(kept) % BATCH == 0:
            stream.flush()
    return kept


def _json(line: dict[str, Any]) -> str:
    """Return a line as JSON; one with a character that acts on a terminal is written in ASCII."""
    text = json.dumps(line, ensure_ascii=False)
    return text if printable(text) == text else json.dumps(line)


def line_of(answer: Answer | UserError, row: Filled, example: Example) -> dict[str, Any]:
    """Return what is written of an answer."""
    line: dict[str, Any] = {} if row.id is None else {"id": row.id}
    line["input"] = row.input
    if isinstance(answer, UserError):
        line |= {"answer": None, "error": str(answer)}
    else:
        choices = example.choices or (answer.text,)
        shares = dict(zip(choices, answer.probabilities, strict=True))
        line |= {"answer": answer.text, "probability": answer.probability}
        line |= {"written": answer.written} if answer.written not in ("", answer.text) else {}
        line |= {"probabilities": shares} if example.choices else {}
    return line if row.target is None else {**line, "target": row.target}


def _tell(
    console: PlainConsole,
    rows: Sequence[Filled],
    answers: Sequence[Answer | UserError],
    answering: Answering | None = None,
) -> None:
    """Say how many answers are right, where targets are known; of answers that a run graded, their
    mean grade, unless a judge is needed for it.

    Raises:
        UserError: an input has no answer, or the metric fails on one.
    """
    told = [
        (answer, row)
        for answer, row in zip(answers, rows, strict=True)
        if isinstance(answer, Answer) and row.target
    ]
    known = [is_right(answer.text, row.target or "") for answer, row in told]
    if known and answering is not None and not answering.grader.is_judged:
        grades = [
            answering.grader.grade(a.written, Example(r.where, r.input, r.target or "")).value
            for a, r in told
        ]
        console.print(f"the metric is {sum(grades) / len(grades):.3f} on {len(grades)} answers")
    elif known:
        console.print(f"{sum(map(bool, known))} of {len(known)} answers are the given target")
    failed = [(r, a) for r, a in zip(rows, answers, strict=True) if isinstance(a, UserError)]
    if failed:
        row, error = failed[0]
        raise UserError(
            f"{len(failed)} of {len(rows)} inputs have no answer; the first is {row.where}: {error}"
        )
