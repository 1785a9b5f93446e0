"""YAML and overrides -> checked configurations; what is wrong is said in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from evoprompt.config.sections import PolicyConfig, Section
from evoprompt.errors import UserError, nearest


def read_values(path: Path, overrides: Iterable[str]) -> dict[str, Any]:
    """Return the plain values of a config file with overrides applied; they are not checked yet."""
    values = read_mapping(path, "config", "task: {name: inbox}")
    for override in overrides:
        _apply(values, override)
    return values


def read_mapping(path: Path, what: str, shortest: str) -> dict[str, Any]:
    """Return the mapping in a YAML file, named after the file where it has no name.

    Args:
        path: of the file.
        what: it is, for errors.
        shortest: a valid content, for errors.

    Raises:
        UserError: the file is missing, not YAML (with its line), or not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the {what} {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise UserError(
            f"the {what} {path}{where} is not YAML: {getattr(error, 'problem', error)}"
        ) from None
    if not isinstance(values, dict):
        raise UserError(
            f"the {what} {path} is not a mapping of keys to values; the shortest one is "
            f"'{shortest}'"
        )
    values.setdefault("name", path.stem)
    return values


def check_section(schema: type[S], values: Mapping[str, Any], source: str) -> S:
    """Return the values as this schema has them.

    Raises:
        UserError: a key is unknown (the nearest valid one is named) or a value is not valid.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise UserError(
            f"{source}: " + "; ".join(_sentence(schema, e) for e in error.errors())
        ) from None


def dump_config(config: Section) -> str:
    """Return the configuration as YAML that is read back to an equal one."""
    return yaml.safe_dump(
        config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120
    )


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(
            f"--set {override!r}: expected dotted.key=value, e.g. --set evolution.generations=5"
        )
    *parents, last = key.split(".")
    node = values
    for name in parents:
        child = node.get(name)
        if child is None:
            child = node[name] = {}
        if not isinstance(child, dict):
            raise UserError(f"--set {override!r}: '{name}' is a value, not a section")
        node = child
    try:
        node[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {override!r}: {text!r} is not a YAML value") from None


def _sentence(schema: type[Section], error: Any) -> str:
    location = [str(part) for part in error["loc"]]
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        return f"unknown key '{key}'; {nearest(location[-1], _keys_at(schema, location[:-1]))}"
    if error["type"] == "missing":
        return f"'{key}' is missing"
    message = (
        error["msg"].removeprefix("Value error, ").lower()
        if error["type"] != "value_error"
        else error["msg"].removeprefix("Value error, ")
    )
    given = "" if error["type"] == "value_error" else f" (given: {error['input']!r})"
    return f"{key + ': ' if key else ''}{message}{given}"


def _keys_at(schema: type[Section], location: list[str]) -> list[str]:
    section: Any = schema
    for name in location:
        field = (
            section.model_fields.get(name)
            if isinstance(section, type) and issubclass(section, BaseModel)
            else None
        )
        section = field.annotation if field is not None else PolicyConfig
    return (
        list(section.model_fields)
        if isinstance(section, type) and issubclass(section, BaseModel)
        else []
    )


S = TypeVar("S", bound="Section")
