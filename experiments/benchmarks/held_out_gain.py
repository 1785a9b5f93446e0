"""What a configuration gains on held-out examples, over seeds: each run a fresh process, finished
runs are not done again.

    python experiments/benchmarks/held_out_gain.py configs/quickstart.yaml --out runs/gain --seeds 0
    1 2 3 4

Prints a line per seed and the mean: held-out accuracy before and after, tokens by phase, seconds of
the whole process, and the share of them that is neither scoring nor loading the model.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path


def run(config: Path, folder: Path, seed: int, settings: list[str]) -> dict:
    timing = folder.parent / f"{folder.name}.seconds"
    if not (folder / "summary.json").exists():
        command = [
            sys.executable,
            "-m",
            "evoprompt.cli",
            "run",
            str(config),
            "--out",
            str(folder),
            "--set",
            f"seed={seed}",
        ]
        begun = time.perf_counter()
        subprocess.run(
            command + [word for s in settings for word in ("--set", s)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        timing.write_text(str(time.perf_counter() - begun))
    summary = json.loads((folder / "summary.json").read_text())
    return summary | {"wall": float(timing.read_text())}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(
        "| seed | before | after | gain | search + validation tokens | seconds | not the model "
        "|\n|---|---|---|---|---|---|---|"
    )
    rows = []
    for seed in arguments.seeds:
        summary = run(arguments.config, arguments.out / f"seed-{seed}", seed, arguments.settings)
        test, tokens, seconds = summary["test"], summary["tokens"]["by_phase"], summary["seconds"]
        model = seconds["scoring"] + seconds["model_load"]
        rows.append(
            (
                test["baseline"]["value"],
                test["champion"]["value"],
                test["difference"]["value"],
                tokens["search"] + tokens["validation"],
                summary["wall"],
                1 - model / summary["wall"],
            )
        )
        print(f"| {seed} | " + line(rows[-1]), flush=True)
    means = tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))
    print("| mean | " + line(means))
    print(f"\ngain of at least 0.10 in {sum(r[2] >= 0.10 for r in rows)} of {len(rows)} seeds")


def line(row: tuple[float, ...]) -> str:
    before, after, gain, tokens, seconds, overhead = row
    return (
        f"{before:.3f} | {after:.3f} | {gain:+.3f} | {tokens:,.0f} | {seconds:.0f} | "
        f"{overhead:.1%} |"
    )


if __name__ == "__main__":
    main()
