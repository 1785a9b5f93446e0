"""Runs -> groups of replicates: runs that have the same configuration, their seed aside."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evoprompt.errors import UserError, nearest
from evoprompt.jobs.compare.runs import RunRecord

#: Keys that make no group unless they are asked for: they change nothing of what evolves.
ASIDE = ("seed", "name", "tracking.enabled", "tracking.experiment", "tracking.detail")
LABEL_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class Group:
    """Replicates: runs that have the same values of the keys."""

    name: str
    values: Mapping[str, Any]  #: by key; None where a run does not have it
    runs: Sequence[RunRecord]

    @property
    def repeated_seeds(self) -> list[int]:
        """The seeds that more than one run of the group has."""
        return sorted(
            seed
            for seed, count in Counter(r.seed for r in self.runs if r.seed is not None).items()
            if count > 1
        )

    @property
    def replicates(self) -> list[str]:
        """What each run is paired by: its seed, or where seeds are unknown or come twice its
        folder, which pairs with nothing.
        """
        own = not self.repeated_seeds and all(r.seed is not None for r in self.runs)
        return [str(r.seed) if own else str(r.folder) for r in self.runs]


def group_runs(runs: Sequence[RunRecord], by: Sequence[str] = ()) -> tuple[list[str], list[Group]]:
    """Return the keys that make the groups, and the groups in the order of their first run.

    Args:
        runs: all that are compared.
        by: keys, or sections of keys; default: every key in which the runs differ, but those in
            ASIDE.

    Raises:
        UserError: no run has such a key.
    """
    known = dict.fromkeys(key for run in runs for key in run.config)
    keys = (
        [key for name in dict.fromkeys(by) for key in _matching(name, list(known))]
        if by
        else _differing(runs, list(known))
    )
    members: dict[str, list[RunRecord]] = {}
    for run in runs:
        members.setdefault(
            json.dumps([run.config.get(key) for key in keys], sort_keys=True), []
        ).append(run)
    varying = [
        key
        for key in keys
        if len({json.dumps(r.config.get(key), sort_keys=True) for r in runs}) > 1
    ] or (keys if len(keys) == 1 else [])
    names = _distinct([_label(group[0].config, varying) for group in members.values()])
    groups = [
        Group(name, {key: group[0].config.get(key) for key in keys}, group)
        for name, group in zip(names, members.values(), strict=True)
    ]
    return keys, groups


def pick_baseline(groups: Sequence[Group], given: str | None) -> str:
    """Return the name of the group that others are compared with: the given one, by its name or its
    values alone, or the first.

    Raises:
        UserError: there is no such group.
    """
    if given is None:
        return groups[0].name
    fitting = [
        g.name
        for g in groups
        if given in (g.name, ", ".join(part.partition("=")[2] for part in g.name.split(", ")))
    ]
    if len(fitting) != 1:
        raise UserError(
            f"--baseline {given}: there is no such group; "
            f"{nearest(given, [g.name for g in groups])}"
        )
    return fitting[0]


def _matching(name: str, known: Sequence[str]) -> list[str]:
    found = [key for key in known if key == name or key.startswith(f"{name}.")]
    if not found:
        raise UserError(f"--by {name}: no run has this key; {nearest(name, known)}")
    return found


def _differing(runs: Sequence[RunRecord], known: Sequence[str]) -> list[str]:
    return [
        key
        for key in known
        if key not in ASIDE
        and len({json.dumps(r.config.get(key), sort_keys=True) for r in runs}) > 1
    ]


def _label(config: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Return `key=value` of each key, by the last part of its name where that is enough."""
    last = Counter(key.rpartition(".")[2] for key in keys)
    parts = []
    for key in keys:
        short = key.rpartition(".")[2] if last[key.rpartition(".")[2]] == 1 else key
        value = config.get(key)
        text = (
            "default" if value is None else value if isinstance(value, str) else json.dumps(value)
        )
        parts.append(
            f"{short}={text if len(text) <= LABEL_CHARACTERS else '...' + text[-LABEL_CHARACTERS:]}"
        )
    return ", ".join(parts) or "all runs"


def _distinct(names: Sequence[str]) -> list[str]:
    total, seen = Counter(names), Counter[str]()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if total[name] == 1 else f"{name} ({seen[name]})")
    return result
