"""The package's own search, by configuration: as `evoprompt run` does it, on the examples and
from the starting prompts that all contenders get.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoprompt.config.reader import read_values
from evoprompt.jobs.evolve.config import check_config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.session import conduct
from evoprompt.policy import Policy
from evoprompt.records import Example
from evoprompt.store.folder import SUMMARY, RunFolder
from evoprompt.tasks.base import Task
from evoprompt.tasks.load import load_task
from evoprompt.tasks.order import in_order
from experiments.benchmarks.search.ledger import Bench

#: The unit in which contenders are compared.
LOGICAL = "logical_tokens"
#: Of a task, what is a matter of the search.
SEARCHED = (
    "starting_demonstrations",
    "starting_sets",
    "demonstration_inputs",
    "starting_sets_bare",
)


@dataclass(frozen=True)
class Product:
    """A run of the package."""

    folder: Path  #: where runs are kept; those that are complete are not done again
    config: Path | None = None  #: what differs from the defaults
    name: str = "evoprompt"
    unit: str = LOGICAL  #: what the budget counts, a key of `budget`

    def __call__(self, bench: Bench, seed: int) -> Policy:
        """Return the champion. What it cost is taken from the run's own account."""
        place = self.place(bench, seed)
        if not (place / SUMMARY).exists():
            shutil.rmtree(place, ignore_errors=True)
            conduct(check_config(self._values(bench, seed), self.name), place, show=False)
        return self._enter(bench, RunFolder(place))

    def place(self, bench: Bench, seed: int) -> Path:
        """Return the folder of a run, another for each budget and what that counts."""
        budget = f"{bench.ledger.budget:.0f}" + ("" if self.unit == LOGICAL else f"-{self.unit}")
        name, task = self.name.replace(":", "-"), bench.task.name.replace("/", "-")
        return self.folder / f"{name}-{task}-{budget}-{seed}"

    def _values(self, bench: Bench, seed: int) -> dict[str, Any]:
        """Return the configuration: the file's, with what the benchmark decides."""
        values = dict(read_values(self.config, ())) if self.config else {}
        task = bench.task.config.model_dump(mode="json", exclude_defaults=True)
        starting = [_starting(p) for p in bench.task.starting]
        own: Mapping[str, Any] = values.get("task", {})
        search = {k: v for k, v in own.items() if k in SEARCHED}
        return values | {
            "seed": seed,
            "task": {**search, **task, "starting_policies": starting},
            "model": values.get("model", {}) | {"name": bench.name},
            "budget": {self.unit: int(bench.ledger.budget)},
            "workers": {"backend": "local"},
            "tracking": {"enabled": False},
            # no labels but those of the examples that all contenders may measure on
            "final": {"labels": len(bench.task.development(seed))} | values.get("final", {}),
        }

    def _enter(self, bench: Bench, folder: RunFolder) -> Policy:
        """Enter what the run spent, and which examples the champion was measured on."""
        summary = folder.read(SUMMARY)
        policy = Policy.from_dict(summary["champion"]["policy"])
        config = EvolveFolder.open(folder.path).config()
        own = load_task(config.task, seed=config.seed)
        examples = self._fitted(bench, policy, summary["champion"], own, config.seed)
        spent, budget = summary["tokens"]["logical"], bench.ledger.budget
        bench.scores(policy, examples)
        bench.begin(budget)
        bench.ledger.context = spent
        bench.ledger.prefill = summary["tokens"]["prefill"]
        bench.elsewhere = summary["policies_scored"] - 1
        bench.measured = {policy: {e.example_id: e for e in examples}}
        return policy

    def _fitted(
        self,
        bench: Bench,
        policy: Policy,
        champion: Mapping[str, Any],
        own: Task,
        seed: int,
    ) -> list[Example]:
        """Return the examples on which the run fitted its champion's calibration."""
        bench.begin(float("inf"))
        fitness, validation = in_order(own.fitness, seed), own.validation
        if "labels" not in champion:
            return [*fitness, *validation]
        shown, number = {d.input for d in policy.demonstrations}, champion["labels"]
        met, asked = number["fitness"], number["validation"]
        others = [
            e
            for e in (*validation[asked:], *fitness[met:], *own.spare, *own.pool)
            if e.input not in shown and bench.fits(policy, [e])
        ]
        return [*fitness[:met], *validation[:asked], *others[: number["others"]]]


def _starting(policy: Policy) -> dict[str, Any]:
    """Return a starting prompt as a configuration has it."""
    template = policy.template
    return {
        "instruction": policy.instruction,
        "input_prefix": template.input_prefix,
        "output_prefix": template.output_prefix,
        "separator": template.separator,
        "answer_prefix": template.answer_prefix,
    }
