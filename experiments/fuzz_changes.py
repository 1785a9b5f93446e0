"""What becomes of the files of careless, unlucky and hostile people: valid bytes -> damaged bytes.

A change follows from the generator alone. Knows text, JSON and YAML; does not know what the files
are for.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import yaml

ODD = (
    "\x00\x07\x1b\x7f\x85\xa0\xad\u200b\u2028\u2029\u202e\ufeff\ufffd\U0001f600\u0301\x0b\x0c\r\n\t"
)
TEXTS = (
    "",
    " ",
    "\n",
    "a" * 5000,
    ODD,
    *[
        "no",
        "~",
        "1e5",
        "0x1f",
        "auto",
        "inf",
        "nan",
        "-1",
        "1.5",
        "true",
        "null",
        "a:b",
        "os:system",
        "x:y",
        "json:loads",
        "%s",
        "$x$",
    ],
    *[
        "../..",
        "..",
        "/",
        "/dev/null",
        "~nobody/x",
        "[bold]",
        "[/]",
        "{{x}}",
        "<script>",
        "'",
        '"',
        "\\",
        "灯",
        "👍",
        "fitness",
    ],
    *("\0", "\x1b[31m", "\u202e", "\u2028", "\ud83d", "2024-01-01", "x" * 300),
)
NUMBERS = (
    *(0, 1, 2, 3, 7, 50, 1000, 10**6, 2**31, 2**63, 10**19, 10**40, -1, -(10**19)),
    *(0.0, -0.0, 0.01, 0.5, -0.5, 1.5, 1e-320, 1e308, -1e308, True, False),
    *(float("inf"), float("-inf"), float("nan")),
)
KEYS = (
    *("input", "Input", "inptu", "target", "label", "answer", "choices", "options", "id", "ID"),
    *("text", "prompt", "context", "continuation", "completion", "traits", "policy", "fitness"),
    *("", " ", "x" * 1000, "\u2028", "a.b", "a/b", "\0"),
)
PIECES = (
    *(b"\\ud800", b"\\u0000", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"NaN", b"-Infinity"),
    *(b"1e400", b"9" * 5000, b"null", b"[" * 9999, b"&a *a", b"<<: *a", b"!!int ", b"- " * 100),
    *(b"!!python/object/apply:os.system [x]", b"---\n", b"...\n", b"no: ", b"=: ", b"&a [*a]"),
    *(c.encode() for c in (*ODD, *"{}[]\"'\\,:?%#|>@\t", "012", "1:30", "    ")),
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp1252", "cp037")

Change = Callable[[random.Random, bytes], bytes]


def cut(rng: random.Random, data: bytes) -> bytes:
    begin = rng.randrange(len(data) + 1)
    return data[:begin] + data[begin + rng.choice((1, 9, len(data) // 3)) :]


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


def move_line(rng: random.Random, data: bytes) -> bytes:
    """Drop a line, and put it or another elsewhere, or not at all."""
    lines = data.split(b"\n")
    line = lines.pop(rng.randrange(len(lines)))
    for _ in range(rng.choice((0, 1, 1, 2))):
        lines.insert(rng.randrange(len(lines) + 1), rng.choice((line, *lines)))
    return b"\n".join(lines)


def any_value(rng: random.Random, depth: int = 0) -> Any:
    """Return any value that JSON or YAML has."""
    kind = rng.randrange(5 if depth < 3 else 3)
    if kind == 3:
        return [any_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 4:
        keys = (*TEXTS, *KEYS)
        return {rng.choice(keys): any_value(rng, depth + 1) for _ in range(rng.randrange(4))}
    return (rng.choice(TEXTS), rng.choice(NUMBERS), None)[kind]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything in nested values."""
    yield path
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, child in items:
        yield from places(child, (*path, key))


def with_another(rng: random.Random, values: Any) -> Any:
    """Return nested values with one replaced, dropped, renamed, doubled, or put elsewhere."""
    paths = [path for path in places(values) if path]
    if not paths or rng.random() < 0.02:
        return any_value(rng)
    *path, last = rng.choice(paths)
    values = copy.deepcopy(values)
    holder: Any = values
    for key in path:
        holder = holder[key]
    match rng.randrange(10):
        case 0:
            del holder[last]
        case 1 if isinstance(holder, dict):
            name = str(last)
            at = rng.randrange(len(name) + 1)
            renamed = name[:at] + rng.choice(("x", "_", ".", "\0", "é")) + name[at:]
            holder[rng.choice((renamed, *KEYS))] = holder.pop(last)
        case 2:
            holder[last] = rng.choice(({"x": holder[last]}, [holder[last]], [holder[last]] * 2))
        case 3 if isinstance(holder, dict):
            holder[rng.choice((*TEXTS, *KEYS))] = any_value(rng)
        case 4:
            other: Any = values
            for key in rng.choice(paths):
                other = other[key]
            holder[last] = copy.deepcopy(other)
        case _ if isinstance(holder[last], (int, float)) and rng.random() < 0.7:
            holder[last] = rng.choice((*NUMBERS, "3", [1, 2]))
        case _:
            holder[last] = any_value(rng)
    return values


def change_json(rng: random.Random, data: bytes) -> bytes:
    """Change some values of a file of JSON, or of some lines of it."""
    try:
        return _json(rng, with_another(rng, json.loads(data)), indent=2)
    except (ValueError, RecursionError):
        pass
    lines = data.split(b"\n")
    for _ in range(rng.choice((1, 1, 3, len(lines)))):
        at = rng.randrange(len(lines))
        try:
            lines[at] = _json(rng, with_another(rng, json.loads(lines[at])))
        except (ValueError, RecursionError):
            continue
    return b"\n".join(lines)


def _json(rng: random.Random, value: Any, indent: int | None = None) -> bytes:
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=indent)
    if rng.random() < 0.1 and text.startswith("{") and len(text) > 2:  # a key twice
        text = f'{{"{rng.choice(KEYS[:12])}": 1, {text[1:]}'
    return text.encode("utf-8", "surrogatepass")


def change_yaml(rng: random.Random, data: bytes) -> bytes:
    """Change some values of a file of YAML."""
    try:
        values = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError):
        return insert(rng, data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        values = with_another(rng, values)
    text = yaml.safe_dump(values, allow_unicode=rng.random() < 0.5, sort_keys=False)
    return text.encode("utf-8", "surrogatepass")


BYTES: Sequence[Change] = (cut, truncate, flip, insert, repeat, encode, end_lines, move_line)
CHANGES = {
    "json": (*BYTES, *(change_json,) * 10),
    "jsonl": (*BYTES, *(change_json,) * 10),
    "yaml": (*BYTES, *(change_yaml,) * 8),
    "txt": BYTES,
}


def damaged(rng: random.Random, data: bytes, form: str) -> bytes:
    """Return a valid file's content after one to three changes; `form` is its name's suffix."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(CHANGES.get(form, BYTES))(rng, data)
    return data
