"""A run's lines and summary -> MLflow's metrics and description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from evoprompt.dynamics.account import flat
from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.jobs.held_out import held_out_markdown

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


def summary_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a finished run: the held-out check and its evaluators' rates, with
    their intervals, and what it cost.
    """
    metrics: dict[str, float] = {}
    for name in ("baseline", "champion", "difference"):
        part = summary["test"][name]
        metrics |= {
            f"test/{name}": part["value"],
            f"test/{name}_low": part["ci"][0],
            f"test/{name}_high": part["ci"][1],
        }
    for name, part in summary.get("evaluator", {}).items():
        for rate in ("sensitivity", "specificity"):
            if part[rate] is not None:
                low, high = part[rate]["ci"]
                metrics |= {
                    f"evaluator/{name}_{rate}": part[rate]["value"],
                    f"evaluator/{name}_{rate}_low": low,
                    f"evaluator/{name}_{rate}_high": high,
                }
    metrics |= {
        f"tokens/{phase}": tokens for phase, tokens in summary["tokens"]["by_phase"].items()
    }
    return metrics | {
        "price/residual_max": summary["price_residual_max"],
        "time/total": summary["seconds"]["total"],
    }


def summary_description(summary: Mapping[str, Any]) -> str:
    """Return a finished run in a few lines of Markdown: the held-out check and the champion's
    prompt.
    """
    labels = {
        "best starting prompt": "baseline",
        "champion": "champion",
        "difference": "difference",
    }
    table, prompt = held_out_markdown(summary["test"], labels), summary["champion"]["prompt"]
    return f"Held-out {table}\n\nChampion\n\n```\n{prompt}\n```\n"
