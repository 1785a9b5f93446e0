"""Does saying what to do next help a model to act, and on goals that it was never shown?

    python experiments/gridworld/study.py runs/gridworld --seeds 3 --levels 20
    python experiments/gridworld/study.py runs/gridworld --seeds 1 --levels 20 --evolve 60000
    python experiments/gridworld/study.py runs/gridworld_gemma --model gemma3-270m

For each seed a prompt of demonstrations from the gridworld, the same moves with and without their
instructions, is scored on paths whose goals are among those shown, and on paths whose goals combine
what is shown anew. With --evolve the prompts are evolved on goals that are shown before that. What
was scored is kept, so the command goes on where it was stopped. Prints two tables in Markdown.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evoprompt.backends.open import open_model
from evoprompt.config.sections import JobConfig
from evoprompt.config.task import TaskConfig
from evoprompt.jobs.evolve.config import check_config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.measurement.instructing import instructed_by
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Policy
from evoprompt.seeding import Stream, generator
from evoprompt.stats.resampling import paired_bootstrap_interval
from evoprompt.stats.significance import difference_interval
from evoprompt.store.folder import SUMMARY
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.load import load_task

#: The tasks whose tests are goals that are shown, and goals that are not.
SPLITS = {"seen": "gridworld", "unseen": "gridworld_unseen"}
#: Without instructions; with the expert's scored too; with all that may be said summed over.
#: or after one that the policy writes itself.
MODES = ("off", "joint", "marginal", "written")
WORKERS = {"backend": "local", "threads": 1}

Row = dict[str, Any]


def task_of(name: str, mode: str, given: argparse.Namespace) -> TaskConfig:
    """Return a task as it is scored and tested."""
    scored = "marginal" if mode == "written" else mode
    keys = {"instructions": scored, "difficulty": given.difficulty, "test_examples": given.levels}
    return TaskConfig.model_validate({"name": name, **keys})


def shown_policy(mode: str, seed: int, given: argparse.Namespace) -> Policy:
    """Return the first starting policy with demonstrations: of one seed the same moves in each
    mode.
    """
    task = load_task(task_of(SPLITS["seen"], mode, given))
    draws = generator(seed, Stream.STARTING, given.shots)
    places = draws.choice(len(task.demonstrations), given.shots, replace=False)
    shown = tuple(task.demonstrations[i] for i in places)
    return replace(task.starting_policies[0], demonstrations=shown)


def evolved_policy(mode: str, seed: int, given: argparse.Namespace) -> Policy:
    """Return the champion of a run, which is made where it is missing."""
    folder = given.out / f"{mode}-{seed}-{given.evolve}"
    task = task_of(SPLITS["unseen"], mode, given).model_dump(exclude_unset=True, mode="json")
    sizes = {"fitness_examples": 8, "validation_examples": 8, "test_examples": 4}
    values = {
        "seed": seed,
        "task": {**task, **sizes, "starting_demonstrations": [given.shots]},
        "budget": {"prefill_tokens": given.evolve},
        "model": {"name": given.model},
        "workers": WORKERS,
        "tracking": {"enabled": False},
    }
    if not (folder / SUMMARY).exists():
        if folder.exists():
            resume(folder, [])
        else:
            start(check_config(values, folder.name), folder)
    summary = EvolveFolder.open(folder).read(SUMMARY)
    return Policy.from_dict(summary["champion"]["policy"])


def measured(
    measurer: Measurer, writer: Writer, policy: Policy, name: str, mode: str, given: Any
) -> Row:
    """Return the log-likelihoods of the moves of each path of a test, nats, and what it cost; of
    what was written, the shares that may be said and that the expert says too.
    """
    test = load_task(task_of(name, mode, given)).test
    told: Row = {}
    if mode == "written":
        expert = [move for path in test for move in path.path]
        test, _ = instructed_by(policy, test, writer)
        pairs = list(zip([m for path in test for m in path.path], expert, strict=True))
        told = {
            "valid": float(np.mean([own.instruction in e.offered for own, e in pairs])),
            "as_expert": float(np.mean([own.instruction == e.instruction for own, e in pairs])),
        }
    found = measurer.measure([policy], test, lambda _: None, Ledger().timed)
    scores, count = found[policy.policy_id]
    assert scores.moves is not None
    moves = [row[~np.isnan(row)].tolist() for row in scores.moves[0]]
    return {"moves": moves, "tokens": count.body_tokens, "policy_id": policy.policy_id} | told


def all_rows(given: argparse.Namespace) -> Iterator[Row]:
    """Yield what is there, then what was missing, each as soon as it is measured and kept."""
    file = given.out / "results.jsonl"
    known = [json.loads(x) for x in file.read_text().splitlines()] if file.exists() else []
    yield from known
    done = {json.dumps(row["key"]) for row in known}
    config = JobConfig.model_validate({"workers": WORKERS, "model": {"name": given.model}})
    model = measurer = None
    for seed in range(given.seeds):
        for mode in given.modes:
            policy = None
            for split, name in SPLITS.items():
                settings = (given.difficulty, given.shots, given.levels, given.evolve)
                key = [mode, split, seed, *settings]
                if json.dumps(key) in done:
                    continue
                of = evolved_policy if given.evolve else shown_policy
                policy = of(mode, seed, given) if policy is None else policy
                model = open_model(config) if model is None else model
                measurer = measurer or Measurer(model.tokenizer, model.executor)
                writer = Writer(model.tokenizer, model.executor)
                row = {"key": key, **measured(measurer, writer, policy, name, mode, given)}
                with file.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
                yield row
    if model is not None:
        model.executor.close()


def by_level(rows: Sequence[Row], mode: str, split: str) -> np.ndarray:
    """Return the mean log-likelihood of a move, nats, shape (level,): the mean over seeds."""
    own = [row for row in rows if row["key"][:2] == [mode, split]]
    return np.mean([[np.mean(path) for path in row["moves"]] for row in own], axis=0)


def sure(rows: Sequence[Row], mode: str, split: str) -> float:
    """Return the share of moves with a probability above one half: such a move is the likeliest."""
    own = [row for row in rows if row["key"][:2] == [mode, split]]
    values = np.concatenate([np.concatenate(row["moves"]) for row in own])
    return float(np.mean(values > np.log(0.5)))


def interval(values: np.ndarray) -> str:
    """Return a mean with its bootstrap interval over levels."""
    low, high = paired_bootstrap_interval(values, np.random.default_rng(0))
    return f"{values.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def tables(rows: Sequence[Row], modes: Sequence[str]) -> str:
    """Return how likely moves are by mode, and by how much instructions change that."""
    lines = ["| instructions | goals | nats a move | likelier than 1/2 |", "|---|---|---|---|"]
    for mode in modes:
        for split in SPLITS:
            values = interval(by_level(rows, mode, split))
            lines.append(f"| {mode} | {split} | {values} | {sure(rows, mode, split):.3f} |")
    for mode in [m for m in modes if m != "off" and "off" in modes]:
        gains: Mapping[str, np.ndarray] = {
            split: by_level(rows, mode, split) - by_level(rows, "off", split) for split in SPLITS
        }
        lines += ["", f"| {mode} less off | nats a move |", "|---|---|"]
        lines += [f"| {split} | {interval(gain)} |" for split, gain in gains.items()]
        more = difference_interval(gains["unseen"], gains["seen"])
        lines.append(
            f"| unseen less seen | {more.value:+.3f} [{more.low:+.3f}, {more.high:+.3f}] |"
        )
    own = [row for row in rows if "valid" in row]
    for name in ("valid", "as_expert") if own else ():
        lines.append(f"\nwritten, {name}: {np.mean([row[name] for row in own]):.2f}")
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="smollm2-135m", help="one for each OUT")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--levels", type=int, default=20, help="of each test")
    parser.add_argument("--shots", type=int, default=8, help="demonstrations, a move each")
    parser.add_argument("--difficulty", type=int, default=2)
    parser.add_argument("--evolve", type=int, default=0, metavar="TOKENS", help="0: not evolved")
    parser.add_argument("--modes", nargs="*", default=["off", "marginal"], choices=MODES)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    settings = [given.difficulty, given.shots, given.levels, given.evolve]
    rows = []
    for row in all_rows(given):
        mode, _, seed, *own = row["key"]
        if own == settings and mode in given.modes and seed < given.seeds:
            rows.append(row)
            mean = np.mean([np.mean(path) for path in row["moves"]])
            print(f"{row['key']}: {mean:.3f} nats a move, {row['tokens']} tokens", flush=True)
    print(tables(rows, given.modes))


if __name__ == "__main__":
    main()
