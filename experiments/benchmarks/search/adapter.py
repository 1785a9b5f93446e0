"""What optimizers of instructions get of the bench: fitness by input, and how a text becomes a
policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Example
from experiments.benchmarks.search.ledger import Bench, likelihoods

#: Numbers of development examples that are tried, most first, and the share of the budget that
#: measuring the first prompts on them may take.
SIZES, SHARE = (192, 96, 48, 32, 16, 8), 0.4


class Adapter:
    """One run's examples, by input."""

    def __init__(self, bench: Bench, seed: int, calibrated: bool) -> None:
        self.bench, self.calibrated = bench, calibrated
        self.by_input = {e.input: e for e in reversed(bench.task.development(seed))}
        #: in the run's order, of equal inputs the first
        self.examples = tuple(reversed(self.by_input.values()))

    def instructed(self, instruction: str) -> Policy:
        """Return the policy of an instruction: a starting one, or one in the task's template."""
        known = {p.instruction.strip(): p for p in self.bench.task.starting}
        made = Policy(instruction=instruction.strip(), template=self.bench.task.template)
        return known.get(instruction.strip(), made)

    def with_demonstrations(self, number: int) -> Policy:
        """Return the first starting policy with the first demonstrations of the pool."""
        shown = tuple(Demonstration(e.input, e.target) for e in self.bench.task.task.pool[:number])
        return replace(self.bench.task.starting[0], demonstrations=shown)

    def fitness(self, policy: Policy, inputs: Sequence[str]) -> list[float]:
        """Return the probability of each right answer, among the choices or per token; 0 for a
        prompt that the model cannot read. Calibrated, by offsets fitted on the other examples on
        which the policy was measured.
        """
        examples = [self.by_input[x] for x in inputs]
        if not self.bench.fits(policy, examples):
            return [0.0] * len(inputs)
        self.bench.scores(policy, examples)
        seen = list(self.bench.measured[policy].values())
        scores = self.bench.scores(policy, seen)
        values = np.exp(likelihoods(self.bench, scores, "labelled" if self.calibrated else "off"))
        found = {e.example_id: float(v) for e, v in zip(seen, values, strict=True)}
        return [found[e.example_id] for e in examples]

    def mean(self, policy: Policy, examples: Sequence[Example]) -> float:
        """Return a policy's mean fitness on examples."""
        return float(np.mean(self.fitness(policy, [e.input for e in examples])))

    def best_measured(self) -> Policy:
        """Return the best of the policies that were measured on as many examples as any."""
        most = max(len(seen) for seen in self.bench.measured.values())
        whole = [p for p, seen in self.bench.measured.items() if len(seen) == most]
        return max(whole, key=lambda p: self.mean(p, list(self.bench.measured[p].values())))


def affordable(
    bench: Bench,
    policy: Policy,
    examples: Sequence[Example],
    sizes: Sequence[int] = SIZES,
    copies: int = 1,
) -> int:
    """Return the most examples on which so many policies like this one can be measured for their
    share of the budget; the fewest that are tried, where not even those can.
    """
    costs = {n: copies * bench.cost(policy, examples[:n]) for n in sizes if n <= len(examples)}
    return next((n for n, c in costs.items() if c <= SHARE * bench.ledger.budget), sizes[-1])
