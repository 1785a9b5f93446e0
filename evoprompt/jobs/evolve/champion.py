"""Which policy a run ends with: the search's best few meet the validation examples, and the best of
them on all examples together is the champion.

The fitness of the best of many policies is too good by selection alone (the winner's curse), so the
search's own examples pick only the finalists, and the search's and the validation examples together
the one among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from evoprompt.choices import correct, has_choices
from evoprompt.fitness.catalog import KINDS
from evoprompt.fitness.traits import lacks_labels
from evoprompt.jobs.evolve.build import Parts
from evoprompt.jobs.evolve.by_metric import MetricSummary, mean_grades
from evoprompt.jobs.evolve.findings import fitness_ranks
from evoprompt.jobs.evolve.journal import Journal
from evoprompt.policy import Policy
from evoprompt.records import FITNESS_DIGITS, LabelScores
from evoprompt.stats.two_way import adjusted_means


def finalists(parts: Parts, journal: Journal) -> list[Policy]:
    """Return the policies that go to the validation: the fittest of all that were ever scored, and
    the baseline, so that none of less fitness on all examples together can be the champion.
    """
    fittest = journal.ranked(parts.config.final.candidates)
    return list(dict.fromkeys([*fittest, pick_baseline(parts, journal)]))


def pick_champion(
    parts: Parts,
    journal: Journal,
    candidates: Sequence[Policy],
    validated: dict[str, LabelScores],
) -> Policy:
    """Return the finalist with the best pooled fitness; a tie goes to the fitter in the search.
    After a search by likelihood whose end goes by a metric, the one with the best mean grade on the
    validation examples, and where answers are free and their likelihood is all that counts, the one
    that answers most right (`pooled_accuracy`); of those that tie, as before.
    """
    pooled = pooled_fitness(parts, journal, candidates, validated)
    chosen = {} if parts.fitness.needs_answers else mean_grades(validated)
    if not chosen and _is_likelihood_of_free_answers(parts, candidates, validated):
        chosen = pooled_accuracy(journal, candidates, validated)

    def worth(policy: Policy) -> tuple[float, float, float]:
        found = journal.evaluations[policy.policy_id]
        return chosen.get(policy.policy_id, 0.0), pooled[policy.policy_id], found.fitness

    return max(candidates, key=worth)


def _is_likelihood_of_free_answers(
    parts: Parts, candidates: Sequence[Policy], validated: Mapping[str, LabelScores]
) -> bool:
    """Return whether fitness is one of the package's likelihoods, of free answers, with no more to
    it: no verdicts, lengths, side effects or remarks.
    """
    own = parts.fitness
    if own.name not in KINDS or own.needs_answers:
        return False
    is_more = own.self_evaluation > 0 or own.prompt_token_penalty > 0
    is_more = is_more or any(parts.taken(p) or parts.preferred(p) for p in candidates)
    return not is_more and not any(map(has_choices, validated.values()))


def pooled_fitness(
    parts: Parts,
    journal: Journal,
    candidates: Sequence[Policy],
    validated: Mapping[str, LabelScores],
) -> dict[str, float]:
    """Return the mean fitness of finalists over the search's and the validation examples together,
    each example with the same weight, by policy id.

    Where finalists met different numbers of the search's examples, they are compared on those that
    both met (`stats.two_way.adjusted_means`), so that none gains by having met easier ones.
    """
    cases = [pooled_cases(parts, journal, p, validated[p.policy_id]) for p in candidates]
    num = max(len(met) for met, _ in cases)
    rows = [np.concatenate([met, np.full(num - len(met), np.nan), new]) for met, new in cases]
    means = adjusted_means(np.array(rows))
    return {
        p.policy_id: round(float(mean), FITNESS_DIGITS)
        for p, mean in zip(candidates, means, strict=True)
    }


def pooled_accuracy(
    journal: Journal, candidates: Sequence[Policy], validated: Mapping[str, LabelScores]
) -> dict[str, float]:
    """Return the share of answers that are right, by policy id, of those of the search's examples
    that all finalists met and the validation examples. Free answers go by it: how likely the right
    one is says less of whether it is the likeliest than it does among a few choices.
    """
    num = min(len(journal.scores[p.policy_id].example_ids) for p in candidates)
    return {
        p.policy_id: round(float(correct(scores).mean()), FITNESS_DIGITS)
        for p in candidates
        for scores in [journal.scores[p.policy_id].first(num).joined(validated[p.policy_id])]
    }


def pooled_cases(
    parts: Parts, journal: Journal, policy: Policy, validated: LabelScores
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the fitness of one policy by example, on the search's examples that it met and on the
    validation examples, each calibrated by all the others: as well as it will answer, for that is
    fitted on both.
    """
    scores = parts.calibrator.left_out(journal.scores[policy.policy_id].joined(validated))
    num = len(scores.gold) - len(validated.gold)
    cases = case_fitness(parts, policy, scores)
    return cases[:num], cases[num:]


def calibrated_validation(
    parts: Parts, journal: Journal, validated: Mapping[str, LabelScores]
) -> dict[str, LabelScores]:
    """Return the finalists' scores on the validation examples, each calibrated by all others of
    search and validation.
    """
    found = {}
    for policy_id, scores in validated.items():
        joined = parts.calibrator.left_out(journal.scores[policy_id].joined(scores))
        values = joined.calibrated
        own = None if values is None else values[:, -len(scores.gold) :]
        found[policy_id] = replace(scores, calibrated=own)
    return found


def case_fitness(parts: Parts, policy: Policy, scores: LabelScores) -> NDArray[np.float64]:
    """Return the fitness of one policy by example, shape (example,), its length, prior and
    side effects counted as in the search.
    """
    lacking = lacks_labels(policy, parts.task.choices or ())
    tokens = parts.measurer.prompt_tokens(policy)
    cases: NDArray[np.float64] = parts.fitness.cases(scores, tokens, lacking)[0]
    return cases - parts.taken(policy) + (parts.preferred(policy) or 0.0)


def validation_fitness(
    parts: Parts, journal: Journal, policy: Policy, validated: LabelScores
) -> float:
    """Return the fitness of one policy on the validation examples."""
    cases = pooled_cases(parts, journal, policy, validated)[1]
    return round(float(cases.mean()), FITNESS_DIGITS)


def by_metric(
    parts: Parts, candidates: Sequence[Policy], validated: Mapping[str, LabelScores]
) -> MetricSummary | None:
    """Return what the run's metric says of the finalists; None where there is none."""
    if parts.metric is None:
        return None
    cases = [
        (case_fitness(parts, p, validated[p.policy_id]), validated[p.policy_id].grade)
        for p in candidates
    ]
    fitness, grades = (
        np.stack([np.ravel(v) for v in values]) for values in zip(*cases, strict=True)
    )
    ranks = fitness_ranks(fitness, grades, parts.config.seed, parts.config.final.alpha)
    return MetricSummary(
        parts.metric, mean_grades(validated), None if parts.fitness.needs_answers else ranks
    )


def pick_baseline(parts: Parts, journal: Journal) -> Policy:
    """Return the best of the starting policies as they were given, by the fitness that the search
    saw.
    """
    return journal.best_of(parts.task.given_policies)
