"""The rows of MLflow's training data: what is asked, what is right, and which split each is of."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evoprompt.config.task import TaskConfig
from evoprompt.errors import UserError
from evoprompt.optimizers.prompts import Form, is_taken
from evoprompt.records import Example
from evoprompt.tasks.sources.base import Raw

#: What stands for a right answer that is not known.
UNKNOWN = "?"
#: Rows that a black box needs: one of each split.
LEAST = 4
#: Shares of the rows in percent: of the test, of the validation, and to be shown.
TEST, VALIDATION, SHOWN = 30, 15, 20

Record = Mapping[str, Any]


def right_answer(record: Record) -> str | None:
    """Return the right answer of a row as a text: `expected_response` of its expectations, the only
    one of them, or its outputs; None where there is none, or none that is a text, a number or a
    truth value.
    """
    told = record.get("expectations")
    found: Any = record.get("outputs")
    if isinstance(told, Mapping) and told:
        found = told.get("expected_response", next(iter(told.values())) if len(told) == 1 else None)
    if not isinstance(found, str | int | float) or found != found:
        return None
    text = str(found)
    return text if text.strip() else None


def examples_of(form: Form, records: Sequence[Record]) -> list[dict[str, str]]:
    """Return the rows as examples of a task whose answers are scored: their places are the ids.

    Raises:
        UserError: a row has no right answer, or lacks a variable of the prompt.
    """
    lines = []
    for place, record in enumerate(records):
        asked, answer = form.filled(record["inputs"]), right_answer(record)
        if answer is None:
            raise UserError(
                f"row {place} of train_data has no right answer that is a text; likelihoods are of "
                "right answers: give expectations.expected_response or outputs, or leave model out "
                "to go by scorers alone"
            )
        if asked is None:
            raise UserError(
                f"row {place} of train_data cannot fill the prompt '{form.name}', whose variables "
                f"are {', '.join(form.variables) or 'none'}: its inputs are "
                f"{', '.join(map(str, record['inputs']))}; give each variable a value without "
                "{{name}} in it, or leave model out to go by scorers alone"
            )
        lines.append({"id": str(place), "input": asked, "target": answer})
    return lines


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that a black box is asked about, by split. A task source: implements `base.Source`."""

    name: str
    splits: tuple[tuple[Example, ...], ...]  #: demonstrations, fitness, validation, test
    records: Mapping[str, Record]  #: of those that are asked, by the example's input

    def read(self, config: TaskConfig) -> Raw:
        """Return the examples."""
        shown, fitness, validation, test = self.splits
        return Raw(self.name, fitness, test, validation, demonstrations=shown)


def rows_of(form: Form, records: Sequence[Record], mark: str, calls: int, seed: int) -> Rows:
    """Return the rows in four splits by a random order of the seed; the same inputs are taken once.
    What is shown is never asked; where demonstrations have no place, nothing is shown.

    Args:
        form: of the prompt.
        records: of the training data.
        mark: stands around the input of each row that is asked.
        calls: that there are: neither the test nor the validation takes more than about a quarter.
        seed: of the order.

    Raises:
        UserError: there are fewer rows than splits.
    """
    places = _distinct(records)
    if len(places) < LEAST:
        raise UserError(
            f"train_data has {len(places)} rows with different inputs; give at least {LEAST}, "
            "better 20: some to be shown, some to search by, some to choose by and some to test by"
        )
    order = sorted(places, key=lambda place: _hash(seed, place, records[place]))
    test = max(1, min(len(order) * TEST // 100, calls // 8))
    chosen = test + max(1, min(len(order) * VALIDATION // 100, calls // 16))
    times = Counter(form.filled(records[p]["inputs"]) for p in places)
    fit = [p for p in order[chosen:] if form.has_place and _demonstration(form, records[p], times)]
    shown = fit[: max(1, len(order) * SHOWN // 100)] if len(order) - chosen > 1 else []
    parts = (order[:test], order[test:chosen], [p for p in order[chosen:] if p not in shown])
    known: dict[str, Record] = {}
    held_out, validation, fitness = (
        tuple(_asked(form, records[p], p, mark, known) for p in part) for part in parts
    )
    demonstrations = tuple(_shown(form, records[p], p) for p in shown)
    return Rows(form.name, (demonstrations, fitness, validation, held_out), known)


def _distinct(records: Sequence[Record]) -> list[int]:
    """Return the places of the rows, the first of each inputs."""
    texts = [json.dumps(r["inputs"], default=str, sort_keys=True) for r in records]
    return sorted({text: place for place, text in reversed(list(enumerate(texts)))}.values())


def _demonstration(form: Form, record: Record, times: Mapping[str | None, int]) -> bool:
    """Return whether a row may be shown: it reads otherwise than any that is asked."""
    answer, asked = right_answer(record), form.filled(record["inputs"])
    return answer is not None and not is_taken(answer) and bool(asked) and times[asked] == 1


def _shown(form: Form, record: Record, place: int) -> Example:
    text = form.filled(record["inputs"]) or ""
    return Example(str(place), text, right_answer(record) or UNKNOWN, None)


def _asked(form: Form, record: Record, place: int, mark: str, known: dict[str, Record]) -> Example:
    """Return the example of a row, with an input of its own."""
    text = form.filled(record["inputs"]) or json.dumps(record["inputs"], default=str)
    text = text.replace(mark, "")
    text = f"{text} (row {place})" if mark + text + mark in known else text
    known[mark + text + mark] = record
    return Example(str(place), mark + text + mark, right_answer(record) or UNKNOWN, None)


def _hash(seed: int, place: int, record: Record) -> str:
    told = json.dumps([seed, record["inputs"], place], default=str, sort_keys=True)
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
