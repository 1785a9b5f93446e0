"""Does a search that looks at changes of wording and inputs find prompts that bear them?

    python experiments/robustness/study.py runs/robust --seeds 0 1 2 --sst2 FOLDER

For each task and seed one run without the section `robustness` and others with it, all within the
same tokens: `raced` measures those under changes that a race left with 16 examples, with half the
weight in the fitness; `finalists` measures the last five alone; `pareto` measures each policy when
it is new, as second objective of NSGA-II and with half the weight; `fitted` fits the head of the
champion's answers on 24 validation examples under changes too, and `both` does with finalists.
Each champion then meets changes that the search did not draw, on the test examples: the same for
all. SST-2 is the second task where a folder has sst2.train.jsonl and sst2.test.jsonl. What is
complete is not made again, so the command goes on where it was stopped; --pieces ends it after so
many.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evoprompt.jobs.evolve.config import check_config
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.jobs.play.session import asker_of
from evoprompt.jobs.robustness.loop import measure_unit
from evoprompt.jobs.robustness.record import NONE
from evoprompt.jobs.robustness.session import planned
from evoprompt.jobs.robustness.study import load_study
from evoprompt.stats.resampling import paired_bootstrap_interval
from evoprompt.store.folder import SUMMARY, RunFolder

SOURCES = ("format", "input_distractor", "paraphrase", "input_casing", "order")
#: What is measured of each champion.
MEASURED = "under.json"
LOOKS: dict[str, Any] = {"sources": SOURCES, "draws": 5, "examples": 8, "weight": 0.5}
LEARNS = {**LOOKS, "after": 1000, "calibration_examples": 24}
PARETO = {"survival_selection": {"method": "nsga2", "objectives": ["fitness", "under_changes"]}}
PLAIN = "without"
ARMS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "raced": {"robustness": {**LOOKS, "after": 16}},
    "finalists": {"robustness": {**LOOKS, "after": 1000}, "final": {"candidates": 5}},
    "fitted": {"robustness": {**LEARNS, "examples": 0, "weight": 0.0}},
    "both": {"robustness": LEARNS, "final": {"candidates": 5}},
    "pareto": {"robustness": LOOKS, "evolution": PARETO},
}


def values_of(task: dict[str, Any], arm: str, seed: int, tokens: int) -> dict[str, Any]:
    """Return the configuration of a run."""
    own = ARMS[arm]
    return {
        **own,
        "seed": seed,
        "task": {**task, "fitness_examples": 64, "validation_examples": 36, "test_examples": 48},
        "evolution": {"generations": 100, **own.get("evolution", {})},
        "budget": {"prefill_tokens": tokens},
        "workers": {"backend": "local", "threads": 1},
        "tracking": {"enabled": False},
    }


def measured(folder: Path) -> dict[str, Any]:
    """Return of a run's champion which answers are right as it is, and under each draw of each
    source.
    """
    settings = [f"sources=[{','.join(SOURCES)}]", "draws=5", "examples=48", "attack.edits=0"]
    study = load_study(planned(folder, settings))
    asker = asker_of(replace(study.champion, config=study.config))
    found: dict[str, Any] = {}
    try:
        for source in (NONE, *SOURCES):
            cells, _ = measure_unit(study, asker, study.subjects[-1], source, ())
            found[source] = [list(cell.right) for cell in cells]
    finally:
        asker.measurer.close()
    return found


def worst(found: dict[str, Any]) -> np.ndarray:
    """Return for each test example the mean over sources of whether it is right under all draws; a
    source that changes nothing leaves the prompt as it is.
    """
    rows = [np.array(found[s] or found[NONE]).min(axis=0) for s in SOURCES]
    return np.mean(rows, axis=0)


def report(out: Path, tasks: list[str], seeds: list[int], arm: str) -> None:
    """Print what is known of each pair, and the differences over all."""
    changes: dict[str, list[np.ndarray]] = {"clean": [], "worst": []}
    for task in tasks:
        for seed in seeds:
            files = [out / f"{task}-{name}-{seed}" / MEASURED for name in (PLAIN, arm)]
            if not all(f.exists() for f in files):
                continue
            both = [json.loads(f.read_text()) for f in files]
            clean = [np.array(f[NONE][0], dtype=np.float64) for f in both]
            bad = [worst(f) for f in both]
            told = "; ".join(
                f"{name}: {spent(file.parent)}; as it is {100 * c.mean():.1f}, worst of 5 "
                f"{100 * b.mean():.1f} ("
                + ", ".join(
                    f"{s} {100 * np.array(f[s] or f[NONE]).min(axis=0).mean():.0f}" for s in SOURCES
                )
                + ")"
                for name, file, c, b, f in zip((PLAIN, arm), files, clean, bad, both, strict=True)
            )
            print(f"{task} seed {seed}: {told}")
            changes["clean"].append(clean[1] - clean[0])
            changes["worst"].append(bad[1] - bad[0])
    for name, rows in changes.items():
        if rows:
            joined = np.concatenate(rows)
            low, high = paired_bootstrap_interval(joined, np.random.default_rng(0))
            print(
                f"{arm}, {name}: {100 * joined.mean():+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] "
                f"points, {len(rows)} pairs: {', '.join(f'{100 * r.mean():+.1f}' for r in rows)}"
            )


def spent(folder: Path) -> str:
    """Return the policies that a run saw, and the tokens of search and changes."""
    summary = RunFolder.open(folder).read(SUMMARY)
    rows = (folder / "lineage.jsonl").read_text().splitlines()
    policies = {json.loads(row)["policy_id"] for row in rows}
    by_phase = summary["tokens"]["by_phase"]
    return (
        f"{len(policies)} policies, {by_phase['search']:,} and "
        f"{by_phase.get('robustness', 0):,} tokens"
    )


def main() -> None:
    """Make and measure what is missing, and print all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tokens", type=int, default=24_000)
    parser.add_argument("--sst2", type=Path, help="the folder with sst2.train.jsonl")
    parser.add_argument("--pieces", type=int, default=1000, help="at most; a run, or its changes")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=[PLAIN, "raced"])
    given = parser.parse_args()
    tasks: dict[str, dict[str, Any]] = {"inbox": {"name": "inbox"}}
    if given.sst2 is not None:
        paths = {k: str(given.sst2 / f"sst2.{v}.jsonl") for k, v in
                 (("path", "train"), ("test_path", "test"))}  # fmt: skip
        tasks["sst2"] = {**paths, "starting_policies": [{"instruction": INSTRUCTION}]}
    left = given.pieces
    for seed in given.seeds:
        for task, section in tasks.items():
            for arm in given.arms:
                folder = given.out / f"{task}-{arm}-{seed}"
                if left and not (folder / SUMMARY).exists():
                    left -= 1
                    if folder.exists():
                        resume(folder, [])
                    else:
                        config = values_of(section, arm, seed, given.tokens)
                        start(check_config(config, folder.name), folder)
                if left and (folder / SUMMARY).exists() and not (folder / MEASURED).exists():
                    left -= 1
                    (folder / MEASURED).write_text(json.dumps(measured(folder)) + "\n")
    for arm in given.arms:
        if arm != PLAIN:
            report(given.out, list(tasks), given.seeds, arm)
    print("complete" if left else "stopped; the same command goes on")


#: Published with EvoPrompt (Guo et al. 2024).
INSTRUCTION = "Does the following sentence have a positive or negative sentiment?"

if __name__ == "__main__":
    main()
