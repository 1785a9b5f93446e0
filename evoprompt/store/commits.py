"""What was committed in a folder, and how far it is as it was committed.

Each commit is a line of `commits.jsonl`: what the job goes on from, the size of each `.jsonl` file
and the digest of all of it up to there, and the line's own checksum. `checkpoint.json` is the last
of them again. So every commit can be looked for by itself, whatever became of the others, and the
best one is the longest whose files are whole. Of a long job's commits the older are thinned out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoprompt.errors import UserError
from evoprompt.store.sums import prefix_digests, unsigned

CHECKPOINT, COMMITS = "checkpoint.json", "commits.jsonl"
Commit = dict[str, Any]
#: Of files by name and by number of first bytes: running SHA-256 digests.
Digests = dict[str, dict[int, Any]]
#: Commits that are never thinned out.
ALL_OF_LAST = 32


@dataclass(frozen=True, slots=True)
class Found:
    """What the files say of commits."""

    commits: tuple[Commit, ...]  #: without repetition, the longest first
    damaged: tuple[str, ...]  #: a sentence for each file that is not as it was written
    is_begun: bool  #: something was committed, whether or not it can be read


def find_commits(folder: Path) -> Found:
    """Return all commits that can be read in a folder. A torn last line is no damage: that commit
    did not come to be.
    """
    commits, damaged, begun = [], [], False
    for name, lines in ((CHECKPOINT, False), (COMMITS, True)):
        file = folder / name
        content = file.read_bytes() if file.exists() else b""
        parts = content.split(b"\n") if lines else [content]
        begun |= (file.exists() and not lines) or len(parts) > 1
        for number, part in enumerate(parts, 1):
            what = f"{file}, line {number}," if lines else str(file)
            if lines and number == len(parts):  # after the last line end
                continue
            if not lines and not file.exists():
                continue
            try:
                commits.append(_commit(part, what))
            except UserError as error:
                damaged.append(str(error))
    if len(commits) > 1 and not (folder / CHECKPOINT).exists():
        damaged.append(f"{folder / CHECKPOINT} is missing")
    unique = {json.dumps(commit, sort_keys=True): commit for commit in commits}
    longest = sorted(unique.values(), key=_length, reverse=True)
    return Found(tuple(longest), tuple(damaged), begun)


def is_kept(number: int, last: int) -> bool:
    """Return whether a commit is kept of a job that has come to commit `last`: all of the
    `ALL_OF_LAST` youngest, and among those that are 2^k times as old every 2^k-th; so a job of n
    commits has about 16 log2(n) of them, and what damage costs beside what came after it is never
    more than a sixteenth of that.
    """
    return number % (1 << ((last - number) // ALL_OF_LAST).bit_length()) == 0


def best_commit(
    folder: Path, commits: Sequence[Commit], names: Sequence[str]
) -> tuple[int, str, Digests]:
    """Return which of the commits, the longest first, is the first whose files are all whole; what
    is wrong with the files of those before; and the digests of each file's first bytes by name and
    by number of bytes. Where none is whole, the number is that of commits.
    """
    reason = ""
    known = {
        name: prefix_digests(folder / name, [c["sizes"].get(name, 0) for c in commits])
        for name in names
    }
    for number, commit in enumerate(commits):
        wrong = next((n for n in names if not _is_whole(commit, n, known[n])), None)
        if wrong is None:
            return number, reason, known
        reason = _damage(folder, commits, wrong, known[wrong])
    return len(commits), reason, known


def _is_whole(commit: Commit, name: str, digests: Mapping[int, Any]) -> bool:
    size = commit["sizes"].get(name, 0)
    if size not in digests:
        return False
    expected = commit.get("digests", {}).get(name)
    return expected is None or digests[size].hexdigest() == expected


def _damage(folder: Path, commits: Sequence[Commit], name: str, digests: Mapping[int, Any]) -> str:
    """Return a sentence on a file: where it is as it was committed, and how far that goes."""
    file = folder / name
    whole = max(
        (c["sizes"].get(name, 0) for c in commits if _is_whole(c, name, digests)), default=0
    )
    if not file.exists():
        return f"{file} is missing"
    lines = file.read_bytes()[:whole].count(b"\n")
    return f"{file} is damaged: from line {lines + 1} on it is not as it was committed"


def _commit(text: bytes, what: str) -> Commit:
    content = unsigned(text, what)
    if not isinstance(content, dict) or not isinstance(content.get("sizes"), dict):
        raise UserError(f"{what} is damaged: it is no commit")
    if "digests" in content and b'"checksum"' not in text:
        raise UserError(f"{what} is damaged: it has no checksum")
    return content


def _length(commit: Commit) -> int:
    return sum(commit["sizes"].values())
