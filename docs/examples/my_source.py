"""A task source: sums of two numbers, made by rule."""

from __future__ import annotations

from evoprompt.config.task import TaskConfig
from evoprompt.policy import Policy
from evoprompt.records import Example
from evoprompt.tasks.sources.base import Raw


class Sums:
    """Reads `options.most`, the greatest number."""

    def read(self, config: TaskConfig) -> Raw:
        """Return the examples, the same ones for the same options."""
        numbers = range(1, int(config.options.get("most", 20)) + 1)
        examples = [
            Example(f"{a}+{b}", f"{a} + {b} =", str(a + b), None) for a in numbers for b in numbers
        ]
        return Raw("sums", tuple(examples), starting_policies=(Policy("Add the numbers."),))
