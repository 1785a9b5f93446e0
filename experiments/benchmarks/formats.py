"""What a search wins by model, by task, and by how prompts are rendered: as plain texts or by the
model's chat template.

    python -m experiments.benchmarks.formats --data ../shared/data --out runs/formats
    python -m experiments.benchmarks.formats --data ../shared/data --out runs/formats --runs 0

Each run is a command with a limit of time; its line is appended to `rows.jsonl` once it has ended,
so that the same command goes on where it was stopped. At the end, and with `--runs 0` at once, a
table is printed. Test examples are the same before and after; seeds are asked one after the other,
so that each has all cells before the next begins.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b")
TASKS = ("inbox", "sst2", "word_problems", "worked_problems")
CHATS = ("off", "turns")
#: What names a cell of the table, in its order.
CELL = ("task", "model", "chat")
SIZES = {"fitness_examples": 48, "validation_examples": 36}
#: Of tasks with choices: logical tokens, and test examples.
LABELS = {"budget": {"logical_tokens": 10_000}, "test_examples": 100}
#: Of written answers, which cost more: their sizes, the search in the place of a budget, and how
#: many tokens an answer may have, by task.
WRITTEN = {"fitness_examples": 10, "validation_examples": 10, "test_examples": 32}
WRITTEN_SEARCH = {"generations": 1, "children": 4}
ANSWERS = {"word_problems": 12, "worked_problems": 32}
#: Steps of a problem, by model where two are beyond it.
DIFFICULTY, DIFFICULTIES = 2, {"smollm2-135m": 1}


def settings(cell: dict[str, Any], data: Path, tokens: int | None = None) -> dict[str, Any]:
    """Return the configuration of a cell, but for model, chat and seed; `tokens` in the place of
    its budget.
    """
    task, model = cell["task"], cell["model"]
    values = _written(task, model) if task in ANSWERS else _with_labels(task, data)
    budget = dict.fromkeys(values["budget"], tokens) if tokens else values["budget"]
    return {
        "evolution": {"generations": 100},  # the budget ends it
        **values,
        "budget": budget,
        "workers": {"backend": "local", "threads": 1},
        "tracking": {"enabled": False},
    }


def _written(task: str, model: str) -> dict[str, Any]:
    return {
        "task": WRITTEN | {"name": task, "difficulty": DIFFICULTIES.get(model, DIFFICULTY)},
        "fitness": {
            "kind": "metric",
            "metric": {"name": "number", "max_tokens": ANSWERS[task]},
        },
        "budget": {},
        "evolution": WRITTEN_SEARCH,
    }


def _with_labels(task: str, data: Path) -> dict[str, Any]:
    own = SIZES | {"test_examples": LABELS["test_examples"]}
    if task == "inbox":
        return {"task": own | {"name": task}, "budget": LABELS["budget"]}
    files = {
        key: str((data / f"lu/{task}.{split}.jsonl").resolve())
        for key, split in (("path", "train"), ("test_path", "test"))
    }
    return {"task": own | files, "budget": LABELS["budget"]}


def run(cell: dict[str, Any], values: dict[str, Any], out: Path, limit: float) -> dict[str, Any]:
    """Return the line of a run that is made now: what it won, or how it ended."""
    name = "_".join(str(v).replace("/", "-") for v in cell.values())
    folder, config = out / name, out / f"{name}.json"
    model = {"name": cell["model"], "chat": cell["chat"]}
    config.write_text(json.dumps(values | {"seed": cell["seed"], "model": model}, indent=1))
    command = [sys.executable, "-m", "evoprompt.cli", "run", str(config), "--out", str(folder)]
    environment = os.environ | {
        "EVOPROMPT_MEMO": str(out / "memo.sqlite"),
        "OMP_NUM_THREADS": "1",
    }
    start = time.monotonic()
    with (out / f"{name}.log").open("w") as log:
        try:
            code = subprocess.run(
                command, stdout=log, stderr=log, env=environment, timeout=limit, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return cell | {"ended": f"after {limit:.0f} s"}
    seconds = round(time.monotonic() - start)
    summary = folder / "summary.json"
    if code or not summary.exists():
        return cell | {"ended": f"with exit code {code}", "seconds": seconds}
    return cell | line_of(json.loads(summary.read_text())) | {"seconds": seconds}


def line_of(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what a table shows of a run's summary."""
    test, difference = summary["test"], summary["test"]["difference"]
    return {
        "metric": test["metric"],
        "examples": test["num_examples"],
        "before": test["baseline"]["value"],
        "after": test["champion"]["value"],
        "difference": difference["value"],
        "interval": difference["ci"],
        "tokens": summary["tokens"]["total"],
        "demonstrations": len(summary["champion"]["policy"].get("demonstrations", [])),
    }


def missing(
    rows: Iterable[dict[str, Any]], cells: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the cells that have no line yet, in order."""
    done = {tuple(row[key] for key in (*CELL, "seed")) for row in rows}
    return [c for c in cells if tuple(c[key] for key in (*CELL, "seed")) not in done]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table in Markdown, a line for each cell: means over its seeds, and each seed's
    difference.
    """
    lines = [
        "| task | model | format | before | after | by seed, points | tokens | seconds |",
        "|" + "---|" * 8,
    ]
    for cell in dict.fromkeys(tuple(row[key] for key in CELL) for row in rows):
        own = [row for row in rows if tuple(row[key] for key in CELL) == cell]
        made = [row for row in own if "after" in row]
        ended = [f"{row['seed']}: ended {row['ended']}" for row in own if "after" not in row]
        by_seed = [f"{row['seed']}: {100 * row['difference']:+.1f}" for row in made]
        means = [
            f"{fmean(row[key] for row in made):{form}}" if made else ""
            for key, form in (("before", ".3f"), ("after", ".3f"))
        ]
        costs = [
            f"{fmean(row[key] for row in made):,.0f}" if made else ""
            for key in ("tokens", "seconds")
        ]
        told = "; ".join(by_seed + ended)
        names = (cell[0], cell[1], "plain" if cell[2] == "off" else f"chat, {cell[2]}")
        lines.append("| " + " | ".join((*names, *means, told, *costs)) + " |")
    return "\n".join(lines)


def read_rows(out: Path) -> list[dict[str, Any]]:
    """Return the lines of the runs that have ended."""
    file = out / "rows.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def main(given: Sequence[str] | None = None) -> None:
    """Make the runs that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--chats", nargs="+", choices=("off", "turns", "single"), default=CHATS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--tokens", type=int, help="in the place of each task's budget")
    parser.add_argument("--limit", type=float, default=600, help="seconds that a run may take")
    parser.add_argument("--runs", type=int, help="that are made now, at most")
    asked = parser.parse_args(given)
    asked.out.mkdir(parents=True, exist_ok=True)
    order = product(asked.seeds, asked.models, asked.tasks, asked.chats)
    cells = [{"task": t, "model": m, "chat": c, "seed": s} for s, m, t, c in order]
    for cell in missing(read_rows(asked.out), cells)[: asked.runs]:
        values = settings(cell, asked.data, asked.tokens)
        row = run(cell, values, asked.out, asked.limit)
        with (asked.out / "rows.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)
    print(table(read_rows(asked.out)))


if __name__ == "__main__":
    main()
