"""Checksums: JSON that knows whether it is as it was written, and digests of files as they grow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evoprompt.errors import UserError

CHECKSUM = "checksum"
_PIECE = 1 << 20


def checksum(content: object) -> str:
    """Return the SHA-256 of a JSON value in hexadecimal; the order of keys does not count."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with the checksum of all else that is in it."""
    plain = json.loads(json.dumps(content))
    return {**content, CHECKSUM: checksum(plain)}


def unsigned(text: bytes, what: str) -> Any:
    """Return the JSON value of a text, without its checksum; one without a checksum, of an older
    version, is taken as it is.

    Raises:
        UserError: it is not JSON, or not as it was written; `what` begins the sentence.
    """
    try:
        content = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{what} is damaged: it is not JSON ({error})") from None
    if isinstance(content, dict) and CHECKSUM in content:
        expected = content.pop(CHECKSUM)
        if checksum(content) != expected:
            raise UserError(f"{what} is damaged: its checksum is that of another content")
    return content


def prefix_digests(file: Path, sizes: Iterable[int]) -> dict[int, Any]:
    """Return the SHA-256 of a file's first bytes, for each of these numbers that it has, as objects
    of `hashlib` that more can be added to.
    """
    digests, running, done = {}, hashlib.sha256(), 0
    if not file.exists():
        return {0: running}
    with file.open("rb") as stream:
        for size in sorted(set(sizes)):
            while done < size and (piece := stream.read(min(_PIECE, size - done))):
                running.update(piece)
                done += len(piece)
            if done < size:
                break
            digests[size] = running.copy()
    return digests


def digest_of(file: Path) -> Any:
    """Return the running digest of a file, which may not exist yet."""
    running = hashlib.sha256()
    if file.exists():
        running.update(file.read_bytes())
    return running
