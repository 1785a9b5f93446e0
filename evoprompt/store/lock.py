"""Who writes in a folder: one process at a time.

The lock is the operating system's, on `.lock` in the folder, so it ends with the process, however
that ends; `.owner.json` beside it says who holds it, for people. On a network file system it holds
as far as that system passes locks on.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from evoprompt.errors import UserError

LOCK, OWNER = ".lock", ".owner.json"


@dataclass(slots=True)
class Ownership:
    """The right to write in a folder; nested uses by one process are one."""

    folder: Path
    _lock: FileLock = field(init=False)

    def __post_init__(self) -> None:
        self._lock = FileLock(self.folder / LOCK, timeout=0)

    def take(self) -> None:
        """Take the lock.

        Raises:
            UserError: another process has it; the message says which.
        """
        try:
            self._lock.acquire()
        except Timeout:
            raise UserError(_held(self.folder)) from None
        if self._lock.lock_counter == 1:
            since = datetime.now().astimezone().isoformat(timespec="seconds")
            owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
            (self.folder / OWNER).write_text(json.dumps(owner), encoding="utf-8")

    def leave(self) -> None:
        """Give the lock back; its file goes while it is held, which whoever waits notices."""
        if self._lock.lock_counter == 1:
            (self.folder / OWNER).unlink(missing_ok=True)
            (self.folder / LOCK).unlink(missing_ok=True)
        self._lock.release()


def _held(folder: Path) -> str:
    try:
        owner = json.loads((folder / OWNER).read_text(encoding="utf-8"))
        who = f"process {owner['pid']} on {owner['host']}, since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        who = "another process"
    return (
        f"{who}, writes in {folder}, and two at once would ruin it; wait until it ends, end it, or "
        f"give another folder"
    )
