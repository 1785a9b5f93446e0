"""How far does a model follow its context? Contexts with a known share of wrong pairs, for each task and model of `run.py`.

    python experiments/self_evaluation/imitation.py runs/self-evaluation [--models smollm2-135m] [--tasks questions inbox]

The recurrence supposes that answers are as often wrong as their context. Here contexts of the study's size are filled with labels, so that 0, 1/2
or all of their pairs are wrong, three draws each, and the error rate on the test examples is measured: a line in `imitation.jsonl` for each context.
What is there is not done again. The floor and the ceiling of the fitted line tell where a loop with a given evaluator has to end (`table.py`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from run import CONFIGS, LOOPS, TASKS, write_questions

from evoprompt.boost_config import load_boost
from evoprompt.build import BoostParts, build_boost
from evoprompt.evolution.self_evaluation import Judged, choose, in_context
from evoprompt.records import Example
from evoprompt.runtime.asker import Asker, is_right
from evoprompt.runtime.ledger import Ledger

IMPURITIES = (0.0, 0.5, 1.0)
NUM_DRAWS = 3


def context(parts: BoostParts, impurity: float, rng: np.random.Generator) -> tuple[Judged, ...]:
    """Return pairs as a loop would show them, this share of them with a wrong choice as the answer."""
    drawn = [parts.questions[i] for i in rng.permutation(len(parts.questions))]
    right = [Judged(0, e.example_id, e.input, e.target, 1.0, float(rng.random())) for e in drawn]
    loop = parts.config.loop
    shown = choose(right, loop.choose, loop.context_pairs, loop.context_tokens, parts.pair_tokens, rng)
    wrong = set(rng.permutation(len(shown))[: round(impurity * len(shown))].tolist())
    return tuple(_spoilt(j, parts.question(j), rng) if i in wrong else j for i, j in enumerate(shown))


def _spoilt(judged: Judged, question: Example, rng: np.random.Generator) -> Judged:
    others = [c for c in question.candidates if c != question.target]
    return Judged(0, judged.question_id, judged.input, str(rng.choice(others)), 1.0, 0.0)


def measure(root: Path, model: str, task: str) -> None:
    """Measure what is missing of a model and task."""
    file, questions = root / model / task / "imitation.jsonl", root / model / task / "questions.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    done = {(line["impurity"], line["draw"]) for line in map(json.loads, file.read_text().splitlines())} if file.exists() else set()
    missing = [(x, draw) for x in IMPURITIES for draw in range(NUM_DRAWS) if (x, draw) not in done]
    if not missing:
        return
    settings = [f"model.name={model}", f"task.name={task}", *TASKS[task]]
    write_questions(questions, settings)
    of_loop = [*settings, *LOOPS.get(task, []), f"questions={questions.resolve()}", "tracking.enabled=false"]
    parts = build_boost(load_boost(CONFIGS / "study.yaml", of_loop), root)
    assert parts.task is not None
    asker = Asker(parts.measurer, parts.writer, Ledger(), answered_by=parts.config.loop.answers)
    for impurity, draw in missing:
        shown = context(parts, impurity, np.random.default_rng((draw, round(2 * impurity))))
        answers = asker.answers(in_context(parts.policy, shown), parts.task.test, "measuring")
        num_wrong = sum(not is_right(a.text, e.target) for a, e in zip(answers, parts.task.test, strict=True))
        line = {"impurity": impurity, "draw": draw, "num_wrong": num_wrong, "num_answers": len(answers), "context_size": len(shown)}
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
        print(model, task, line, flush=True)
    parts.executor.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--models", nargs="+", default=["smollm2-135m", "gemma3-270m"])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    arguments = parser.parse_args()
    for model in arguments.models:
        for task in arguments.tasks:
            measure(arguments.root, model, task)


if __name__ == "__main__":
    main()
