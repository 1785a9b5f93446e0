"""Remarks about a prompt or its answers, as a file has them: a line each, `remarks.jsonl`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal, Self, get_args

from evoprompt.errors import UserError
from evoprompt.text_files import check_keys, in_quotes, parse_json, read_lines, refuse

REMARKS = "remarks.jsonl"  #: in a run's folder, where no other file is given
Kind = Literal["evaluative", "imperative", "descriptive"]
FORM = '{"id", "remark", "kind", "value": from -1 to 1, "features": {name: number}, ...}'
NEEDED = {"id": (), "kind": (), "value": (), "features": ()}


@dataclass(frozen=True, slots=True)
class Remark:
    """A remark and what is made of it. The fields' order is the file's."""

    id: str  #: the same remark under one id counts once
    remark: str
    run: str  #: name of the run's folder
    policy_id: str  #: that it is about
    about: Literal["prompt", "answer"]
    kind: Kind
    probability: float  #: of the kind
    sentiment: float  #: from -1 to 1: p(good) - p(bad)
    value: float  #: that the features are given, from -1 to 1
    features: Mapping[str, float]  #: what it tells something of; empty: nothing
    time: str  #: ISO 8601

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> Self:
        """Return the remark of a line.

        Raises:
            UserError: the line is none; the message begins with `where`.
        """
        row = check_keys(values, where, FORM, NEEDED, NEEDED)
        features = row["features"]
        numbers = [row["value"], *(features.values() if isinstance(features, dict) else (None,))]
        if not all(_is_number(number) for number in numbers) or abs(row["value"]) > 1:
            refuse(where, f"expected {FORM}{in_quotes(values)}", values)
        if row["kind"] not in get_args(Kind):
            refuse(where, f"'kind' is one of {', '.join(get_args(Kind))}", row["kind"])
        unsaid = dict.fromkeys(("remark", "run", "policy_id", "time"), "")
        given: dict[str, Any] = {**unsaid, "about": "prompt", "probability": 1.0}
        given |= {"sentiment": row["value"], **values}
        return cls(**{name: given[name] for name in cls.__slots__})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def read_remarks(path: Path) -> list[Remark]:
    """Return the remarks of a file, the last of each id.

    Raises:
        UserError: the file cannot be read, or a line is no remark.
    """
    found = {}
    for number, line in read_lines(path, "remarks"):
        where = f"{path}, line {number}"
        remark = Remark.from_dict(parse_json(line, where), where)
        found[remark.id] = remark
    return list(found.values())


def append_remarks(path: Path, remarks: Sequence[Remark]) -> None:
    """Append remarks to a file: all of them, or none where the disk does not take them.

    Raises:
        UserError: the disk does not take them.
    """
    text = "".join(json.dumps(asdict(remark)) + "\n" for remark in remarks)
    try:
        old = path.read_bytes() if path.exists() else b""
        end = b"\n" if old and not old.endswith(b"\n") else b""
        scratch = path.with_name(f".{path.name}.new")
        with scratch.open("wb") as stream:
            stream.write(old + end + text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(path)
    except OSError as error:
        raise UserError(
            f"remarks cannot be written to {path}: {error.strerror}; give --to a file in a folder "
            f"that exists and can be written to"
        ) from None
