"""What a search has to beat: the best starting prompt, and random sets of demonstrations, with and
without halving, balanced or not, calibrated or raw.

They spend the same ledger as every contender, down to what one more measurement would cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evoprompt.calibration import Way
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Example
from evoprompt.tasks.sources.splits import balanced
from experiments.benchmarks.search.ledger import Bench, SpentError, likelihoods

#: Examples of the first rung, and of a set that is measured at once.
FIRST, FLAT = 8, 32
#: Of the budget, what the first rung may take: each later one takes at most half as much, and there
#: are about three.
FIRST_SHARE = 0.4


@dataclass(frozen=True)
class Random:
    """Random sets of demonstrations under random starting prompts; the likeliest is taken."""

    is_balanced: bool = True
    halving: bool = True
    way: Way = "labelled"  #: how answers are calibrated

    def __call__(self, bench: Bench, seed: int) -> Policy:
        """Return the set that was found."""
        rng = np.random.default_rng([seed, 2])
        examples = bench.task.development(seed)
        if not self.halving:
            drawn = self._measured(bench, rng, examples[:FLAT], share=1.0)
            return self._best(bench, drawn, examples[:FLAT], 1)[0]
        alive = self._measured(bench, rng, examples[:FIRST], share=FIRST_SHARE)
        return self._halve(bench, alive, examples)

    def _halve(self, bench: Bench, alive: list[Policy], examples: Sequence[Example]) -> Policy:
        """Keep the better half on ever more examples; where not all of it can be paid for, the
        best on the examples before.
        """
        number = FIRST
        alive = self._best(bench, alive, examples[:number], len(alive))
        while number < len(examples):
            alive = alive[: max(1, (len(alive) + 1) // 2)]
            number = min(2 * number, len(examples))
            try:
                for policy in alive:
                    bench.scores(policy, examples[:number])
            except SpentError:
                break
            alive = self._best(bench, alive, examples[:number], len(alive))
        return alive[0]

    def _measured(
        self, bench: Bench, rng: np.random.Generator, examples: Sequence[Example], share: float
    ) -> list[Policy]:
        """Return different sets, measured until their share of the budget is spent."""
        drawn: dict[Policy, None] = {}
        misses = 0
        while misses < 100 and bench.ledger.total < share * bench.ledger.budget:
            policy = self._draw(bench, rng)
            if policy in drawn or not bench.fits(policy, examples):
                misses += 1
                continue
            try:
                bench.scores(policy, examples)
            except SpentError:
                break
            drawn[policy] = None
        return list(drawn)

    def _draw(self, bench: Bench, rng: np.random.Generator) -> Policy:
        task = bench.task
        base = task.starting[rng.integers(len(task.starting))]
        number = int(rng.choice(task.demonstration_counts()))
        pool = task.task.pool
        shuffled = [pool[i] for i in rng.permutation(len(pool))]
        chosen = balanced(shuffled, number) if self.is_balanced else tuple(shuffled[:number])
        shown = [chosen[i] for i in rng.permutation(len(chosen))]
        return replace(base, demonstrations=tuple(Demonstration(e.input, e.target) for e in shown))

    def _best(
        self, bench: Bench, policies: Sequence[Policy], examples: Sequence[Example], number: int
    ) -> list[Policy]:
        return best(bench, policies, examples, number, self.way)


@dataclass(frozen=True)
class ZeroShot:
    """The best of the starting prompts, all measured on as many examples as can be paid for."""

    way: Way = "labelled"

    def __call__(self, bench: Bench, seed: int) -> Policy:
        """Return the prompt that was found."""
        examples = bench.task.development(seed)
        starting, number = bench.task.starting, 0
        try:
            while number < len(examples):
                more = min(number + FIRST, len(examples))
                for policy in starting:
                    bench.scores(policy, examples[:more])
                number = more
        except SpentError:
            pass
        if number == 0:
            raise SystemExit("the budget does not suffice for the starting prompts on 8 examples")
        return best(bench, starting, examples[:number], 1, self.way)[0]


def best(
    bench: Bench,
    policies: Sequence[Policy],
    examples: Sequence[Example],
    number: int,
    way: Way,
) -> list[Policy]:
    """Return the best of policies by their mean likelihood on examples, best first."""
    worth = [float(likelihoods(bench, bench.scores(p, examples), way).mean()) for p in policies]
    order = sorted(range(len(policies)), key=lambda i: -worth[i])
    return [policies[i] for i in order[:number]]


#: By name; those of the other files are added to them where they are asked for.
OURS: dict[str, Callable[[Bench, int], Policy]] = {
    "zero_shot": ZeroShot(),
    "zero_shot_head": ZeroShot("head"),
    "random_demonstrations": Random(),
    "random_demonstrations_head": Random(way="head"),
    "random_unbalanced": Random(is_balanced=False),
    "random_raw": Random(way="off"),
    "random_flat": Random(halving=False),
    "random_flat_raw": Random(halving=False, way="off"),
}
