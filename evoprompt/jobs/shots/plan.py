"""Which prompts are measured, and how many tokens that takes: known before a model is loaded.

A chain is one sequence of demonstrations with all its beginnings, which are measured as one unit:
the prompt of 32 demonstrations begins with that of 16, and what they share is forwarded once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

from evoprompt.backends.base import Identity, TextTokenizer
from evoprompt.errors import UserError
from evoprompt.jobs.base import job_of
from evoprompt.jobs.shots.config import ShotsConfig
from evoprompt.jobs.shots.record import NONE
from evoprompt.measurement.requests import requests_of
from evoprompt.policy import Chat, Demonstration, Policy
from evoprompt.records import Example
from evoprompt.scoring.trie import TokenRequest, count_rows
from evoprompt.scoring.weights import window_of
from evoprompt.seeding import Stream, generator
from evoprompt.tasks.base import Task, rendered
from evoprompt.tasks.load import load_task
from evoprompt.tasks.render import render_prefix, render_queries
from evoprompt.tasks.sets import interleaved, labels_of

#: The coordinate of each context in the stream of draws.
PLACES = {"random": 0, "balanced": 1, "best_of": 2}
#: Tokens by which a prompt may be longer than its parts.
JOIN_SLACK = 8


@dataclass(frozen=True, slots=True)
class Chain:
    """What is measured together, and committed together."""

    context: str
    draw: int
    policies: tuple[Policy, ...]  #: each beginning of the sequence; of `best_of` the bare prompt
    #: of `best_of`: of demonstrations, that are gone on to
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Series:
    """A model on a task."""

    config: ShotsConfig  #: with this model alone
    name: str  #: of the task
    task: Task
    base: Policy  #: without demonstrations
    evolved: Policy | None  #: the champion of a run on the task

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.config.model.name

    @cached_property
    def is_calibrated(self) -> bool:
        """Whether answers can be compared by offsets: all examples share their choices, and these
        are what is scored.
        """
        return len(self.task.choices or ()) > 1 and not any(e.rest for e in self.task.test)

    @property
    def examples(self) -> tuple[Example, ...]:
        """What a chain is measured on: the test, after the validation examples where these give
        offsets.
        """
        return (*(self.task.validation if self.is_calibrated else ()), *self.task.test)


@dataclass(frozen=True, slots=True)
class Fitted:
    """The chains of a series that fit, and what is left out, a sentence each."""

    chains: tuple[Chain, ...]
    notes: tuple[str, ...]


def load_series(config: ShotsConfig) -> list[Series]:
    """Return each model on each task, the tasks of one model after another.

    Raises:
        UserError: as `load_task`; two tasks have one name, a prompt has steps, or a run of
            `evolved_runs` is not on any of the tasks.
    """
    tasks = [load_task(task, seed=config.seed) for task in config.all_tasks]
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise UserError(f"two tasks have one name: {', '.join(names)}; rename a file")
    champions = _champions(config)
    mode = config.model.chat
    chats: tuple[Chat, ...] = ("off" if mode == "auto" else mode,)
    bare = []
    for task in tasks:
        [base] = rendered(replace(task.given_policies[0], demonstrations=()), chats)
        bare.append(_without_steps(base, f"the first starting policy of task '{task.name}'"))
    return [
        Series(of_model, task.name, task, base, _evolved(champions.get(place, {}), of_model))
        for of_model in config.by_model
        for place, (task, base) in enumerate(zip(tasks, bare, strict=True))
    ]


def _champions(config: ShotsConfig) -> dict[int, dict[str, Policy]]:
    """Return the champions by place of their task, by the name of their model, the first first."""
    found: dict[int, dict[str, Policy]] = {}
    tasks = [(t.title, t.test_path, t.blank, t.difficulty) for t in config.all_tasks]
    for run in config.evolved_runs:
        champion = job_of(run).champion(run)
        task = champion.config.task
        own = task and (task.title, task.test_path, task.blank, task.difficulty)
        if own not in tasks:
            raise UserError(
                f"evolved_runs: the run in {run} is on {task.title if task else 'no task'}, which "
                f"is none of these tasks with the same test; leave it out, or give its task"
            )
        policy = _without_steps(champion.policy, f"the champion of {run}")
        found.setdefault(tasks.index(own), {}).setdefault(champion.config.model.name, policy)
    return found


def _evolved(champions: Mapping[str, Policy], config: ShotsConfig) -> Policy | None:
    return champions.get(config.model.name) or next(iter(champions.values()), None)


def _without_steps(policy: Policy, whose: str) -> Policy:
    if policy.steps:
        raise UserError(
            f"{whose} has steps, which are written anew for each prompt; leave them out"
        )
    return policy


class Planner:
    """Plans a series with the tokenizer of its model.

    Args:
        series: to plan.
        tokenizer: of the model.
        window: the longest sequence that the model reads; None where it is not known.
    """

    def __init__(self, series: Series, tokenizer: TextTokenizer, window: int | None) -> None:
        self.series = series
        self._tokenizer = tokenizer
        self._window = window
        self._longest: dict[Policy, int] = {}  #: request of prompts without demonstrations

    def requests(
        self, policies: Sequence[Policy], examples: Sequence[Example]
    ) -> list[TokenRequest]:
        """Return what measuring policies asks."""
        queries = [q for policy in policies for q in render_queries(policy, examples)]
        return [request for _, request in requests_of(self._tokenizer, queries)]

    def fits(self, policy: Policy) -> bool:
        """Return whether every prompt of a policy, with each candidate, is within the window."""
        if self._window is None:
            return True
        bare = replace(policy, demonstrations=())
        if bare not in self._longest:
            self._longest[bare] = self._longest_of(bare)
        [prefix] = self._tokenizer.encode([render_prefix(policy)])
        if self._longest[bare] + len(prefix) + JOIN_SLACK <= self._window:
            return True
        return self._longest_of(policy) <= self._window

    def _longest_of(self, policy: Policy) -> int:
        examples = (*self.series.task.validation, *self.series.task.test)
        return max(len(request.fed) for request in self.requests([policy], examples))

    def plan(self) -> Fitted:
        """Return the chains, without the numbers of demonstrations for which the pool or the
        window has no room; those of a context have the same numbers in each draw.

        Raises:
            UserError: not even a prompt without demonstrations fits.
        """
        series, config = self.series, self.series.config
        if not self.fits(series.base):
            raise UserError(
                f"{series.model} on {series.name}: an example alone is longer than the model's "
                f"window of {self._window}; nothing is ever cut off: use shorter inputs"
            )
        chains = [Chain(NONE, 0, (series.base,))] if 0 in config.numbers else []
        numbers, notes = self._in_pool()
        for context in config.contexts:
            if context == "evolved":
                found, told = self._evolved()
            elif context == "best_of":
                draws = range(config.draws if numbers else 0)
                found = [Chain(context, d, (series.base,), numbers) for d in draws]
                told = []
            else:
                found, told = self._drawn(context, numbers)
            chains += found
            notes += told
        return Fitted(tuple(chains), tuple(f"{series.model} on {series.name}: {n}" for n in notes))

    def _in_pool(self) -> tuple[tuple[int, ...], list[str]]:
        pool = len(self.series.task.demonstrations)
        asked = [n for n in self.series.config.numbers if n]
        more = [n for n in asked if n > pool]
        told = [f"{_listed(more)} left out: the pool has {pool} demonstrations"] if more else []
        return tuple(n for n in asked if n <= pool), told

    def _drawn(self, context: str, numbers: Sequence[int]) -> tuple[list[Chain], list[str]]:
        """Return the chains of sequences that are drawn beforehand."""
        task, config = self.series.task, self.series.config
        labels = labels_of(task.demonstrations, task.offers)
        if context == "balanced" and len(set(labels.values())) < 2:
            return [], ["no balanced context: the examples share no choices, so all are alike"]
        sequences = []
        for draw in range(config.draws):
            rng = generator(config.seed, Stream.SHOTS, PLACES[context], draw)
            drawn = [task.demonstrations[int(i)] for i in rng.permutation(len(labels))]
            sequences.append(interleaved(drawn, labels, rng) if context == "balanced" else drawn)
        kept = [n for n in numbers if all(self.fits(self._shown(s[:n])) for s in sequences)]
        chains = [
            Chain(context, draw, tuple(self._shown(sequence[:n]) for n in kept))
            for draw, sequence in enumerate(sequences)
            if kept
        ]
        return chains, self._too_long(context, [n for n in numbers if n not in kept])

    def _evolved(self) -> tuple[list[Chain], list[str]]:
        """Return the chain of a champion: its own prompt with each number of its demonstrations,
        and with all.
        """
        champion = self.series.evolved
        if champion is None:
            return [], ["no evolved context: none of evolved_runs is on this task"]
        shown = champion.demonstrations
        asked = self.series.config.numbers
        numbers = sorted({*(n for n in asked if n <= len(shown)), len(shown)})
        cut = {n: replace(champion, demonstrations=shown[:n]) for n in numbers}
        kept = tuple(cut[n] for n in numbers if self.fits(cut[n]))
        more = [n for n in asked if n > len(shown)]
        why = f"the champion has {len(shown)}"
        told = [f"evolved: {_listed(more)} left out: {why}"] if more else []
        told += self._too_long("evolved", numbers[len(kept) :])
        return ([Chain("evolved", 0, kept)] if kept else []), told

    def _shown(self, demonstrations: Sequence[Demonstration]) -> Policy:
        return replace(self.series.base, demonstrations=tuple(demonstrations))

    def _too_long(self, context: str, numbers: Sequence[int]) -> list[str]:
        if not numbers:
            return []
        window = f"the model's window of {self._window} tokens has no room for them"
        return [f"{context}: {_listed(numbers)} left out: {window}"]

    def ways_on(self, policy: Policy, number: int, draw: int) -> tuple[Policy, ...]:
        """Return the policies that `best_of` chooses among: those that fit, of so many that go on
        from a policy to this number of demonstrations at random.
        """
        config, shown = self.series.config, policy.demonstrations
        rng = generator(config.seed, Stream.SHOTS, PLACES["best_of"], draw, number)
        left = [d for d in self.series.task.demonstrations if d not in shown]
        size = number - len(shown)
        if size > len(left):
            return ()
        ways = [
            tuple(left[int(i)] for i in rng.choice(len(left), size=size, replace=False))
            for _ in range(config.best_of)
        ]
        found = [self._shown((*shown, *way)) for way in dict.fromkeys(ways)]
        return tuple(policy for policy in found if self.fits(policy))

    def tokens(self, chain: Chain) -> int:
        """Return what a chain forwards where nothing is known yet; of `best_of` where the first way
        on is always the best.
        """
        return sum(map(count_rows, self.asked(chain)))

    def asked(self, chain: Chain) -> Iterator[list[TokenRequest]]:
        """Yield what a chain asks, each part as one unit; of `best_of` as `tokens` says."""
        if not chain.numbers:
            yield self.requests(chain.policies, self.series.examples)
            return
        policies, [policy] = [], chain.policies
        for number in chain.numbers:
            ways = self.ways_on(policy, number, chain.draw)
            if not ways:
                break
            yield self.requests(ways, self.series.task.validation)
            policy = ways[0]
            policies.append(policy)
        if policies:
            yield self.requests(policies, self.series.task.test)


def window_in(identity: Identity) -> int | None:
    """Return the window of a model in a folder, without loading it; None of another."""
    file = Path(identity.place) / "config.json"
    if not file.is_file():
        return None
    values = json.loads(file.read_text(encoding="utf-8"))
    return window_of(SimpleNamespace(**values.get("text_config", values)))


def _listed(numbers: Sequence[int]) -> str:
    return f"{', '.join(map(str, numbers))} demonstration{'s' if list(numbers) != [1] else ''}"
