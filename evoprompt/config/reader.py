"""YAML and overrides -> checked configurations; what is wrong is said in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from evoprompt.config.sections import PolicyConfig, Section
from evoprompt.errors import UserError, nearest

S = TypeVar("S", bound=Section)

#: Where pydantic found an error -> where the user sees it, and the keys that are valid there.
Place = Callable[[list[str]], tuple[list[str], Sequence[str]]]


def read_values(path: Path, overrides: Iterable[str]) -> dict[str, Any]:
    """Return the plain values of a config file with overrides applied; they are not checked yet."""
    values = read_mapping(path, "config", "task: {name: inbox}")
    for override in overrides:
        key, value = parse_override(override)
        put_value(values, key, value, f"--set {override!r}")
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


def parse_override(text: str) -> tuple[str, object]:
    """Return the dotted key and the value of `key=value`; the value is YAML.

    Raises:
        UserError: there is no key, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(
            f"--set {text!r}: expected dotted.key=value, e.g. --set evolution.generations=5"
        )
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"--set {text!r}: {value!r} is not a YAML value") from None


def put_value(values: MutableMapping[str, Any], key: str, value: object, source: str) -> None:
    """Set the value of a dotted key among nested sections; those that are missing are made.

    Raises:
        UserError: the key leads through a value that is not a section; `source` begins the
            sentence.
    """
    *parents, last = key.split(".")
    for name in parents:
        child = values.get(name)
        if child is None:
            child = values[name] = {}
        if not isinstance(child, dict):
            raise UserError(f"{source}: '{name}' is a value, not a section")
        values = child
    values[last] = value


def check_section(
    schema: type[S], values: Mapping[str, Any], source: str, place: Place | None = None
) -> S:
    """Return the values as this schema has them.

    Args:
        schema: a section.
        values: plain ones.
        source: names them in errors.
        place: tells where the user sees an error, and which keys are valid there; where it is not
            given that follows from the schema.

    Raises:
        UserError: a key is unknown (the nearest valid one is named) or a value is not valid.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        place = place or (lambda location: (location, _keys_at(schema, location[:-1])))
        sentences = "; ".join(_sentence(each, place) for each in error.errors())
        raise UserError(f"{source}: {sentences}") from None


def dump_config(config: Section) -> str:
    """Return the configuration as YAML that is read back to an equal one."""
    return yaml.safe_dump(
        config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120
    )


def _sentence(error: ErrorDetails, place: Place) -> str:
    location, valid = place([str(part) for part in error["loc"]])
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        return f"unknown key '{key}'; {nearest(location[-1], valid)}"
    if error["type"] == "missing":
        return f"'{key}' is missing"
    where, message = f"{key}: " if key else "", error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{where}{message}"
    return f"{where}{message[:1].lower()}{message[1:]} (given: {error['input']!r})"


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
