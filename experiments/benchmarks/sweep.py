"""What a sweep saves: runs that share one process, model, workers and memo, against the same runs
one after another in cold processes.

    python experiments/benchmarks/sweep.py configs/quickstart.yaml --out runs/sweep-benchmark

Two selection schemes on six seeds, so twelve runs. A cold run is a process of its own with an empty
memo of its own; the sweep is one process that begins with an empty memo. Each piece stores its
seconds and is not done again: the script can be stopped and started. Prints both times, the tokens
that were forwarded, and in how many runs the lineage is the same to the byte.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import yaml

SCHEMES = ("tournament", "truncation")


def timed(command: list[str], memo: Path, store: Path) -> float:
    """Return the seconds that a command took, measured once and stored, with a memo that is empty
    when it begins.
    """
    if not store.exists():
        for suffix in ("", "-wal", "-shm"):
            memo.with_name(memo.name + suffix).unlink(missing_ok=True)
        begun = time.perf_counter()
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "EVOPROMPT_MEMO": str(memo)},
        )
        store.write_text(str(time.perf_counter() - begun))
    return float(store.read_text())


def cold(
    config: Path, out: Path, scheme: str, seed: int, settings: list[str]
) -> tuple[float, Path]:
    """Return the seconds and the folder of one run in a process of its own. A run that was stopped
    is done again from its start.
    """
    folder, store = out / f"cold-{scheme}-{seed}", out / f"cold-{scheme}-{seed}.seconds"
    attempt = folder
    while not store.exists() and attempt.exists():
        attempt = attempt.with_name(attempt.name + "x")
    own = [f"evolution.parent_selection.method={scheme}", f"seed={seed}", *settings]
    command = [
        sys.executable,
        "-m",
        "evoprompt.cli",
        "run",
        str(config),
        "--out",
        str(attempt),
        *(w for s in own for w in ("--set", s)),
    ]
    seconds = timed(command, out / f"cold-{scheme}-{seed}.memo", store)
    tries = [*out.glob(f"{folder.name}/summary.json"), *out.glob(f"{folder.name}x*/summary.json")]
    last = max(tries, key=lambda p: p.stat().st_mtime).parent
    return seconds, last


def warm(config: Path, out: Path, seeds: list[int], settings: list[str]) -> tuple[float, Path]:
    """Return the seconds and the folder of the sweep. One that was stopped is done again from its
    start: its time is wanted whole.
    """
    store = out / "sweep.seconds"
    number = len(list(out.glob("sweep-*"))) + (0 if store.exists() else 1)
    folder = out / f"sweep-{number}"
    file = out / "benchmark.yaml"
    axes = {"evolution.parent_selection.method": list(SCHEMES), "seed": seeds}
    file.write_text(yaml.safe_dump({"base": str(config.resolve()), "axes": axes}, sort_keys=False))
    command = [
        sys.executable,
        "-m",
        "evoprompt.cli",
        "sweep",
        str(file),
        "--out",
        str(folder),
        *(w for s in settings for w in ("--set", s)),
    ]
    return timed(command, out / "sweep.memo", store), folder


def forwarded(folder: Path) -> int:
    return int(json.loads((folder / "summary.json").read_text())["tokens"]["prefill"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4, 5])
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    singles = {
        (m, s): cold(arguments.config, arguments.out, m, s, arguments.settings)
        for m in SCHEMES
        for s in arguments.seeds
    }
    seconds, folder = warm(arguments.config, arguments.out, arguments.seeds, arguments.settings)
    rows = json.loads((folder / "sweep.json").read_text())["runs"]
    same = 0
    for row in rows:
        single = singles[
            row["settings"]["evolution.parent_selection.method"], row["settings"]["seed"]
        ][1]
        same += (folder / row["folder"] / "lineage.jsonl").read_bytes() == (
            single / "lineage.jsonl"
        ).read_bytes()
    cold_seconds = sum(s for s, _ in singles.values())
    cold_tokens, warm_tokens = (
        sum(forwarded(f) for _, f in singles.values()),
        sum(forwarded(folder / row["folder"]) for row in rows),
    )
    print(f"| {len(rows)} runs | seconds | tokens forwarded |\n|---|---|---|")
    print(
        f"| cold processes | {cold_seconds:.0f} | {cold_tokens:,} |\n| one sweep | {seconds:.0f} "
        f"| {warm_tokens:,} |"
    )
    print(
        f"\n{cold_seconds / seconds:.2f} times as fast, {cold_tokens / warm_tokens:.2f} times "
        f"fewer tokens"
    )
    print(f"the same lineage in {same} of {len(rows)} runs")


if __name__ == "__main__":
    main()
