r"""Searches for prompts side by side, at equal logical tokens, on the same examples.

    python -m experiments.benchmarks.search run --data DATA --out results.jsonl \
        --tasks inbox lu/sst2 --contenders zero_shot random_demonstrations --seeds 0 1 2
    python -m experiments.benchmarks.search table results.jsonl

Each line of the results is one (contender, task, seed, budget); what is there is not run again. The
peers need `pip install -r experiments/benchmarks/search/peers.txt`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from experiments.benchmarks.search.contenders import contender
from experiments.benchmarks.search.ledger import Bench, open_bench
from experiments.benchmarks.search.record import (
    FORWARDED,
    LOGICAL,
    Key,
    append,
    read,
    record,
)
from experiments.benchmarks.search.tables import report
from experiments.benchmarks.search.tasks import DEVELOPMENT, TEST, load


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, or print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="run what the results lack")
    runs.add_argument("--out", type=Path, required=True, help="results, a JSON line for each run")
    runs.add_argument("--data", type=Path, help="folder of the tasks whose names have a slash")
    runs.add_argument("--tasks", nargs="+", default=["inbox"])
    runs.add_argument("--contenders", nargs="+", default=["random_demonstrations"])
    runs.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    runs.add_argument("--budget", type=float, default=20_000, help="logical tokens")
    runs.add_argument(
        "--forwarded",
        action="store_true",
        help="let the budget be of forwarded tokens: many generations; for evoprompt's own alone",
    )
    runs.add_argument("--model", default="smollm2-135m")
    runs.add_argument("--revision")
    runs.add_argument("--test-examples", type=int, default=TEST)
    runs.add_argument("--development", type=int, default=DEVELOPMENT, help="examples to search on")
    runs.add_argument("--de-template", type=Path, help="the text that EvoPrompt's DE is asked with")
    tables = commands.add_parser("table", help="print the tables")
    tables.add_argument("results", type=Path, nargs="+")
    tables.add_argument("--reference", default="random_demonstrations")
    tables.add_argument("--published", type=Path, help="a CSV to print beside them")
    arguments = parser.parse_args(argv)
    if arguments.command == "run":
        run(arguments)
    else:
        rows = [row for file in arguments.results for row in read(file)]
        print(report(rows, arguments.reference, arguments.published))


def run(arguments: argparse.Namespace) -> None:
    """Run what the results lack, task after task."""
    done = {Key.of(row) for row in read(arguments.out)}
    bench, unit = None, FORWARDED if arguments.forwarded else LOGICAL
    for name in arguments.tasks:
        task = load(name, arguments.data, arguments.test_examples, arguments.development)
        wanted = [
            Key(c, name, seed, int(arguments.budget), arguments.model, unit)
            for seed in arguments.seeds
            for c in arguments.contenders
        ]
        missing = [key for key in wanted if key not in done]
        if not missing:
            continue
        if bench is None:
            bench = open_bench(task, arguments.model, revision=arguments.revision)
        bench = Bench(bench.model, task, arguments.model, bench.memo)
        for key in missing:
            one(bench, key, arguments)


def one(bench: Bench, key: Key, arguments: argparse.Namespace) -> None:
    """Do one run, and keep what came of it."""
    begun = time.perf_counter()
    bench.begin(arguments.budget)
    policy = contender(key.contender, arguments)(bench, key.seed)
    searched = time.perf_counter() - begun
    row = record(key, bench, policy, searched)
    append(arguments.out, row)
    kept = {k: row[k] for k in ("contender", "task", "seed", "policies", "accuracy")}
    print(json.dumps(kept | {"tokens": row["tokens"]["total"], "s": row["seconds"]}), flush=True)


if __name__ == "__main__":
    main()
