"""Which prompts are measured on which inputs, and how many tokens that takes: known before a model
is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from evoprompt.backends.base import TextTokenizer
from evoprompt.calibration import LabelCalibration
from evoprompt.errors import UserError
from evoprompt.jobs.base import Champion, complete_summary, job_of
from evoprompt.jobs.robustness.config import RobustnessConfig
from evoprompt.jobs.robustness.record import ATTACK, ATTACKED, NONE, TRANSFERRED
from evoprompt.measurement.requests import requests_of
from evoprompt.policy import Policy
from evoprompt.records import Example
from evoprompt.scoring.trie import count_rows
from evoprompt.seeding import Stream, generator
from evoprompt.store.folder import SUMMARY, RunFolder
from evoprompt.store.form import in_form
from evoprompt.tasks.base import Task, share_choices
from evoprompt.tasks.blank import refuse_blank
from evoprompt.tasks.load import load_task
from evoprompt.tasks.render import render_queries
from evoprompt.variation.perturbations import OF_LABELS, Sources, with_change

CHAMPION, BASELINE = "champion", "baseline"
#: Draws at most for each change that differs from those before it.
ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Subject:
    """A policy with how it answers."""

    name: str
    policy: Policy
    calibration: LabelCalibration | None


@dataclass(frozen=True, slots=True)
class Variant:
    """A changed prompt, or one with changed inputs."""

    source: str
    draw: int
    policy: Policy
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """What is measured, and on what."""

    config: RobustnessConfig
    task: Task
    champion: Champion  #: how choices are compared
    subjects: tuple[Subject, ...]  #: the champion last
    sources: Sources
    test: tuple[Example, ...]
    searched: tuple[Example, ...]  #: validation examples, on which an attack does harm
    notes: tuple[str, ...]

    @property
    def units(self) -> list[tuple[Subject, str]]:
        """What is committed together, in order: the changes of a source to a policy."""
        labels = [ATTACKED + name for name in self.config.sources if name in OF_LABELS]
        attacks = [ATTACK, *labels] if self.config.attack.edits else []
        drawn = [(s, name) for s in self.subjects for name in (NONE, *self.config.sources)]
        found = drawn + [(s, name) for name in attacks for s in self.subjects]
        if attacks and len(self.subjects) > 1:
            found += [(s, TRANSFERRED) for s in self.subjects]
        return found


def load_study(config: RobustnessConfig) -> Study:
    """Return what a configuration asks for.

    Raises:
        UserError: the run is not complete or has no baseline, its task cannot be read or has no
            choices, or label words are given for what is no choice.
    """
    champion = job_of(config.run).champion(config.run)
    refuse_blank(config.task, "this measures")
    if config.task is None or champion.config.task is None:
        raise UserError(f"the run in {config.run} has no task of its own, so nothing to measure on")
    subjects, notes = _subjects(config.run, champion)
    task = load_task(config.task, seed=config.seed)
    offers = {c for e in (*task.test, *task.validation) for c in e.candidates}
    if not task.has_choices:
        raise UserError(
            f"task '{task.name}' has answers in free form, and what is measured is which choice "
            f"is the answer; give a run whose task has choices"
        )
    for key in ("label_synonyms", "label_descriptions"):
        for choice in getattr(config, key):
            if choice not in offers:
                raise UserError(
                    f"{key} names '{choice}', which is no choice of task '{task.name}'; its "
                    f"choices are {', '.join(sorted(offers))}"
                )
    if not config.label_synonyms and "label_synonyms" in config.sources and task.label_words:
        notes.append("words for labels are the task's label words; label_synonyms gives others")
    if config.attack.freed and not share_choices(task.validation):
        raise UserError(
            f"attack.freed takes off each choice's mean over the examples, and those of task "
            f"'{task.name}' have different choices; leave it out"
        )
    materials = task.materials(0)
    sources = Sources(
        replace(materials, synonyms=config.synonyms or materials.synonyms),
        config.paraphrases,
        config.label_synonyms or task.label_words,
        config.label_descriptions,
    )
    searched = task.validation[: config.attack.examples]
    test = task.test[: config.examples]
    return Study(config, task, champion, subjects, sources, test, searched, tuple(notes))


def _subjects(run: Path, champion: Champion) -> tuple[tuple[Subject, ...], list[str]]:
    summary = complete_summary(RunFolder.open(run))
    if champion.policy.steps:
        raise UserError(
            f"the champion of {run} has steps, which are written anew for each prompt; give a run "
            f"without them"
        )
    own = Subject(CHAMPION, champion.policy, champion.calibration)
    if "policy" not in summary.get("baseline", {}):
        raise UserError(
            f"{run} has no starting prompt to compare with; give the folder of a complete run of "
            f"evoprompt run"
        )
    with in_form(run / SUMMARY):
        found = summary["baseline"]
        policy, plain = Policy.from_dict(found["policy"]), found.get("calibration")
        calibration = LabelCalibration.from_dict(plain) if plain else None
    if policy == champion.policy:
        return (own,), ["the champion is the starting prompt, so there is one prompt to measure"]
    return (Subject(BASELINE, policy, calibration), own), []


def variants(study: Study, policy: Policy, source: str) -> Iterator[Variant]:
    """Yield the different changes of a source to a policy, as many as are drawn or fewer; for
    `none` the policy as it is. What follows from the number of a draw is one change for every
    policy; a number whose change is none for a policy, or was there, is left out of its.
    """
    if source == NONE:
        yield Variant(source, 0, policy, study.test)
        return
    seen: set[tuple[Policy, tuple[Example, ...]]] = {(policy, study.test)}
    for draw in range(ATTEMPTS * study.config.draws):

        def rng(place: int, *number: int, draw: int = draw) -> np.random.Generator:
            return generator(study.config.seed, Stream.ROBUSTNESS, place, draw, *number)

        made = with_change(source, policy, study.test, study.sources, rng)
        if made is not None and made not in seen:
            seen.add(made)
            yield Variant(source, draw, *made)
        if len(seen) > study.config.draws:
            return


def forecast(study: Study, tokenizer: TextTokenizer) -> list[tuple[str, str, int, int]]:
    """Return of each unit the policy, the source, how many prompts it has and the tokens that they
    forward where the memo has nothing. What an attack finds is taken to be as long as the prompt.
    """

    def tokens(policy: Policy, examples: Sequence[Example]) -> int:
        asked = requests_of(tokenizer, render_queries(policy, examples))
        return count_rows([request for _, request in asked])

    rows, attack = [], study.config.attack
    for subject, source in study.units:
        plain = tokens(subject.policy, study.test)
        if source == ATTACK:
            num = 1 + attack.edits * attack.candidates
            rows.append((num, num * tokens(subject.policy, study.searched) + plain))
        elif source == TRANSFERRED:
            rows.append((1, plain))
        else:
            made = list(variants(study, subject.policy, source.removeprefix(ATTACKED)))
            rows.append((len(made), sum(tokens(v.policy, v.examples) for v in made)))
    return [(s.name, source, *row) for (s, source), row in zip(study.units, rows, strict=True)]
