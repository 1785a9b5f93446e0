"""The held-out check: the champion goes to the test, once, and what is reported comes from examples
that neither the search nor the choice of the champion (`champion`) has seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Floats
from evoprompt.backends.base import ModelInfo
from evoprompt.calibration import LabelCalibration
from evoprompt.choices import LIKELIHOOD, Comparison, correct, predicted
from evoprompt.fitness.self_evaluation import verdict_log_odds
from evoprompt.jobs.evolve.build import Parts
from evoprompt.jobs.evolve.by_metric import MetricSummary, grades_of
from evoprompt.jobs.evolve.champion import case_fitness, validation_fitness
from evoprompt.jobs.evolve.findings import Trust, claim_of, fitness_ranks, trust_of
from evoprompt.jobs.evolve.journal import Journal
from evoprompt.jobs.evolve.outlook import outlook
from evoprompt.jobs.evolve.predictions import Prediction, predictions_of
from evoprompt.jobs.evolve.record import (
    BaselineSummary,
    ChampionSummary,
    FitnessSummary,
    ModelSummary,
    Summary,
)
from evoprompt.jobs.held_out import (
    EvaluatorSummary,
    Graded,
    HeldOut,
    compare,
    evaluator_summary,
)
from evoprompt.policy import Policy
from evoprompt.records import Example, LabelScores, State
from evoprompt.recurrence.evaluator import EvaluatorCounts
from evoprompt.store.folder import TRACKING

#: Policies that the search measured of which its luck is estimated, at most.
TRUSTED = 4096
RANKED = ("fitness", "accuracy")  #: traits by example whose ranks are compared


def _searched(
    parts: Parts, journal: Journal, policy_ids: Iterable[str]
) -> dict[str, tuple[LabelScores, ...]]:
    """Return what the search measured of policies, by id, where answers are calibrated by it."""
    if not parts.calibrator.is_used:
        return {}
    return {policy_id: (journal.scores[policy_id],) for policy_id in policy_ids}


def summarize(
    parts: Parts,
    state: State,
    journal: Journal,
    champion: Policy,
    baseline: Policy,
    learned: Mapping[str, tuple[LabelScores, ...]],
    found: Tested,
    info: ModelInfo,
    metric: MetricSummary | None = None,
) -> Summary:
    """Return the run's summary, all but the seconds. `learned` has what was measured of champion
    and baseline beside the search, the validation examples first, by policy id; `metric` is
    `by_metric`.
    """
    config, evaluations = parts.config, journal.evaluations
    first, last = baseline.policy_id, champion.policy_id
    starting = [evaluations[p.policy_id].fitness for p in parts.task.starting_policies]
    answered = found.scores[last].example_ids if last in found.scores else ()
    named = (("baseline", first), ("champion", last))
    both = {name: found.scores[p] for name, p in named if p in found.scores}
    return Summary(
        name=journal.folder.path.name,
        champion=ChampionSummary(
            last,
            champion.to_dict(),
            parts.measurer.shown(champion),
            evaluations[last].fitness,
            validation_fitness(parts, journal, champion, learned[last][0]),
            dict(evaluations[last].traits),
            found.calibration[last],
            found.offsets[last],
            found.labels,
        ),
        baseline=_baseline(parts, baseline, evaluations[first].fitness, found),
        fitness=FitnessSummary(
            kind=parts.fitness.name,
            first=max(starting),
            last=max(m.evaluation.fitness for m in state.members),
            best=journal.measured.best_fitness,
        ),
        test=found.test,
        evaluator=_evaluators(parts, both),
        generations=state.generation,
        policies_scored=len(evaluations),
        tokens=journal.ledger.token_summary(),
        price_residual_max=journal.residual_max,
        mlflow_run_id=(journal.folder.read(TRACKING) or {}).get("run_id"),
        seed=config.seed,
        task=parts.task.name,
        model=_model(config.model.name, parts.identity.place, info),
        checked=journal.ledger.checked,
        unanswered=len(parts.task.test) - len(answered),
        headroom=outlook(parts, journal),
        claim=claim_of(found.test, is_baseline=first == last, alpha=parts.config.final.alpha),
        report=_trust(parts, journal, champion, found.scores.get(last)),
        metric=metric,
    )


def _baseline(parts: Parts, policy: Policy, fitness: float, found: Tested) -> BaselineSummary:
    first = policy.policy_id
    values, prompt = policy.to_dict(), parts.measurer.shown(policy)
    calibrations = found.calibration[first], found.offsets[first]
    return BaselineSummary(first, values, prompt, fitness, *calibrations)


def _trust(parts: Parts, journal: Journal, champion: Policy, tested: LabelScores | None) -> Trust:
    """Return how far the fitness can be trusted; `tested` has the champion's scores on the test."""

    def measured(policy: Policy, cases: Sequence[float] | NDArray[np.float64]) -> Floats:
        return np.asarray(cases) + parts.handicap(policy, len(cases))

    ids = _spread(journal, champion.policy_id)
    found = {p: journal.evaluations[p] for p in ids}
    searched = {p: measured(journal.policies[p], e.case_fitness) for p, e in found.items()}
    on_test = None if tested is None else measured(champion, case_fitness(parts, champion, tested))
    cases = _ranked_cases(journal, ids)
    ranks = fitness_ranks(*cases, parts.config.seed, parts.config.final.alpha)
    trust = trust_of(searched, champion.policy_id, on_test, ranks)
    return replace(trust, num_scored=len(journal.evaluations))


def _spread(journal: Journal, champion: str) -> list[str]:
    """Return the ids of all policies, in order of measurement; of more than `TRUSTED` evenly spread
    ones and the champion: what is estimated of the spread of many is known well by so many.
    """
    step = ceil(len(journal.evaluations) / TRUSTED)
    ids = list(islice(journal.evaluations, 0, None, step))
    return ids if champion in ids else [*ids, champion]


def _ranked_cases(
    journal: Journal, ids: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return fitness and accuracy by example of those of these policies that met at least as many
    examples as half of them did, on so many: shape (policy, example) each.
    """
    met = {p: len(journal.evaluations[p].case_fitness) for p in ids}
    num = sorted(met.values(), reverse=True)[(len(met) - 1) // 2]
    cases = [journal.cases_on(p, num) for p in met if met[p] >= num]
    fitness, accuracy = (np.stack([c[name] for c in cases]) for name in RANKED)
    return fitness, accuracy


@dataclass(frozen=True, slots=True)
class Tested:
    """The test with the answers that users get: calibrated by all that was learned before it."""

    test: HeldOut
    scores: Mapping[str, LabelScores]  #: on the test examples, by policy id
    calibration: Mapping[str, LabelCalibration | None]  #: by policy id
    offsets: Mapping[str, LabelCalibration | None]  #: the same without a head, where there is one
    labels: Mapping[str, int]  #: that the champion's is fitted on, by split; none where nothing is


def held_out(
    parts: Parts,
    journal: Journal,
    first: str,
    last: str,
    beside: Mapping[str, tuple[LabelScores, ...]],
    raw: Mapping[str, LabelScores],
    changed: Mapping[str, Sequence[LabelScores]] = MappingProxyType({}),
) -> Tested:
    """Return the test of two policies, by their ids and scores as they were measured; each is
    calibrated by what the search measured of it, and what was measured beside and under changes.
    """
    calibrator, config = parts.calibrator, parts.config
    searched = _searched(parts, journal, (first, last))
    learned = {p: (*searched.get(p, ()), *beside[p]) for p in (first, last)}
    scores = {
        p: calibrator.applied(learned[p], s, changed=changed.get(p, ())) for p, s in raw.items()
    }

    def right(policy_id: str, by_policy: Mapping[str, LabelScores]) -> Graded:
        if parts.metric is not None:
            return grades_of(parts.task.test, by_policy.get(policy_id))
        return answered_right(parts.task.test, by_policy.get(policy_id), parts.fitness.comparison)

    before, after = right(first, scores), right(last, scores)
    plain = (right(first, raw), right(last, raw)) if calibrator.is_used else None
    offsets = {p: calibrator.by_offsets(known) for p, known in learned.items()}
    alone = None
    if offsets[last] is not None:
        by = {p: calibrator.applied(learned[p], s, "labelled") for p, s in raw.items()}
        alone = right(first, by), right(last, by)
    title = parts.metric or "accuracy"
    test = compare(before, after, config.seed, config.final.alpha, plain, alone, title)
    used = {p: calibrator.of_policy(known, changed.get(p, ())) for p, known in learned.items()}
    return Tested(test, scores, used, offsets, _labels(learned[last]))


def _labels(learned: Sequence[LabelScores]) -> dict[str, int]:
    """Return how many labels were measured of a policy: in the search, in the validation, and
    beside them; none where the search's are not among them.
    """
    if len(learned) < 2:
        return {}
    fitness, validation, *others = (len(scores.gold) for scores in learned)
    return {"fitness": fitness, "validation": validation, "others": sum(others)}


def held_out_predictions(
    parts: Parts,
    validated: Mapping[str, LabelScores],
    tested: Mapping[str, LabelScores],
    compared: Sequence[Policy],
) -> Iterator[Prediction]:
    """Yield what each finalist answered on the validation examples that were used, and what those
    that were compared answered on the test; the scores are calibrated.
    """
    task, comparison = parts.task, parts.fitness.comparison
    used = {e for scores in validated.values() for e in scores.example_ids}
    chosen = [e for e in task.validation if e.example_id in used]
    yield from predictions_of("validation", chosen, validated, validated, comparison)
    ids = [policy.policy_id for policy in compared]
    yield from predictions_of("test", task.test, ids, tested, comparison)


def answered_right(
    examples: Sequence[Example], scores: LabelScores | None, comparison: Comparison
) -> NDArray[np.bool_]:
    """Return which examples one policy answers right, shape (example,); those without a score are
    wrong.
    """
    if scores is None:
        return np.zeros(len(examples), dtype=bool)
    right = correct(scores, comparison)[0].tolist()
    found = dict(zip(scores.example_ids, right, strict=True))
    return np.array([found.get(e.example_id, False) for e in examples], dtype=bool)


def _model(name: str, place: str, info: ModelInfo) -> ModelSummary:
    return ModelSummary(
        name=name,
        folder=place,
        path=info.path,
        reason=info.reason,
        dtype=info.dtype,
        arithmetic=info.arithmetic,
        placement=info.placement,
        chunk_tokens=info.chunk_tokens,
    )


def counts_of(
    scores: LabelScores, comparison: Comparison = LIKELIHOOD, *, judging: bool
) -> EvaluatorCounts | None:
    """Return how one policy did as an evaluator: on a judging task itself, else its clause where
    that was measured; None where neither was.
    """
    if judging:
        # the choices are TRUE and FALSE
        accepted, is_right = predicted(scores, comparison)[0] == 0, scores.gold == 0
    elif scores.verdict is not None:
        accepted = (verdict_log_odds(scores)[0] >= 0).ravel()
        is_right = np.tile([True, False], len(scores.gold))
    else:
        return None
    right, wrong = accepted[is_right], accepted[~is_right]
    return EvaluatorCounts(int(right.sum()), len(right), int(wrong.sum()), len(wrong))


def _evaluators(parts: Parts, tested: Mapping[str, LabelScores]) -> dict[str, EvaluatorSummary]:
    """Return how good each policy is as an evaluator, where that was measured."""
    config, comparison = parts.config, parts.fitness.comparison
    counts = {
        name: counts_of(scores, comparison, judging=config.task.judge)
        for name, scores in tested.items()
    }
    return {
        name: evaluator_summary(found, config.final.alpha)
        for name, found in counts.items()
        if found is not None
    }
