"""Which part of the evolution carries the gain? Three parent selections, five seeds, two tasks;
tables and figures from stored sweeps.

    evoprompt sweep configs/sweeps/selection.yaml --out runs/inbox
    evoprompt sweep configs/sweeps/selection_sst2.yaml --out runs/sst2 --set
    task.path=sst2.train.jsonl --set task.test_path=sst2.test.jsonl
    python experiments/selection_study/study.py inbox=runs/inbox sst2=runs/sst2 --out
    experiments/selection_study

Means over seeds have Student's 95 % intervals. Terms are summed over generations; what further
examples change is not among them, and the change is of the selected policies' mean fitness. An
operator's births are judged whether they survived or not, on the examples that their parents were
measured on too.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evoprompt.jobs.evolve.ancestry import ancestry
from evoprompt.report.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, new_axes, svg
from evoprompt.stats.resampling import wilson_interval
from evoprompt.stats.significance import mean_interval

AXIS = "evolution.parent_selection.method"
#: What makes no new policy.
BORN_AGAIN = ("survive", "found", "clone", "migrate", "restart")
TERMS = {
    "reproduction/expected": "expected selection of parents",
    "reproduction/drift": "drift of parents",
    "transmission": "transmission by operators",
    "racing/selection": "selection in races",
    "survival/selection": "selection of survivors",
}


def runs_of(sweep: Path) -> dict[str, list[dict[str, Any]]]:
    """Return what is needed of each run, by selection scheme."""
    groups = defaultdict(list)
    for row in json.loads((sweep / "sweep.json").read_text())["runs"]:
        if row["status"] != "done":
            continue
        folder = sweep / row["folder"]
        lineage = [json.loads(line) for line in (folder / "lineage.jsonl").open(encoding="utf-8")]
        summary, dynamics = (
            json.loads((folder / f"{name}.json").read_text()) for name in ("summary", "dynamics")
        )
        steps = ancestry(lineage, summary["champion"]["policy_id"])
        groups[row["settings"][AXIS]].append(
            {"summary": summary, "dynamics": dynamics, "lineage": lineage, "steps": steps}
        )
    return dict(groups)


def term(run: Mapping[str, Any], key: str) -> float:
    """Return a term of a run's fitness; 0 where it has none, as races where nothing is raced."""
    return float(run["dynamics"]["price"]["fitness"].get(key, 0.0))


def text(values: Sequence[float]) -> str:
    """Return a mean with its interval."""
    estimate = mean_interval(values)
    return (
        f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"
        if estimate.low is not None
        else f"{estimate.value:+.3f}"
    )


def terms_table(groups: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """Return the rows of the terms by scheme."""
    rows = [f"| | {' | '.join(groups)} |", "|---" * (len(groups) + 1) + "|"]
    for key, label in TERMS.items():
        cells = [text([term(r, key) for r in runs]) for runs in groups.values()]
        rows.append(f"| {label} | {' | '.join(cells)} |")
    change = {
        m: [r["dynamics"]["price"]["fitness"]["change"] for r in runs] for m, runs in groups.items()
    }
    rows.append(f"| change | {' | '.join(text(v) for v in change.values())} |")
    gains = {
        m: [r["summary"]["test"]["difference"]["value"] for r in runs] for m, runs in groups.items()
    }
    rows.append(f"| held-out gain in accuracy | {' | '.join(text(v) for v in gains.values())} |")
    tokens = {m: [r["summary"]["tokens"]["floor"] for r in runs] for m, runs in groups.items()}
    rows.append(
        "| tokens, distinct prefixes once | "
        f"{' | '.join(f'{np.mean(v):,.0f}' for v in tokens.values())} |"
    )
    return rows


def operator_rows(groups: Mapping[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return what each operator did over all runs: births, effect on fitness, births better than
    their best parent, steps to champions.
    """
    found: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"births": 0, "effect": 0.0, "better": 0, "steps": 0, "gain": 0.0, "kept": 0}
    )
    for run in (r for runs in groups.values() for r in runs):
        # the run's own account compares a birth with its parents on the same examples
        for name, told in run["dynamics"]["operators"].items():
            if name not in BORN_AGAIN:
                number = told["num_children"]
                found[name]["births"] += number
                found[name]["effect"] += number * told["mean_effect"]
                found[name]["better"] += round(number * told["share_better"])
        for birth in run["lineage"]:
            if birth["operator"] in found:
                found[birth["operator"]]["kept"] += birth["selected"]
        for step in run["steps"]:
            if step.operator in found and step.gain is not None:
                found[step.operator]["steps"] += 1
                found[step.operator]["gain"] += step.gain
    return dict(sorted(found.items(), key=lambda item: -item[1]["gain"]))


def operators_table(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the table of the operators."""
    total = sum(row["gain"] for row in rows.values())
    head = (
        "| operator | births | mean effect | better than best parent | survived | steps to "
        "champions | share of champions' gain |"
    )
    lines = [head, "|---|---|---|---|---|---|---|"]
    for name, row in rows.items():
        n = row["births"]
        low, high = wilson_interval(row["better"], n)
        better = f"{row['better'] / n:.2f} [{low:.2f}, {high:.2f}]"
        lines.append(
            f"| {name} | {n} | {row['effect'] / n:+.3f} | {better} | {row['kept'] / n:.2f} "
            f"| {row['steps']} | {row['gain'] / total:.0%} |"
        )
    return lines


def terms_figure(tasks: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> str:
    """Return the terms by task and scheme as bars, with the intervals over seeds."""
    figure, axes = new_axes(3.6, left=0.1)
    colors = dict(zip(TERMS, (BLUE, GREY, ORANGE, PURPLE, GREEN), strict=True))
    labels = [f"{task}\n{method}" for task, groups in tasks.items() for method in groups]
    for place, (key, color) in enumerate(colors.items()):
        estimates = [
            mean_interval([term(r, key) for r in runs])
            for g in tasks.values()
            for runs in g.values()
        ]
        x = np.arange(len(labels)) + (place - 2) * 0.16
        half = [
            (e.high - e.low) / 2 if e.low is not None and e.high is not None else 0.0
            for e in estimates
        ]
        axes.bar(
            x,
            [e.value for e in estimates],
            0.16,
            yerr=half,
            color=color,
            label=TERMS[key],
            error_kw={"linewidth": 1, "capsize": 2},
        )
    axes.set_xticks(np.arange(len(labels)), labels, fontsize=7)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_ylabel("summed over generations (fitness, nats)", fontsize=8)
    figure.subplots_adjust(top=0.9)
    axes.legend(fontsize=7, frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return svg(figure)


def operators_figure(tasks: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return each operator's share of births that beat their best parent, by task, with Wilson's
    intervals.
    """
    figure, axes = new_axes(3.4, left=0.24)
    names = sorted({name for rows in tasks.values() for name in rows}, reverse=True)
    for place, ((task, rows), color) in enumerate(
        zip(tasks.items(), (BLUE, ORANGE, GREEN), strict=False)
    ):
        for y, name in enumerate(names):
            if name not in rows:
                continue
            n, better = rows[name]["births"], rows[name]["better"]
            low, high = wilson_interval(better, n)
            at = y + (place - 0.5) * 0.25
            axes.plot([low, high], [at, at], color=color, linewidth=1)
            axes.plot(
                better / n,
                at,
                "o",
                color=color,
                markersize=4,
                label=task if name == next(n for n in names if n in rows) else None,
            )
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=8)
    axes.set_xlabel("share of births fitter than their best parent")
    axes.legend(fontsize=8, frameon=False)
    return svg(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sweeps", nargs="+", metavar="TASK=FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    tasks = {
        name: runs_of(Path(folder))
        for name, _, folder in (text.partition("=") for text in arguments.sweeps)
    }
    operators = {task: operator_rows(groups) for task, groups in tasks.items()}
    lines = []
    for task, groups in tasks.items():
        lines += [
            f"### {task}",
            "",
            *terms_table(groups),
            "",
            *operators_table(operators[task]),
            "",
        ]
    (arguments.out / "tables.md").write_text("\n".join(lines), encoding="utf-8")
    (arguments.out / "terms.svg").write_text(terms_figure(tasks), encoding="utf-8")
    (arguments.out / "operators.svg").write_text(operators_figure(operators), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
