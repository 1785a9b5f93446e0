"""A name or a file -> the settings of a task of the harness, and why some cannot be taken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from evoprompt.errors import UserError, nearest, quoted
from evoprompt.plugins import tell_code

#: What a task asks of a model, of what this package measures.
TAKEN = ("multiple_choice", "loglikelihood", "generate_until")
#: Keys with which a task is more than its file says, and what they mean.
REFUSED: Mapping[str, str] = {
    "class": "it is a Python class of its own",
    "process_results": "a Python function of its own grades the answers (process_results)",
    "custom_dataset": "a Python function makes its examples (custom_dataset)",
    "use_prompt": "its prompt is one of promptsource",
    "doc_to_image": "it shows images",
    "doc_to_audio": "it plays sounds",
    "unsafe_code": "it runs what the model writes",
}
_NAMED = r"""(?m)^["']?task["']?:[ \t]*["']?(%s)["']?[ \t]*(?:#.*)?$"""
_GROUP = r"""(?m)^["']?(?:group|tag)["']?:[ \t]*["']?%s["']?[ \t]*(?:#.*)?$"""


def refuse(name: str, reason: str) -> NoReturn:
    """Say why a task cannot be taken."""
    raise UserError(f"task.lm_eval: {quoted(name)} cannot be taken: {reason}")


def check_installed() -> None:
    """Find out whether the harness is installed.

    Raises:
        UserError: it is not.
    """
    if find_spec("lm_eval") is None:
        raise UserError(
            "task.lm_eval needs the package lm-eval, which is not installed here: "
            "pip install 'evoprompt[lm-eval]'"
        )


def settings_of(name: str) -> dict[str, Any]:
    """Return what the file of a task says, functions that it names as functions.

    Args:
        name: of a task that is shipped with the harness, or the path of a file.

    Raises:
        UserError: the harness is not installed, there is no such task, or it cannot be taken.
    """
    check_installed()
    path = Path(name) if name.endswith((".yaml", ".yml")) else _shipped(name)
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        if path == Path(name):
            # its functions are imported from the folder of the file
            tell_code(name, "task.lm_eval")
        plain = load_yaml(path, resolve_func=False)
        _refuse_kinds(plain, name)
        settings: dict[str, Any] = load_yaml(path)
    except FileNotFoundError as error:
        raise UserError(
            f"task.lm_eval: there is no file {error.filename}; give the name of a task of the "
            "harness, or the path of its YAML file"
        ) from None
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"task.lm_eval: {path} cannot be read as a task ({type(error).__name__}: {error})"
        ) from error
    return settings


def _refuse_kinds(settings: Mapping[str, Any], name: str) -> None:
    kind = settings.get("output_type", "generate_until")
    if kind not in TAKEN:
        refuse(name, f"its output_type is {kind}; {', '.join(TAKEN)} are taken")
    for key, reason in REFUSED.items():
        if settings.get(key):
            refuse(name, reason)
    if not isinstance(settings.get("task"), str):
        refuse(name, "the file is of a group of tasks; give one of them")
    drawn = settings.get("generation_kwargs") or {}
    if int(settings.get("repeats", 1)) > 1 or drawn.get("do_sample"):
        refuse(name, "its answers are drawn by chance (repeats, do_sample)")


@cache
def _files() -> tuple[Path, ...]:
    """Return the harness's task files, in one order."""
    spec = find_spec("lm_eval")
    places = spec.submodule_search_locations if spec is not None else None
    return tuple(sorted((Path(next(iter(places or []))) / "tasks").rglob("*.yaml")))


def _shipped(name: str) -> Path:
    """Return the file of a task that is shipped with the harness.

    Raises:
        UserError: there is none.
    """
    wanted, group = re.compile(_NAMED % re.escape(name)), re.compile(_GROUP % re.escape(name))
    # a task is mostly in a file of its name
    for path in sorted(_files(), key=lambda path: path.stem != name):
        if wanted.search(path.read_text("utf-8")):
            return path
    known, any_name = [], re.compile(_NAMED % r"[\w.\-]+")
    for path in _files():
        text = path.read_text("utf-8")
        if group.search(text):
            refuse(name, "it is a group of tasks; give one of them")
        known += any_name.findall(text)
    hint = nearest(name, known)
    near = f"{hint} " if hint.endswith("?") else ""
    raise UserError(
        f"task.lm_eval: the harness has no task {quoted(name)}; {near}lm_eval ls tasks lists them"
    )
