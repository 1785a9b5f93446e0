"""What a result depends on: recorded when a job begins, compared when it is gone on with."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from evoprompt.about import __version__
from evoprompt.backends.base import Identity
from evoprompt.config.reader import check_section, parse_override, put_value
from evoprompt.config.sections import JobConfig
from evoprompt.errors import UserError, clip, quoted
from evoprompt.store.folder import PROVENANCE, RunFolder

C = TypeVar("C", bound=JobConfig)

#: The packages whose versions a result may depend on.
RECORDED = ("deap", "mlflow", "numpy", "ray", "tokenizers", "torch", "transformers")
#: What is compared, by the beginning of its dotted key: the rest may be another on going on.
COMPARED = ("config.", "data.", "files.", "model.fingerprint", "packages.")
#: Parts of a configuration that change no result.
FREE = ("workers.", "tracking.", "budget.")
#: Keys that say where something is: what is there is compared by its digest.
NAMES = ("name", "task.path", "task.test_path", "questions")
MOST_TOLD = 8


def provenance(
    config: JobConfig, identity: Identity, data: Mapping[str, object]
) -> dict[str, object]:
    """Return what a result depends on: versions, git commit, the source's digest, seed, what
    answers, the data as `Task.account` has it, the files that it is read from, the configuration,
    machine.
    """
    return {
        "evoprompt": __version__,
        "git_commit": _git_commit(),
        "source": source_digest(),
        "seed": config.seed,
        "model": identity.to_dict() | {"backend": config.workers.backend},
        "data": dict(data),
        "files": {key: file_digest(path) for key, path in _files(config)},
        "config": config.model_dump(mode="json"),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in RECORDED},
        "machine": {"system": platform.platform(), "cpus": os.cpu_count()},
    }


def check_unchanged(folder: RunFolder, now: Mapping[str, object], *, accept: bool = False) -> None:
    """Compare what a result depends on with what the folder has of it.

    Args:
        folder: of a job that is gone on with.
        now: what `provenance` returns of it.
        accept: record what differs, and go on.

    Raises:
        UserError: something differs, and it is not accepted; the message names it.
    """
    before, now = folder.read(PROVENANCE), json.loads(json.dumps(now))
    if before is None:
        raise UserError(f"{folder.path / PROVENANCE} is missing: what the run began with is lost")
    changes = differences(before, now)
    if not changes:
        return
    told = [f"{key} was {quoted(old)} and is {quoted(new)}" for key, (old, new) in changes.items()]
    if not accept:
        more = f"; and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
        raise UserError(
            f"the run in {folder.path} began with something else: {'; '.join(told[:MOST_TOLD])}"
            f"{more}; undo that, or go on all the same with evoprompt resume --accept-changes, "
            f"which records it"
        )
    entry = {"when": _now(), "what": {key: list(pair) for key, pair in changes.items()}}
    kept = {key: value for key, value in before.items() if key not in now}
    folder.write(PROVENANCE, {**now, **kept, "changes": [*before.get("changes", []), entry]})


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, tuple[object, object]]:
    """Return what differs of what is compared, by dotted key: before, and now. What an older
    version did not record is not compared.
    """
    old, new = dict(_leaves(before)), dict(_leaves(now))
    known = tuple(f"{key}." if isinstance(before[key], dict) else key for key in before)
    keys = [k for k in dict.fromkeys([*old, *new]) if k.startswith(known) and _counts(k)]
    return {k: (old.get(k), new.get(k)) for k in keys if old.get(k) != new.get(k)}


def with_settings(folder: RunFolder, config: C, overrides: Sequence[str], *more: str) -> C:
    """Return the configuration of a folder with other settings, which are recorded there.

    Args:
        folder: of a job that is gone on with.
        config: of it.
        overrides: `key=value`, each.
        more: keys that may be changed beside those that change no result.

    Raises:
        UserError: a key would change the result, or a value is not valid.
    """
    if not overrides:
        return config
    values, what = folder.config_values(), {}
    kept = config.model_dump(mode="json")
    for override in overrides:
        key, value = parse_override(override)
        if not key.startswith(FREE) and key not in more:
            raise UserError(
                f"--set {quoted(override)}: '{clip(key)}' would make it another run; what may be "
                f"changed are {', '.join((*(f'{free}*' for free in FREE), *more))}"
            )
        section, _, name = key.partition(".")
        what[f"config.{key}"] = [kept.get(section, {}).get(name), value]
        put_value(values, key, value, f"--set {quoted(override)}")
    changed = check_section(type(config), values, f"--set {' '.join(overrides)}")
    begun = folder.read(PROVENANCE) or {}
    entry = {"when": _now(), "what": what}
    recorded = {**begun, "changes": [*begun.get("changes", []), entry]}
    if "config" in begun:
        recorded["config"] = changed.model_dump(mode="json")
    folder.begin(changed, recorded)
    return changed


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def file_digest(path: Path) -> dict[str, object]:
    """Return a file's path and SHA-256, None where it cannot be read."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return {"path": str(path), "sha256": None}
    return {"path": str(path), "sha256": digest}


@cache
def source_digest() -> str:
    """Return the SHA-256 of the package's source files."""
    package, running = Path(__file__).resolve().parents[1], hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        running.update(f"{file.relative_to(package).as_posix()}\0".encode())
        running.update(file.read_bytes())
    return running.hexdigest()


def _counts(key: str) -> bool:
    if key.startswith("config."):
        name = key.removeprefix("config.")
        return not name.startswith(FREE) and name not in NAMES
    return key in ("evoprompt", "source") or (
        key.startswith(COMPARED) and not key.endswith(".path") and not key.startswith("data.notes")
    )


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for name, child in value.items():
            yield from _leaves(child, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def _files(config: JobConfig) -> Iterator[tuple[str, Path]]:
    """Yield the data files that a configuration names, each with its key."""
    parts = (("task.path", config.task), ("task.test_path", config.task), ("questions", config))
    for key, part in parts:
        path = getattr(part, key.rpartition(".")[2], None)
        if isinstance(path, Path):
            yield key, path


def _git_commit() -> str | None:
    """Return the commit of the checkout that this package runs from, if it runs from one."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return done.stdout.strip() or None
