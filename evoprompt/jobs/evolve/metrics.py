"""A run's lines and summary -> MLflow's metrics and description.

MLflow opens with the groups in the order of the alphabet, and a metric's group is all of its name
before the last `/`: so groups are few, and what stands in them says by itself what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from evoprompt.dynamics.account import PriceAccount, flat
from evoprompt.evolution.adaptation import effective_number
from evoprompt.jobs.evolve.findings import trust_text
from evoprompt.jobs.evolve.record import GenerationLine, Steering, Summary
from evoprompt.jobs.held_out import FURTHER, PARTS, CountedShare, Share, held_out_markdown
from evoprompt.report.text import calibration_text
from evoprompt.store.ledger import TokenSummary
from evoprompt.tracking.base import Detail

#: Traits whose part in Price's equation is told also in brief.
BRIEF_TRAITS = ("fitness", "accuracy")
#: The parts of an account -> what MLflow calls them.
STAGES = {
    "reproduction": "covariance_parents",
    "racing": "covariance_race",
    "survival": "covariance_survival",
}
#: What else a generation says of its diversity -> what MLflow calls it; the rest is told in full.
DIVERSITY = {
    "num_policies": "population/distinct_policies",
    "effective_size": "population/effective_size",
    "difference": "population/chance_that_two_differ",
}


def generation_metrics(line: GenerationLine, detail: Detail = "brief") -> dict[str, float]:
    """Return the metrics of a generation: in brief those that the dashboards show, in full all that
    `generations.jsonl` has.
    """
    account = line.account
    metrics: dict[str, float] = {
        "fitness/best": account.fitness.best,
        "fitness/mean": account.fitness.mean,
        "fitness/mean_of_births": account.fitness.births_mean,
        "population/births": account.num_births,
        "population/selected": account.num_selected,
    }
    optional = {"accuracy/best": account.best_accuracy, "population/examples": account.examples}
    optional["accuracy/mean"] = account.traits.get("accuracy")
    optional["robust/under_changes"] = account.traits.get("under_changes")
    optional["robust/accuracy"] = account.traits.get("accuracy_under_changes")
    optional["feedback/preference"] = account.traits.get("preference")
    optional |= {metric: account.diversity.get(name) for name, metric in DIVERSITY.items()}
    metrics |= {name: value for name, value in optional.items() if value is not None}
    metrics |= _steering(line.steering) | _cost(line.tokens, line.seconds)
    if line.archive is not None:
        metrics |= {f"archive/{name}": value for name, value in asdict(line.archive).items()}
    if line.side_effects is not None:
        told = asdict(line.side_effects).items()
        metrics |= {f"side_effects/{name}": value for name, value in told}
    if line.shaping is not None:
        told = asdict(line.shaping).items()
        metrics |= {f"shaping/{name}": value for name, value in told if value is not None}
    if line.workers is not None:
        metrics |= {f"workers/{name}": value for name, value in line.workers.metrics().items()}
    if line.system is not None:  # the tab of system metrics shows what begins so
        metrics |= {f"system/{name}": value for name, value in line.system.items()}
    for trait in BRIEF_TRAITS:
        if trait in account.price:
            metrics |= price_metrics(trait, account.price[trait])
    return metrics if detail == "brief" else _whole(line) | metrics


def price_metrics(trait: str, account: PriceAccount) -> dict[str, float]:
    """Return the terms of Price's equation for one trait, which add up to `change`; those of a race
    and of measuring again, and immigration, only where there were any.

    `covariance_parents` is the covariance of fitness with the trait in who became a parent,
    `covariance_survival` that in who was selected, both per mean success; of fitness also each
    operator's part of `transmission`.
    """
    group = f"price_{trait}"
    parents = account.reproduction
    terms: dict[str, float | None] = {
        "covariance_parents": parents.selection,
        "covariance_parents_expected": parents.expected,
        "covariance_parents_drift": parents.drift,
        "transmission": account.transmission,
        "covariance_race": account.racing if account.rungs else None,
        "covariance_survival": account.survival.selection,
        "remeasurement": account.remeasurement or None,
        "immigration": account.immigration or None,
        "change": account.change,
    }
    if trait != "fitness":
        terms = {name: v for name, v in terms.items() if not name.startswith("covariance_parents_")}
    metrics = {f"{group}/{name}": value for name, value in terms.items() if value is not None}
    if trait == "fitness":
        by_operator = account.transmission_by_operator.items()
        metrics |= {f"{group}_by_operator/{name}": value for name, value in by_operator}
    return metrics


def _steering(steering: Steering) -> dict[str, float]:
    """Return how births were steered, where they were: by how many operators, as it were, and the
    chance of the one that is drawn most; whether a surrogate chose, and how well it predicts.
    """
    metrics: dict[str, float] = {}
    if (rates := steering.operator_rates) is not None:
        metrics["steering/effective_operators"] = effective_number(rates)
        metrics["steering/greatest_operator_rate"] = max(rates.values())
    if (forecast := steering.surrogate) is not None:
        metrics["steering/surrogate_used"] = float(forecast.is_used)
        if forecast.r_squared is not None:
            metrics["steering/surrogate_r_squared"] = forecast.r_squared
    return metrics


def _whole(line: GenerationLine) -> dict[str, float]:
    """Return all numbers of a generation."""
    account = line.account
    metrics = flat(account.traits, "traits/")
    for trait, price in account.price.items():
        terms = flat(price.to_dict(), "")
        metrics |= {_price_name(trait, name): value for name, value in terms.items()}
    for group in ("diversity", "selection", "gradients", "reward"):
        metrics |= {
            name: value
            for name, value in flat(getattr(account, group) or {}, f"{group}/").items()
            if isinstance(value, (int, float))
        }
    tokens, rates = asdict(line.tokens), line.steering.operator_rates or {}
    metrics |= {f"steering/rate_of_{name}": rate for name, rate in rates.items()}
    return metrics | {f"cost/{n}": v for n, v in tokens.items() if isinstance(v, (int, float))}


def _price_name(trait: str, term: str) -> str:
    """Return the metric of a term as `flat` names it: `reproduction/drift` of fitness is
    `price_fitness/covariance_parents_drift`.
    """
    group, (first, *rest) = f"price_{trait}", term.split("/")
    if first == "standard_error":
        group, first, rest = f"{group}_standard_error", rest[0], rest[1:]
    if first == "transmission" and rest:
        return f"{group}_by_operator/{rest[0]}"
    if first == "rungs":
        place = f"on_{rest[0]}_examples"
        first, rest = "racing", [rest[1], place]
    if rest and rest[0] == "shift":
        return "/".join((group, "_".join(["remeasurement_race", *rest[1:]])))
    told = [part for part in rest if part != "selection"]
    return f"{group}/{'_'.join([STAGES.get(first, first), *told])}"


def _cost(tokens: TokenSummary, seconds: float) -> dict[str, float]:
    """Return what the run has cost so far. `tokens_floor` is what each policy's distinct prefixes
    need by themselves: what is kept of earlier ones goes below it.
    """
    rate = {"cost/tokens_per_second": tokens.total / seconds} if seconds > 0 else {}
    memo = {"cost/memo_share": tokens.memo_requests / tokens.requests} if tokens.requests else {}
    return {
        "cost/tokens": tokens.total,
        "cost/tokens_floor": tokens.floor,
        "cost/tokens_spared_by_store": tokens.stored,
        **rate,
        **memo,
        "cost/seconds": seconds,
    }


def summary_metrics(summary: Summary, detail: Detail = "brief") -> dict[str, float]:
    """Return the metrics of a finished run: the held-out check and its evaluators' rates, with
    their intervals, and what it cost.
    """
    further = [n for n in FURTHER.values() if getattr(summary.test, n) is not None]
    shares: dict[str, Share | CountedShare] = {
        f"test/{name}": summary.test.part(name) for name in (*PARTS, *further)
    }
    for name, evaluator in summary.evaluator.items():
        rates = {"sensitivity": evaluator.sensitivity, "specificity": evaluator.specificity}
        shares |= {f"judge/{name}_{rate}": s for rate, s in rates.items() if s is not None}
    metrics: dict[str, float] = {}
    for name, share in shares.items():
        low, high = share.ci
        metrics |= {name: share.value, f"{name}_low": low, f"{name}_high": high}
    if summary.report is not None:
        metrics |= _trust(summary.report.metrics(), detail)
    if (exact := summary.test.mcnemar) is not None:
        metrics["test/mcnemar_p"] = exact.p_value
    if detail == "full":
        by_phase = summary.tokens.by_phase.items()
        metrics |= {f"cost/tokens_{phase}": tokens for phase, tokens in by_phase}
        metrics["check/requests"] = summary.checked.requests
    return metrics | {
        "check/price_residual": summary.price_residual_max,
        "check/score_difference": summary.checked.difference,
        "cost/tokens_in_all": summary.tokens.total,
        "cost/seconds_in_all": summary.seconds["total"],
    }


def _trust(told: Mapping[str, float], detail: Detail) -> dict[str, float]:
    """Return how far the fitness can be trusted; in brief without what is told of its precision."""
    kept = ("trust/optimism_est", "trust/optimism_observed", "trust/rank_correlation")
    return {n: value for n, value in told.items() if detail == "full" or n in kept}


def summary_description(summary: Summary) -> str:
    """Return a finished run in a few lines of Markdown: the held-out check and the champion's
    prompt.
    """
    labels = {
        "best starting prompt": "baseline",
        "champion": "champion",
        "difference": "difference",
    }
    table, champion = held_out_markdown(summary.test, labels), summary.champion
    told = f"; {calibration_text(champion.calibration)}" if champion.calibration else ""
    said = [] if summary.claim is None else [summary.claim.text]
    said += [] if summary.report is None else [trust_text(summary.report)]
    lines = "".join(f"{text}\n\n" for text in said if text)
    return f"{lines}Held-out {table}\n\nChampion{told}\n\n```\n{champion.prompt}\n```\n"
