"""Damage files that users give and look at what becomes of them.

    python experiments/fuzz_inputs.py --number 1000 --commands 20 --model MODEL_FOLDER

Of each kind in `KINDS`, so many damaged files are read by the functions that the commands call, in
this process, and some by the commands themselves. A file may be taken or refused with a sentence:
anything else that is raised, a file written outside the scratch folder, and of a command an exit
status other than 0, 2 and 130 or a traceback are faults. Each is printed with its seed and its file
is kept; exits with 1 where there is one. A new kind is a line in `KINDS`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoprompt.config.sections import TaskConfig
from evoprompt.errors import UserError
from evoprompt.jobs.score import read_requests
from evoprompt.tasks.load import load_task
from evoprompt.tasks.render import render_queries

ODD = (
    "\x00\x07\x1b\x7f\x85\xa0\xad\u200b\u2028\u2029\u202e\ufeff\ufffd\U0001f600\u0301\x0b\x0c\r\n\t"
)
PIECES = (
    *(b"\\ud800", b"\\u0000", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"{", b"}", b"[", b"]"),
    *(b'"', b"\\", b",", b":", b"NaN", b"-Infinity", b"1e400", b"9" * 5000, b"null", b"[" * 9999),
    *(c.encode() for c in ODD),
)
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**30, "", " ", "\n", "a" * 100_000, ODD, [], {}, [[]], [None]),
    *(
        ["a"],
        ["a", "a"],
        ["a", " a"],
        ["", "b"],
        [1, 2],
        {"a": {"b": []}},
        list(map(str, range(99))),
    ),
)
KEYS = (
    *("input", "Input", "inptu", "target", "label", "answer", "choices", "options", "id", "ID"),
    *("text", "prompt", "context", "continuation", "completion", "", " ", "x" * 1000, "\u2028"),
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp1252", "cp037")

Change = Callable[[random.Random, bytes], bytes]


def cut(rng: random.Random, data: bytes) -> bytes:
    begin, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:begin] + data[end:]


def truncate(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def flip(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data or b" ")
    for _ in range(rng.choice((1, 1, 3, 30))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def insert(rng: random.Random, data: bytes) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(PIECES) * rng.choice((1, 1, 1, 3)) + data[place:]


def repeat(rng: random.Random, data: bytes) -> bytes:
    return data * rng.choice((2, 2, 5))


def encode(rng: random.Random, data: bytes) -> bytes:
    return data.decode("utf-8", "replace").encode(rng.choice(ENCODINGS), "replace")


def end_lines(rng: random.Random, data: bytes) -> bytes:
    return data.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"", b" ", "\u2028".encode())))


def change_row(rng: random.Random, data: bytes) -> bytes:
    """Change a value, a key or the form of some lines of JSON."""
    lines = data.split(b"\n")
    for _ in range(rng.choice((1, 1, len(lines)))):
        at = rng.randrange(len(lines))
        try:
            row = json.loads(lines[at])
            key = rng.choice(list(row))
        except (ValueError, IndexError, TypeError, RecursionError):
            continue
        value = row.pop(key) if isinstance(row, dict) else row
        what = rng.choice(("value", "key", "drop", "twice", "wrap"))
        if isinstance(row, dict) and what in ("value", "key"):
            row |= {key: rng.choice(VALUES)} if what == "value" else {rng.choice(KEYS): value}
        text = json.dumps([row] if what == "wrap" else row, ensure_ascii=rng.random() < 0.5)
        if what == "twice":
            text = f"{text[:-1]}, {json.dumps(key)}: {json.dumps(value)}, " + text[1:]
        lines[at] = text.encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


CHANGES: Sequence[Change] = (
    *(cut, truncate, flip, insert, repeat, encode, end_lines),
    *(change_row, change_row, change_row, change_row),
)


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Return a valid file's content after one to three changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(CHANGES)(rng, data)
    return data


def _lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _examples() -> bytes:
    choices = ["déjà vu", "new"]
    return _lines(
        [
            {"input": f"text {i} \U0001f600", "target": choices[i % 2], "choices": choices, "id": i}
            for i in range(60)
        ]
    )


def _requests() -> bytes:
    return _lines([{"id": i, "context": f"text {i}", "continuation": " é"} for i in range(8)])


def use_task(file: Path) -> None:
    """Read a task's file as far as a run does before the model is asked."""
    task = load_task(TaskConfig(path=file))
    json.dumps([task.account(), task.summary()], ensure_ascii=False).encode()
    for query in render_queries(task.starting_policies[0], task.fitness):
        (query.context + query.continuation).encode()


def use_requests(file: Path) -> None:
    """Read requests as `evoprompt score` does before the model is asked."""
    for row in read_requests(file):
        (json.dumps(row["id"]) + row["context"] + row["continuation"]).encode()


def run_task(file: Path, model: str) -> list[str]:
    """Return the arguments that run the shortest search on a task's file."""
    sizes = "fitness_examples: 4, validation_examples: 4, test_examples: 4"
    config = file.with_suffix(".yaml")
    config.write_text(
        f"model: {{name: {json.dumps(model)}}}\n"
        f"task: {{path: {file.name}, {sizes}}}\n"
        "evolution: {population: 2, children: 2, generations: 1}\n"
        "workers: {backend: local}\ntracking: {enabled: false}\n"
    )
    return ["run", str(config), "--out", str(file.with_suffix(""))]


def run_requests(file: Path, model: str) -> list[str]:
    """Return the arguments that score a file of requests."""
    output = str(file.with_suffix(".out"))
    return ["score", "--model", model, "--input", str(file), "--output", output]


@dataclass(frozen=True)
class Kind:
    """A kind of file that users give."""

    name: str  #: of the file, with its suffix
    valid: Callable[[], bytes]  #: a content that is taken
    use: Callable[[Path], object]  #: reads a file as the commands do
    command: Callable[[Path, str], list[str]]  #: arguments of a command that reads it, for a model


KINDS = (
    Kind("task.jsonl", _examples, use_task, run_task),
    Kind("requests.jsonl", _requests, use_requests, run_requests),
)


class Writes:
    """What this process opens for writing outside a folder, while it is watched."""

    def __init__(self) -> None:
        self.inside: Path | None = None
        self.found: list[str] = []
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or self.inside is None or not isinstance(arguments[0], (str, bytes)):
            return
        path = os.fsdecode(arguments[0])
        writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and not Path(os.path.abspath(path)).is_relative_to(self.inside):
            self.found.append(path)


WRITES = Writes()


def fault_of(kind: Kind, file: Path) -> tuple[str, str | None]:
    """Return whether a file was taken or refused, and what is wrong with how that was done."""
    WRITES.inside, WRITES.found = file.parent, []
    try:
        kind.use(file)
        result, fault = "taken", None
    except UserError as error:
        result, fault = "refused", None if str(error).strip() else "an empty sentence"
    except Exception:  # noqa: BLE001 - whatever it is, it is told
        result, fault = "fault", traceback.format_exc(limit=-4)
    finally:
        WRITES.inside = None
    if WRITES.found:
        return "fault", f"writes {WRITES.found[0]}"
    return ("fault" if fault else result), fault


def command_fault_of(kind: Kind, file: Path, model: str) -> tuple[str, str | None]:
    """Return how a command ended on a file, and what is wrong with that."""
    places = ("HOME", "TMPDIR", "XDG_CACHE_HOME")
    own = {name: str(file.parent) for name in places} | {
        "EVOPROMPT_MEMO": str(file.parent / "memo")
    }
    done = subprocess.run(
        [sys.executable, "-m", "evoprompt.cli", *kind.command(file, model)],
        cwd=file.parent,
        env={**os.environ, **own},
        capture_output=True,
        timeout=600,
        check=False,
    )
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    if done.returncode not in (0, 2, 130) or "Traceback" in said:
        return "fault", f"exit {done.returncode}: {said[-1500:]}"
    return f"exit {done.returncode}", None


def fuzz(kind: Kind, seeds: Sequence[int], folder: Path, model: str | None = None) -> Counter[str]:
    """Read a damaged file for each seed, by a command where there is a model; print what is wrong,
    and return how often what came out.
    """
    ends: Counter[str] = Counter()
    for seed in seeds:
        file = folder / f"{seed}-{kind.name}"
        file.write_bytes(damaged(random.Random(f"{kind.name} {seed}"), kind.valid()))
        result, fault = command_fault_of(kind, file, model) if model else fault_of(kind, file)
        ends[result] += 1
        if fault is None:
            file.unlink()
        else:
            print(f"{file}: {fault}")
    return ends


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--number", type=int, default=1000, help="of files of each kind")
    parser.add_argument("--commands", type=int, default=0, help="of files given to a command")
    parser.add_argument("--model", default="smollm2-135m", help="that the commands ask")
    parser.add_argument("--first", type=int, default=0, help="seed")
    given = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="evoprompt-fuzz-")).resolve()
    faults = 0
    for kind in KINDS:
        if (ends := fault_of_valid(kind, folder)) is not None:
            print(f"{kind.name}: the valid file is refused: {ends}")
            return 1
        for number, model in ((given.number, None), (given.commands, given.model)):
            ends = fuzz(kind, range(given.first, given.first + number), folder, model)
            faults += ends["fault"]
            if number:
                told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
                print(f"{kind.name}, {'by a command' if model else 'in this process'}: {told}")
    print(f"{faults} faults{f'; their files are in {folder}' if faults else ''}")
    return int(faults > 0)


def fault_of_valid(kind: Kind, folder: Path) -> str | None:
    """Return why the file is not taken before it is damaged; None where it is."""
    file = folder / kind.name
    file.write_bytes(kind.valid())
    try:
        kind.use(file)
    except UserError as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main())
