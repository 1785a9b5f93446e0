"""Does taking side effects off the fitness spare other tasks, and what does it cost the own one?

    python experiments/side_effects/study.py runs/side_effects look --data FOLDER
    python experiments/side_effects/study.py runs/side_effects --data FOLDER --seeds 3

The first prints for each pair of tasks what six sets of demonstrations of the one do to the other,
so that pairs can be chosen where there is harm to spare. The second makes, for each pair, seed and
coefficient, a run that evolves for the first and looks at the others, and then scores what it
started from and its champion on examples of the others that no run saw. Harm is by how much right
answers become unlikelier, in nats. FOLDER has sst2, trec and agnews.train.jsonl. What is complete
is not made again, so the command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evoprompt.backends.open import OpenModel, open_model
from evoprompt.config.sections import JobConfig
from evoprompt.config.task import TaskConfig
from evoprompt.fitness.side_effects import attainable
from evoprompt.jobs.evolve.config import check_config
from evoprompt.jobs.evolve.folder import SIDE_EFFECTS, EvolveFolder
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.jobs.evolve.side_effects import KEY, measured_of
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.units import ANSWERS_ALONE
from evoprompt.stats.resampling import paired_bootstrap_interval
from evoprompt.stats.significance import mean_interval
from evoprompt.store.folder import PROVENANCE, SUMMARY
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.auxiliary import before
from evoprompt.tasks.load import load_task

OWN = ("inbox", "questions", "sense", "scramble", "arithmetic")
FILES = ("sst2", "trec", "agnews")
#: What is evolved for, the auxiliaries that are looked at, and the tasks on which harm is measured.
PAIRS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "inbox-one": ("inbox", {"tasks": ["trec"]}, ("trec", "agnews")),
    "inbox-two": ("inbox", {"tasks": ["trec", "agnews"]}, ("trec", "agnews")),
    "inbox-many": (
        "inbox",
        {"tasks": ["trec", "agnews", "questions"], "random": 3},
        ("trec", "agnews"),
    ),
    "sst2-two": ("sst2", {"tasks": ["arithmetic", "agnews"]}, ("arithmetic", "agnews")),
    "sst2-short": ("sst2", {"tasks": ["arithmetic", "questions"]}, ("arithmetic", "questions")),
}
WORKERS = {"backend": "local", "threads": 1}
#: What has nothing to do with the search.
ALONE = {"workers": WORKERS, "tracking": {"enabled": False}}


def place_of(name: str, given: argparse.Namespace) -> dict[str, str]:
    """Return where a task is, as `task` has it."""
    return {"path": str(given.data / f"{name}.train.jsonl")} if name in FILES else {"name": name}


def auxiliaries(names: Sequence[str], given: argparse.Namespace) -> list[str]:
    """Return tasks as `side_effects.tasks` has them."""
    return [next(iter(place_of(name, given).values())) for name in names]


def made(folder: Path, values: dict[str, Any]) -> EvolveFolder:
    """Return the folder of a run, which is made or ended where it is missing."""
    if not (folder / SUMMARY).exists():
        if folder.exists():
            resume(folder, [])
        else:
            start(check_config({**values, **ALONE}, folder.name), folder)
    return EvolveFolder.open(folder)


def look(given: argparse.Namespace) -> None:
    """Print what sets of demonstrations of each task do to all others, nats."""
    names = [*OWN, *(FILES if given.data else ())]
    print("| demonstrations of | before | right answers, nats | change | of sets harm |")
    print("|---|---|---|---|---|")
    for name in given.tasks or names:
        others = [each for each in names if each != name]
        sizes = {"fitness_examples": 4, "validation_examples": 4, "test_examples": 2}
        sets = {"starting_demonstrations": [0, 4], "starting_sets": 6}
        folder = made(
            given.out / f"look-{name}",
            {
                "seed": 100,
                "task": {**place_of(name, given), **sizes, **sets},
                "evolution": {"generations": 1, "children": 1, "racing": {"method": "off"}},
                "final": {"labels": 0, "candidates": 1},
                "side_effects": {
                    "tasks": auxiliaries(others, given),
                    "random": 2,
                    "examples": 12,
                    "scale": 1.0,
                },
            },
        )
        found = measured_of(folder.lines(SIDE_EFFECTS))
        first = folder.read(PROVENANCE)[KEY]["baseline"]
        for other, values in found[first].items():
            zero = attainable(values)
            changes = [attainable(v[other]) - zero for p, v in found.items() if p != first]
            told = f"{np.mean(changes):+.3f} | {np.mean(np.array(changes) < 0):.2f} |"
            print(f"| {name} | {other} | {zero:.2f} | {told}", flush=True)


def run_of(pair: str, coefficient: float, seed: int, given: argparse.Namespace) -> EvolveFolder:
    """Return the folder of a run, which is made where it is missing."""
    name, known, _ = PAIRS[pair]
    values = {
        "seed": seed,
        "task": {**place_of(name, given), "test_examples": given.test},
        "budget": {"prefill_tokens": given.tokens},
        "side_effects": {
            **known,
            "tasks": auxiliaries(known["tasks"], given),
            "examples": given.examples,
            "variant": "decrease",
            "coefficient": coefficient,
        },
    }
    return made(given.out / f"{pair}-{coefficient:g}-{seed}", values)


def held_out(
    folder: EvolveFolder, names: Sequence[str], model: OpenModel, given: argparse.Namespace
) -> dict[str, list[float]]:
    """Return by how much the right answer to each test example of the auxiliaries is likelier
    after the first starting prompt than after the champion, nats; kept in a file of the folder.
    """
    file = folder.path / f"held_out_{given.test}.json"
    if file.exists():
        kept: dict[str, list[float]] = json.loads(file.read_text())
        return kept
    measurer = Measurer(model.tokenizer, model.executor)
    measurer.wanted, measurer.features = ANSWERS_ALONE, ()
    policies = {e.member.birth.policy.policy_id: e.member.birth.policy for e in folder.lineage()}
    ids = folder.read(PROVENANCE)[KEY]["baseline"], folder.read(SUMMARY)["champion"]["policy_id"]
    first, last = (policies[policy_id] for policy_id in ids)
    found = {}
    for name in names:
        size = {"fitness_examples": given.examples, "test_examples": given.test}
        task = load_task(TaskConfig.model_validate({**place_of(name, given), **size}))
        examples = [replace(e, choices=(e.target,)) for e in task.test]
        asked = [before(policy, task.starting_policies[0]) for policy in (first, last)]
        rows = measurer.measure(
            list(dict.fromkeys(asked)), examples, lambda _: None, Ledger().timed
        )
        was, now = (
            rows[p.policy_id][0].of_gold(rows[p.policy_id][0].log_likelihood)[0] for p in asked
        )
        found[name] = (was - now).round(6).tolist()
    file.write_text(json.dumps(found))
    return found


def right(folder: EvolveFolder) -> np.ndarray:
    """Return whether the champion answers each test example of the own task right."""
    champion = folder.read(SUMMARY)["champion"]["policy_id"]
    return np.array(
        [
            float(p.is_right)
            for p in folder.predictions()
            if p.split == "test" and p.policy_id == champion
        ]
    )


def interval(values: np.ndarray) -> str:
    """Return a mean with its bootstrap interval over examples."""
    low, high = paired_bootstrap_interval(values, np.random.default_rng(0))
    return f"{values.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def compare(given: argparse.Namespace) -> None:
    """Make the runs that are missing; print what each did, and what the penalty changed."""
    model: OpenModel | None = None
    found: dict[tuple[str, float], list[tuple[float, float]]] = {}
    print("| run | penalty | accuracy | harm of each auxiliary, held out | policies |")
    print("|---|---|---|---|---|")
    for seed in range(given.seeds):
        for pair in given.pairs:
            for coefficient in (0.0, *given.coefficients):
                folder = run_of(pair, coefficient, seed, given)
                model = model or open_model(JobConfig.model_validate({"workers": WORKERS}))
                harm = held_out(folder, PAIRS[pair][2], model, given)
                accuracy, mean = right(folder).mean(), np.mean([np.mean(v) for v in harm.values()])
                found.setdefault((pair, coefficient), []).append((float(mean), float(accuracy)))
                told = "; ".join(f"{k} {interval(np.array(v))}" for k, v in harm.items())
                cells = (f"{pair} {seed}", f"{coefficient:g}", f"{accuracy:.3f}", told)
                scored = folder.read(SUMMARY)["policies_scored"]
                print("| " + " | ".join(cells) + f" | {scored} |", flush=True)
    if model is not None:
        model.executor.close()
    print("\n| pair | penalty | harm | less without | accuracy | less without |")
    print("|---|---|---|---|---|---|")
    for (pair, coefficient), values in found.items():
        told = []
        for now, was in zip(np.transpose(values), np.transpose(found[pair, 0.0]), strict=True):
            less = mean_interval((now - was).tolist())
            ends = "" if less.low is None else f" [{less.low:+.3f}, {less.high:+.3f}]"
            told.append(f"{np.mean(now):+.3f} | {less.value:+.3f}{ends}")
        print(f"| {pair} | {coefficient:g} | {told[0]} | {told[1]} |")


def main() -> None:
    """Look at pairs, or compare runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("what", nargs="?", default="compare", choices=("look", "compare"))
    parser.add_argument("--tasks", nargs="*", choices=[*OWN, *FILES], help="of look; default: all")
    parser.add_argument("--data", type=Path, help="a folder with the files")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=40_000)
    parser.add_argument("--examples", type=int, default=16, help="of each auxiliary")
    parser.add_argument("--test", type=int, default=100, help="test examples of each task")
    parser.add_argument(
        "--coefficients", type=float, nargs="*", default=[0.1, 0.3], help="nats for a change of 1"
    )
    parser.add_argument("--pairs", nargs="*", default=list(PAIRS), choices=list(PAIRS))
    given = parser.parse_args()
    if given.what == "compare" and given.data is None:
        parser.error("compare needs --data, a folder with sst2, trec and agnews.train.jsonl")
    if given.what == "look":
        look(given)
    else:
        compare(given)


if __name__ == "__main__":
    main()
