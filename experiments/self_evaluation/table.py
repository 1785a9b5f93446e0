"""Stored loops of `run.py` -> the study's table and figures.

    python experiments/self_evaluation/table.py runs/self-evaluation --out
    experiments/self_evaluation

A loop's seeds share the test examples; intervals are Student's over the seeds' error rates. The
floor and ceiling are of the line fitted to the contexts with a known share of wrong pairs
(`imitation.py`); with them and the evaluator's rates the recurrence has a fixed point, where the
loop has to end. A difference between two judges is taken between loops of the same model, task and
seed, then averaged over seeds; its interval is Student's over models and tasks.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from evoprompt.recurrence.evaluator import EvaluatorCounts, log_likelihood_ratio
from evoprompt.recurrence.imitation import ImitationFit, fit_imitation, fixed_point
from evoprompt.report.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, plain, svg
from evoprompt.stats.significance import Estimate, mean_interval

KINDS = ("naive", "shown", "evolved", "own", "confidence")
SKY = "#56B4E9"
COLORS = dict(zip(KINDS, (BLUE, PURPLE, ORANGE, SKY, GREEN), strict=True))
#: Judges whose loops are compared.
PAIRS = (
    ("evolved", "naive"),
    ("evolved", "shown"),
    ("own", "evolved"),
    ("own", "naive"),
    ("shown", "naive"),
    ("confidence", "naive"),
)
Imitations = dict[tuple[str, str], ImitationFit]
Loops = dict[tuple[str, str, str], list[dict[str, Any]]]


def loops_of(root: Path) -> Loops:
    """Return the complete loops by (model, task, kind of evaluator), each its lines and summary."""
    loops: Loops = {}
    for file in sorted(root.glob("*/*/*/recurrence.jsonl"), key=_place):
        folder = file.parent
        kind, _, seed = folder.name.partition("-")
        if kind in KINDS and (folder / "summary.json").exists():
            lines = [json.loads(line) for line in file.open(encoding="utf-8")]
            summary = json.loads((folder / "summary.json").read_text())
            loops.setdefault((folder.parts[-3], folder.parts[-2], kind), []).append(
                {"seed": int(seed), "lines": lines, "summary": summary}
            )
    return loops


def _place(file: Path) -> tuple[str, str, int, str]:
    """Return where a loop stands: by model, task, kind, then seed."""
    model, task, name = file.parts[-4:-1]
    kind = name.partition("-")[0]
    return model, task, KINDS.index(kind) if kind in KINDS else len(KINDS), name


def evaluators_of(root: Path) -> list[str]:
    """Return a table of the evaluators on the judging task's test examples, which no search saw:
    sensitivity + specificity.
    """
    sums: dict[tuple[str, ...], dict[str, str]] = {}
    for file in sorted(root.glob("*/*/evaluator-*/summary.json")):
        of, kind = json.loads(file.read_text())["evaluator"], file.parent.name.partition("-")[2]
        row = sums.setdefault(file.parts[-4:-2], {})
        row[kind] = (
            f"{of['champion']['sensitivity']['value'] + of['champion']['specificity']['value']:.2f}"
        )
    kinds = [k for k in KINDS if any(k in row for row in sums.values())]
    header = [
        "",
        _row("model", "task", *(f"{k}, held out: sensitivity + specificity" for k in kinds)),
        _rule(2 + len(kinds)),
    ]
    return (
        [*header, *(_row(*key, *(row.get(k, "-") for k in kinds)) for key, row in sums.items())]
        if sums
        else []
    )


def imitations_of(root: Path) -> Imitations:
    """Return the fitted imitation by (model, task), of those that were measured."""
    fits: Imitations = {}
    for file in sorted(root.glob("*/*/imitation.jsonl")):
        lines = [json.loads(line) for line in file.open(encoding="utf-8")]
        rates = [line["num_wrong"] / line["num_answers"] for line in lines]
        fit = fit_imitation(
            [line["impurity"] for line in lines], rates, [line["num_answers"] for line in lines]
        )
        if fit is not None:
            fits[file.parts[-3], file.parts[-2]] = fit
    return fits


def by_round(loops: Sequence[Mapping[str, Any]], key: str) -> list[list[float]]:
    """Return a number of each loop by round, as far as all loops went; a round where one has none
    is left empty.
    """
    columns = zip(*([line[key] for line in loop["lines"]] for loop in loops), strict=False)
    return [list(values) if all(v is not None for v in values) else [] for values in columns]


def counts_of(loops: Sequence[Mapping[str, Any]]) -> EvaluatorCounts:
    """Return how the evaluator did before the first round, over all loops."""
    return sum(
        (EvaluatorCounts(**loop["lines"][0]["evaluator_counts"]) for loop in loops),
        EvaluatorCounts(0, 0, 0, 0),
    )


def end_of(loops: Sequence[Mapping[str, Any]], fit: ImitationFit | None) -> float | None:
    """Return where the loops have to end by the imitation that was measured, or None where it was
    not.
    """
    ratio = log_likelihood_ratio(counts_of(loops))
    return fixed_point(fit.imitation, float(np.exp(ratio.value))) if fit and ratio else None


def predictions(loops: Loops, imitations: Imitations) -> list[str]:
    """Return how far the final errors are from what was predicted, in the mean over models, tasks
    and judges that all have a prediction for.
    """
    off: dict[str, list[float]] = {}
    for key, runs in loops.items():
        end, last = (
            end_of(runs, imitations.get(key[:2])),
            float(np.mean(by_round(runs, "error_rate")[-1])),
        )
        if end is not None:
            said = {
                "no change": by_round(runs, "error_rate")[0],
                "perfect imitation": by_round(runs, "predicted")[-1],
                "measured imitation": [end],
            }
            for name, values in said.items():
                off.setdefault(name, []).append(abs(float(np.mean(values)) - last))
    rows = [_row(name, str(len(values)), f"{np.mean(values):.3f}") for name, values in off.items()]
    return (
        [
            "",
            _row(
                "prediction of the final error", "loops by model, task and judge", "mean distance"
            ),
            _rule(3),
            *rows,
        ]
        if rows
        else []
    )


def row_of(
    key: tuple[str, str, str], loops: Sequence[Mapping[str, Any]], fit: ImitationFit | None
) -> str:
    """Return a line of the table."""
    errors = by_round(loops, "error_rate")
    first, last = np.mean(errors[0]), errors[-1]
    counts = counts_of(loops)
    s, c = counts.accepted_right / counts.num_right, counts.rejected_wrong / counts.num_wrong
    change = mean_interval([b - a for a, b in zip(errors[0], last, strict=True)])
    predicted = by_round(loops, "predicted")[-1]
    verdicts = [line["verdict"] for loop in loops for line in loop["lines"] if line["verdict"]]
    failed = Counter(name for v in verdicts for name in v["failed"])
    inside = sum(v["inside"] for v in verdicts)
    why = ", ".join(f"{name} {n}" for name, n in failed.most_common()) or "-"
    end = end_of(loops, fit)
    return (
        f"| {' | '.join(key)} | {s:.2f} + {c:.2f} = {s + c:.2f} | {first:.3f} | "
        f"{np.mean(last):.3f} | {change.value:+.3f}{_interval(change)} | "
        f"{np.mean(predicted):.3f} | {'-' if end is None else f'{end:.3f}'} | {inside} of "
        f"{len(verdicts)} | {why} |"
    )


def table(loops: Loops, imitations: Imitations) -> list[str]:
    """Return the table of all loops, the imitation that was measured, the mean over tasks, and what
    an evolved evaluator changes.
    """
    names = (
        "model",
        "task",
        "judge",
        "sensitivity + specificity",
        "error before",
        "after",
        "change",
        "perfect imitation",
        "measured imitation",
    )
    lines = [_row(*names, "inside", "refuted in rounds"), _rule(len(names) + 2)]
    lines += [row_of(key, runs, imitations.get(key[:2])) for key, runs in loops.items()]
    if imitations:
        lines += [
            "",
            _row("model", "task", "error with right pairs (floor)", "with wrong pairs (ceiling)"),
            _rule(4),
        ]
        for key, fit in imitations.items():
            lines.append(
                _row(
                    *key,
                    f"{fit.floor:.3f} +- {fit.floor_standard_error:.3f}",
                    f"{fit.ceiling:.3f} +- {fit.ceiling_standard_error:.3f}",
                )
            )
    lines += predictions(loops, imitations)
    lines += ["", _row("model", "judge", "tasks", "mean error before", "after"), _rule(5)]
    for model in dict.fromkeys(m for m, _, _ in loops):
        for kind in KINDS:
            ends = {
                t: by_round(runs, "error_rate")
                for (m, t, k), runs in loops.items()
                if (m, k) == (model, kind)
            }
            if ends:
                before, after = (
                    np.mean([np.mean(errors[i]) for errors in ends.values()]) for i in (0, -1)
                )
                lines.append(_row(model, kind, str(len(ends)), f"{before:.3f}", f"{after:.3f}"))
    lines += ["", _row("final error", "models and tasks", "mean difference", "lower in"), _rule(4)]
    return lines + [
        _row(f"{a} - {b}", *_against(loops, a, b)) for a, b in PAIRS if _shared(loops, a, b)
    ]


def _shared(loops: Loops, one: str, other: str) -> list[float]:
    """Return by model and task the mean difference of the final errors over the seeds that both
    judges have.
    """
    finals = {
        (*key, loop["seed"]): loop["lines"][-1]["error_rate"]
        for key, runs in loops.items()
        for loop in runs
    }
    differences: dict[tuple[str, str], list[float]] = {}
    for (model, task, kind, seed), error in finals.items():
        if kind == one and (model, task, other, seed) in finals:
            differences.setdefault((model, task), []).append(
                error - finals[model, task, other, seed]
            )
    return [float(np.mean(d)) for d in differences.values()]


def _against(loops: Loops, one: str, other: str) -> tuple[str, str, str]:
    means = _shared(loops, one, other)
    mean = mean_interval(means)
    return str(len(means)), f"{mean.value:+.3f}{_interval(mean)}", str(sum(m < 0 for m in means))


def _interval(estimate: Estimate) -> str:
    return f" [{estimate.low:+.3f}, {estimate.high:+.3f}]" if estimate.low is not None else ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(number: int) -> str:
    return "|---" * number + "|"


def figure(loops: Loops, imitations: Imitations) -> str:
    """Return measured and predicted error by round, a panel for each task and a row for each model.

    Measured: solid, with intervals over seeds. Predicted: dashed under perfect imitation; a diamond
    after the last round is the fixed point with the imitation that was measured.
    """
    models, tasks = (list(dict.fromkeys(key[i] for key in loops)) for i in (0, 1))
    height = 2.1 * len(models) + 0.6
    picture = Figure(figsize=(max(5.0, 2.3 * len(tasks)), height))
    picture.subplots_adjust(
        left=0.06, right=0.99, bottom=0.65 / height, top=1 - 0.3 / height, hspace=0.4, wspace=0.25
    )
    for place, (model, task) in enumerate((m, t) for m in models for t in tasks):
        axes = picture.add_subplot(len(models), len(tasks), place + 1)
        for kind, color in COLORS.items():
            runs = loops.get((model, task, kind))
            if runs:
                _curve(axes, runs, end_of(runs, imitations.get((model, task))), color)
        axes.set_title(f"{task} ({model.split('-')[0]})", fontsize=8, loc="left")
        axes.set_ylim(0, 1)
        plain(axes)
        if place % len(tasks) == 0:
            axes.set_ylabel("error rate", fontsize=8)
    judges = [
        Line2D([], [], color=color, marker=".", label=kind)
        for kind, color in COLORS.items()
        if any(k == kind for _, _, k in loops)
    ]
    styles = [
        Line2D([], [], color=GREY, linestyle="--", label="predicted, perfect imitation"),
        Line2D(
            [],
            [],
            color=GREY,
            linestyle="none",
            marker="D",
            markersize=4,
            label="its end by measured imitation",
        ),
    ]
    picture.legend(
        handles=[*judges, *styles], loc="lower center", ncols=6, fontsize=7, frameon=False
    )
    return svg(picture)


def _curve(axes: Any, runs: Sequence[Mapping[str, Any]], end: float | None, color: str) -> None:
    estimates = [mean_interval(values) for values in by_round(runs, "error_rate")]
    half = [
        (e.high - e.low) / 2 if e.low is not None and e.high is not None else 0.0 for e in estimates
    ]
    axes.errorbar(
        range(len(estimates)),
        [e.value for e in estimates],
        yerr=half,
        color=color,
        marker=".",
        linewidth=1.2,
        capsize=2,
    )
    predicted = [
        (i, np.mean(values)) for i, values in enumerate(by_round(runs, "predicted")) if values
    ]
    axes.plot(*zip(*predicted, strict=True), color=color, linestyle="--", linewidth=1)
    if end is not None:
        axes.plot(
            [len(estimates) - 0.4], [end], color=color, linestyle="none", marker="D", markersize=4
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    loops = loops_of(arguments.root)
    imitations = imitations_of(arguments.root)
    lines = table(loops, imitations) + evaluators_of(arguments.root)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (arguments.out / "errors.svg").write_text(figure(loops, imitations), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
