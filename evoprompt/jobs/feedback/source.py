"""What a user says -> remarks, from words of a command, a file of lines, or the file of a
dialogue.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoprompt.errors import UserError
from evoprompt.text_files import parse_json, read_lines, refuse

#: What a line of a dialogue's file says of an answer -> how good that is.
MARKS = {"good": 1.0, "wrong": -1.0}


@dataclass(frozen=True, slots=True)
class Said:
    """A remark, before anything is made of it."""

    id: str
    text: str
    about: str = "prompt"
    value: float | None = None  #: from -1 to 1, where it was said by a mark; None: by words


def said_in(texts: Sequence[str], file: Path | None, policy_id: str, about: str) -> list[Said]:
    """Return what is said, in order.

    Args:
        texts: remarks.
        file: of remarks too, one a line, or what `evoprompt play` writes.
        policy_id: of the policy that they are about.
        about: prompt or answer; what a dialogue's file has is about answers.

    Raises:
        UserError: there is no remark, or the file cannot be read.
    """
    lines = [] if file is None else list(read_lines(file, "remarks"))
    found = [_typed(text, policy_id, about) for text in texts]
    for number, line in lines:
        if line.lstrip().startswith("{"):
            where = f"{file}, line {number}"
            found += _marked(parse_json(line, where), where, policy_id)
        else:
            found.append(_typed(line, policy_id, about))
    found = [each for each in found if each.text.strip()]
    if not found:
        raise UserError(
            'there is no remark: give some in quotes, e.g. evoprompt feedback RUN "Shorter, '
            'please.", or --file with a remark a line'
        )
    return list({each.id: each for each in found}.values())


def _typed(text: str, policy_id: str, about: str) -> Said:
    return Said(_id(policy_id, about, " ".join(text.split())), " ".join(text.split()), about)


def _marked(row: Any, where: str, policy_id: str) -> list[Said]:
    """Return what a line of a dialogue's file says: a mark, a note, or both."""
    expected = 'expected a line of evoprompt play, {"id", "feedback": good or wrong, "note"}'
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        refuse(where, expected, row)
    mark, note = row.get("feedback"), row.get("note")
    if (mark is not None and mark not in MARKS) or not isinstance(note, str | None):
        refuse(where, expected, row)
    found = []
    if mark is not None:
        found.append(Said(f"{row['id']}/mark", f"({mark})", "answer", MARKS[mark]))
    if note:
        found.append(Said(f"{row['id']}/note", note, "answer"))
    return found


def _id(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
