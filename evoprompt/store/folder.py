"""The folder of a job: what is written, when, and how the job goes on from it after any end.

`config.yaml` and `provenance.json` come first. Each turn of the job appends to `.jsonl` files and
then commits: the checkpoint is replaced in one step and says how long each file was. What lies
behind that length when the job is resumed was never committed, and is cut off. `summary.json` comes
last: its existence means that the job is complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from evoprompt.config.reader import dump_config, read_mapping
from evoprompt.config.sections import Section
from evoprompt.errors import UserError
from evoprompt.store.names import folder_name, refuse_links

CHECKPOINT, CONFIG, PROVENANCE, SUMMARY, TRACKING = (
    "checkpoint.json",
    "config.yaml",
    "provenance.json",
    "summary.json",
    "tracking.json",
)


class RunFolder:
    """The folder of a job. Only this class knows how lines are made to count; what the lines are,
    each job knows.

    A job's own folder is a subclass that reads and writes its lines.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, out: Path | None, name: str, runs: Path = Path("runs")) -> Self:
        """Make a new folder: `out`, or that of the name in `runs`, numbered where that exists.

        Raises:
            UserError: `out` is in use (exists and is not an empty folder), or cannot be made.
        """
        path = out if out is not None else _unused(runs / folder_name(name))
        try:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                hint = (
                    f"to go on with it: evoprompt resume {path}"
                    if (path / CONFIG).exists()
                    else "give a folder that does not exist"
                )
                raise UserError(
                    f"the output folder {path} is in use, and nothing in it is overwritten; {hint}"
                )
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the output folder {path}: {error.strerror}") from None
        except ValueError as error:  # a character that no path may have
            if isinstance(error, UserError):
                raise
            raise UserError(f"cannot make the output folder {str(path)!r}: {error}") from None
        return cls(path.resolve())

    @classmethod
    def open(cls, path: Path) -> Self:
        """Return an existing run's folder.

        Raises:
            UserError: there is no run in it, or a link.
        """
        if not (path / CONFIG).exists():
            raise UserError(
                f"there is no run in {path}: it has no {CONFIG}; give the folder that evoprompt "
                f"run printed"
            )
        refuse_links(path.iterdir())
        return cls(path.resolve())

    @property
    def is_complete(self) -> bool:
        """Whether the run has ended with its summary."""
        return (self.path / SUMMARY).exists()

    def begin(self, config: Section, provenance: Mapping[str, Any]) -> None:
        """Write what the run is, before anything of it happens."""
        _replace(self.path / CONFIG, dump_config(config))
        _replace(self.path / PROVENANCE, _pretty(provenance))

    def set_aside(self, *kept: str) -> Path:
        """Move all that was written into a folder beside, `set_aside`, numbered where that exists,
        but for the files named here; return it.
        """
        aside = _unused(self.path / "set_aside")
        aside.mkdir()
        for file in sorted(self.path.iterdir()):
            if file.is_file() and file.name not in kept:
                file.rename(aside / file.name)
        return aside

    def config_values(self) -> dict[str, Any]:
        """Return the plain values of the configuration."""
        return dict(read_mapping(self.path / CONFIG, "config", "task: {name: inbox}"))

    def read(self, name: str) -> Any:
        """Return the content of one of the folder's JSON files, or None where it does not exist
        yet.
        """
        file = self.path / name
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write one of the folder's JSON files in one step."""
        _replace(self.path / name, _pretty(content))

    def commit_lines(
        self, lines: Mapping[str, Sequence[Mapping[str, Any]]], content: Mapping[str, Any]
    ) -> None:
        """Append lines to files by name, then make them count by replacing the checkpoint with this
        content and the files' sizes.
        """
        for name, rows in lines.items():
            self._append(name, rows)
        sizes = {name: (self.path / name).stat().st_size for name in lines}
        _replace(self.path / CHECKPOINT, json.dumps({**content, "sizes": sizes}))

    def restore_lines(self, names: Sequence[str]) -> dict[str, Any] | None:
        """Cut off what these files have beyond the checkpoint; return its content, or None where
        nothing was committed.

        Raises:
            UserError: a file is shorter than its checkpoint says, so the folder was damaged.
        """
        content: dict[str, Any] | None = self.read(CHECKPOINT)
        for name in names:
            file, size = self.path / name, content["sizes"][name] if content else 0
            found = file.stat().st_size if file.exists() else 0
            if found < size:
                raise UserError(
                    f"{file} has {found} bytes where its checkpoint says {size}: the run folder "
                    f"is damaged and cannot be resumed"
                )
            if found > size:
                os.truncate(file, size)
        return content

    def write_lines(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write one of the folder's `.jsonl` files in one step."""
        _replace(
            self.path / name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        )

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of one of the `.jsonl` files, as far as they are committed: a kill may
        have torn the last.
        """
        file = self.path / name
        if not file.exists():
            return []
        committed = (self.read(CHECKPOINT) or {}).get("sizes", {}).get(name)
        content = file.read_bytes()[:committed]
        return [json.loads(line) for line in content.decode().split("\n") if line]

    def committed(self, name: str) -> Iterator[Mapping[str, Any]]:
        """Yield the lines of a `.jsonl` file one by one up to the last commit: a job that goes on
        may be writing behind it. A folder without a configuration, of another program, is read
        whole.

        Raises:
            UserError: a line is not JSON; the message has its number.
        """
        file = self.path / name
        checkpoint = self.read(CHECKPOINT)
        if not file.exists() or (checkpoint is None and (self.path / CONFIG).exists()):
            return
        left = checkpoint["sizes"][name] if checkpoint else file.stat().st_size
        with file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                left -= len(line)
                if left < 0:
                    return
                if not line.strip():
                    continue
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise UserError(f"{file}, line {number}: not JSON ({error.msg})") from None

    def _append(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())


def _unused(path: Path) -> Path:
    number, candidate = 1, path
    while candidate.exists() or candidate.is_symlink():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _pretty(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _replace(file: Path, text: str) -> None:
    """Write a file so that a kill at any moment leaves the old content or the new, never a part."""
    scratch = file.with_name(f".{file.name}.new")
    with scratch.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(file)
