"""A job of the plug-in: it writes a greeting."""

from __future__ import annotations

from pathlib import Path

from evoprompt.errors import UserError
from evoprompt.jobs.base import Champion

GREETING = "greeting.txt"


class GreetJob:
    """Greets. Implements `jobs.base.Job`."""

    def owns(self, folder: Path) -> bool:
        """Return whether the folder has a greeting."""
        return (folder / GREETING).exists()

    def start(self, config: Path, overrides: list[str], out: Path | None) -> int:
        """Write a greeting to what the file says."""
        if out is None:
            raise UserError("evoprompt greet writes into a folder: give --out")
        out.mkdir(parents=True)
        (out / GREETING).write_text(f"Hello {config.read_text(encoding='utf-8').strip()}")
        return 0

    def resume(self, folder: Path) -> int:
        """Nothing is ever left to do."""
        return 0

    def report(self, folder: Path) -> Path:
        """Return the greeting."""
        return folder / GREETING

    def champion(self, folder: Path) -> Champion:
        """Refuse: a greeting has no champion."""
        raise UserError(f"{folder} holds a greeting, which has no champion")
