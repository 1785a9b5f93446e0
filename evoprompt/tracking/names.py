"""A generation's or a round's line and a summary -> metric names and values. Pure.

Names are `group/name`, so that the MLflow UI draws each group as a section of charts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from evoprompt.dynamics.account import flat
from evoprompt.records import Example


def generation_metrics(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a line of `generations.jsonl`."""
    metrics: dict[str, float] = {f"fitness/{name}": value for name, value in line["fitness"].items()}
    metrics |= {f"traits/{name}": value for name, value in line["traits"].items()}
    metrics |= {"fitness/best_accuracy": line["best_accuracy"]}
    metrics |= {f"tokens/{name}": line["tokens"][name] for name in ("total", "floor", "stored", "head_rows", "forwards", "memo_requests")}
    metrics |= {"time/seconds": line["seconds"], "population/births": line["num_births"], "population/selected": line["num_selected"]}
    for trait, price in line["price"].items():
        metrics |= flat(price, f"price/{trait}/")
    for group in ("diversity", "selection", "gradients", "reward"):
        metrics |= {name: value for name, value in flat(line.get(group, {}), f"{group}/").items() if isinstance(value, (int, float))}
    return metrics


def recurrence_metrics(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a line of `recurrence.jsonl`; what is null there is left out.

    `recurrence/acceptance` is the share of the answers given that were accepted, undefined where none was given; `recurrence/abstained` and
    `recurrence/buffer_size` are numbers of answers. `recurrence/imitation_floor` and `_ceiling` are of round 0, where they were measured.
    """
    names = ("error_rate", "predicted", "sensitivity", "specificity", "abstained", "buffer_size", "buffer_error_rate", "believed_error")
    found = {name: line[name] for name in names}
    for name, bounds in (("error_rate", line["ci"]), ("predicted", line["predicted_ci"])):
        found |= {f"{name}_low": bounds[0], f"{name}_high": bounds[1]} if bounds else {}
    found |= {"ln_lambda": line["ln_lambda"]["value"]} if line["ln_lambda"] else {}
    found |= {f"imitation_{end}": line["imitation"][end] for end in ("floor", "ceiling")} if line.get("imitation") else {}
    found |= {"acceptance": line["accepted"] / line["answered"]} if line["answered"] and line["accepted"] is not None else {}
    found |= {"surprise_z": line["verdict"]["surprise_z"]} if line["verdict"] else {}
    metrics = {f"recurrence/{name}": value for name, value in found.items()} | {"tokens/total": line["tokens"], "time/seconds": line["seconds"]}
    return {name: float(value) for name, value in metrics.items() if value is not None}


def summary_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a finished run: the held-out check and its evaluators' rates, with their intervals, and what it cost."""
    metrics: dict[str, float] = {}
    for name in ("baseline", "champion", "difference"):
        part = summary["test"][name]
        metrics |= {f"test/{name}": part["value"], f"test/{name}_low": part["ci"][0], f"test/{name}_high": part["ci"][1]}
    for name, part in summary.get("evaluator", {}).items():
        for rate in ("sensitivity", "specificity"):
            if part[rate] is not None:
                low, high = part[rate]["ci"]
                metrics |= {
                    f"evaluator/{name}_{rate}": part[rate]["value"],
                    f"evaluator/{name}_{rate}_low": low,
                    f"evaluator/{name}_{rate}_high": high,
                }
    metrics |= {f"tokens/{phase}": tokens for phase, tokens in summary["tokens"]["by_phase"].items()}
    return metrics | {"price/residual_max": summary["price_residual_max"], "time/total": summary["seconds"]["total"]}


def summary_description(summary: Mapping[str, Any]) -> str:
    """Return a finished run in a few lines of Markdown: the held-out check and the champion's prompt."""
    labels = {"best starting prompt": "baseline", "champion": "champion", "difference": "difference"}
    return f"Held-out {_test_table(summary['test'], labels)}\nChampion\n\n```\n{summary['champion']['prompt']}\n```\n"


def boost_description(summary: Mapping[str, Any]) -> str:
    """Return a finished self-evaluation loop in a few lines of Markdown: its error before and after, what must be known of it, its prompt."""
    labels = {"before": "baseline", "after": "champion", "difference": "difference"}
    table = f"Self-evaluation: {_test_table(summary['test'], labels)}\n" if summary["test"] is not None else ""
    notes = "".join(f"- {note}\n" for note in summary["notes"])
    return f"{table}{notes}\nFinal prompt\n\n```\n{summary['champion']['prompt']}\n```\n"


def _test_table(test: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """Return a held-out check as Markdown; `labels` has the part that each row shows."""
    rows = "".join(
        f"| {label} | {test[name]['value']:.3f} | {test[name]['ci'][0]:.3f} to {test[name]['ci'][1]:.3f} |\n" for label, name in labels.items()
    )
    metric = test["metric"].replace("_", " ")
    return f"{metric} on {test['num_examples']} examples\n\n| | {metric} | interval |\n|---|---|---|\n{rows}"


def flat_parameters(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested configuration with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flat_parameters(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return flat


def digest(examples: Sequence[Example]) -> str:
    """Return 16 hexadecimal digits that change with the examples or their order."""
    return hashlib.blake2b("\n".join(f"{e.input}\t{e.target}" for e in examples).encode(), digest_size=8).hexdigest()
