"""What was measured of every policy of a run, as its loop asks for it: the policies that were used
last in memory, all of them in an index on the disk.

The index is a SQLite file that says where in `measurements.jsonl` the scores of a policy are, and
how fit it is. It is the run's snapshot too: with it goes what else the loop remembers, every so
many generations, so that a resume reads what came after alone. All of it follows from the lines of
the folder: an index that is missing, damaged or of other lines is made anew from them.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from evoprompt.errors import UserError
from evoprompt.jobs.evolve.folder import MEASUREMENTS
from evoprompt.jobs.evolve.measurement_lines import measurement_of
from evoprompt.policy import Policy
from evoprompt.recent import Recent
from evoprompt.records import LabelScores
from evoprompt.store.sums import signed, unsigned

logger = logging.getLogger(__name__)

INDEX = "index.sqlite"
#: Generations from one snapshot to the next: those that a resume reads again, at most. A run with
#: fewer has no file.
EVERY = 16
#: Policies that are kept in memory at least.
LEAST_KEPT = 256

_SCHEMA = """
CREATE TABLE policies(place INTEGER PRIMARY KEY, id TEXT UNIQUE, name TEXT, num INTEGER,
    fitness REAL, policy TEXT);
CREATE INDEX by_name ON policies(name);
CREATE INDEX by_fitness ON policies(num DESC, fitness DESC, id);
CREATE TABLE parts(place INTEGER PRIMARY KEY, id TEXT, begin INTEGER, length INTEGER);
CREATE INDEX by_policy ON parts(id);
CREATE TABLE snapshot(content TEXT)
"""
Value = TypeVar("Value")


class View(Mapping[str, Value], Generic[Value]):
    """What is known of each policy, by policy id in order of measurement."""

    def __init__(self, measured: Measured, read: Callable[[str], Value]) -> None:
        self._measured, self._read = measured, read

    def __getitem__(self, policy_id: str) -> Value:
        return self._read(policy_id)

    def __contains__(self, policy_id: object) -> bool:
        return isinstance(policy_id, str) and self._measured.num_examples(policy_id) > 0

    def __iter__(self) -> Iterator[str]:
        return self._measured.ids()

    def __len__(self) -> int:
        return len(self._measured)


class Measured:
    """The policies of a run and their scores.

    Args:
        folder: of the run.
        keep: policies that are kept in memory.
    """

    def __init__(self, folder: Path, keep: int = LEAST_KEPT) -> None:
        self._file, self._lines = folder / INDEX, folder / MEASUREMENTS
        self._policies: Recent[str, Policy] = Recent(max(keep, LEAST_KEPT))
        self._scores: Recent[str, LabelScores] = Recent(max(keep, LEAST_KEPT))
        self._unwritten: list[LabelScores] = []  # of one policy each, in order
        self._is_on_disk = False
        self._database = _new(":memory:")

    def __len__(self) -> int:
        return int(self._one("SELECT count(*) FROM policies")[0])

    def enter(self, policy: Policy, scores: LabelScores, name: str) -> None:
        """Remember scores on the examples that follow those it was measured on, and what the policy
        is known as.
        """
        policy_id = policy.policy_id
        num = self.num_examples(policy_id)
        joined = scores if not num else self.scores(policy_id).joined(scores)
        if not num:
            values = (policy_id, name, 0, None, json.dumps(policy.to_dict(), ensure_ascii=False))
            self._do("INSERT INTO policies VALUES (NULL, ?, ?, ?, ?, ?)", values)
        self._do("UPDATE policies SET num = ? WHERE id = ?", (len(joined.example_ids), policy_id))
        self._unwritten.append(scores)
        self._policies.put(policy_id, policy)
        self._scores.put(policy_id, joined)

    def rate(self, policy_id: str, fitness: float) -> None:
        """Remember the fitness of a policy on all that was measured of it."""
        self._do("UPDATE policies SET fitness = ? WHERE id = ?", (fitness, policy_id))

    def written(self, places: Sequence[tuple[int, int]]) -> None:
        """Hear where the lines of what was entered since are: first byte and length of each."""
        for scores, place in zip(self._unwritten, places, strict=True):
            values = scores.policy_ids[0], *place
            self._do("INSERT INTO parts VALUES (NULL, ?, ?, ?)", values)
        self._unwritten.clear()

    @property
    def unwritten(self) -> Sequence[LabelScores]:
        """What was entered since, in the order in which `written` hears of it."""
        return self._unwritten

    def ids(self) -> Iterator[str]:
        """Yield the policies' ids in order of measurement."""
        place = 0
        while rows := self._all(
            "SELECT place, id FROM policies WHERE place > ? ORDER BY place LIMIT 1000", (place,)
        ):
            yield from (policy_id for _, policy_id in rows)
            place = rows[-1][0]

    def num_examples(self, policy_id: str) -> int:
        """Return on how many examples a policy was measured; 0: it was not."""
        found = self._all("SELECT num FROM policies WHERE id = ?", (policy_id,))
        return int(found[0][0]) if found else 0

    def __contains__(self, name: object) -> bool:
        """Return whether a policy that was measured is known by a name."""
        return bool(self._all("SELECT 1 FROM policies WHERE name = ? LIMIT 1", (name,)))

    def fittest(self, limit: int | None) -> list[str]:
        """Return the ids of the policies that were measured on the most examples, the fittest
        first, those that tie in order of id; no more than `limit`.
        """
        question = (
            "SELECT id FROM policies WHERE num = (SELECT max(num) FROM policies) "
            "ORDER BY fitness DESC, id LIMIT ?"
        )
        return [row[0] for row in self._all(question, (-1 if limit is None else limit,))]

    @property
    def best_fitness(self) -> float:
        """The greatest fitness of any policy, on whatever it was measured on."""
        return float(self._one("SELECT max(fitness) FROM policies")[0])

    @property
    def least_examples(self) -> int:
        """On how many examples every policy was measured; 0 where there is none."""
        return int(self._one("SELECT min(num) FROM policies")[0] or 0)

    def policy(self, policy_id: str) -> Policy:
        """Return a policy that was measured.

        Raises:
            KeyError: it was not.
        """
        return self._policies.get(policy_id, lambda: self._read_policy(policy_id))

    def scores(self, policy_id: str) -> LabelScores:
        """Return the scores of a policy on all examples that it was measured on.

        Raises:
            KeyError: it was not measured.
        """
        return self._scores.get(policy_id, lambda: self._read_scores(policy_id))

    def save(self, snapshot: Mapping[str, Any]) -> None:
        """Make all so far, and what goes with it, the snapshot that a resume begins with."""
        if not self._is_on_disk:
            self.remove()
            self._database.commit()
            file = _open(self._file)
            self._database.backup(file)
            self._database.close()
            self._database, self._is_on_disk = file, True
        self._do("DELETE FROM snapshot", ())
        self._do("INSERT INTO snapshot VALUES (?)", (json.dumps(signed(snapshot)),))
        try:
            self._database.commit()
        except sqlite3.Error as error:
            raise self._trouble(error) from None

    def recall(self) -> dict[str, Any] | None:
        """Return the last snapshot and go on from it; None where there is none that is whole."""
        if not self._file.exists():
            return None
        try:
            file = _open(self._file)
            [num], [size] = (file.execute(f"PRAGMA page_{p}").fetchone() for p in ("count", "size"))
            if num * size != self._file.stat().st_size:
                raise UserError("the file is shorter than it was")
            [(text,)] = file.execute("SELECT content FROM snapshot").fetchall()
            content: dict[str, Any] = unsigned(text.encode(), "its content")
        except (sqlite3.Error, UserError, ValueError) as error:
            logger.warning("%s is damaged (%s), and is made anew from the lines", self._file, error)
            return None
        self._database.close()
        self._database, self._is_on_disk = file, True
        return content

    def begin_anew(self, *, on_disk: bool) -> None:
        """Forget every policy; go on in memory, or on the disk where many are to be entered."""
        self._database.close()
        self.remove()
        self._database, self._is_on_disk = _new(str(self._file) if on_disk else ":memory:"), on_disk

    def close(self) -> None:
        """Let go of the file; what was entered since the last snapshot is in the run's lines."""
        self._database.rollback()
        self._database.close()

    def remove(self) -> None:
        """Remove the file: the run is complete, or it is of no use."""
        for end in ("", "-wal", "-shm", "-journal"):
            self._file.with_name(INDEX + end).unlink(missing_ok=True)

    def _read_policy(self, policy_id: str) -> Policy:
        found = self._all("SELECT policy FROM policies WHERE id = ?", (policy_id,))
        if not found:
            raise KeyError(policy_id)
        policy = Policy.from_dict(json.loads(found[0][0]))
        if policy.policy_id != policy_id:
            raise self._trouble(f"it has another policy for {policy_id}")
        return policy

    def _read_scores(self, policy_id: str) -> LabelScores:
        question = "SELECT begin, length FROM parts WHERE id = ? ORDER BY place"
        places = self._all(question, (policy_id,))
        new = [scores for scores in self._unwritten if scores.policy_ids == (policy_id,)]
        if not places and not new:
            raise KeyError(policy_id)
        parts: list[LabelScores] = []
        if places:
            with self._lines.open("rb") as file:
                for begin, length in places:
                    file.seek(begin)
                    row = json.loads(file.read(length))
                    if row["policy_id"] != policy_id:
                        raise self._trouble(f"the scores of {policy_id} are elsewhere")
                    parts.append(measurement_of(row))
        first, *others = [*parts, *new]
        for scores in others:
            first = first.joined(scores)
        return first

    def _do(self, command: str, values: Sequence[Any]) -> None:
        self._all(command, values)

    def _one(self, question: str) -> Any:
        return self._all(question)[0]

    def _all(self, question: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._database.execute(question, values).fetchall()
        except sqlite3.Error as error:
            raise self._trouble(error) from None

    def _trouble(self, what: object) -> UserError:
        return UserError(
            f"the index {self._file} cannot be used ({what}); see whether the disk is full, else "
            f"remove the file, and go on with evoprompt resume {self._file.parent}, which makes it "
            "anew"
        )


def _new(place: str) -> sqlite3.Connection:
    database = _open(place)
    database.executescript(_SCHEMA)
    return database


def _open(file: Path | str) -> sqlite3.Connection:
    """Return the database of a file, which may not exist. What is committed there outlives a kill;
    the last of it may be lost with the machine, and never torn.
    """
    database = sqlite3.connect(file, check_same_thread=False)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.execute("PRAGMA cache_size=-2000")
    return database
