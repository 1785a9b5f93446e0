"""Names that users give -> names of folders."""

from __future__ import annotations

import re
import unicodedata

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
