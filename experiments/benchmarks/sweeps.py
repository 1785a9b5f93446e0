"""What a sweep saves: the same 24 runs as processes of their own, as a sweep, and as a sweep that
stops those that others are better than.

    python -m experiments.benchmarks.sweeps FOLDER --seconds 1000

Each way has a memo of its own, empty at first. Work is done in pieces of at most `--piece` seconds,
each a process that ends as on Ctrl-C and is gone on with, and at most `--seconds` in all; a later
call goes on. Seconds are of CPU, of all processes. The table is printed when all three are done.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from evoprompt.jobs.sweep.config import load_sweep, plan, settle
from evoprompt.jobs.sweep.page import read_state
from evoprompt.jobs.sweep.record import SweepRow
from evoprompt.jobs.sweep.tables import REPLICATES, best_group, mean_of, result_of

BASE = """
model: {{name: "{model}"}}
task: {{name: inbox, fitness_examples: 32, validation_examples: 12, test_examples: 20}}
evolution: {{generations: 100, examples: {{first: 8}}}}
budget: {{prefill_tokens: {budget}}}
workers: {{backend: local}}
tracking: {{enabled: false}}
"""
SWEEP = {
    "base": "base.yaml",
    "objective": "champion.validation_fitness",
    "axes": {
        "evolution.max_demonstrations": [2, 8, 16],
        "evolution.population": [3, 8],
        "evolution.parent_selection.method": ["tournament", "truncation"],
        "seed": [0, 1],
    },
}
WAYS = {"sweep": [], "stopped": ["stopping.method=halving"], "at once": ["parallel=2"]}
RUNS = "cold"


def piece(command: Sequence[str], memo: Path, seconds: float) -> tuple[float, float, bool]:
    """Run a command for so long; return its CPU and wall seconds, and whether it ended."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "evoprompt.cli", *command],
        env=os.environ | {"EVOPROMPT_MEMO": str(memo)},
        stdout=subprocess.DEVNULL,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - begun, process.returncode == 0


def go_on(folder: Path, way: str, seconds: float) -> bool:
    """Do a piece of one way; return whether it is done."""
    if _is_done(folder, way):
        return True
    log = folder / f"{way}.jsonl"
    memo, out = folder / f"{way}.sqlite", folder / way
    if way == RUNS:
        sweep = load_sweep(folder / "sweep.yaml")
        left = [n for n, _ in enumerate(plan(sweep)) if not (out / f"{n}/summary.json").exists()]
        if left:
            config = folder / f"cold-{left[0]}.yaml"
            settled = settle(sweep, plan(sweep)[left[0]], "cold").model_dump(mode="json")
            settled["model"]["memo"] = False
            config.write_text(yaml.safe_dump(settled))
            run = out / str(left[0])
            command = (
                ["resume", str(run)] if run.exists() else ["run", str(config), "--out", str(run)]
            )
    else:
        left = []
        command = ["sweep", str(folder / "sweep.yaml"), "--out", str(out)]
        command += [part for key in WAYS[way] for part in ("--set", key)]
        if (out / "sweep.json").exists():
            command = ["resume", str(out)]
    cpu, wall, ended = piece(command, memo, seconds)
    is_done = ended and len(left) <= 1
    with log.open("a") as stream:
        stream.write(json.dumps({"cpu": cpu, "wall": wall, "done": is_done}) + "\n")
    return is_done


def rows_of(folder: Path, way: str) -> Sequence[SweepRow]:
    """Return the runs of a way with their results."""
    if way != RUNS:
        return read_state(folder / way).rows
    sweep = load_sweep(folder / "sweep.yaml")
    found = []
    for number, settings in enumerate(plan(sweep)):
        summary = json.loads((folder / way / str(number) / "summary.json").read_text())
        result = result_of(summary, sweep.config.objective)
        found.append(SweepRow(number + 1, str(number), settings, "done", None, result))
    return found


def line(folder: Path, way: str) -> str:
    """Return a way's line of the table."""
    pieces = [json.loads(text) for text in (folder / f"{way}.jsonl").open()]
    rows = rows_of(folder, way)
    best = best_group(rows) or []
    reached = [mean_of(best, name) for name in ("objective", "accuracy_after")]
    settings = ", ".join(str(v) for k, v in best[0].settings.items() if k != REPLICATES)
    tokens = sum(r.value("tokens") or 0 for r in rows)
    seconds = sum(r.value("seconds") or 0 for r in rows)
    cpu, wall = (sum(piece[name] for piece in pieces) for name in ("cpu", "wall"))
    return (
        f"| {way} | {sum(r.is_done for r in rows)} of {len(rows)} | {tokens:,.0f} | {cpu:.0f}"
        f" | {wall:.0f} | {len(pieces)} | {seconds:.0f} | {settings}"
        f" | {' | '.join(f'{mean.value:.4f}' for mean in reached if mean)} |"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Go on with what is left; return 1 where something is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="smollm2-135m", help="or stand-in: random weights")
    parser.add_argument("--budget", type=int, default=40_000, help="prefill tokens of a run")
    parser.add_argument("--seconds", type=float, default=1000.0)
    parser.add_argument("--piece", type=float, default=1e6)
    parser.add_argument("--ways", nargs="*", default=["stopped", "sweep", RUNS])
    options = parser.parse_args(arguments)
    folder: Path = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RUNS).mkdir(exist_ok=True)
    model = str(stand_in(folder)) if options.model == "stand-in" else options.model
    (folder / "base.yaml").write_text(BASE.format(model=model, budget=options.budget))
    (folder / "sweep.yaml").write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    deadline = time.monotonic() + options.seconds
    for way in options.ways:
        while time.monotonic() < deadline and not go_on(folder, way, options.piece):
            pass
    columns = (
        "runs to the end | tokens | s of CPU | s | pieces | s of runs | best | objective | test"
    )
    print(f"| way | {columns} |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    left = 0
    for way in options.ways:
        if _is_done(folder, way):
            print(line(folder, way))
        else:
            left = 1
    return left


def stand_in(folder: Path) -> Path:
    """Return a tiny model of random weights, in which examples have room."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from toys.tiny_models import save_model

    model = folder / "model"
    if not model.exists():
        save_model(model)
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    return model


def _is_done(folder: Path, way: str) -> bool:
    log = folder / f"{way}.jsonl"
    return log.exists() and any(json.loads(text)["done"] for text in log.open())


if __name__ == "__main__":
    sys.exit(main())
