"""What a result depends on: recorded when a job begins, compared when it is gone on with."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from evoprompt.about import __version__
from evoprompt.backends.base import ALIKE, Identity, ModelInfo
from evoprompt.config.reader import check_section, parse_override, put_value
from evoprompt.config.sections import JobConfig
from evoprompt.errors import UserError, clip, quoted
from evoprompt.store.folder import CONFIG, PROVENANCE, RunFolder

C = TypeVar("C", bound=JobConfig)

#: The packages whose versions a result may depend on.
RECORDED = ("deap", "mlflow", "numpy", "ray", "tokenizers", "torch", "transformers")
#: What is compared, by the beginning of its dotted key: the rest may be another on going on.
COMPARED = ("config.", "data.", "files.", "model.fingerprint", "packages.", "writer.fingerprint")
#: Parts of a configuration that may be set anew: they change no result, or how long one goes on.
FREE = ("workers.", "tracking.", "budget.")
THREADS = "workers.threads"
#: Of these, what the folder's own file may have otherwise without a word.
UNCOMPARED = ("workers.", "tracking.")
#: How the loaded model scores, in `provenance.json`.
SCORING = "scoring"
#: Keys that say where something is: what is there is compared by its digest.
NAMES = ("name", "task.path", "task.test_path", "questions", "feedback.path")
NAMED_FILES = "task.data_files."
MOST_TOLD = 8


def provenance(
    config: JobConfig,
    identity: Identity,
    data: Mapping[str, object],
    writer: Identity | None = None,
) -> dict[str, object]:
    """Return what a result depends on: versions, git commit, the source's digest, seed, what
    answers, the data as `Task.account` has it, the files that it is read from, the configuration,
    machine; and who writes, where that is another model.
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
        **({} if writer is None else {"writer": writer.to_dict()}),
    }


@dataclass(frozen=True, slots=True)
class Settings(Generic[C]):
    """A configuration that a job is gone on with, and what was set in it since it began."""

    config: C  #: as the folder's file has it, or will
    what: Mapping[str, tuple[object, object]]  #: by dotted key: before, and now
    is_new: bool  #: the folder's file has other values


def check_unchanged(
    folder: RunFolder, now: Mapping[str, Any], settings: Settings[C] | None = None
) -> None:
    """Compare what a result depends on with what the folder has of it; record what was set or
    accepted, and what is there where nothing is committed yet.

    Args:
        folder: of a job that is gone on with.
        now: what `provenance` returns of it.
        settings: what `with_settings` returned of it.

    Raises:
        UserError: something differs, and it is not accepted; the message names it.
    """
    before, now = folder.read(PROVENANCE), json.loads(json.dumps(now))
    if before is None and folder.has_commit and not folder.accepts_changes:
        raise UserError(
            f"{folder.path / PROVENANCE} is missing: what the run began with is lost; put it back, "
            f"or go on all the same with evoprompt resume --accept-changes, which records it"
        )
    before, what = before or {}, dict(settings.what) if settings else {}
    changes = differences(before, now)
    others = {key: pair for key, pair in changes.items() if key not in what}
    if folder.has_commit:
        _refuse(folder, others)
    # before the record: whoever is stopped between can say it again
    if settings and settings.is_new:
        folder.write_config(settings.config)
    if before and not (changes or what):
        return
    kept = {key: value for key, value in before.items() if key not in now and key != SCORING}
    folder.write(PROVENANCE, {**now, **kept, **_changed(before, {**what, **changes})})


def check_scoring(folder: RunFolder, info: ModelInfo, threads: int | None, model: str = "") -> None:
    """Compare how the loaded model scores with how it did when the job began, and record it where
    that is not known: the last bits of a score depend on it.

    Args:
        folder: of the job.
        info: of the loaded model.
        threads: of each worker on a CPU; None are all cores.
        model: which it is, where a job has several.

    Raises:
        UserError: something differs, and it is not accepted; the message names it.
    """
    key = f"{SCORING} {model}".rstrip()
    now: dict[str, object] = {name: getattr(info, name) for name in ALIKE}
    if info.device == "cpu":
        now["threads"] = threads or os.cpu_count()
    before = folder.read(PROVENANCE) or {}
    old = before.get(key, {})
    if old == now:
        return
    pairs = {f"{key}.{k}": (old.get(k), now.get(k)) for k in {**old, **now}} if old else {}
    changes = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    if folder.has_commit:
        _refuse(folder, changes)
    folder.write(PROVENANCE, {**before, key: now, **_changed(before, changes)})


def _refuse(folder: RunFolder, changes: Mapping[str, tuple[object, object]]) -> None:
    if not changes or folder.accepts_changes:
        return
    told = list(dict.fromkeys(_told(key, *pair) for key, pair in changes.items()))
    more = f"; and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
    raise UserError(
        f"the run in {folder.path} began with something else: {'; '.join(told[:MOST_TOLD])}{more}; "
        f"undo that, set what may be changed by evoprompt resume --set, or go on all the same with "
        f"--accept-changes, which records it"
    )


def _told(key: str, old: object, new: object) -> str:
    """Return in words what differs; of examples, files and weights no more than that they do."""
    match key.split("."):
        case ["data", "splits", split, *_]:
            return f"the {split} examples are others"
        case ["data", "questions", *_]:
            return "the questions are others"
        case ["files", *name, "sha256"]:
            return f"the file of {'.'.join(name)} has other content"
        case ["model", "fingerprint"]:
            return "the model has other weights, another configuration or another tokenizer"
        case ["source"]:
            return "the package's own source is another"
    return f"{key} was {quoted(old)} and is {quoted(new)}"


def _changed(
    before: Mapping[str, Any], changes: Mapping[str, tuple[object, object]]
) -> dict[str, object]:
    """Return the list of all changes with these, by its key; nothing where there are none."""
    when = datetime.now().astimezone().isoformat(timespec="seconds")
    entry = {"when": when, "what": {key: list(pair) for key, pair in changes.items()}}
    return {"changes": [*before.get("changes", []), entry]} if before and changes else {}


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


def may_be_set(key: str) -> bool:
    """Return whether a key of a configuration may be another when a job is gone on with."""
    return key.startswith(FREE) and key != THREADS


def with_settings(
    folder: RunFolder, kind: type[C], overrides: Sequence[str], *more: str
) -> Settings[C]:
    """Return the configuration of a folder with other settings; nothing is written.

    Args:
        folder: of a job that is gone on with.
        kind: of its configuration.
        overrides: `key=value`, each.
        more: keys that may be changed beside those that change no result.

    Raises:
        UserError: a key would change the result, or a value is not valid.
    """
    values = folder.config_values()
    begun = check_section(kind, values, str(folder.path / CONFIG))
    for override in overrides:
        key, value = parse_override(override)
        if not may_be_set(key) and key not in more:
            raise UserError(
                f"--set {quoted(override)}: '{clip(key)}' would make it another run; what may be "
                f"changed are {', '.join((*(f'{free}*' for free in FREE), *more))}, but for "
                f"{THREADS}, which moves the last bits of scores"
            )
        put_value(values, key, value, f"--set {quoted(override)}")
    changed = check_section(kind, values, f"--set {' '.join(overrides)}") if overrides else begun
    recorded = (folder.read(PROVENANCE) or {}).get("config") or begun.model_dump(mode="json")
    old = dict(_leaves(recorded, "config"))
    new = dict(_leaves(changed.model_dump(mode="json"), "config"))
    named = tuple(f"config.{parse_override(override)[0]}" for override in overrides)
    what = {
        key: (old.get(key), new.get(key))
        for key in dict.fromkeys([*old, *new])
        if named and key.startswith(named) and old.get(key) != new.get(key)
    }
    return Settings(changed, what, is_new=changed != begun)


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
        split = name.startswith(NAMED_FILES)
        return not name.startswith(UNCOMPARED) and name not in NAMES and not split
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
    parts = (
        *(("task.path", config.task), ("task.test_path", config.task), ("questions", config)),
        ("feedback.path", getattr(config, "feedback", None)),
    )
    for key, part in parts:
        path = getattr(part, key.rpartition(".")[2], None)
        if isinstance(path, Path):
            yield key, path
    task = config.task
    if task is not None and task.lm_eval is not None and task.lm_eval.endswith((".yaml", ".yml")):
        yield "task.lm_eval", Path(task.lm_eval)
    for split, path in ((task.data_files if task is not None else None) or {}).items():
        yield f"task.data_files.{split}", path


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
