"""The benchmark on a machine with a GPU, from nothing to tables: look whether it can be done, fetch
the pinned data, try every contender small, say how long it will take, run, and print the tables
beside published numbers.

    make bench-gpu MODEL=Qwen/Qwen2.5-1.5B-Instruct TASKS="sst2 agnews trec subj" BUDGET=100000

What is done is not done again, so the same command goes on where it was stopped. Published numbers
are of other models, splits and budgets: they say what kind of gain was seen, no more.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from experiments.benchmarks.search import __main__ as command
from experiments.benchmarks.search import pinned
from experiments.benchmarks.search.contenders import CALIBRATED, PEERS
from experiments.benchmarks.search.record import read
from experiments.benchmarks.search.tables import report

PUBLISHED = Path(__file__).with_name("published.csv")
#: What is run where nothing is said: baselines, peers, and the package.
CONTENDERS = ("zero_shot", "random_demonstrations", *PEERS, "evoprompt")
#: Of the trial, logical tokens and test examples.
TRIAL, TRIAL_TEST = 5_000, 8
#: Memory that is needed, in sizes of the weights.
ROOM = 1.4
GIB = 2**30


def main(argv: Sequence[str] | None = None) -> str:
    """Do all of it; return the tables."""
    arguments = _arguments(argv)
    contenders = preflight(arguments)
    out: Path = arguments.out
    data = out / "data"
    names = [n for n in arguments.tasks if n in pinned.manifest()["tasks"]]
    if names or any(name.startswith("evoprompt_de") for name in contenders):
        pinned.fetch(data, names)
    tasks = [pinned.PREFIX + n if n in names else n for n in arguments.tasks]
    common = ["--data", str(data), "--model", arguments.model]
    common += ["--de-template", str(data / "de_template.txt")]
    common += ["--revision", arguments.revision] if arguments.revision else []
    forecast(arguments, tasks, contenders, common)
    results = out / "results.jsonl"
    wanted = ["--out", str(results), "--budget", str(arguments.budget), "--tasks", *tasks]
    wanted += ["--contenders", *contenders, "--seeds", *map(str, arguments.seeds)]
    wanted += ["--test-examples", str(arguments.test_examples)]
    wanted += ["--development", str(arguments.development)]
    command.main(["run", *common, *wanted])
    text = report(read(results), "random_demonstrations", PUBLISHED)
    (out / "tables.md").write_text(text, "utf-8")
    print(text)
    return text


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="as model.name of a configuration")
    parser.add_argument("--revision")
    parser.add_argument("--tasks", nargs="+", default=["sst2", "agnews", "trec", "subj"])
    parser.add_argument("--budget", type=float, default=100_000, help="logical tokens of a run")
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--test-examples", type=int, default=500)
    parser.add_argument("--development", type=int, default=112)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-gpu"))
    parser.add_argument("--cpu", action="store_true", help="go on without a GPU")
    return parser.parse_args(argv)


def preflight(arguments: argparse.Namespace) -> list[str]:
    """Say what there is, and return the contenders that can be run.

    Raises:
        SystemExit: something that is needed is not there; what it is, and what to do.
    """
    size = weights_size(arguments.model, arguments.revision)
    print(f"model   {arguments.model}, {size / GIB:.1f} GiB of weights")
    if not arguments.cpu:
        _check_gpu(size)
    arguments.out.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(Path.home()).free
    if free < 2 * size:
        raise SystemExit(f"the disk of {Path.home()} has {free / GIB:.1f} GiB left; free some")
    print(f"disk    {free / GIB:.0f} GiB free")
    there = [name for name in arguments.contenders if is_installed(name)]
    if left := [name for name in arguments.contenders if name not in there]:
        print(
            f"left out, since their package is not installed: {', '.join(left)}; "
            "pip install -r experiments/benchmarks/search/peers.txt"
        )
    return there


def weights_size(model: str, revision: str | None) -> int:
    """Return the bytes of a model's weights: in its folder, or as the hub says.

    Raises:
        SystemExit: the hub does not answer, or has no such model.
    """
    from evoprompt.errors import UserError
    from evoprompt.scoring.models import EMBEDDED, resolve_model

    if model in EMBEDDED or Path(model).is_dir():
        try:
            folder = resolve_model(model, None)
        except UserError as error:
            raise SystemExit(str(error)) from None
        return sum(f.stat().st_size for f in folder.glob("*.safetensors"))
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(model, revision=revision, files_metadata=True)
    except Exception as error:  # noqa: BLE001  the hub's client has many kinds of its own
        raise SystemExit(
            f"the hub does not give {model} ({str(error).splitlines()[0]}); check the name and the "
            "connection, log in for gated models, or give a local folder as MODEL"
        ) from None
    print(f"hub     {model} at {info.sha}")
    files = info.siblings or []
    return sum(f.size or 0 for f in files if f.rfilename.endswith(".safetensors"))


def _check_gpu(size: int) -> None:
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("no GPU is to be seen (torch.cuda); to go on without one give --cpu")
    free, total = torch.cuda.mem_get_info()
    print(f"GPU     {torch.cuda.get_device_name()}, {free / GIB:.0f} of {total / GIB:.0f} GiB free")
    if free < ROOM * size:
        raise SystemExit(
            f"the model needs about {ROOM * size / GIB:.0f} GiB of the GPU's memory and "
            f"{free / GIB:.0f} GiB are free; give a smaller model"
        )


def is_installed(contender: str) -> bool:
    """Return whether a contender's package is there."""
    if contender not in (*PEERS, *CALIBRATED):
        return True
    package = "gepa" if contender.startswith("gepa") else "promptolution"
    return importlib.util.find_spec(package) is not None


def forecast(
    arguments: argparse.Namespace,
    tasks: Sequence[str],
    contenders: Sequence[str],
    common: Sequence[str],
) -> float:
    """Try every contender small on the first task; print and return the seconds that the whole will
    take at that pace. They are too many: the model is loaded in them, and small runs are slower by
    token.
    """
    budget = min(TRIAL, arguments.budget)
    small = ["--out", str(arguments.out / "trial.jsonl"), "--budget", str(budget)]
    small += ["--tasks", tasks[0], "--seeds", "0", "--test-examples", str(TRIAL_TEST)]
    begun = time.perf_counter()
    command.main(["run", *common, *small, "--contenders", *contenders])
    seconds = time.perf_counter() - begun
    runs = len(tasks) * len(arguments.seeds)
    whole = seconds * runs * arguments.budget / budget
    print(
        f"trial   {seconds:.0f} s; {runs} runs of each contender take at most {whole / 3600:.1f} h"
    )
    return whole


if __name__ == "__main__":
    main()
