"""Scores kept on disk, shared by every run of a user: what was scored once is not scored again.

One SQLite file, written in transactions of one unit, so that a kill at any moment leaves whole
entries, and several runs may read and write at once. An entry is found by a hash of the model, how
it computes, and the tokens; it is believed only if a second hash, of another kind and over the
score as well, agrees. Trouble with the file is told once and costs the memo, never the run.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprompt.records import TokenCount
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.trie import Features, TokenRequest, count_rows

logger = logging.getLogger(__name__)

#: Bytes that the file may have; about 90 are needed for each score.
LIMIT_BYTES = 512 * 2**20

#: Changes when the numbers that the engine computes change, so that scores of another version are
#: not found.
ENGINE = "1"

#: A request has a row for each company in which it was scored.
SCHEMA = """CREATE TABLE IF NOT EXISTS score
    (id INTEGER PRIMARY KEY, key BLOB, company BLOB, seal BLOB,
    log_likelihood REAL, is_greedy INTEGER, UNIQUE (key, company))"""

#: The same of the log-probabilities of features after a context, doubles.
FEATURES = """CREATE TABLE IF NOT EXISTS feature
    (id INTEGER PRIMARY KEY, key BLOB, company BLOB, seal BLOB, log_prob BLOB,
    UNIQUE (key, company))"""


@dataclass(frozen=True, slots=True)
class Known:
    """Scores that the memo has, by place in the list that was asked for."""

    scores: dict[int, tuple[float, bool]]
    in_company: bool  #: all of them are there, and were scored together and with no others


class Memo:
    """The scores of one model, computed in one way.

    Args:
        path: of the file; it is made where there is none.
        signature: everything but the tokens that a score depends on: model fingerprint, number
            type, device, way, lengths of passes.
        limit_bytes: the oldest tenth goes when the file is larger.
    """

    def __init__(self, path: Path, signature: str, limit_bytes: int = LIMIT_BYTES) -> None:
        self.path = path
        self._salt = hashlib.blake2b(f"{ENGINE}|{signature}".encode(), digest_size=16).digest()
        self._limit = limit_bytes
        self._connection: sqlite3.Connection | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
            for statement in (
                "PRAGMA journal_mode=WAL",
                "PRAGMA synchronous=NORMAL",
                SCHEMA,
                FEATURES,
            ):
                self._connection.execute(statement)
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def find(self, requests: Sequence[TokenRequest]) -> Known:
        """Return what is known of these requests."""
        keys = [self._key(r) for r in requests]
        company = self._company(keys)
        rows: dict[bytes, list[Any]] = {}  # (company, seal, log-likelihood, greedy)
        wanted = list(dict.fromkeys(keys))
        for start in range(0, len(wanted), 500):
            part = wanted[start : start + 500]
            question = (
                "SELECT key, company, seal, log_likelihood, is_greedy FROM score WHERE "
                f"key IN ({','.join('?' * len(part))}) ORDER BY id"
            )
            for key, *row in self._execute(question, part):
                rows.setdefault(key, []).append(tuple(row))
        scores: dict[int, tuple[float, bool]] = {}
        num_together = 0
        for index, (key, request) in enumerate(zip(keys, requests, strict=True)):
            sound = [
                row
                for row in rows.get(key, [])
                if row[1] == self._seal(request, row[2], bool(row[3]))
            ]
            together = [row for row in sound if row[0] == company]
            num_together += bool(together)
            for row in (together or sound)[:1]:
                scores[index] = (row[2], bool(row[3]))
        return Known(scores, num_together == len(requests))

    def recall(
        self, requests: Sequence[TokenRequest], features: Features | None = None
    ) -> TokenScores | None:
        """Return the scores of requests that were scored together before, with their features if
        there are any, or None.

        The last bits of a score depend on what was scored with it; in the same company they are the
        bits of scoring it again.
        """
        known = self.find(requests)
        if not known.in_company:
            return None
        values = [known.scores[i] for i in range(len(requests))]
        count = TokenCount(
            floor_body_tokens=count_rows(requests),
            requests=len(requests),
            memo_requests=len(requests),
        )
        rows = self._recall_features(requests, features) if features else []
        if rows is None:
            return None
        return TokenScores(
            np.array([v for v, _ in values]),
            np.array([g for _, g in values], dtype=bool),
            count,
            features=np.stack(rows) if any(map(len, rows)) else None,
        )

    def complete(
        self,
        requests: Sequence[TokenRequest],
        score: Callable[[Sequence[TokenRequest]], TokenScores],
    ) -> TokenScores:
        """Return the scores of requests, in order: those that are known, in whatever company, and
        the others by `score`, which are kept.
        """
        known = self.find(requests).scores
        new = [i for i in range(len(requests)) if i not in known]
        log_likelihood, is_greedy = np.zeros(len(requests)), np.zeros(len(requests), dtype=bool)
        count = TokenCount()
        if new:
            asked = [requests[i] for i in new]
            scored = score(asked)
            self.keep(asked, scored)
            log_likelihood[new], is_greedy[new] = scored.log_likelihood, scored.is_greedy
            count = scored.count
        for index, (value, greedy) in known.items():
            log_likelihood[index], is_greedy[index] = value, greedy
        count += TokenCount(
            floor_body_tokens=count_rows(requests) - count.floor_body_tokens,
            requests=len(known),
            memo_requests=len(known),
        )
        return TokenScores(log_likelihood, is_greedy, count)

    def keep(
        self,
        requests: Sequence[TokenRequest],
        scores: TokenScores,
        features: Features | None = None,
    ) -> None:
        """Write the scores of requests that were scored together, with their features, all or none;
        none that came of shorter passes than the signature says.
        """
        if scores.is_shortened:
            return
        keys = [self._key(r) for r in requests]
        company = self._company(keys)
        values = zip(scores.log_likelihood.tolist(), scores.is_greedy.tolist(), strict=True)
        rows = [
            (key, company, self._seal(r, *value), *value)
            for key, r, value in zip(keys, requests, values, strict=True)
        ]
        if self._connection is None:
            return
        try:
            with self._connection as transaction:
                transaction.executemany(
                    "INSERT OR REPLACE INTO score(key, company, seal, log_likelihood, is_greedy) "
                    "VALUES (?,?,?,?,?)",
                    rows,
                )
                transaction.executemany(
                    "INSERT OR REPLACE INTO feature(key, company, seal, log_prob) VALUES (?,?,?,?)",
                    self._feature_rows(requests, company, features, scores.features),
                )
                self._bound(transaction)
        except sqlite3.Error as error:
            self._give_up(error)

    def _feature_rows(
        self,
        requests: Sequence[TokenRequest],
        company: bytes,
        features: Features | None,
        values: NDArray[np.float64] | None,
    ) -> list[tuple[bytes, bytes, bytes, bytes]]:
        """Return what is written of the features after each context: nothing of a backend that
        read none, so that this is known too.
        """
        if features is None:
            return []
        asked = [TokenRequest(requests[i].context, features.tokens) for i in features.places]
        read = np.zeros((len(asked), 0)) if values is None else values
        written = (row.astype("<f8").tobytes() for row in read)
        return [
            (self._key(r), company, self._seal_of(r, data), data)
            for r, data in zip(asked, written, strict=True)
        ]

    def _recall_features(
        self, requests: Sequence[TokenRequest], features: Features
    ) -> list[NDArray[np.float64]] | None:
        """Return the features that were read together with these requests, by place, shape (token,)
        each, or (0,) where the backend reads none; None unless all are there.
        """
        company = self._company([self._key(r) for r in requests])
        found = []
        for place in features.places:
            asked = TokenRequest(requests[place].context, features.tokens)
            rows = self._execute(
                "SELECT seal, log_prob FROM feature WHERE key = ? AND company = ?",
                [self._key(asked), company],
            )
            if not rows:
                return None
            seal, data = rows[0]
            if not isinstance(data, bytes) or seal != self._seal_of(asked, data):
                return None
            found.append(np.frombuffer(data, "<f8"))
        return found

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _bound(self, transaction: sqlite3.Connection) -> None:
        """Delete the oldest tenth when what is used of the file is over the limit; the file itself
        does not shrink, its pages are used again.
        """
        [pages], [free], [size] = (
            transaction.execute(f"PRAGMA {name}").fetchone()
            for name in ("page_count", "freelist_count", "page_size")
        )
        if (pages - free) * size > self._limit:
            for table in ("score", "feature"):
                transaction.execute(
                    f"DELETE FROM {table} WHERE id <= (SELECT min(id) + "
                    f"(max(id) - min(id) + 1) / 10 FROM {table})"
                )

    def _execute(self, question: str, values: Sequence[bytes]) -> list[Any]:
        if self._connection is None:
            return []
        try:
            return self._connection.execute(question, values).fetchall()
        except sqlite3.Error as error:
            self._give_up(error)
            return []

    def _give_up(self, error: Exception) -> None:
        self._connection = None
        logger.warning(
            "the memo %s cannot be used (%s), so everything is scored; `evoprompt models "
            "--clear-memo` makes a new one",
            self.path,
            error,
        )

    def _key(self, request: TokenRequest) -> bytes:
        return hashlib.blake2b(_bytes(request), digest_size=16, key=self._salt).digest()

    def _seal(self, request: TokenRequest, log_likelihood: float, is_greedy: bool) -> bytes:
        return self._seal_of(request, struct.pack("<d?", log_likelihood, is_greedy))

    def _seal_of(self, request: TokenRequest, data: bytes) -> bytes:
        return hashlib.sha256(self._salt + _bytes(request) + data).digest()[:16]

    @staticmethod
    def _company(keys: Sequence[bytes]) -> bytes:
        # order and repetition change nothing in the trie
        return hashlib.blake2b(b"".join(sorted(set(keys))), digest_size=8).digest()


def describe_memo(path: Path) -> str:
    """Return in a line what a memo has, for people."""
    if not path.exists():
        return "empty"
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
        [scores] = connection.execute("SELECT count(*) FROM score").fetchone()
        connection.close()
    except sqlite3.Error as error:
        return f"{path} cannot be read ({error}); --clear-memo makes a new one"
    return f"{scores:,} scores, {path.stat().st_size / 2**20:.1f} MiB, {path}"


def clear_memo(path: Path) -> None:
    """Delete a memo with its journals. Runs that use it go on without."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _bytes(request: TokenRequest) -> bytes:
    return np.array(
        [len(request.context), *request.context, *request.continuation], dtype=np.uint32
    ).tobytes()
