"""The folder of a job: what is written, when, and how the job goes on from it after any end.

`config.yaml` and `provenance.json` come first. Each turn of the job appends to `.jsonl` files and
then commits: a line of `commits.jsonl` has what the job goes on from and the files' sizes and
digests, and the checkpoint, the same again, is replaced in one step. What lies behind the last
commit when the job is resumed was never committed, and is cut off. What is not as it was committed
is moved into `damaged`, and the job goes on from the last commit before it. JSON files have a
checksum. `summary.json` comes last: its existence means that the job is complete.

One process at a time writes in a folder (`lock.py`); others may read meanwhile.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from evoprompt.config.reader import dump_config, read_mapping
from evoprompt.config.values import Section
from evoprompt.errors import UserError
from evoprompt.store.commits import (
    CHECKPOINT,
    COMMITS,
    Commit,
    best_commit,
    find_commits,
    is_kept,
)
from evoprompt.store.lines import (
    SCRATCH,
    Place,
    append_lines,
    line_of,
    place_of,
    placed_lines,
    places_before,
    replace_text,
)
from evoprompt.store.lock import LOCK, OWNER, Ownership
from evoprompt.store.names import folder_name, numbered, refuse_links
from evoprompt.store.sums import digest_of, prefix_digests, signed, unsigned

logger = logging.getLogger(__name__)

CONFIG, PROVENANCE, SUMMARY, TRACKING = (
    "config.yaml",
    "provenance.json",
    "summary.json",
    "tracking.json",
)
DAMAGED = "damaged"
#: Commits from one thinning of `commits.jsonl` to the next.
THINNED_EVERY = 128


class RunFolder:
    """The folder of a job. Only this class knows how lines are made to count; what the lines are,
    each job knows.

    A job's own folder is a subclass that reads and writes its lines.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ownership = Ownership(path)
        #: Whoever goes on with it takes what a result depends on as it is now.
        self.accepts_changes = False
        self._digests: dict[str, Any] = {}
        self._number = -1  #: of the last commit

    @classmethod
    def create(cls, out: Path | None, name: str, runs: Path = Path("runs")) -> Self:
        """Make a new folder: `out`, or that of the name in `runs`, numbered where that exists. It
        is this process's to write in, until `ownership.leave`.

        Raises:
            UserError: `out` is in use (exists and is not an empty folder), or cannot be made.
        """
        try:
            path = out if out is not None else numbered(runs / folder_name(name))
            if out is not None:
                _check_unused(path)
                path.mkdir(parents=True, exist_ok=True)
            folder = cls(path.resolve())
            folder.ownership.take()
            if out is not None:
                _check_unused(path)  # another process may have been faster
            return folder
        except OSError as error:
            place = out or runs
            raise UserError(f"cannot make the output folder {place}: {error.strerror}") from None
        except ValueError as error:  # a character that no path may have
            if isinstance(error, UserError):
                raise
            raise UserError(f"cannot make the output folder {str(out)!r}: {error}") from None

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

    @property
    def has_commit(self) -> bool:
        """Whether something was committed, whether or not it can be read."""
        return (self.path / CHECKPOINT).exists() or find_commits(self.path).is_begun

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Be the one process that writes in the folder.

        Raises:
            UserError: another one is; the message says which.
        """
        self.ownership.take()
        try:
            yield
        finally:
            self.ownership.leave()

    def begin(self, config: Section, provenance: Mapping[str, Any]) -> None:
        """Write what the run is, before anything of it happens."""
        self.write_config(config)
        self.write(PROVENANCE, provenance)

    def write_config(self, config: Section) -> None:
        """Write the configuration in one step."""
        self.write_text(CONFIG, dump_config(config))

    def write_text(self, name: str, text: str) -> None:
        """Write one of the folder's files in one step."""
        replace_text(self.path / name, text)

    def set_aside(self, *kept: str) -> Path:
        """Move all that was written into a folder beside, `set_aside`, numbered where that exists,
        but for the files named here; return it.
        """
        aside = numbered(self.path / "set_aside")
        files = [f for f in sorted(self.path.iterdir()) if f.is_file()]
        # first what makes the others count: a kill between leaves a job that begins again
        for file in sorted(files, key=lambda f: f.name not in (CHECKPOINT, COMMITS)):
            if file.name not in (*kept, LOCK, OWNER):
                file.rename(aside / file.name)
        self._digests.clear()
        self._number = -1
        return aside

    def config_values(self) -> dict[str, Any]:
        """Return the plain values of the configuration."""
        return dict(read_mapping(self.path / CONFIG, "config", "task: {name: inbox}"))

    def read(self, name: str) -> Any:
        """Return the content of one of the folder's JSON files, or None where it does not exist
        yet.

        Raises:
            UserError: it is not as it was written.
        """
        file = self.path / name
        if not file.exists():
            return None
        content = unsigned(file.read_bytes(), str(file))
        if not isinstance(content, dict):
            raise UserError(f"{file} is damaged: it is no JSON object")
        return content

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write one of the folder's JSON files in one step, with a checksum."""
        replace_text(self.path / name, _pretty(signed(content)))

    def commit_lines(
        self, lines: Mapping[str, Sequence[Mapping[str, Any]]], content: Mapping[str, Any]
    ) -> dict[str, list[Place]]:
        """Append lines to files by name, then make them count by a commit of this content. Return
        where each line is, by file.
        """
        sizes, digests, places = {}, {}, {}
        for name, rows in lines.items():
            if name not in self._digests:
                self._digests[name] = digest_of(self.path / name)
            running, appended = self._digests[name], append_lines(self.path / name, rows)
            running.update(b"".join(appended))
            sizes[name] = (self.path / name).stat().st_size
            digests[name] = running.hexdigest()
            places[name] = places_before(sizes[name], appended)
        self._number += 1
        numbered = {**content, "number": self._number, "sizes": sizes, "digests": digests}
        commit = signed(numbered)
        append_lines(self.path / COMMITS, [commit])
        replace_text(self.path / CHECKPOINT, json.dumps(commit))
        if self._number and self._number % THINNED_EVERY == 0:
            self._thin()
        return places

    def digests(self, sizes: Mapping[str, int]) -> dict[str, str | None]:
        """Return the SHA-256 of the first bytes of files that are committed, so many of each, by
        name; None of one that is shorter.
        """
        found: dict[str, str | None] = {}
        for name, size in sizes.items():
            file = self.path / name
            if name in self._digests and file.stat().st_size == size:
                found[name] = self._digests[name].hexdigest()
            else:
                running = prefix_digests(file, [size]).get(size)
                found[name] = None if running is None else running.hexdigest()
        return found

    def _thin(self) -> None:
        """Keep of the commits the last, and of the others fewer the older they are, so that they
        are few however long the job is.
        """
        lines = (self.path / COMMITS).read_bytes().splitlines(keepends=True)
        numbers = [json.loads(line).get("number", at) for at, line in enumerate(lines)]
        kept = (line for line, n in zip(lines, numbers, strict=True) if is_kept(n, self._number))
        replace_text(self.path / COMMITS, b"".join(kept).decode())

    def restore_lines(self, names: Sequence[str]) -> dict[str, Any] | None:
        """Cut off what these files have beyond the last commit that is whole; return its content,
        or None where nothing was committed. What is damaged is moved aside, with a warning.

        Raises:
            UserError: no commit is whole; everything stays as it is.
        """
        found = find_commits(self.path)
        number, reason, digests = best_commit(self.path, found.commits, names)
        if number == len(found.commits):
            if found.is_begun:
                why = reason or "; ".join(found.damaged)
                raise UserError(
                    f"{why}; nothing that was committed before it is whole, so the run cannot be "
                    f"resumed; all is kept as it is, begin a new one from {self.path / CONFIG}"
                )
            self._put_aside(names, "lines that no commit counts")
            return None
        commit = found.commits[number]
        why = "; ".join(text for text in (*found.damaged, reason) if text)
        if why:
            self._put_aside((*names, CHECKPOINT, COMMITS), why)
        for name in names:
            (self.path / name).touch()
            size = commit["sizes"].get(name, 0)
            os.truncate(self.path / name, size)
            self._digests[name] = digests[name][size]
        self._keep_commits(found.commits[number:], rewrite=bool(why))
        return commit

    def last_commit(self) -> Commit | None:
        """Return the last commit that can be read, or None where there is none."""
        try:
            commit: Commit | None = self.read(CHECKPOINT)
            if commit is not None and isinstance(commit.get("sizes"), dict):
                return commit
        except UserError:  # the commits are looked through instead
            pass
        commits = find_commits(self.path).commits
        return commits[0] if commits else None

    def write_lines(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write one of the folder's `.jsonl` files in one step."""
        replace_text(
            self.path / name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        )

    def whole_lines(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of a `.jsonl` file that was written in one step.

        Raises:
            UserError: a line is not JSON; the message has its number.
        """
        file = self.path / name
        rows = file.read_bytes().splitlines()
        return [line_of(row, f"{file}, line {number}") for number, row in enumerate(rows, 1)]

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of one of the `.jsonl` files, as far as they are committed: a kill may
        have torn the last.

        Raises:
            UserError: as `committed`.
        """
        return [dict(line) for line in self.committed(name)]

    def committed(self, name: str) -> Iterator[Mapping[str, Any]]:
        """Yield the lines of a `.jsonl` file one by one up to the last commit: a job that goes on
        may be writing behind it. A folder without a configuration, of another program, is read
        whole.

        Raises:
            UserError: a line is not JSON, or not as it was committed; the message has its number.
        """
        file, commit = self.path / name, self.last_commit()
        if commit is None and (self.path / CONFIG).exists():
            found = find_commits(self.path)
            if found.is_begun:
                raise UserError("; ".join(found.damaged))
            return
        if commit is not None:
            number, reason, _ = best_commit(self.path, [commit], [name])
            if number:
                commits = find_commits(self.path).commits
                raise UserError(best_commit(self.path, commits, [name])[1] or reason)
        if not file.exists():
            return
        left = commit["sizes"].get(name, 0) if commit else file.stat().st_size
        with file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                left -= len(line)
                if left < 0:
                    return
                if line.strip():
                    yield line_of(line, f"{file}, line {number}")

    def placed_lines(self, name: str, begin: int = 0) -> Iterator[tuple[Place, dict[str, Any]]]:
        """Yield the lines of a `.jsonl` file, and where each is, from a byte on at which one begins
        up to the last commit: for whoever writes in the folder, since nothing is compared with the
        digests.
        """
        return placed_lines(self.path / name, begin, self._committed_size(name))

    def place_of(self, name: str, is_before: Callable[[Mapping[str, Any]], bool]) -> int:
        """Return the byte at which the first committed line begins that is not before something,
        where the lines are in that order; the end of them where all are. Few lines are read.
        """
        return place_of(self.path / name, self._committed_size(name), is_before)

    def _committed_size(self, name: str) -> int:
        commit = self.last_commit()
        return int(commit["sizes"].get(name, 0)) if commit else 0

    def _put_aside(self, names: Sequence[str], why: str) -> None:
        """Copy files that have something into a folder for what is damaged, and say why."""
        files = [f for name in names if (f := self.path / name).exists() and f.stat().st_size]
        if not files:
            return
        aside = numbered(self.path / DAMAGED)
        for file in files:
            shutil.copy2(file, aside)
        if CHECKPOINT not in names:
            for file in files:
                file.unlink()
        logger.warning("%s; that is kept in %s, and what is whole goes on", why, aside)

    def _keep_commits(self, commits: Sequence[Commit], *, rewrite: bool) -> None:
        """Have in the files these commits alone, the longest first here and last there."""
        self._number = commits[0].get("number", len(commits) - 1)
        lines = [json.dumps(signed(commit), ensure_ascii=False) + "\n" for commit in commits]
        file = self.path / COMMITS
        if rewrite or not file.exists() or not file.read_bytes().endswith(b"\n"):
            replace_text(self.path / COMMITS, "".join(reversed(lines)))
        replace_text(self.path / CHECKPOINT, json.dumps(signed(commits[0])))


def _check_unused(path: Path) -> None:
    if path.exists() and (
        not path.is_dir() or any(not _leaves_unused(f.name) for f in path.iterdir())
    ):
        hint = (
            f"to go on with it: evoprompt resume {path}"
            if (path / CONFIG).exists()
            else "give a folder that does not exist"
        )
        raise UserError(
            f"the output folder {path} is in use, and nothing in it is overwritten; {hint}"
        )


def _leaves_unused(name: str) -> bool:
    """Return whether a file is none of a job's: of the lock, or what a kill left half written."""
    return name in (LOCK, OWNER) or (name.startswith(".") and name.endswith(SCRATCH))


def _pretty(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
