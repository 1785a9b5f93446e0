"""What a run would forward, before anything is loaded but a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from evoprompt.backends.base import TextTokenizer
from evoprompt.backends.open import backend_of
from evoprompt.jobs.evolve.answering import answering_of
from evoprompt.jobs.evolve.build import check_task
from evoprompt.jobs.evolve.calibrator import calibrator_of
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.under_changes import asked_of, sources_of
from evoprompt.measurement.answers import most_written
from evoprompt.measurement.model import chats_of
from evoprompt.measurement.requests import requests_of
from evoprompt.policy import Policy
from evoprompt.records import Example
from evoprompt.scoring.models import is_fetched
from evoprompt.scoring.trie import count_rows
from evoprompt.tasks.auxiliary import auxiliaries_of, before
from evoprompt.tasks.base import Task
from evoprompt.tasks.render import render_prefix, render_prompt, render_queries

OMITTED = (
    "The forecast counts the distinct prefixes of the starting prompts exactly, and takes every "
    "later prompt to be the longest of them with as many "
    "of the longest demonstrations as are allowed. It leaves out what memo and prefix store "
    "spare (in a sweep it can be most), children that were "
    "scored already and limits in seconds, which make it less, and edits of instruction, "
    "template and label words, which can make it more, "
    "as do steps, self-evaluation and context stuffing."
)


@dataclass(frozen=True, slots=True)
class Founders:
    """The tokens of each starting policy by split, and by how many at most a demonstration
    lengthens a prompt.
    """

    fitness: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    demonstration: int
    num_before: int = 0  #: auxiliary tasks' prompts that a policy's is put before, once each


class Forecaster:
    """Forecasts runs; what runs have in common is counted once."""

    def __init__(self) -> None:
        self._tokenizers: dict[str, TextTokenizer] = {}
        self._founders: dict[str, Founders] = {}

    def tokens(self, config: Config) -> int | None:
        """Return the forecast of a run.

        With F_i, V_i, T_i the tokens of founder i on the fitness, validation and test examples, and
        D what demonstrations can add, it is

            sum F_i + children * generations * (max F_i + D) + candidates * (max V_i + D) + 2 max
            T_i + D

        where the first three terms stay within the budget. Where the answers of a split are
        written, each prompt counts with as many tokens as may be written, beside what is scored.
        None where the model is not in the cache: its tokenizer would have to be fetched.
        """
        if not is_fetched(config.model.name):
            return None
        founders = self._count(config)
        growth = config.evolution.max_demonstrations * founders.demonstration
        children = config.evolution.births * config.evolution.generations
        search = (
            sum(founders.fitness)
            + children * (max(founders.fitness) + growth * (1 + founders.num_before))
            + config.final.candidates * (max(founders.validation) + growth)
        )
        limit = config.budget.prefill_tokens
        return (search if limit is None else min(search, limit)) + 2 * max(founders.test) + growth

    def _count(self, config: Config) -> Founders:
        model = f"{config.model.name} {config.model.chat}"
        key = f"{config.task.model_dump_json()}{model}{config.fitness}{config.final.metric}"
        key += f"{config.traits.likelihood}{config.side_effects}{config.robustness}"
        if key not in self._founders:
            task, fitness = check_task(config)
            tokenizer = self._tokenizer(config)
            task = task.rendered(chats_of(config.model.chat, tokenizer)[0])
            prior = calibrator_of(config.fitness.calibration, task, fitness).needs_prior

            answering, is_written = answering_of(config, fitness), fitness.needs_answers
            is_scored = not is_written or config.traits.likelihood

            def count(examples: tuple[Example, ...], *, written: bool) -> tuple[int, ...]:
                found = [0] * len(task.starting_policies)
                for place, policy in enumerate(task.starting_policies):
                    if is_scored:
                        with_prior = fitness.needs_prior or prior
                        queries = render_queries(policy, examples, with_prior=with_prior)
                        asked = [request for _, request in requests_of(tokenizer, queries)]
                        found[place] += count_rows(asked)
                    if written and answering is not None:
                        prompts = [render_prompt(policy, e.input) for e in examples]
                        most = most_written(tokenizer, answering, prompts, examples)
                        found[place] += most.rows
                return tuple(found)

            looked, num_before = _side_effects(config, task, tokenizer)
            section = config.robustness
            num, num_last = (section.examples, section.calibration_examples) if section else (0, 0)
            changed, num_changed = _under_changes(config, task, tokenizer, task.fitness[:num])
            last, _ = _under_changes(config, task, tokenizer, task.validation[:num_last])
            own = count(task.fitness, written=is_written)
            chosen, late = count(task.validation, written=True), (0,) * len(changed)
            if section is not None and section.after > len(task.fitness):
                changed, late = late, changed
            self._founders[key] = Founders(
                tuple(map(sum, zip(own, looked, changed, strict=True))),
                tuple(map(sum, zip(chosen, late, strict=True))),
                tuple(map(sum, zip(count(task.test, written=True), last, strict=True))),
                longest_demonstration(task, tokenizer),
                num_before + num_changed,
            )
        return self._founders[key]

    def _tokenizer(self, config: Config) -> TextTokenizer:
        if config.model.name not in self._tokenizers:
            backend = backend_of(config)
            self._tokenizers[config.model.name] = backend.tokenizer(backend.identify(config.model))
        return self._tokenizers[config.model.name]


def _side_effects(
    config: Config, task: Task, tokenizer: TextTokenizer
) -> tuple[tuple[int, ...], int]:
    """Return what looking at side effects takes of each starting policy, tokens, and how many
    prompts of auxiliary tasks there are.
    """
    policies, section = task.starting_policies, config.side_effects
    found = [] if section is None else auxiliaries_of(section, task)
    asked = [(prompt, each.examples) for each in found for prompt in each.prompts]

    def rows(policy: Policy) -> int:
        queries = (render_queries(before(policy, prompt), e) for prompt, e in asked)
        return sum(count_rows([r for _, r in requests_of(tokenizer, q)]) for q in queries)

    return tuple(map(rows, policies)), len(asked)


def _under_changes(
    config: Config, task: Task, tokenizer: TextTokenizer, examples: tuple[Example, ...]
) -> tuple[tuple[int, ...], int]:
    """Return what measuring each starting policy on these examples under changes takes, tokens, and
    how many times its prompt is forwarded for it at most.
    """
    policies, section = task.starting_policies, config.robustness
    if section is None or not examples:
        return (0,) * len(policies), 0
    sources = sources_of(section, task)

    def rows(policy: Policy) -> int:
        asked = asked_of(policy, examples, section, sources, config.seed)
        given = [(p, examples) for p in asked.prompts.values()] + [(policy, asked.inputs)]
        queries = (render_queries(*each) for each in given)
        return sum(count_rows([r for _, r in requests_of(tokenizer, q)]) for q in queries)

    return tuple(map(rows, policies)), section.draws


def longest_demonstration(task: Task, tokenizer: TextTokenizer) -> int:
    """Return by how many tokens at most one demonstration of the task's pool lengthens a starting
    prompt; 0 without a pool.
    """

    def lengths(policy: Policy) -> list[int]:
        longer = [
            replace(policy, demonstrations=(demonstration,))
            for demonstration in task.demonstrations
        ]
        bare, *others = (
            len(ids)
            for ids in tokenizer.encode(
                [render_prefix(p) for p in (replace(policy, demonstrations=()), *longer)]
            )
        )
        return [other - bare for other in others]

    return max(
        (length for policy in task.starting_policies for length in lengths(policy)), default=0
    )
