"""How far does a model follow its context? Contexts with a known share of wrong pairs, for each
task and model of `run.py`.

    python experiments/self_evaluation/imitation.py runs/self-evaluation [--models smollm2-135m]
    [--tasks questions inbox]

The recurrence supposes that answers are as often wrong as their context. Here contexts of the
study's size are filled with labels, so that 0, 1/2 or all of their pairs are wrong, three draws
each, and the error rate on the test examples is measured: a line in `imitation.jsonl` for each
context. What is there is not done again. The floor and the ceiling of the fitted line tell where a
loop with a given evaluator has to end (`table.py`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from run import CONFIGS, LOOPS, TASKS, write_questions

from evoprompt.jobs.boost.build import build_boost
from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.boost.measure import labelled_context, outcomes
from evoprompt.measurement.asker import Asker
from evoprompt.store.ledger import Ledger

IMPURITIES = (0.0, 0.5, 1.0)
NUM_DRAWS = 3


def measure(root: Path, model: str, task: str) -> None:
    """Measure what is missing of a model and task."""
    file, questions = (
        root / model / task / "imitation.jsonl",
        root / model / task / "questions.jsonl",
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    done = (
        {(line["impurity"], line["draw"]) for line in map(json.loads, file.open(encoding="utf-8"))}
        if file.exists()
        else set()
    )
    missing = [(x, draw) for x in IMPURITIES for draw in range(NUM_DRAWS) if (x, draw) not in done]
    if not missing:
        return
    settings = [f"model.name={model}", f"task.name={task}", *TASKS[task]]
    write_questions(questions, settings)
    of_loop = [
        *settings,
        *LOOPS.get(task, []),
        f"questions={questions.resolve()}",
        "tracking.enabled=false",
    ]
    parts = build_boost(load_boost(CONFIGS / "study.yaml", of_loop), root)
    assert parts.task is not None
    asker = Asker(parts.measurer, parts.writer, Ledger(), answered_by=parts.config.loop.answers)
    for impurity, draw in missing:
        shown = labelled_context(
            parts, impurity, np.random.default_rng((draw, round(2 * impurity)))
        )
        right = outcomes(parts, asker, parts.task, shown).right
        line = {
            "impurity": impurity,
            "draw": draw,
            "num_wrong": int((~right).sum()),
            "num_answers": len(right),
            "context_size": len(shown),
        }
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
        print(model, task, line, flush=True)
    parts.executor.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--models", nargs="+", default=["smollm2-135m", "gemma3-270m"])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    arguments = parser.parse_args()
    for model in arguments.models:
        for task in arguments.tasks:
            measure(arguments.root, model, task)


if __name__ == "__main__":
    main()
