"""Targets of a file -> the labels that a task has, and what every example is offered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from string import ascii_uppercase

from evoprompt.errors import UserError, nearest, quoted
from evoprompt.tasks.fields import Filled

#: Among at most so many different targets a task is taken to be a choice among them.
MOST_CHOICES = 20
#: Labels that a sentence names.
MOST_NAMED = 8


def repeated(targets: Iterable[str]) -> list[str] | None:
    """Return the different targets, sorted, where they are few and each comes twice in the mean;
    else None: then answers are free text.
    """
    counts = Counter(targets)
    few = 2 <= len(counts) <= min(MOST_CHOICES, counts.total() // 2)
    return sorted(counts) if few else None


def renamed(
    rows: Sequence[Filled], labels: Mapping[str, str], *, strict: bool = True
) -> list[Filled]:
    """Return the rows with their targets as `task.labels` calls them, without outer blanks.

    Args:
        rows: as they are read.
        labels: what targets are called.
        strict: whether each target has to be called something.

    Raises:
        UserError: a target is neither renamed nor one of the new names (with its line).
    """
    plain = [replace(r, target=r.target.strip()) if r.target is not None else r for r in rows]
    if not labels:
        return plain
    known = {*labels, *labels.values()}
    for row in plain:
        if strict and row.target is not None and row.target not in known:
            raise UserError(
                f"{row.where}: task.labels does not name the label {quoted(row.target)}; "
                f"{nearest(row.target, labels)}"
            )
    return [
        replace(r, target=labels.get(r.target, r.target)) if r.target is not None else r
        for r in plain
    ]


def labelled(rows: Sequence[Filled]) -> list[Filled]:
    """Return the rows, which must all have a target.

    Raises:
        UserError: one has none; the message says where first, and how many.
    """
    missing = [row for row in rows if not row.target]
    if missing:
        rest = f", and {len(missing) - 1} more of {len(rows)} rows" if len(missing) > 1 else ""
        raise UserError(
            f"{missing[0].where}{rest}: the target is empty; fill it in, or delete the row"
            f"{'s' if rest else ''}"
        )
    return list(rows)


def offered(
    rows: Sequence[Filled],
    asked: str | Sequence[str],
    named: Sequence[str],
) -> tuple[list[Filled], tuple[str, ...]]:
    """Return the rows with their choices, and notes on them.

    Args:
        rows: with targets.
        asked: `task.fields.choices`: `auto`, `none`, a column, or what all are offered.
        named: the labels that the configuration or the file names.

    Raises:
        UserError: a target is not among its choices (with its line).
    """
    if any(row.choices is not None for row in rows):
        return _by_place(rows)
    listed = list(asked) if not isinstance(asked, str) else []
    if asked == "none":
        return list(rows), ()
    shared = listed or list(named)
    if shared:
        for row in rows:
            if row.target not in shared:
                raise _not_offered(row, shared)
        return [replace(row, choices=tuple(shared)) for row in rows], ()
    found = repeated(row.target or "" for row in rows)
    if found is None:
        number = len({row.target for row in rows})
        return list(rows), (
            f"answers are free text, for there are {number} different targets; list choices in "
            f"task.fields.choices where they are meant",
        )
    note = (
        f"the choices are the {len(found)} different targets: {_shown(found)}; "
        f"task.fields.choices says it otherwise"
    )
    return [replace(row, choices=tuple(found)) for row in rows], (note,)


def notes_on_names(rows: Sequence[Filled]) -> tuple[str, ...]:
    """Return notes on labels that stand at one example alone, and on those that differ only in
    case; none where choices differ by example, or answers are free text.
    """
    if not rows or rows[0].choices is None or len({row.choices for row in rows}) > 1:
        return ()
    places: dict[str, list[str]] = {}
    for row in rows:
        places.setdefault(row.target or "", []).append(row.where)
    once = [f"{quoted(t)} ({found[0]})" for t, found in places.items() if len(found) == 1]
    notes = []
    if once:
        notes.append(
            f"a label stands at one example alone, from which nothing can be learned: "
            f"{', '.join(once[:MOST_NAMED])}"
        )
    by_case: dict[str, list[str]] = {}
    for target in places:
        by_case.setdefault(target.casefold(), []).append(target)
    notes += [
        f"the labels {_shown(alike)} differ only in case, and count as different; "
        f"task.labels makes them one"
        for alike in by_case.values()
        if len(alike) > 1
    ]
    return tuple(notes)


def _by_place(rows: Sequence[Filled]) -> tuple[list[Filled], tuple[str, ...]]:
    """Return the rows, each of which has choices; where no target is among them and all are places,
    the choices that stand there.
    """
    for row in rows:
        if row.choices is None:
            raise UserError(f"{row.where}: the choices are empty; fill them in, or delete the row")
    wrong = [row for row in rows if row.target not in (row.choices or ())]
    if not wrong:
        return list(rows), ()
    places = [_place(row) for row in rows]
    if len(wrong) < len(rows) or None in places:
        first = next((r for r, p in zip(rows, places, strict=True) if p is None), wrong[0])
        raise _not_offered(first if first in wrong else wrong[0], wrong[0].choices or ())
    found = [
        replace(row, target=(row.choices or ())[place or 0])
        for row, place in zip(rows, places, strict=True)
    ]
    begins = "A" if (rows[0].target or "").isalpha() else "0"
    return found, (f"the targets are places among the choices; {begins} is the first",)


def _place(row: Filled) -> int | None:
    """Return the place that a target names, from 0 or from A; None where it names none."""
    target = row.target or ""
    if target.isdecimal():
        place = int(target)
    elif len(target) == 1 and target in ascii_uppercase:
        place = ascii_uppercase.index(target)
    else:
        return None
    return place if place < len(row.choices or ()) else None


def _not_offered(row: Filled, choices: Sequence[str]) -> UserError:
    return UserError(
        f"{row.where}: the target {quoted(row.target)} is not among the choices "
        f"{quoted(list(choices))}; {nearest(row.target or '', choices)}"
    )


def _shown(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    return f"{', '.join(map(quoted, labels[:MOST_NAMED]))}{more}"
