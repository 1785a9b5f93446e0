"""A run, from the starting prompts to the held-out check: the loop, readable in one sitting.

found or ask -> vary -> measure -> interpret -> tell -> explain -> commit -> track, until
generations or budget end; then the best few meet the validation examples, and one goes to the test.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import import_module
from threading import Thread
from typing import Any, Protocol

import numpy as np

from evoprompt.backends.base import ModelInfo
from evoprompt.dynamics.account import GenerationAccount
from evoprompt.dynamics.population import Births, births_of
from evoprompt.evolution.engine import ask, found, mating_chances, tell, vary
from evoprompt.fitness.traits import case_traits, evaluate
from evoprompt.interrupt import raise_if_interrupted
from evoprompt.jobs.evolve.build import Parts
from evoprompt.jobs.evolve.conclude import finalists, pick_baseline, pick_champion, summarize
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.folder import EvolveFolder, lineage_line
from evoprompt.jobs.evolve.journal import Journal
from evoprompt.jobs.evolve.metrics import generation_metrics, summary_description, summary_metrics
from evoprompt.jobs.evolve.page import write_page
from evoprompt.jobs.evolve.record import GenerationLine, ParentSelection
from evoprompt.policy import Policy
from evoprompt.records import Brood, Evaluation, Example, LabelScores, State, TokenCount
from evoprompt.selection.base import Expectation
from evoprompt.store.folder import SUMMARY, TRACKING
from evoprompt.store.ledger import Ledger
from evoprompt.tracking.base import Dataset
from evoprompt.tracking.names import digest, flat_parameters

#: Price's parts must add up to this, relative to the trait's greatest value or 1.
RESIDUAL_LIMIT = 1e-12


class Observer(Protocol):
    """Who watches a run."""

    def loaded(self, info: ModelInfo, config: Config) -> None:
        """The model is ready."""

    def phase(self, name: str, num_policies: int) -> None:
        """Scoring of this many policies begins."""

    def scored(self, count: TokenCount) -> None:
        """A policy has been scored."""

    def generation(self, line: GenerationLine) -> bool | None:
        """A generation is committed; the line is that of `generations.jsonl`. False ends the
        search.
        """


def run(
    parts: Parts, folder: EvolveFolder, observer: Observer, *, startup_seconds: float = 0.0
) -> dict[str, Any]:
    """Begin a run or go on with it, to its end; return its summary, which is also written.

    `startup_seconds` is what it took to make the parts; it is counted with the run's other phases.

    Raises:
        UserError: a prompt does not fit the model, or the model returns NaN.
        ArithmeticError: Price's parts do not add up, which is a bug.
    """
    begun = time.perf_counter()
    journal, state = restore(parts, folder)
    journal.ledger.add_seconds("startup", startup_seconds)
    before = sum(journal.ledger.seconds.values())
    Thread(
        target=import_module, args=["evoprompt.report.plots"], daemon=True
    ).start()  # a second of imports, while the model is loaded
    with journal.ledger.timed("model_load"):
        info = parts.executor.info()
    with journal.ledger.timed("tracking"):
        _open_tracking(parts, folder, state)
    observer.loaded(info, parts.config)
    state = search(parts, journal, state, observer)
    summary = _check_held_out(parts, state, journal, observer)
    summary["model"] |= {
        "path": info.path,
        "reason": info.reason,
        "dtype": info.dtype,
        "arithmetic": info.arithmetic,
        "placement": info.placement,
        "chunk_tokens": info.chunk_tokens,
    }
    Thread(target=parts.close).start()  # Ray takes a second to end
    with journal.ledger.timed("report"):
        write_page(folder, summary)
    journal.ledger.seconds["other"] = max(
        0.0, before + time.perf_counter() - begun - sum(journal.ledger.seconds.values())
    )
    seconds = {name: round(value, 3) for name, value in journal.ledger.seconds.items()}
    summary["seconds"] = seconds | {"total": round(sum(seconds.values()), 3)}
    parts.tracker.describe(summary_description(summary))
    parts.tracker.log(summary_metrics(summary), state.generation, int(time.time() * 1000))
    folder.write(SUMMARY, summary)
    return summary


def search(parts: Parts, journal: Journal, state: State | None, observer: Observer) -> State:
    """Evolve from a state, or from the starting policies, until the generations or the budget end;
    return the last state.
    """
    while state is None or _goes_on(parts, state, journal):
        raise_if_interrupted()
        with journal.ledger.timed("evolution" if parts.author is None else "variation"):
            brood, chances = (
                _founders(parts) if state is None else _next_brood(parts, state, journal)
            )
        if state is not None and _over_budget(parts, brood, journal):
            break
        observer.phase(f"generation {brood.generation}", len(_unscored(brood, journal)))
        evaluations, measured = _evaluate(parts, brood, journal, observer)
        with journal.ledger.timed("evolution"):
            state, entries = tell(state, brood, evaluations, parts.strategy, parts.config.seed)
            births = births_of([lineage_line(e) for e in entries], journal.history.index)
            line = _explain(journal, births, chances)
        with journal.ledger.timed("commit"):
            journal.folder.commit(state, entries, line, measured, journal.ledger)
        parts.measurer.pin([m.birth.policy for m in state.members])
        parts.tracker.log(generation_metrics(line), line.generation, line.time_ms)
        if observer.generation(line) is False:
            break
    return state


def restore(parts: Parts, folder: EvolveFolder) -> tuple[Journal, State | None]:
    """Return what an earlier part of this run left, or an empty journal and no state."""
    checkpoint = folder.restore()
    journal = Journal(folder, checkpoint.ledger if checkpoint else Ledger())
    if checkpoint is None:
        return journal, None
    policies = {e.member.birth.policy.policy_id: e.member.birth.policy for e in folder.lineage()}
    for policy_id, scores in folder.measurements().items():
        parts.measurer.recall_verdicts(policies[policy_id], scores)
        _interpret(parts, policies[policy_id], scores, journal)
    for births in folder.births():
        _check_price(journal, births, journal.history.add(births, journal.cases_of(births)))
    return journal, checkpoint.state


def _open_tracking(parts: Parts, folder: EvolveFolder, state: State | None) -> None:
    """Open the MLflow run, or open it again and tell the last committed generation once more: it
    may not have arrived.
    """
    identity = folder.read(TRACKING)
    if identity:
        parts.tracker.resume(identity)
        if state is not None:
            line = folder.generations()[-1]
            parts.tracker.log(generation_metrics(line), line.generation, line.time_ms)
        return
    task, config = parts.task, parts.config
    source = str(config.task.path or f"evoprompt:{config.task.name}")
    splits = (("fitness", task.fitness), ("validation", task.validation), ("test", task.test))
    datasets = [
        Dataset(task.name, digest(examples), source, split, len(examples))
        for split, examples in splits
    ]
    tags = {
        "evoprompt.folder": str(folder.path),
        "evoprompt.task": task.name,
        "evoprompt.model": config.model.name,
    }
    identity = parts.tracker.begin(
        folder.path.name, flat_parameters(config.model_dump(mode="json")), tags, datasets
    )
    folder.write(TRACKING, identity)


def _goes_on(parts: Parts, state: State, journal: Journal) -> bool:
    limit = parts.config.budget.seconds
    in_time = limit is None or sum(journal.ledger.seconds.values()) < limit
    return state.generation < parts.config.evolution.generations and in_time


def _founders(parts: Parts) -> tuple[Brood, None]:
    return found(parts.task.starting_policies), None


def _next_brood(parts: Parts, state: State, journal: Journal) -> tuple[Brood, Expectation]:
    """Return the next brood, and the chance that each member had to be a parent."""
    matings = ask(state, parts.strategy)
    chances = mating_chances(state, matings, parts.strategy)
    brood = vary(state, matings, parts.strategy, set(journal.evaluations), parts.fits)
    if parts.author is not None:
        journal.ledger.count("variation", parts.author.take_count())
    return brood, chances


def _unscored(brood: Brood, journal: Journal) -> list[Policy]:
    return [
        p
        for p in dict.fromkeys(b.policy for b in brood.births)
        if p.policy_id not in journal.evaluations
    ]


def _over_budget(parts: Parts, brood: Brood, journal: Journal) -> bool:
    """Whether this brood and the validation after it would take more tokens than the budget has
    left.

    A policy is charged the distinct prefixes of its own prompts, whatever store and memo spare: so
    the search is the same each time. The brood is counted before anything is forwarded, exactly but
    for what the model writes after steps: that is taken to be as long as it may get. The validation
    is forecast from the dearest policy so far.
    """
    limit = parts.config.budget.prefill_tokens
    if limit is None:
        return False
    brood_tokens = parts.measurer.forecast(_unscored(brood, journal), parts.task.fitness)
    longest_prompt = max(e.traits["prompt_tokens"] for e in journal.evaluations.values())
    spent = journal.ledger.tokens["search"]
    per_example = spent.floor_body_tokens / (len(journal.evaluations) * len(parts.task.fitness))
    validation = parts.config.final.candidates * (
        longest_prompt + per_example * len(parts.task.validation)
    )
    varied = journal.ledger.tokens.get("variation", TokenCount()).floor_body_tokens
    return spent.floor_body_tokens + varied + brood_tokens + validation > limit


def _evaluate(
    parts: Parts, brood: Brood, journal: Journal, observer: Observer
) -> tuple[list[Evaluation], list[LabelScores]]:
    """Return an evaluation for each birth, and what was newly measured for them."""
    new = _unscored(brood, journal)
    measured = _measure(parts, new, parts.task.fitness, "search", journal, observer)
    for policy in new:
        _interpret(parts, policy, measured[policy.policy_id], journal)
    return [journal.evaluations[b.policy.policy_id] for b in brood.births], [
        measured[p.policy_id] for p in new
    ]


def _measure(
    parts: Parts,
    policies: Sequence[Policy],
    examples: Sequence[Example],
    phase: str,
    journal: Journal,
    observer: Observer,
) -> dict[str, LabelScores]:
    measured = parts.measurer.measure(policies, examples, observer.scored, journal.ledger.timed)
    for _, count in measured.values():
        journal.ledger.count(phase, count)
    return {policy_id: scores for policy_id, (scores, _) in measured.items()}


def _interpret(parts: Parts, policy: Policy, scores: LabelScores, journal: Journal) -> None:
    """Enter what a policy is worth into the journal."""
    tokens, config = parts.measurer.prompt_tokens(policy), parts.config.fitness
    labels, extra, weight = parts.task.choices or (), parts.extra_traits, config.self_evaluation
    evaluation = evaluate(
        policy,
        scores,
        parts.fitness_kind,
        tokens,
        config.prompt_token_penalty,
        labels,
        extra,
        weight,
    )
    cases = {"fitness": np.array(evaluation.case_fitness)} | {
        name: values[0] for name, values in case_traits(scores).items()
    }
    journal.enter(policy, evaluation, cases)


def _check_held_out(
    parts: Parts, state: State, journal: Journal, observer: Observer
) -> dict[str, Any]:
    """Pick the champion on the validation examples; measure it and the best starting policy on the
    test examples, once.
    """
    candidates = finalists(parts, journal)
    observer.phase("validation", len(candidates))
    validated = _measure(parts, candidates, parts.task.validation, "validation", journal, observer)
    champion, baseline = pick_champion(parts, journal, validated), pick_baseline(parts, journal)
    compared = list(dict.fromkeys([baseline, champion]))
    observer.phase("test", len(compared))
    tested = _measure(parts, compared, parts.task.test, "test", journal, observer)
    return summarize(parts, state, journal, champion, baseline, validated, tested)


def _explain(journal: Journal, births: Births, chances: Expectation | None) -> GenerationLine:
    """Return the generation as it is written down: who was born and selected, why the traits' means
    changed, and what it cost so far.
    """
    how, cases = None, journal.cases_of(births)
    if chances is None:
        account = journal.history.add(births, cases)
    else:
        p = chances.probability.tolist()
        how = ParentSelection(p, chances.how, chances.filling, chances.num)
        account = journal.history.add(
            births, cases, p, filling=chances.filling, num_slots=chances.num
        )
    _check_price(journal, births, account)
    return GenerationLine(
        island=int(births.island[0]),
        time_ms=int(time.time() * 1000),
        account=account,
        parent_selection=how,
        tokens=journal.ledger.token_summary(),
        seconds=round(sum(journal.ledger.seconds.values()), 3),
    )


def _check_price(journal: Journal, births: Births, account: GenerationAccount) -> None:
    for name, terms in account.price.items():
        scale = max(1.0, float(np.abs(births.trait(name)).max()))
        if abs(terms.residual) > RESIDUAL_LIMIT * scale:
            raise ArithmeticError(
                f"Price's parts of '{name}' leave {terms.residual:.3g} in generation "
                f"{births.generation}; please report this"
            )
        journal.residual_max = max(journal.residual_max, abs(terms.residual))
