"""Evolution for a loop of one's own: `ask` for policies, score them by whatever means, `tell`.

The engine, the operators, the random streams and Price's accounting are those of a run; where the
numbers come from is the caller's business, and nothing is written to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from evoprompt.api.task import Task, examples_of, run_config
from evoprompt.dynamics.evolvability import Gain
from evoprompt.dynamics.history import History
from evoprompt.dynamics.population import births_of
from evoprompt.errors import UserError
from evoprompt.evolution.adaptation import adapted
from evoprompt.evolution.engine import Strategy, found
from evoprompt.evolution.islands import ask, tell, vary
from evoprompt.evolution.knowledge import informed
from evoprompt.evolution.novelty import known_as
from evoprompt.jobs.evolve.build import check_task, strategy_of
from evoprompt.jobs.evolve.folder import lineage_line, with_examples
from evoprompt.policy import Policy
from evoprompt.records import FITNESS_DIGITS, Brood, Evaluation, LineageEntry, Member, State
from evoprompt.tasks.render import render_prefix


def words_of(prompt: str) -> int:
    """Return the number of words, which stands for that of tokens where nobody knows it."""
    return len(prompt.split())


class Evolution:
    """A population that is asked and told; no model is needed.

    Args:
        task: its demonstrations, phrases, templates and starting policies are what policies are
            made of. Instead the path of a run's config file.
        seed: of all random draws.
        settings: dotted keys of a run's configuration, e.g. `{"evolution.population": 4}`.
        state: the population to go on from; None begins with the starting policies.
        count_tokens: the length of a prompt, a trait that NSGA-II selects on.

    Raises:
        UserError: anything given does not go together.

    Examples:
        >>> import evoprompt as ep
        >>> population = ep.Evolution(ep.Task.builtin("inbox"), seed=1)
        >>> for _ in range(3):
        ...     policies = population.ask()
        ...     state = population.tell([-len(policy.instruction) for policy in policies])
        >>> population.best.evaluation.fitness
        0.0
    """

    def __init__(
        self,
        task: Task | str | Path,
        *,
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
        state: State | None = None,
        count_tokens: Callable[[str], int] = words_of,
    ) -> None:
        self.state = state
        self.lineage: list[LineageEntry] = []
        self.history = History()  #: Price's equation and what else the lineage tells
        self._strategy, self._founders = _strategy_and_founders(task, settings)
        self._seed, self._count_tokens = seed, count_tokens
        members = state.members if state is not None else ()
        self._evaluations = {m.birth.policy.policy_id: m.evaluation for m in members}
        self._policies = {m.birth.policy.policy_id: m.birth.policy for m in members}
        self._brood: Brood | None = None

    @property
    def generation(self) -> int:
        """The number of the last generation that was told; -1 before the founders were."""
        return self.state.generation if self.state is not None else -1

    @property
    def best(self) -> Member:
        """The fittest of the population.

        Raises:
            UserError: nothing was told yet.
        """
        if self.state is None:
            raise UserError("this Evolution has no population yet: tell it the founders' scores")
        return max(self.state.members, key=lambda m: m.evaluation.fitness)

    def ask(self) -> tuple[Policy, ...]:
        """Return the policies of the next generation that were not scored yet; the same ones until
        they are told. None at all are returned where every birth is known: tell an empty list.
        """
        if self._brood is None:
            self._brood = self._next_brood()
        births = dict.fromkeys(b.policy for b in self._brood.births)
        return tuple(p for p in births if p.policy_id not in self._evaluations)

    def tell(self, scores: Sequence[ArrayLike]) -> State:
        """Take the scores of the policies that `ask` returned, in their order, and let the fittest
        survive; return the new state.

        Args:
            scores: a number for each policy, higher is better, or an array of one number for each
                example, whose mean is the fitness; all of one kind, and of one length.

        Raises:
            UserError: there are not as many scores as policies, one is NaN or infinite, or their
                lengths differ.
        """
        asked = self.ask()
        assert self._brood is not None
        if len(scores) != len(asked):
            raise UserError(
                f"tell was given {len(scores)} scores for the {len(asked)} policies that ask "
                "returned; give one for each, in their order"
            )
        cases = [np.atleast_1d(np.asarray(score, dtype=np.float64)) for score in scores]
        known = [np.array(e.case_fitness) for e in self._evaluations.values()]
        _check(cases, known)
        for policy, values in zip(asked, cases, strict=True):
            self._policies[policy.policy_id] = policy
            self._evaluations[policy.policy_id] = self._evaluation(policy, values)
        evaluations = [self._evaluations[b.policy.policy_id] for b in self._brood.births]
        self.state, entries = tell(self.state, self._brood, evaluations, self._strategy, self._seed)
        self._brood = None
        self.lineage += entries
        births = births_of([lineage_line(e) for e in entries], self.history.index)
        self.history.add(births)
        return self.state

    def ranked(self) -> list[tuple[Policy, float]]:
        """Return every policy that was told with its fitness, the fittest first."""
        order = sorted(self._evaluations, key=lambda p: (-self._evaluations[p].fitness, p))
        return [(self._policies[p], self._evaluations[p].fitness) for p in order]

    def _next_brood(self) -> Brood:
        if self.state is None:
            return found(self._founders)
        strategy = informed(
            self._strategy,
            lambda: {policy: self._evaluations[p].fitness for p, policy in self._policies.items()},
        )
        strategy = adapted(strategy, self.history.gains, self._tokens_of)
        matings = ask(self.state, strategy)
        seen = {known_as(p, strategy.config.novelty) for p in self._policies.values()}
        return vary(self.state, matings, strategy, seen, lambda _: True)

    def _tokens_of(self, birth: Gain) -> float:
        return max(1.0, self._evaluations[birth.policy_id].traits["prompt_tokens"])

    def _evaluation(self, policy: Policy, cases: np.ndarray) -> Evaluation:
        fitness = round(float(cases.mean()), FITNESS_DIGITS)
        length = float(self._count_tokens(str(render_prefix(policy))))
        traits = {"fitness": fitness, "prompt_tokens": length}
        by_case = tuple(round(float(c), FITNESS_DIGITS) for c in cases)
        return Evaluation(fitness, by_case, traits, len(by_case))


def _strategy_and_founders(
    task: Task | str | Path, settings: Mapping[str, Any] | None
) -> tuple[Strategy, tuple[Policy, ...]]:
    with TemporaryDirectory(prefix="evoprompt-") as folder:
        own = run_config(task, settings=settings)
        if own.evolution.surrogate.pool > 1 or own.evolution.restart.patience:
            raise UserError(
                "evolution.surrogate and evolution.restart are for runs; an Evolution has neither: "
                "leave them out"
            )
        config = with_examples(own, Path(folder), examples_of(task))
        known = check_task(config)[0]
        return strategy_of(config, known), known.starting_policies


def _check(cases: Sequence[np.ndarray], known: Sequence[np.ndarray]) -> None:
    for place, values in enumerate(cases):
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise UserError(
                f"score {place} is {values.tolist()}; expected a finite number, or an array of a "
                "finite number for each example"
            )
    lengths = sorted({len(values) for values in (*cases, *known)})
    if len(lengths) > 1:
        raise UserError(
            f"scores have {' and '.join(map(str, lengths))} numbers; all policies are scored on "
            "the same examples"
        )
