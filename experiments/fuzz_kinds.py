"""The kinds of files that users give, each with valid ones and the commands that read them."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO, StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fuzz_changes import damaged

from evoprompt.config.reader import dump_config
from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.evolve.config import load_config
from evoprompt.store.sums import signed

CONFIGS = Path(__file__).parent.parent / "configs"
Files = Mapping[str, bytes]
Commands = Sequence[Sequence[str]]

#: Where the folders of runs are made; their tasks stay there.
SCRATCH = TemporaryDirectory()
SIZES = "fitness_examples: 4, validation_examples: 4, test_examples: 4"
SHORT = (
    "evolution: {population: 3, children: 3, generations: 2}\n"
    "workers: {backend: local}\ntracking: {enabled: false}\n"
)
#: Files of a run that a checkpoint counts.
COUNTED = (
    *("lineage.jsonl", "generations.jsonl", "measurements.jsonl"),
    *("recurrence.jsonl", "answers.jsonl"),
)


def as_it_is(rng: random.Random, files: Files) -> Files:
    """Return the files."""
    return files


@dataclass(frozen=True)
class Kind:
    """A kind of file that users give."""

    name: str
    files: Callable[[], Files]  #: valid, by name
    damages: tuple[str, ...]  #: beginnings of the names of files that are damaged
    commands: Callable[[random.Random], Commands]  #: arguments of the commands that read them
    variant: Callable[[random.Random, Files], Files] = as_it_is  #: other valid files
    seal: Callable[[random.Random, Files], Files] = as_it_is  #: what is changed after the damage


def lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as JSONL."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def examples(num: int = 40) -> bytes:
    """Return a task's file."""
    choices = ["déjà vu", "new"]
    return lines(
        [
            {"input": f"text {i} \U0001f600", "target": choices[i % 2], "choices": choices, "id": i}
            for i in range(num)
        ]
    )


def requests() -> Files:
    """Return requests of `evoprompt score`."""
    rows = [{"id": i, "context": f"text {i}", "continuation": " é"} for i in range(8)]
    return {"requests.jsonl": lines(rows)}


def task() -> Files:
    """Return a task's file and the shortest search on it."""
    config = f"task: {{path: task.jsonl, {SIZES}}}\n{SHORT}"
    return {"task.jsonl": examples(), "c.yaml": config.encode()}


def paths() -> Files:
    """Return a file of paths and the shortest search on it."""
    steps = [
        {"input": f"at {i}", "target": t, "choices": ["up", "dö"], "instruction": t + " it"}
        for i, t in enumerate(("up", "dö"))
    ]
    rows = [{"steps": [{**steps[0], "input": f"from {i}"}, steps[1]], "id": i} for i in range(40)]
    config = f"task: {{path: task.jsonl, instructions: marginal, {SIZES}}}\n{SHORT}"
    return {"task.jsonl": lines(rows), "c.yaml": config.encode()}


def table(suffix: str) -> Callable[[], Files]:
    """Return what gives a table of a form, the shortest search on it, and a complete run."""

    def files() -> Files:
        config = f"task: {{path: data.{suffix}, {SIZES}}}\n{SHORT}"
        run = {n: c for n, c in folders().items() if n.startswith("run/")}
        return {**run, f"data.{suffix}": FORMS[suffix](ROWS), "c.yaml": config.encode()}

    return files


def _delimited(delimiter: str) -> Callable[[Sequence[Mapping[str, Any]]], bytes]:
    def write(rows: Sequence[Mapping[str, Any]]) -> bytes:
        text = StringIO()
        writer = csv.DictWriter(text, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()

    return write


def _parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    content = BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), content)
    return content.getvalue()


#: Rows of a table, and how a file of each form has them.
ROWS = [{"text": f'\u00e9 {i}, "{i}";\nx', "label": i % 2, "part": "train"} for i in range(40)]
FORMS: Mapping[str, Callable[[Any], bytes]] = {
    "csv": _delimited(","),
    "tsv": _delimited("\t"),
    "json": lambda rows: json.dumps({"data": rows}, ensure_ascii=False, indent=1).encode(),
    "ndjson": lines,
    "parquet": _parquet,
    "csv.gz": lambda rows: gzip.compress(_delimited(";")(rows), mtime=0),
}


def said_of_columns(rng: random.Random, files: Files) -> Files:
    """Return a table of which nothing is said, or something."""
    said = rng.choice(
        (
            b"",
            b"fields: {input: text, target: label}, ",
            b'fields: {input: "{part}: {text}", target: label, choices: [0, 1]}, ',
            b"labels: {0: no one, 1: some one}, ",
            b"fields: {target: label, split: part}, ",
            b"fields: {choices: none, id: text}, ",
        )
    )
    config = files["c.yaml"].replace(b"path: ", said + b"path: ")
    return {**files, "c.yaml": config}


def questions() -> Files:
    """Return questions, and the shortest loop that asks them."""
    config = (
        f"questions: questions.jsonl\ntask: {{path: task.jsonl, {SIZES}}}\n"
        "loop: {rounds: 2, batch: 4, context_pairs: 2}\n"
        "workers: {backend: local}\ntracking: {enabled: false}\n"
    )
    rows = [json.loads(line) for line in examples(12).splitlines()]
    asked = [{**row, "input": f"ask {row['id']}", "target": None} for row in rows]
    files = {"questions.jsonl": lines(asked), "task.jsonl": examples(), "c.yaml": config.encode()}
    return files


def shipped(load: Callable[[Path], Any], *names: str) -> Callable[[random.Random, Files], Files]:
    """Return what picks one of the configurations that are shipped, or that with every key."""

    @cache
    def texts() -> list[bytes]:
        sources = [CONFIGS / name for name in names]
        whole = [dump_config(load(source)).encode() for source in sources]
        return [*(source.read_bytes() for source in sources), *whole]

    return lambda rng, files: {"c.yaml": rng.choice(texts()), **files}


def sweep() -> Files:
    """Return the smallest sweep that is shipped, and its base."""
    base = (CONFIGS / "quickstart.yaml").read_bytes()
    return {"quickstart.yaml": base, "s/c.yaml": (CONFIGS / "sweeps" / "quick.yaml").read_bytes()}


def methods(rng: random.Random, files: Files) -> Files:
    """Return a sweep by any method."""
    more = rng.choice((b"", b"runs: 3\n", b"seeds: [0, 1]\n"))
    method = rng.choice((b"grid", b"random", b"bayes"))
    axes = b"evolution.population: {low: 2, high: 9}\n  task.label_words: [{}]\n  seed: "
    text = files["s/c.yaml"].replace(b"method: grid", b"method: " + method)
    text = rng.choice((text, text.replace(b"seed: ", axes)))
    return {**files, "s/c.yaml": text + (more if method == b"grid" else b"runs: 3\n")}


def _kill(line: Mapping[str, Any]) -> None:
    if line["generation"] == 2:
        raise KeyboardInterrupt


@cache
def folders() -> Files:
    """Return the files of two complete runs, of one that was killed, of a loop and of a sweep."""
    from evoprompt.jobs.boost.session import conduct as go_round
    from evoprompt.jobs.evolve.session import conduct
    from evoprompt.jobs.sweep.loop import start
    from evoprompt.terminal import new_console

    place = Path(SCRATCH.name).resolve()
    for name, content in {**questions(), "run.yaml": task()["c.yaml"]}.items():
        (place / name).write_bytes(content)
    sweep_of = "base: run.yaml\nmethod: grid\naxes: {seed: [0, 1]}\n"
    (place / "sweep.yaml").write_text(sweep_of)
    for seed, name in enumerate(("run", "other")):
        conduct(load_config(place / "run.yaml", [f"seed={seed}"]), place / name, show=False)
    with suppress(KeyboardInterrupt):
        longer = load_config(place / "run.yaml", ["evolution.generations=4"])
        conduct(longer, place / "half", on_generation=_kill, show=False)
    go_round(load_boost(place / "c.yaml"), place / "loop", show=False)
    start(place / "sweep.yaml", place / "sweep", console=new_console(quiet=True))
    files = sorted(f for f in place.rglob("*") if f.is_file())
    return {str(file.relative_to(place)): file.read_bytes() for file in files}


def of_folders(*names: str) -> Callable[[], Files]:
    """Return what gives the files of some of the folders, but for pages and tables."""
    ends = (".json", ".jsonl", ".yaml")

    def files() -> Files:
        found = folders().items()
        return {n: c for n, c in found if n.partition("/")[0] in names and n.endswith(ends)} | {
            "stdin.txt": TYPED
        }

    return files


def lineages() -> Files:
    """Return lineages of another program: a whole one, and one with the least keys."""
    found = {n: c for n, c in folders().items() if n.endswith("n/lineage.jsonl")}
    rows = [json.loads(line) for line in found["run/lineage.jsonl"].splitlines()]
    least = ("generation", "birth_id", "parent_ids", "shares", "operator", "selected", "traits")
    plain = [{key: row[key] for key in least} | {"fitness": row["fitness"]} for row in rows]
    return {"whole/lineage.jsonl": found["run/lineage.jsonl"], "least/lineage.jsonl": lines(plain)}


def one_lineage(rng: random.Random, files: Files) -> Files:
    """Return one of the lineages to be damaged, and one to be left as it is."""
    name = rng.choice(list(files))
    return {"run/lineage.jsonl": files[name], "other/lineage.jsonl": files["least/lineage.jsonl"]}


def sealed(rng: random.Random, files: Files) -> Files:
    """Return files half of whose folders say that they are as they were written."""
    if rng.random() < 0.5:
        return files
    files = dict(files)
    for name in [name for name in files if name.endswith(".json")]:
        try:
            content = json.loads(files[name])
            content.pop("checksum", None)
            if name.endswith("/checkpoint.json"):
                folder = name.removesuffix("checkpoint.json")
                sizes = {n: len(files[folder + n]) for n in COUNTED if folder + n in files}
                content |= {"sizes": sizes, "digests": {}}
                files.pop(folder + "commits.jsonl", None)
            files[name] = json.dumps(signed(content)).encode()
        except (ValueError, TypeError, AttributeError, RecursionError):
            continue
    return files


TYPED = "héllo\n/again\n/good\ntext 3\n/wrong new\n/note 👍\n/prompt\n0\n/go\n/new\n".encode()
OVERRIDES = (
    *("seed=1", "evolution.generations=1", "task.label_words={new: [a, b]}", "name=x"),
    *("evolution.operators={phrase_drop: 1.0}", "traits.extra={x: 'os:system'}", "a.b=[1, {c: d}]"),
)


def play() -> Files:
    """Return what is typed, and feedback that is there already."""
    row = {"input": "a", "target": "new", "choices": ["new", "old"], "id": "1-1"}
    return {"stdin.txt": TYPED, "feedback.jsonl": lines([row])}


def overrides(rng: random.Random) -> Commands:
    """Return a run or a sweep with a damaged override, or with options that make no sense."""
    text, path, out = rng.choice(OVERRIDES), "c.yaml", "out"
    if rng.random() < 0.8:
        text = damaged(rng, text.encode(), "txt").decode("utf-8", "surrogateescape")
        text = text.replace("\0", "")[:5000]  # no program is given a NUL, or very much
        path, out = rng.choice(("c.yaml", "c.yaml", text, ".")), rng.choice(("out", "out", text))
    return [["run", path, "--out", out, "--set", text]]


def run_or(*more: Sequence[str]) -> Callable[[random.Random], Commands]:
    """Return commands, each with its folder given or left to the program."""

    def commands(rng: random.Random) -> Commands:
        out = rng.choice(([], ["--out", "out"]))
        return [[*command, *out] for command in more]

    return commands


def always(*commands: Sequence[str]) -> Callable[[random.Random], Commands]:
    """Return commands that do not depend on chance."""
    return lambda rng: commands


def one_of(*commands: Sequence[str]) -> Callable[[random.Random], Commands]:
    """Return one or two of commands, in any order."""
    return lambda rng: rng.sample(commands, rng.choice((1, 1, 2)))


def plan_or_run(rng: random.Random) -> Commands:
    """Return the plan of a sweep, and sometimes the sweep itself."""
    return [["sweep", "s/c.yaml", "--dry-run"], *([["sweep", "s/c.yaml"]] * (rng.random() < 0.2))]


def nothing() -> Files:
    """Return no file."""
    return {}


READING = (("init",), ("predict", "--output", "answers.jsonl", "run"))
COMPARE = ("compare", "run", "other", "--no-mlflow")
CONFIG = shipped(load_config, "quickstart.yaml", "evaluator.yaml")
LOOP = shipped(load_boost, "boost/quick.yaml", "boost/study.yaml")
SCORE = ("score", "--input", "requests.jsonl", "--output", "out.jsonl")

KINDS = (
    Kind("config", nothing, ("c.yaml",), run_or(["run", "c.yaml"]), CONFIG),
    Kind("loop", nothing, ("c.yaml",), run_or(["boost", "c.yaml"]), LOOP),
    Kind("sweep", sweep, ("s/", "quick"), plan_or_run, methods),
    Kind("task", task, ("task",), run_or(["run", "c.yaml"])),
    Kind("paths", paths, ("task",), run_or(["run", "c.yaml"])),
    *(
        Kind(
            suffix,
            table(suffix),
            ("data",),
            one_of(("run", "c.yaml"), *((*command, f"data.{suffix}") for command in READING)),
            said_of_columns,
        )
        for suffix in FORMS
    ),
    Kind(
        "inputs",
        lambda: {**of_folders("run")(), "inputs.txt": TYPED, "stdin.txt": TYPED},
        ("inputs", "stdin"),
        one_of(("predict", "run", "inputs.txt"), ("predict", "run")),
    ),
    Kind("questions", questions, ("questions",), run_or(["boost", "c.yaml"])),
    Kind("requests", requests, ("requests",), always(SCORE)),
    Kind("overrides", task, ("no file",), overrides),
    Kind("lineage", lineages, ("run",), one_of(COMPARE, ("report", "run")), one_lineage),
    Kind(
        "run_folder",
        of_folders("run", "other"),
        ("run",),
        one_of(COMPARE, ("report", "run"), ("play", "run"), ("resume", "run"), ("sync", "run")),
        seal=sealed,
    ),
    Kind(
        "killed_run",
        of_folders("half"),
        ("half",),
        one_of(("resume", "half"), ("report", "half")),
        seal=sealed,
    ),
    Kind(
        "loop_folder",
        of_folders("loop"),
        ("loop",),
        one_of(("report", "loop"), ("play", "loop"), ("resume", "loop")),
        seal=sealed,
    ),
    Kind(
        "sweep_folder",
        of_folders("sweep"),
        ("sweep/",),
        one_of(("report", "sweep"), ("resume", "sweep"), ("sweep", "--resume", "sweep")),
        seal=sealed,
    ),
    Kind(
        "play",
        lambda: {**of_folders("run", "loop")(), **play()},
        ("stdin", "feedback"),
        one_of(
            ("play", "run", "--feedback", "feedback.jsonl"),
            ("play", "loop", "--feedback", "feedback.jsonl"),
        ),
    ),
)
