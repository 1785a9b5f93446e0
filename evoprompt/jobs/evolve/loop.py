"""A run, from the starting prompts to the held-out check: the loop, readable in one sitting.

found or ask -> vary -> measure -> interpret -> tell -> explain -> commit -> track, until
generations or budget end; then the best few meet the validation examples, and one goes to the test.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from threading import Thread
from typing import Protocol

from evoprompt.backends.base import ModelInfo
from evoprompt.dynamics.account import GenerationAccount
from evoprompt.dynamics.population import Births, births_of
from evoprompt.errors import InexactScoringError
from evoprompt.evolution.engine import ask, found, mating_chances, tell, vary
from evoprompt.evolution.novelty import known_as
from evoprompt.interrupt import raise_if_interrupted
from evoprompt.jobs.evolve.budget import goes_on
from evoprompt.jobs.evolve.build import Parts
from evoprompt.jobs.evolve.conclude import (
    calibrated_validation,
    finalists,
    pick_baseline,
    pick_champion,
    summarize,
)
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.folder import EvolveFolder, lineage_line
from evoprompt.jobs.evolve.journal import Journal
from evoprompt.jobs.evolve.page import write_page
from evoprompt.jobs.evolve.record import GenerationLine, ParentSelection, Summary
from evoprompt.jobs.evolve.tracked import open_tracking, point_of
from evoprompt.jobs.provenance import check_scoring
from evoprompt.measurement.measure import Measurer
from evoprompt.policy import Policy
from evoprompt.records import Brood, Example, LabelScores, State, TokenCount
from evoprompt.selection.base import Expectation
from evoprompt.store.folder import SUMMARY
from evoprompt.store.form import in_form
from evoprompt.store.ledger import Ledger


class Observer(Protocol):
    """Who watches a run."""

    def loaded(self, info: ModelInfo, config: Config) -> None:
        """The model is ready."""

    def forecast(self, tokens: int) -> None:
        """Founders, validation and test will take this many tokens; the search comes on top."""

    def phase(self, name: str, num_policies: int) -> None:
        """Scoring of this many policies begins."""

    def scored(self, count: TokenCount) -> None:
        """A policy has been scored."""

    def generation(self, line: GenerationLine) -> bool | None:
        """A generation is committed; the line is that of `generations.jsonl`. False ends the
        search.
        """

    def inexact(self, found: InexactScoringError) -> None:
        """Scores were wrong: the run begins again, and forwards every sequence by itself."""


def run(
    parts: Parts, folder: EvolveFolder, observer: Observer, *, startup_seconds: float = 0.0
) -> Summary:
    """Begin a run or go on with it, to its end; return its summary, which is also written.

    `startup_seconds` is what it took to make the parts; it is counted with the run's other phases.

    Raises:
        UserError: a prompt does not fit the model, or the model returns NaN.
        InexactScoringError: the standing check found a wrong score, so all are in doubt.
        ArithmeticError: Price's parts do not add up, which is a bug.
    """
    begun = time.perf_counter()
    with in_form(folder.path):
        journal, state = restore(parts, folder)
    journal.ledger.add_seconds("startup", startup_seconds)
    before = sum(journal.ledger.seconds.values())
    # a second of imports, while the model is loaded
    Thread(target=import_module, args=["evoprompt.report.plots"], daemon=True).start()
    with journal.ledger.timed("tracking"):
        open_tracking(parts.tracker, folder, parts.config, parts.task)
    with journal.ledger.timed("model_load"):
        info = parts.executor.info()
    check_scoring(folder, info, parts.config.workers.threads)
    parts.measurer.watch(parts.config.seed, journal.ledger)
    with journal.ledger.timed("tracking"):
        parts.tracker.ready()
    observer.loaded(info, parts.config)
    if state is None:
        with journal.ledger.timed("tokenization"):
            parts.costs.check_founders()
            observer.forecast(parts.costs.check_budget())
    state = search(parts, journal, state, observer)
    summary = _check_held_out(parts, state, journal, observer, info)
    Thread(target=parts.close).start()  # Ray takes a second to end
    with journal.ledger.timed("report"):
        write_page(folder, summary)
    journal.ledger.seconds["other"] = max(
        0.0, before + time.perf_counter() - begun - sum(journal.ledger.seconds.values())
    )
    seconds = {name: round(value, 3) for name, value in journal.ledger.seconds.items()}
    summary = replace(summary, seconds=seconds | {"total": round(sum(seconds.values()), 3)})
    folder.write(SUMMARY, summary.to_dict())
    return summary


def search(parts: Parts, journal: Journal, state: State | None, observer: Observer) -> State:
    """Evolve from a state, or from the starting policies, until the generations or the budget end;
    return the last state.
    """
    config, ledger = parts.config, journal.ledger
    while state is None or goes_on(config, state, sum(ledger.seconds.values())):
        raise_if_interrupted()
        if parts.author is not None and state is not None:
            parts.author.allow(_left(parts, journal, []))
        with ledger.timed("evolution" if parts.author is None else "variation"):
            brood, chances = _next_brood(parts, state, journal)
        if parts.author is not None and state is not None:
            ledger.count("variation", parts.author.take_count())
        new = journal.unscored(brood)
        if state is not None and not _affords(parts, journal, new):
            break
        observer.phase(f"generation {brood.generation}", len(new))
        measured = _measure(parts.measurer, new, parts.task.fitness, ledger, "search", observer)
        if state is None:
            parts.calibrator.settle([measured[policy.policy_id] for policy in new])
            parts.calibrator.record(journal.folder)
        for policy in new:
            journal.enter(policy, *parts.interpret(policy, measured[policy.policy_id]))
        with ledger.timed("evolution"):
            evaluations = [journal.evaluations[b.policy.policy_id] for b in brood.births]
            state, entries = tell(state, brood, evaluations, parts.strategy, config.seed)
            births = births_of([lineage_line(e) for e in entries], journal.history.index)
            line = _line(*journal.explain(births, chances), births, ledger)
        with ledger.timed("commit"):
            scores = [measured[policy.policy_id] for policy in new]
            journal.folder.commit(state, entries, line, scores, ledger)
        parts.measurer.pin([m.birth.policy for m in state.members])
        parts.tracker.log(point_of(line))
        if observer.generation(line) is False:
            break
    return state


def _affords(parts: Parts, journal: Journal, new: Sequence[Policy]) -> bool:
    """Return whether the budget has room for new policies, and for all that comes after."""
    left = _left(parts, journal, new)
    return left is None or parts.costs.of(new, journal.policies.values()) <= left


def _left(parts: Parts, journal: Journal, new: Sequence[Policy]) -> int | None:
    """Return what the budget leaves to the search, where new policies may become finalists."""
    pool = [*finalists(parts, journal), *new]
    longest = max(int(e.traits["prompt_tokens"]) for e in journal.evaluations.values())
    return parts.costs.left(journal.ledger, pool, pick_baseline(parts, journal), longest)


def restore(parts: Parts, folder: EvolveFolder) -> tuple[Journal, State | None]:
    """Return what an earlier part of this run left, or an empty journal and no state."""
    checkpoint = folder.restore()
    journal = Journal(folder, checkpoint.ledger if checkpoint else Ledger())
    if checkpoint is None:
        return journal, None
    lineage, measured = folder.lineage(), folder.measurements()
    policies = {e.member.birth.policy.policy_id: e.member.birth.policy for e in lineage}
    founders = [e.member.birth.policy.policy_id for e in lineage if e.generation == 0]
    parts.calibrator.settle([measured[policy_id] for policy_id in dict.fromkeys(founders)])
    for policy_id, scores in measured.items():
        policy = policies[policy_id]
        parts.measurer.recall_verdicts(policy, scores)
        journal.enter(policy, *parts.interpret(policy, scores))
    for births in folder.births():
        journal.explain(births)
    return journal, checkpoint.state


def _next_brood(
    parts: Parts, state: State | None, journal: Journal
) -> tuple[Brood, Expectation | None]:
    """Return the next brood, and the chance that each member had to be a parent; the founders have
    no parents.
    """
    if state is None:
        return found(parts.task.starting_policies), None
    seen = {known_as(p, parts.config.evolution.novelty) for p in journal.policies.values()}
    matings = ask(state, parts.strategy)
    chances = mating_chances(state, matings, parts.strategy)
    return vary(state, matings, parts.strategy, seen, parts.costs.fits), chances


def _measure(
    measurer: Measurer,
    policies: Sequence[Policy],
    examples: Sequence[Example],
    ledger: Ledger,
    phase: str,
    observer: Observer,
) -> dict[str, LabelScores]:
    """Return each policy's scores by policy id; the work is counted in the ledger under a phase."""
    measured = measurer.measure(policies, examples, observer.scored, ledger.timed)
    for _, count in measured.values():
        ledger.count(phase, count)
    return {policy_id: scores for policy_id, (scores, _) in measured.items()}


def _check_held_out(
    parts: Parts, state: State, journal: Journal, observer: Observer, info: ModelInfo
) -> Summary:
    """Pick the champion on the validation examples; measure it and the best starting policy on the
    test examples, once. Nothing was chosen by the test's inputs, so the champion may be one that
    some of them are too long for: its answers there are wrong.
    """
    measurer, task, ledger = parts.measurer, parts.task, journal.ledger
    candidates = finalists(parts, journal)
    observer.phase("validation", len(candidates))
    validated = _measure(measurer, candidates, task.validation, ledger, "validation", observer)
    validated = calibrated_validation(parts, journal, validated)
    champion, baseline = pick_champion(parts, journal, validated), pick_baseline(parts, journal)
    compared = list(dict.fromkeys([baseline, champion]))
    observer.phase("test", len(compared))
    tested: dict[str, LabelScores] = {}
    answerable = {policy: parts.costs.answerable(policy) for policy in compared}
    for examples in dict.fromkeys(answerable.values()):
        asked = [policy for policy in compared if answerable[policy] == examples]
        if examples:
            tested |= _measure(measurer, asked, examples, ledger, "test", observer)
    return summarize(parts, state, journal, champion, baseline, validated, tested, info)


def _line(
    account: GenerationAccount,
    how: ParentSelection | None,
    births: Births,
    ledger: Ledger,
) -> GenerationLine:
    """Return a generation as it is written down: with the time, and what the run has cost so
    far.
    """
    return GenerationLine(
        island=int(births.island[0]),
        time_ms=int(time.time() * 1000),
        account=account,
        parent_selection=how,
        tokens=ledger.token_summary(),
        seconds=round(sum(ledger.seconds.values()), 3),
    )
