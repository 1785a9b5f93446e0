"""Settings of a task and its data -> the harness's own object, and its splits."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from evoprompt.errors import UserError, quoted
from evoprompt.tasks.harness.files import refuse, settings_of

#: What the harness's package `datasets` calls a form of files, by suffix.
FORMS: Mapping[str, str] = {
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "json"),
    ".csv": "csv",
    ".parquet": "parquet",
}
#: Keys of a task that name a split.
SPLIT_KEYS = ("training_split", "validation_split", "test_split", "fewshot_split")


@dataclass(frozen=True, slots=True)
class Opened:
    """A task as the harness has it."""

    name: str
    task: Any  #: `lm_eval.api.task.ConfigurableTask`
    shots: int  #: examples that its prompt shows
    notes: tuple[str, ...]


@contextmanager
def opened(
    name: str, data_files: Mapping[str, Path], num_fewshot: int | None = None
) -> Iterator[Opened]:
    """Give a task of the harness, with its data in memory.

    Args:
        name: as of `settings_of`.
        data_files: a file for each split; where there is none, the task's own data set is fetched.
        num_fewshot: examples shown; None leaves it to the task.

    Raises:
        UserError: as `settings_of`; the data cannot be read, or the harness refuses the task.
    """
    settings = settings_of(name)
    if num_fewshot is not None:
        settings["num_fewshot"] = num_fewshot
    with TemporaryDirectory() as folder, _quiet(), _compiled_once():
        notes = _with_files(settings, data_files, folder) if data_files else ()
        yield Opened(
            str(settings["task"]),
            _built(settings, name, bool(data_files)),
            int(settings.get("num_fewshot") or 0),
            notes,
        )


def _with_files(
    settings: dict[str, Any], data_files: Mapping[str, Path], folder: str
) -> tuple[str, ...]:
    """Set the data of a task to files, and leave out the splits that they lack; return notes."""
    suffixes = {path.suffix for path in map(Path, data_files.values())}
    forms = {FORMS.get(suffix) for suffix in suffixes}
    if len(forms) > 1 or None in forms:
        raise UserError(
            f"task.data_files takes files of one form, one of {', '.join(FORMS)} (given: "
            f"{', '.join(sorted(suffixes))})"
        )
    missing = [p for p in data_files.values() if not Path(p).is_file()]
    if missing:
        raise UserError(f"task.data_files: there is no file {missing[0]}")
    settings["dataset_path"], settings["dataset_name"] = forms.pop(), None
    settings["dataset_kwargs"] = {
        "data_files": {split: str(path) for split, path in data_files.items()},
        "cache_dir": folder,
        "keep_in_memory": True,
    }
    lacking = {k: s for k in SPLIT_KEYS if (s := settings.get(k)) and s not in data_files}
    settings.update(dict.fromkeys(lacking, None))
    return tuple(
        f"the task's split {quoted(split)} is not in task.data_files"
        for split in dict.fromkeys(lacking.values())
    )


def _built(settings: dict[str, Any], name: str, is_local: bool) -> Any:
    from lm_eval.api.task import ConfigurableTask

    if not (settings.get("test_split") or settings.get("validation_split")):
        refuse(name, "neither its test nor its validation split is in task.data_files")
    own = {key: value for key, value in settings.items() if key not in ("tag", "group")}
    try:
        return ConfigurableTask(config=own)
    except Exception as error:
        hint = "" if is_local else "; where its data set cannot be reached give task.data_files"
        raise UserError(
            f"task.lm_eval: the harness cannot open {quoted(name)} ({type(error).__name__}: "
            f"{error}){hint}"
        ) from error


@contextmanager
def _compiled_once() -> Iterator[None]:
    """Keep the harness's templates compiled: it compiles one anew for every example. They see no
    more of Python than their documents: a template of a received file could run programs.
    """
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from lm_eval.utils import env

    closed = ImmutableSandboxedEnvironment(
        undefined=env.undefined, keep_trailing_newline=env.keep_trailing_newline
    )
    closed.filters = env.filters
    env.from_string = lru_cache(maxsize=256)(closed.from_string)
    try:
        yield
    finally:
        del env.from_string  # the method of its class again


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the harness logs, and the bars of its data sets, from the terminal."""
    import datasets

    logger = logging.getLogger("lm_eval")
    level, bars = logger.level, datasets.are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()
