"""A user's files, and data sets of the hub: lines with the keys of an example, or tables whose
columns `task.fields` names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from evoprompt.config.task import FieldsConfig, TaskConfig, hub_address, is_hub_address
from evoprompt.errors import UserError, quoted
from evoprompt.records import Example
from evoprompt.tasks.fields import Fields, Filled, fill, names_of, resolve
from evoprompt.tasks.labels import labelled, notes_on_names, offered, renamed, repeated
from evoprompt.tasks.readers.base import Table
from evoprompt.tasks.readers.open import LINES, form_of, open_plain, open_table
from evoprompt.tasks.sources.base import Raw
from evoprompt.tasks.sources.jsonl import content_hash, content_of, read_jsonl
from evoprompt.text_files import check_choices, numbered, text_lines

#: What files call the splits that are used as they are.
NATIVE: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True, slots=True)
class Rows:
    """What is read of one file."""

    rows: list[Filled]
    named: tuple[str, ...]  #: the labels that the file or the configuration names
    notes: tuple[str, ...]


class FileSource:
    """A user's file, with or without one for the test split. Implements `base.Source`."""

    def read(self, config: TaskConfig) -> Raw:
        """Return the examples of `path`, and those of `test_path` as the test split; of these an id
        that another example of `path` has begins with `test/`.
        """
        assert config.path is not None
        paths = [p for p in (config.path, config.test_path) if p is not None]
        name = task_name(config.path)
        if is_native(config):
            [examples, *held_out] = [tuple(read_jsonl(Path(p))) for p in paths]
            test = _apart(examples, held_out[0] if held_out else ())
            return Raw(name, examples, test, notes=_note_on_free_text(examples))
        return _read_tables(config, name)


def task_name(path: Path | str) -> str:
    """Return what a task of a file, or of a data set, is called."""
    if isinstance(path, str) and is_hub_address(path):
        return hub_address(path).repository.rpartition("/")[2]
    plain = Path(path)
    return plain.with_suffix("").stem if plain.suffix in (".gz", ".gzip") else plain.stem


def is_native(config: TaskConfig) -> bool:
    """Return whether a task's file has a line {"input", "target", "choices"} for each example, and
    nothing is said of its columns.

    Raises:
        UserError: the file cannot be read.
    """
    if config.fields is not None or config.labels is not None or is_hub_address(config.path):
        return False
    path = Path(str(config.path))
    with open_plain(path) as file:
        if form_of(path, file) not in LINES:
            return False
        [_, line] = next(numbered(text_lines(file, f"the examples {path}")), (0, ""))
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return True
    return not isinstance(row, dict) or {"input", "target"} <= row.keys() or not _is_guessed(row)


def _is_guessed(row: Mapping[str, object]) -> bool:
    """Return whether the columns of a row say what they are."""
    try:
        resolve(FieldsConfig(), Table(tuple(row), lambda _: iter(())), "")
    except UserError:
        return False
    return True


def _note_on_free_text(examples: Sequence[Example]) -> tuple[str, ...]:
    """Return a note where no line has choices, and yet few targets repeat."""
    found = repeated(e.target for e in examples)
    if found is None or any(e.choices is not None for e in examples):
        return ()
    return (
        f"answers are free text, for no line has choices, though there are only {len(found)} "
        f"different targets; task.fields={{}} takes these as the choices",
    )


def _apart(examples: Sequence[Example], test: Sequence[Example]) -> tuple[Example, ...]:
    """Return the examples of a test; an id that is that of another example begins with `test/`."""
    others = {e.example_id: content_of(e) for e in examples}
    return tuple(
        e
        if others.get(e.example_id, content_of(e)) == content_of(e)
        else replace(e, example_id=f"test/{e.example_id}")
        for e in test
    )


def labels_of(config: TaskConfig, fields: Fields, table: Table) -> dict[str, str]:
    """Return what targets are called by `task.labels`, which may name the labels of a file by their
    numbers or by the file's own names.
    """
    names, labels = names_of(fields, table), dict(config.labels or {})
    if names and not labels.keys() & set(names):
        return {names[int(k)]: v for k, v in labels.items() if _is_below(k, len(names))}
    return labels


def read_rows(config: TaskConfig, path: Path | str) -> Rows:
    """Return the rows of a file as `task.fields` and `task.labels` read them.

    Raises:
        UserError: the file is malformed, or has not what is asked for.
    """
    with open_table(path) as table:
        fields, guessed = resolve(config.fields or FieldsConfig(), table, str(path))
        names, labels = names_of(fields, table), labels_of(config, fields, table)
        rows = renamed(list(fill(fields, table, str(path))), labels)
    if not rows:
        raise UserError(f"{path} has no row; give some, one an example")
    named = dict.fromkeys([labels.get(n, n) for n in names] or labels.values())
    return Rows(rows, tuple(named), (guessed,) if guessed else ())


def _is_below(text: str, limit: int) -> bool:
    return text.isdecimal() and int(text) < limit


def _read_tables(config: TaskConfig, name: str) -> Raw:
    assert config.path is not None
    own = read_rows(config, config.path)
    named, notes = own.named, own.notes
    if config.test_path is None:
        splits, found = _native_splits(own.rows, str(config.path))
    else:
        other = read_rows(config, config.test_path)
        splits, found = {"train": own.rows, "test": other.rows}, other.notes
        named = tuple(dict.fromkeys([*named, *other.named]))
    rows = labelled([row for split in splits.values() for row in split])
    asked = config.fields.choices if config.fields is not None else "auto"
    rows, told = offered(rows, asked, named)
    notes = tuple(dict.fromkeys([*notes, *found, *told, *notes_on_names(rows)]))
    examples = iter([_example(row) for row in rows])
    parts = {split: tuple(islice(examples, len(of))) for split, of in splits.items()}
    train = parts["train"]
    _refuse_shared_ids(train)
    return Raw(
        name,
        train,
        test=_apart(train, parts.get("test", ())),
        validation=_apart(train, parts.get("validation", ())),
        notes=notes,
    )


def _native_splits(
    rows: Sequence[Filled], name: str
) -> tuple[dict[str, list[Filled]], tuple[str, ...]]:
    """Return the rows by split, `train` and what else the file has of its own, and notes."""
    by_name: dict[str, list[Filled]] = {}
    for row in rows:
        by_name.setdefault(row.split.strip(), []).append(row)
    if list(by_name) == [""]:
        return {"train": by_name[""]}, ()
    splits: dict[str, list[Filled]] = {}
    notes = []
    for said, of in by_name.items():
        split = NATIVE.get(said.lower())
        if split is None:
            notes.append(f"the {len(of)} examples of the split {quoted(said)} are left out")
        elif all(row.target is None for row in of):
            notes.append(f"the {len(of)} examples of the split {quoted(said)} have no target")
        else:
            splits.setdefault(split, []).extend(of)
    if "train" not in splits:
        raise UserError(
            f"{name}: no split is called train, but {', '.join(map(quoted, by_name))}; name one "
            f"so, or give the splits as task.path and task.test_path"
        )
    if "test" not in splits and "validation" in splits:
        splits["test"] = splits.pop("validation")
        notes.append("the file's validation split is the test here, for it has no other one")
    kept = ", ".join(f"{split} {len(of)}" for split, of in splits.items())
    return splits, (*notes, f"the file's own splits are kept: {kept}")


def _example(row: Filled) -> Example:
    if row.choices is not None:
        check_choices(list(row.choices), row.where)
    also = row.also if row.choices is None else ()
    example = Example("", row.input, row.target or "", row.choices, row.where, also)
    return replace(example, example_id=row.id or content_hash(example))


def _refuse_shared_ids(examples: Sequence[Example]) -> None:
    known: dict[str, Example] = {}
    for example in examples:
        first = known.setdefault(example.example_id, example)
        if content_of(first) != content_of(example):
            raise UserError(
                f"{example.origin}: the id {example.example_id!r} is also that of another example "
                f"({first.origin}); give each an own id, or leave task.fields.id out"
            )
