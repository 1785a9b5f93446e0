"""A run, from the starting prompts to the held-out check: the loop, readable in one sitting.

found or ask -> vary -> measure -> interpret -> tell -> explain -> commit -> track, until
generations or budget end; then the best few meet the validation examples, and one goes to the test.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from importlib import import_module
from threading import Thread
from typing import Protocol

from evoprompt.backends.base import ModelInfo
from evoprompt.backends.doing import WorkerPace, doing_of
from evoprompt.dynamics.account import GenerationAccount
from evoprompt.dynamics.population import Births, births_of
from evoprompt.errors import InexactScoringError
from evoprompt.evolution.islands import tell
from evoprompt.evolution.schedule import bonus_at, examples_at, relief_at
from evoprompt.interrupt import raise_if_interrupted
from evoprompt.jobs.evolve.breeding import left_of, next_brood
from evoprompt.jobs.evolve.build import Parts
from evoprompt.jobs.evolve.champion import (
    by_metric,
    calibrated_validation,
    finalists,
    pick_baseline,
    pick_champion,
)
from evoprompt.jobs.evolve.conclude import held_out, held_out_predictions, summarize
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.folder import (
    FINALISTS_UNDER_CHANGES,
    SIDE_EFFECTS,
    UNDER_CHANGES,
    EvolveFolder,
    lineage_line,
)
from evoprompt.jobs.evolve.gauge import Gauge, measure, rungs_of
from evoprompt.jobs.evolve.journal import Journal, journal_of
from evoprompt.jobs.evolve.learning import CHOICE, learn_more, learn_under_changes
from evoprompt.jobs.evolve.outlook import outlook
from evoprompt.jobs.evolve.page import write_page
from evoprompt.jobs.evolve.preferring import record_preference
from evoprompt.jobs.evolve.record import GenerationLine, ParentSelection, Steering, Summary
from evoprompt.jobs.evolve.shaping import shaping_line
from evoprompt.jobs.evolve.side_effects import SideEffects
from evoprompt.jobs.evolve.start import with_start
from evoprompt.jobs.evolve.tracked import open_tracking, point_of
from evoprompt.jobs.evolve.under_changes import UnderChanges
from evoprompt.jobs.evolve.watching import Watch
from evoprompt.jobs.provenance import check_scoring
from evoprompt.policy import Policy
from evoprompt.records import LabelScores, State, TokenCount
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

    def best(self, policy: Policy) -> None:
        """This policy is the fittest of all that were scored so far; said before `generation`."""

    def workers(self, paces: Sequence[WorkerPace]) -> None:
        """So each worker of a fleet worked in this generation; said before `generation`."""

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
    record_preference(folder, parts.preference)
    parts.measurer.watch(parts.config.seed, journal.ledger)
    with journal.ledger.timed("tracking"):
        parts.tracker.ready()
    observer.loaded(info, parts.config)
    with journal.ledger.timed("tokenization"):
        numbers = rungs_of(parts, _num_examples(parts, journal, None))
        parts = with_start(parts, numbers)
        if state is None:
            parts.costs.check_founders()
            observer.forecast(parts.costs.check_budget())
    with closing(journal.measured):
        state = search(parts, journal, state, observer)
        summary = _check_held_out(parts, state, journal, observer, info)
    Thread(target=parts.close).start()  # Ray takes a second to end
    with journal.ledger.timed("report"):
        write_page(folder, summary)
    journal.ledger.seconds["other"] = max(
        0.0, before + time.perf_counter() - begun - sum(journal.ledger.seconds.values())
    )
    summary = replace(summary, seconds=journal.ledger.rounded_seconds())
    folder.write(SUMMARY, summary.to_dict())
    journal.measured.remove()
    return summary


def search(parts: Parts, journal: Journal, state: State | None, observer: Observer) -> State:
    """Evolve from a state, or from the starting policies, until the generations or the budget end;
    return the last state.
    """
    config, ledger = parts.config, journal.ledger
    watch = Watch(parts.executor, journal.folder.path, machine=config.tracking.enabled)
    while state is None or _goes_on(config, state, sum(ledger.seconds.values())):
        raise_if_interrupted()
        if journal.has_ceased(config.evolution.stop) or _is_hopeless(parts, journal, state):
            break
        num, shaped = _num_examples(parts, journal, state), _shaped(parts, journal, state)
        gauge = Gauge(shaped, journal, observer)
        before = state if state is None else gauge.again(state, num)
        bred = next_brood(shaped, journal, before, rungs_of(parts, num))
        if bred is None:
            break
        evaluations = gauge.race(bred.brood, rungs_of(parts, num), before)
        with ledger.timed("evolution"):
            state, entries = tell(before, bred.brood, evaluations, shaped.strategy, config.seed)
            births = births_of([lineage_line(e) for e in entries], journal.history.index)
            line = _line(*journal.explain(births, bred.chances), births, ledger, bred.steering)
            archive = journal.archive(births, config.evolution.survival_selection)
            effects = (
                None
                if parts.side_effects is None
                else parts.side_effects.line(births, shaped.strategy.bonus)
            )
            line = replace(line, archive=archive, side_effects=effects)
            if config.evolution.shaping.weight:
                line = replace(line, shaping=shaping_line(births, shaped.strategy.bonus))
            paces = watch.workers()
            line = replace(line, workers=doing_of(paces), system=watch.machine())
        with ledger.timed("commit"):
            looked = {n: of.take_lines() for n, of in _looking(parts).items()}
            written = journal.folder.commit(state, entries, line, journal.unwritten, ledger, looked)
            journal.committed(written)
        parts.measurer.pin([m.birth.policy for m in state.members])
        parts.tracker.log(point_of(line, config.tracking.detail))
        observer.best(journal.ranked(1)[0])
        observer.workers(paces)
        if observer.generation(line) is False:
            break
    assert state is not None, "the founders are always measured"
    return state


def _is_hopeless(parts: Parts, journal: Journal, state: State | None) -> bool:
    """Return whether the founders show that there is little to win, where that ends a search."""
    if not parts.config.evolution.stop.headroom or state is None or state.generation > 0:
        return False
    found = outlook(parts, journal)
    return found is not None and found.verdict == "little to win"


def _num_examples(parts: Parts, journal: Journal, state: State | None) -> int:
    """Return on how many examples the next generation ends: more than the last, where it is time
    and the budget has room to measure its members again.
    """
    evolution, available = parts.config.evolution, len(parts.task.fitness)
    if state is None:
        return examples_at(0.0, evolution.examples, available)
    left, done = left_of(parts, journal), _progress(parts, journal, state)
    now = len(state.members[0].evaluation.case_fitness)
    num = max(now, examples_at(done, evolution.examples, available))
    members = [m.birth.policy for m in state.members]
    if left is None or parts.costs.of(members, (num,), begin=now) <= left:
        return num
    return now


def _progress(parts: Parts, journal: Journal, state: State | None) -> float:
    """Return the share of the search that is done: of its budget, or without one of its
    generations.
    """
    if state is None:
        return 0.0
    left, spent = left_of(parts, journal), parts.costs.spent(journal.ledger)
    if left is None:
        return state.generation / parts.config.evolution.generations
    return min(1.0, max(0.0, spent / (spent + left)))


def _shaped(parts: Parts, journal: Journal, state: State | None) -> Parts:
    """Return the parts with what a bonus counts in the next generation: for named steps, or what is
    given back of the penalty for side effects.
    """
    shaping, effects = parts.config.evolution.shaping, parts.config.side_effects
    if shaping.weight:
        bonus = bonus_at(_progress(parts, journal, state), shaping)
    elif effects is not None and effects.until is not None:
        bonus = relief_at(_progress(parts, journal, state), effects)
    else:
        return parts
    return replace(parts, strategy=replace(parts.strategy, bonus=bonus))


def _goes_on(config: Config, state: State, seconds: float) -> bool:
    """Return whether there is a next generation, and time for it; `seconds` were spent so far."""
    limit = config.budget.seconds
    return state.generation < config.evolution.generations and (limit is None or seconds < limit)


def restore(parts: Parts, folder: EvolveFolder) -> tuple[Journal, State | None]:
    """Return what an earlier part of this run left, or an empty journal and no state: the last
    snapshot, and what was committed after it.
    """
    checkpoint = folder.restore()
    journal = journal_of(parts, folder, checkpoint.ledger if checkpoint else Ledger())
    if checkpoint is None:
        journal.measured.remove()
        return journal, None
    numbers = rungs_of(parts, _num_examples(parts, journal, None))
    founders = list(dict.fromkeys(folder.founders()))
    begin = journal.recall(checkpoint.state.generation)
    first = folder.first_measurements(founders)
    parts.calibrator.settle([first[p].first(numbers[0]) for p in founders])
    for name, looking in _looking(parts).items():
        looking.recall(folder.lines(name))
    if parts.side_effects is not None:
        parts.side_effects.settle(parts.task.given_policies[0], founders, folder)
    if parts.measurer.wanted.verdicts:
        for policy_id, policy in journal.policies.items():
            parts.measurer.recall_verdicts(policy, journal.scores[policy_id])
    for policy, scores, place in folder.measured_since(begin, journal.policies):
        parts.measurer.recall_verdicts(policy, scores)
        journal.enter(policy, scores)
        journal.measured.written([place])
    for births, chances in folder.births_since(begin, journal.history.index):
        journal.explain(births, chances)
    journal.keep()
    return journal, checkpoint.state


def _looking(parts: Parts) -> dict[str, SideEffects | UnderChanges]:
    """Return who measures policies beside the examples, by the file of what they find."""
    found = {SIDE_EFFECTS: parts.side_effects, UNDER_CHANGES: parts.under_changes}
    return {name: each for name, each in found.items() if each is not None}


def _check_held_out(
    parts: Parts, state: State, journal: Journal, observer: Observer, info: ModelInfo
) -> Summary:
    """Pick the champion on the validation examples; measure it and the best starting policy on the
    test examples, once. Nothing was chosen by the test's inputs, so the champion may be one that
    some of them are too long for: its answers there are wrong.
    """
    measurer, ledger = parts.measurer.final, journal.ledger
    _level(parts, journal, observer)
    fittest, baseline = finalists(parts, journal), pick_baseline(parts, journal)
    longest, share = journal.longest_prompt, CHOICE if parts.calibrator.is_used else 1.0
    candidates, examples = parts.costs.rest(fittest, baseline, ledger, longest, share)
    _look_at_finalists(parts, journal, candidates)
    observer.phase("validation", len(candidates))
    validated = measure(measurer, candidates, examples, ledger, "validation", observer)
    champion = pick_champion(parts, journal, candidates, validated)
    learned = learn_more(parts, journal, champion, baseline, validated, observer)
    changed = learn_under_changes(parts, journal, champion, baseline)
    compared = list(dict.fromkeys([baseline, champion]))
    observer.phase("test", len(compared))
    tested: dict[str, LabelScores] = {}
    answerable = {policy: parts.costs.answerable(policy) for policy in compared}
    for test in dict.fromkeys(answerable.values()):
        asked = [policy for policy in compared if answerable[policy] == test]
        if test:
            tested |= measure(measurer, asked, test, ledger, "test", observer)
    ids = (baseline.policy_id, champion.policy_id)
    found = held_out(parts, journal, *ids, learned, tested, changed)
    told = calibrated_validation(parts, journal, validated)
    journal.folder.write_predictions(held_out_predictions(parts, told, found.scores, compared))
    metric = by_metric(parts, candidates, validated)
    return summarize(parts, state, journal, champion, baseline, learned, found, info, metric)


def _look_at_finalists(parts: Parts, journal: Journal, candidates: Sequence[Policy]) -> None:
    """Measure the finalists under changes, where the run looks, and write down what these take."""
    if parts.under_changes is not None:
        found = parts.under_changes.finish(candidates, journal.scores, journal.ledger)
        journal.folder.write_lines(FINALISTS_UNDER_CHANGES, found)


def _level(parts: Parts, journal: Journal, observer: Observer) -> None:
    """Measure the baseline on as many examples as the fittest policy, if the budget has room: so
    that its calibration is no worse for having met fewer.
    """
    baseline, best = pick_baseline(parts, journal), journal.ranked(1)[0]
    begin, num = (journal.num_measured(policy) for policy in (baseline, best))
    left = left_of(parts, journal)
    if begin < num and (left is None or parts.costs.of([baseline], (num,), begin=begin) <= left):
        Gauge(parts, journal, observer).raise_to([baseline], num, "baseline")


def _line(
    account: GenerationAccount,
    how: ParentSelection | None,
    births: Births,
    ledger: Ledger,
    steering: Steering,
) -> GenerationLine:
    """Return a generation as it is written down: with the time, and what the run has cost so
    far.
    """
    return GenerationLine(
        island=int(births.island.min()),
        time_ms=int(time.time() * 1000),
        account=account,
        parent_selection=how,
        tokens=ledger.token_summary(),
        seconds=round(sum(ledger.seconds.values()), 3),
        steering=steering,
    )
