"""Data sets of the Hugging Face hub, by the Parquet files that the hub makes of each of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from evoprompt.config.task import HUB_FORM, HubAddress, hub_address
from evoprompt.errors import UserError, clip, nearest
from evoprompt.tasks.readers.base import Row, Table
from evoprompt.tasks.readers.parquet import ParquetReader

#: The branch that has a data set as <config>/<split>/0000.parquet.
REVISION = "refs/convert/parquet"


def file_system() -> Any:
    """Return the hub as a file system of fsspec."""
    from huggingface_hub import HfFileSystem

    return HfFileSystem()


@contextmanager
def open_hub(address: str) -> Iterator[Table]:
    """Yield the table of a data set: of one split, or of all with their names.

    Raises:
        UserError: there is no such data set, configuration or split, or the hub does not answer.
    """
    wanted = hub_address(address)
    try:
        system = file_system()
        files = _files(system, wanted, address)
        table = _table(system, files, address)
        yield replace(table, rows=lambda columns: _told(table.rows(columns), address))
    except _failures() as error:
        raise _silent(address, error) from None


def _told(rows: Iterator[Row], address: str) -> Iterator[Row]:
    try:
        yield from rows
    except _failures() as error:
        raise _silent(address, error) from None


def _failures() -> tuple[type[Exception], ...]:
    """Return what is raised where the hub does not answer, or refuses."""
    from huggingface_hub.errors import HfUriError, HFValidationError, HTTPError

    return OSError, HTTPError, HFValidationError, HfUriError


def _silent(address: str, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(
            f"{address}: the hub has no such data set, or no Parquet files of it; see its page for "
            f"owner and name, log in where it is gated (hf auth login), or give a file"
        )
    return UserError(
        f"{address}: the hub does not answer ({_reason(error)}); try again, or fetch the Parquet "
        f"file and give its path"
    )


def _reason(error: Exception) -> str:
    return clip((str(error) or type(error).__name__).splitlines()[0])


def _files(system: Any, wanted: HubAddress, address: str) -> dict[str, list[str]]:
    """Return the paths of the Parquet files by split, in order."""
    revision = wanted.revision or REVISION
    place = revision if revision == REVISION else quote(revision, safe="")
    root = f"datasets/{wanted.repository}@{place}"
    found = sorted(path for path in system.find(root) if path.endswith(".parquet"))
    by_place: dict[tuple[str, str], list[str]] = {}
    for path in found:
        config, split = PurePosixPath(path).parts[-3:-1]
        by_place.setdefault((config, split.removeprefix("partial-")), []).append(path)
    if not by_place:
        raise FileNotFoundError(root)
    configs = list(dict.fromkeys(config for config, _ in by_place))
    config = wanted.config or ("default" if "default" in configs else configs[0])
    if config not in configs or (len(configs) > 1 and not wanted.config and config != "default"):
        hint = nearest(wanted.config, configs) if wanted.config else f"one of {', '.join(configs)}"
        raise UserError(
            f"{address}: give the configuration of the data set; {hint} (expected {HUB_FORM})"
        )
    splits = {split: paths for (of, split), paths in by_place.items() if of == config}
    if wanted.split and wanted.split not in splits:
        raise UserError(
            f"{address}: there is no split '{wanted.split}'; {nearest(wanted.split, splits)}"
        )
    return {wanted.split: splits[wanted.split]} if wanted.split else splits


def _table(system: Any, files: Mapping[str, Sequence[str]], address: str) -> Table:
    """Return all files as one table; a single split has no name, for it was asked for."""
    every = [(split, path) for split, paths in files.items() for path in paths]
    with system.open(every[0][1], "rb") as file:
        first = ParquetReader().read(file, address)

    def rows(wanted: Collection[str]) -> Iterator[Row]:
        for split, path in every:
            with system.open(path, "rb") as file:
                table = ParquetReader().read(file, f"{address} ({split})")
                for row in table.rows(wanted):
                    place = f"{row.place} of {split}"
                    yield replace(row, place=place, split=split if len(files) > 1 else "")

    return replace(first, rows=rows)
