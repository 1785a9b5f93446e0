"""A run's lines and summary -> MLflow's metrics and description."""

from __future__ import annotations

from dataclasses import asdict

from evoprompt.dynamics.account import flat
from evoprompt.jobs.evolve.findings import trust_text
from evoprompt.jobs.evolve.record import GenerationLine, Summary
from evoprompt.jobs.held_out import PARTS, CountedShare, Share, held_out_markdown
from evoprompt.report.text import calibration_text

#: What is told of the tokens of a generation.
TOKENS = ("total", "floor", "stored", "head_rows", "forwards", "memo_requests")


def generation_metrics(line: GenerationLine) -> dict[str, float]:
    """Return the metrics of a generation."""
    account = line.account
    metrics: dict[str, float] = flat(asdict(account.fitness), "fitness/")
    metrics |= flat(account.traits, "traits/")
    if account.best_accuracy is not None:
        metrics["fitness/best_accuracy"] = account.best_accuracy
    metrics |= {f"tokens/{name}": getattr(line.tokens, name) for name in TOKENS}
    metrics |= {
        "time/seconds": line.seconds,
        "population/births": account.num_births,
        "population/selected": account.num_selected,
    }
    for trait, price in account.price.items():
        metrics |= flat(price.to_dict(), f"price/{trait}/")
    for group in ("diversity", "selection", "gradients", "reward"):
        metrics |= {
            name: value
            for name, value in flat(getattr(account, group) or {}, f"{group}/").items()
            if isinstance(value, (int, float))
        }
    return metrics


def summary_metrics(summary: Summary) -> dict[str, float]:
    """Return the metrics of a finished run: the held-out check and its evaluators' rates, with
    their intervals, and what it cost.
    """
    known = (*PARTS, "baseline_raw") if summary.test.baseline_raw else PARTS
    shares: dict[str, Share | CountedShare] = {
        f"test/{name}": summary.test.part(name) for name in known
    }
    for name, evaluator in summary.evaluator.items():
        rates = {"sensitivity": evaluator.sensitivity, "specificity": evaluator.specificity}
        shares |= {f"evaluator/{name}_{rate}": s for rate, s in rates.items() if s is not None}
    metrics: dict[str, float] = {}
    for name, share in shares.items():
        low, high = share.ci
        metrics |= {name: share.value, f"{name}_low": low, f"{name}_high": high}
    metrics |= {f"tokens/{phase}": tokens for phase, tokens in summary.tokens.by_phase.items()}
    if summary.report is not None:
        metrics |= summary.report.metrics()
    if (exact := summary.test.mcnemar) is not None:
        metrics["test/mcnemar_p"] = exact.p_value
    return metrics | {
        "price/residual_max": summary.price_residual_max,
        "check/largest_difference": summary.checked.difference,
        "check/requests": summary.checked.requests,
        "time/total": summary.seconds["total"],
    }


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
