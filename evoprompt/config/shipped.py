"""The package's own configurations by name, and which command a configuration is for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evoprompt.errors import UserError, clip, nearest

#: The folders in which the configurations of a command are, in the order of search.
FOLDERS: Mapping[str, tuple[str, ...]] = {
    "run": ("", "algorithms", "benchmarks"),
    "sweep": ("sweeps",),
    "boost": ("boost",),
    "shots": ("shots",),
    "curriculum": ("curriculum",),
}
#: Keys that only one command's configurations have.
OWN_KEYS: Mapping[str, tuple[str, ...]] = {
    "sweep": ("axes", "base"),
    "boost": ("loop", "questions", "policy_run", "evaluator_run"),
    "shots": ("numbers", "contexts", "evolved_runs"),
    "curriculum": ("regions", "sampling"),
    "run": ("evolution", "fitness", "final", "budget"),
}


def shipped_folder() -> Path:
    """Return where the package's configurations are: in it, or beside it in a working copy."""
    package = Path(__file__).parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def shipped_names(command: str) -> dict[str, Path]:
    """Return the configurations of a command that have names, each with its file."""
    found: dict[str, Path] = {}
    for folder in FOLDERS.get(command, ()):
        for file in sorted((shipped_folder() / folder).glob("*.yaml")):
            found.setdefault(file.stem, file)
    return found


def config_file(given: Path, command: str) -> Path:
    """Return the file that a user means: one of theirs, or the package's of that name.

    Raises:
        UserError: there is neither; the nearest name is told.
    """
    if given.suffix or given.exists() or len(given.parts) != 1:
        return given
    names = shipped_names(command)
    if given.name in names:
        return names[given.name]
    for other in FOLDERS:
        if other != command and given.name in shipped_names(other):
            raise UserError(
                f"'{given.name}' is a configuration of another command: evoprompt {other} "
                f"{given.name}"
            )
    raise UserError(
        f"there is no file {clip(str(given))} here, and the package has no configuration of that "
        f"name; {nearest(given.name, names)}"
    )


def refuse_other_kind(values: Mapping[str, Any], path: Path, command: str) -> None:
    """Refuse a configuration of another command before its keys are told as unknown.

    Raises:
        UserError: it has a key that only another command's configurations have, and none of this
            one's.
    """
    if any(key in values for key in OWN_KEYS[command]):
        return
    for other, keys in OWN_KEYS.items():
        own = [key for key in keys if key in values]
        if other != command and own:
            raise UserError(
                f"{clip(str(path), 1000)} has the key '{own[0]}', so it is for another command: "
                f"evoprompt {other} {clip(str(path), 1000)}"
            )
