"""When does a model learn from its own answers? Loops on five tasks, two models, three seeds, with
five judges.

    python experiments/self_evaluation/run.py --out runs/self-evaluation [--models smollm2-135m]
    [--tasks questions inbox] [--seeds 0 1 2]

The judges: the naive evaluator, the same shown labelled verdicts that were drawn at random, an
evolved one, one evolved on the model's own wrong answers, and the confidence of the answer itself.
For each model and task an evaluator is evolved once on the judging task (`configs/evaluator.yaml`),
with labels; the shown one is the best on the validation examples of those that a search from 16
demonstrations starts with. Then the loop of `configs/boost/study.yaml` runs for each seed with
each judge. It asks the demonstrations and fitness examples that the evaluators have not seen, and
measures on the test examples, which they have not seen either. Whatever is complete is not done
again, and what was stopped goes on: the script can be ended and started at any time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.evolve.config import load_config
from evoprompt.tasks.judge import judged_input
from evoprompt.tasks.load import load_task

CONFIGS = Path(__file__).parents[2] / "configs" / "boost"
#: Settings of each task, for evaluators and loops.
TASKS: dict[str, list[str]] = {
    "questions": [],
    "sense": [],
    "inbox": [],
    "arithmetic": ["task.difficulty=2"],
    "scramble": ["task.difficulty=1"],
}
KINDS = ("naive", "shown", "evolved", "own", "confidence")
#: Settings of the evaluators that have to be made first; a budget of one token leaves the search
#: its starting policies.
EVALUATORS: dict[str, list[str]] = {
    "shown": ["task.starting_demonstrations=[16]", "budget.prefill_tokens=1"],
    "evolved": [],
    "own": ["task.own_answers={folder}/answers/own_answers.jsonl"],
}
#: Of the loop that writes the model's own answers down.
ANSWERS = ["loop.own_answers=true", "loop.rounds=1", "loop.go_on=false", "seed=0"]
#: Of its loops. Arithmetic's first policy is a bare "a + b =", in a list of which the model loses
#: its way even where all of it is right; this is the second.
LOOPS: dict[str, list[str]] = {
    "arithmetic": [
        'policy={instruction: Solve the problem and give the number., input_prefix: "Problem: ", '
        'output_prefix: "\\nResult:"}'
    ]
}


def evoprompt(command: str, config: Path, folder: Path, settings: list[str]) -> None:
    """Run a command to its end, or go on with it where it was stopped."""
    if (folder / "summary.json").exists():
        return
    begun = (folder / "checkpoint.json").exists()
    words = (
        ["resume", str(folder)]
        if begun
        else [
            command,
            str(config),
            "--out",
            str(folder),
            *(w for s in settings for w in ("--set", s)),
        ]
    )
    print(" ".join(words), flush=True)
    subprocess.run(
        [sys.executable, "-m", "evoprompt.cli", *words], check=True, stdout=subprocess.DEVNULL
    )


def write_questions(file: Path, settings: list[str]) -> None:
    """Write the questions of the task that its evaluator has not seen; their targets serve to
    measure the judge, the loop does not see them.
    """
    loop = load_boost(CONFIGS / "study.yaml", settings)
    assert loop.task is not None
    task, judging = (
        load_task(loop.task),
        load_task(load_config(CONFIGS.parent / "evaluator.yaml", settings).task),
    )
    seen = {e.input for split in (judging.pool, judging.fitness, judging.validation) for e in split}
    unseen = [e for e in (*task.pool, *task.fitness) if judged_input(e.input, e.target) not in seen]
    rows = [
        {"input": e.input, "target": e.target, "choices": e.choices, "id": e.example_id}
        for e in unseen
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["smollm2-135m", "gemma3-270m"])
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    arguments = parser.parse_args()
    for model in arguments.models:
        for task in arguments.tasks:
            settings = [f"model.name={model}", f"task.name={task}", *TASKS[task]]
            folder = (arguments.out / model / task).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            judges = {"naive": [], "confidence": ["loop.judge=confidence"]}
            if "own" in arguments.kinds:
                answering = [*settings, *LOOPS.get(task, []), *ANSWERS]
                evoprompt("boost", CONFIGS / "study.yaml", folder / "answers", answering)
            for kind in (k for k in EVALUATORS if k in arguments.kinds):
                evaluator = folder / f"evaluator-{kind}"
                own = [words.format(folder=folder) for words in EVALUATORS[kind]]
                evoprompt("run", CONFIGS.parent / "evaluator.yaml", evaluator, [*settings, *own])
                judges[kind] = [f"evaluator_run={evaluator}"]
            write_questions(folder / "questions.jsonl", settings)
            for seed in arguments.seeds:
                for kind in arguments.kinds:
                    loop = [
                        *settings,
                        *LOOPS.get(task, []),
                        f"questions={folder / 'questions.jsonl'}",
                        f"seed={seed}",
                        *judges[kind],
                    ]
                    evoprompt("boost", CONFIGS / "study.yaml", folder / f"{kind}-{seed}", loop)


if __name__ == "__main__":
    main()
