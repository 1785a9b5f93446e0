"""Names that users give -> names of folders; and no folder that leads elsewhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from evoprompt.errors import UserError

#: Bytes of a folder's name: file systems take 255, and numbers and scratch files add some.
MAX_BYTES = 120
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def folder_name(name: str, default: str = "run") -> str:
    """Return the name of one folder for any text: letters and digits of any alphabet, `_`, `.`, `+`
    and `-` stay, all else becomes `-`.

    It never leads elsewhere, is not hidden, no option of a command, no device of Windows, and at
    most 120 bytes long. A text of which nothing stays gives `default`.
    """
    words = re.sub(r"[^\w.+-]+", "-", unicodedata.normalize("NFC", name))
    short = words.strip("-.").encode()[:MAX_BYTES].decode(errors="ignore").rstrip("-.")
    return f"{default}-{short}" if _RESERVED.fullmatch(short) else short or default


def refuse_links(paths: Iterable[Path]) -> None:
    """Refuse links among the files of a folder: what is written there would be written elsewhere,
    and folders are received from others.

    Raises:
        UserError: one is a link.
    """
    for path in paths:
        if path.is_symlink():
            raise UserError(
                f"{path} is a link, and what is written there would be written elsewhere; put the "
                f"file itself there, or remove it"
            )


def numbered(path: Path) -> Path:
    """Make a folder of this name, numbered where that exists; two processes never get one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, candidate = 1, path
    while True:
        try:
            candidate.mkdir()
        except FileExistsError:
            number += 1
            candidate = path.with_name(f"{path.name}-{number}")
        else:
            return candidate
