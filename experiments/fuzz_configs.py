"""Shipped configurations with a few mistakes each, through the checks that come before any model:
each is read, or refused with one short sentence; nothing else comes out, and nothing takes long.

    python experiments/fuzz_configs.py [NUMBER] [SEED]
"""

from __future__ import annotations

import copy
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from evoprompt.config.reader import dump_config
from evoprompt.config.sections import Section
from evoprompt.errors import UserError, printable
from evoprompt.jobs.boost.build import check_boost
from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.evolve.build import check_task, strategy_of
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.sweep.config import load_sweep
from evoprompt.jobs.sweep.loop import check as check_sweep

CONFIGS = Path(__file__).parent.parent / "configs"
#: Seconds that a check may take, and characters of a message.
SLOW, LONG = 20.0, 4000

TEXTS = (
    *(
        "",
        " ",
        "no",
        "~",
        "1e5",
        "0x1f",
        "\0",
        "\x1b[31m",
        "\u202e",
        "\u2028",
        "灯",
        "👍",
        "a" * 5000,
    ),
    *("../..", "/dev/null", "/", "..", "[bold]", "[/]", "{{x}}", "%s", "$x$", "a:b", "os:system"),
    *(
        "x:y",
        "<script>",
        "'",
        '"',
        "\\",
        "\ud83d",
        "auto",
        "inf",
        "nan",
        "-1",
        "1.5",
        "true",
        "json:loads",
    ),
)
NUMBERS = (
    *(0, -1, 1, 2**31, 2**63, 10**19, 10**40, -(10**19), 0.0, -0.0, 1e-320, 1e308, 0.5, -0.5),
    *(float("inf"), float("-inf"), float("nan"), True, False),
)
SPLICES = (
    *(
        "\t",
        "\0",
        "\r",
        "\ufeff",
        "&a *a",
        "<<: *a",
        "? ",
        "- ",
        ": ",
        "[",
        "]",
        "{",
        "}",
        "!!int ",
        "%",
    ),
    *(
        "!!python/object/apply:os.system [x]",
        "#",
        "'",
        '"',
        "|",
        ">",
        "---\n",
        "...\n",
        "no: ",
        "=: ",
        "@",
    ),
    *("012", "1:30", "2024-01-01", "&a [*a]", "[" * 200, "9" * 5000, "- " * 100, "\n", "    ", "é"),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything in nested values."""
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, child in items:
        yield from places(child, (*path, key))


def any_value(rng: random.Random, depth: int = 0) -> Any:
    """Return any value."""
    kind = rng.randrange(5 if depth < 3 else 3)
    if kind == 3:
        return [any_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 4:
        return {rng.choice(TEXTS): any_value(rng, depth + 1) for _ in range(rng.randrange(4))}
    return (rng.choice(TEXTS), rng.choice(NUMBERS), None)[kind]


def with_other_values(rng: random.Random, values: dict[str, Any]) -> str:
    """Return values as YAML with some replaced, dropped, renamed, doubled, or put elsewhere."""
    values = copy.deepcopy(values)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        *path, last = rng.choice([p for p in places(values) if p] or [("x",)])
        holder: Any = values
        for key in path:
            holder = holder[key]
        match rng.randrange(9):
            case 0:
                del holder[last]
            case 1 if isinstance(holder, dict):
                name = str(last)
                at = rng.randrange(len(name) + 1)
                holder[name[:at] + rng.choice(("x", "_", ".", "\0", "é")) + name[at:]] = holder.pop(
                    last
                )
            case 2:
                holder[last] = {"x": holder[last]}
            case 3 if isinstance(holder, dict):
                holder[rng.choice(TEXTS)] = any_value(rng)
            case _ if isinstance(holder[last], (int, float)) and rng.random() < 0.7:
                holder[last] = rng.choice((0, 1, 2, 3, 7, 50, 1000, 10**6, 0.01, 0.5, "3", [1, 2]))
            case _:
                holder[last] = any_value(rng)
    return yaml.safe_dump(values, allow_unicode=rng.random() < 0.5, sort_keys=False)


def with_other_text(rng: random.Random, text: str) -> str:
    """Return text with some cut, doubled or put in."""
    for _ in range(rng.randrange(1, 4)):
        at, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        match rng.randrange(4):
            case 0:
                text = text[:at] + rng.choice(SPLICES) + text[at:]
            case 1:
                text = text[:at] + text[min(end, at + 9) :]
            case 2:
                lines = text.split("\n")
                line = rng.randrange(len(lines))
                lines[line:line] = [lines[rng.randrange(len(lines))]]
                text = "\n".join(lines)
            case _:
                text = text[:end]
    return text


def mutated(rng: random.Random, text: str) -> bytes:
    """Return a file's content with some mistakes."""
    kind = rng.randrange(10)
    if kind < 5:
        content = with_other_values(rng, yaml.safe_load(text)).encode("utf-8", "surrogatepass")
    else:
        content = with_other_text(rng, text).encode("utf-8", "surrogatepass")
    if kind == 8:
        content = content.decode("utf-8", "replace").encode(
            rng.choice(("utf-16", "utf-32", "utf-8-sig"))
        )
    if kind == 9 and content:
        at = rng.randrange(len(content))
        content = content[:at] + rng.randbytes(rng.randrange(1, 4)) + content[at + 1 :]
    return content


def check_run(path: Path) -> None:
    """Check a run as far as that goes without a model."""
    config = load_config(path)
    strategy_of(config, check_task(config)[0])


#: Of each kind of file those that are shipped, its reader where that gives one section, its checks.
KINDS: dict[str, tuple[list[Path], Callable[[Path], Section] | None, Callable[[Path], Any]]] = {
    "run": ([CONFIGS / "quickstart.yaml", CONFIGS / "evaluator.yaml"], load_config, check_run),
    "boost": (
        sorted((CONFIGS / "boost").glob("*.yaml")),
        load_boost,
        lambda path: check_boost(load_boost(path)),
    ),
    "sweep": (
        [CONFIGS / "sweeps" / "quick.yaml"],
        None,
        lambda path: check_sweep(load_sweep(path)),
    ),
}


def fuzz(kind: str, num: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Return how often files of a kind were read or refused, and what else came out, each with the
    number by which it is made again.
    """
    sources, load, check = KINDS[kind]
    texts = [source.read_text(encoding="utf-8") for source in sources]
    if load is not None:  # once more with every key, so that each is met
        texts += [dump_config(load(source)) for source in sources]
    (folder / "quickstart.yaml").write_text((CONFIGS / "quickstart.yaml").read_text())
    path = folder / "sweeps" / "c.yaml"
    path.parent.mkdir(exist_ok=True)
    counts: Counter[str] = Counter()
    faults = []
    for number in range(num):
        rng = random.Random(f"{seed} {kind} {number}")
        path.write_bytes(mutated(rng, rng.choice(texts)))
        begun = time.monotonic()
        try:
            check(path)
            outcome = "read"
        except UserError as error:
            outcome = "refused"
            if len(str(error)) > LONG or str(error) != printable(str(error)):
                faults.append(f"{kind} {number}: a message of {len(str(error))} characters")
        except Exception:  # noqa: BLE001 (what is looked for)
            outcome = "fault"
            faults.append(f"{kind} {number}: {traceback.format_exc(limit=-3)}")
        if time.monotonic() - begun > SLOW:
            faults.append(f"{kind} {number}: {time.monotonic() - begun:.0f} s")
        counts[outcome] += 1
    return counts, faults


def main() -> int:
    """Fuzz every kind; return 1 where something else came out than a file read or refused."""
    num, seed = (int(a) for a in (*sys.argv[1:], *("1000", "0")[len(sys.argv) - 1 :]))
    bad = 0
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            counts, faults = fuzz(kind, num, seed, Path(folder))
        print(kind, dict(counts))
        for fault in faults:
            print(fault)
        bad += len(faults)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
