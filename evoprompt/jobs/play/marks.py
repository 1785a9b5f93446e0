"""What a user says of a policy's answers, kept as JSONL: a run reads it as its task, a loop as its
questions.

Two files, since an example without a right answer is none: `feedback.jsonl` has the lines whose
right answer is known (`task.path` of a later run), `feedback.unlabelled.jsonl` beside it the
others, with null for the target (`questions` of a later loop).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from evoprompt.errors import UserError


@dataclass(frozen=True, slots=True)
class Feedback:
    """A line: a question, the answer that was given, and what was said of it. The fields' order is
    the file's.
    """

    input: str
    target: str | None  #: the right answer; None where it is not known
    choices: tuple[str, ...] | None  #: None for free form
    id: str
    answer: str
    feedback: str | None  #: `good` or `wrong`; None where there is a note alone
    note: str | None
    log_odds: float  #: that the answer is right, by the policy's self-evaluation, nats
    probability: float  #: of the answer: among the choices, or per token of what was written
    time: str  #: ISO 8601


class FeedbackFiles:
    """The two files. What is saved is on the disk when `save` returns.

    Args:
        path: of the lines whose right answer is known.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unlabelled = path.with_name(f"{path.stem}.unlabelled{path.suffix}")
        self._saved: dict[str, Path] = {}

    def check(self) -> None:
        """Find out whether the files can be written, before anything is said.

        Raises:
            UserError: they cannot.
        """
        folder = self.path.parent
        odd = any(f.exists() and not f.is_file() for f in (self.path, self.unlabelled))
        if odd or not folder.is_dir() or not os.access(folder, os.W_OK):
            raise UserError(
                f"feedback cannot be written to {self.path}; give --feedback a file in a folder "
                f"that exists and can be written to"
            )

    def save(self, feedback: Feedback) -> Path:
        """Append a line, and take away what these files were given under the same id before: the
        last word counts. Return the file.

        Raises:
            UserError: the disk does not take it.
        """
        file = self.path if feedback.target is not None else self.unlabelled
        try:
            _append(file, _json(feedback))
            if feedback.id in self._saved:
                _drop_earlier(
                    self._saved[feedback.id],
                    feedback.id,
                    keep_last=self._saved[feedback.id] == file,
                )
        except OSError as error:
            raise UserError(f"feedback cannot be written to {file}: {error.strerror}") from None
        self._saved[feedback.id] = file
        return file


def _json(feedback: Feedback) -> str:
    """Return a line, readable in any script; characters that some readers take for a line's end are
    escaped.
    """
    text = json.dumps(asdict(feedback), ensure_ascii=False)
    return "".join(f"\\u{ord(c):04x}" if c in "\x85\u2028\u2029" else c for c in text)


def _append(file: Path, line: str) -> None:
    """Append a line to a file, after the end of the line before it."""
    with file.open("a+b") as stream:
        end = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, end - 1))
        broken = end > 0 and stream.read(1) != b"\n"
        stream.write(("\n" if broken else "").encode() + f"{line}\n".encode())
        stream.flush()
        os.fsync(stream.fileno())


def _drop_earlier(file: Path, line_id: str, *, keep_last: bool) -> None:
    """Take the lines with an id out of a file, but for the last one where it is to stay, in one
    step; a file without lines goes.
    """
    lines = file.read_bytes().removesuffix(b"\n").split(b"\n")
    found = [number for number, line in enumerate(lines) if _id_of(line) == line_id]
    dropped = set(found[:-1] if keep_last else found)
    kept = [line for number, line in enumerate(lines) if number not in dropped]
    if not kept:
        file.unlink()
        return
    scratch = file.with_name(f".{file.name}.new")
    scratch.write_bytes(b"".join(line + b"\n" for line in kept))
    scratch.replace(file)


def _id_of(line: bytes) -> object:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):  # a line of somebody else's, or no text: it stays
        return None
    return row.get("id") if isinstance(row, dict) else None
