"""A task source of the plug-in: lines of input, tab, target."""

from __future__ import annotations

from pathlib import Path

from evoprompt.config.task import TaskConfig
from evoprompt.errors import UserError
from evoprompt.policy import Policy
from evoprompt.records import Example
from evoprompt.tasks.sources.base import Raw


class Lines:
    """Reads `options.path`."""

    def read(self, config: TaskConfig) -> Raw:
        """Return the examples, each with all targets as its choices."""
        if "path" not in config.options:
            raise UserError("task.source=lines reads a file: give task.options={path: ...}")
        path = Path(str(config.options["path"]))
        pairs = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        choices = tuple(sorted({target for _, target in pairs}))
        examples = [Example(f"line-{n}", i, t, choices) for n, (i, t) in enumerate(pairs, 1)]
        return Raw(path.stem, tuple(examples), starting_policies=(Policy("Say which it is."),))
