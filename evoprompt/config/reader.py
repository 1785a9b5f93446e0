"""YAML and overrides -> checked configurations; what is wrong is said in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from evoprompt.config.task import PolicyConfig
from evoprompt.config.values import Section
from evoprompt.config.yaml_text import (
    MAX_DEPTH,
    Mistake,
    Values,
    dump_yaml,
    parse_yaml,
    read_yaml,
)
from evoprompt.errors import UserError, clip, nearest, quoted

S = TypeVar("S", bound=Section)

#: Where pydantic found an error -> where the user sees it, and the keys that are valid there.
Place = Callable[[list[str]], tuple[list[str], Sequence[str]]]


#: Mistakes of one configuration that are told at once.
MAX_SENTENCES = 5
#: How deep sections lie in each other.
MAX_SECTIONS = 3


def read_values(path: Path, overrides: Iterable[str]) -> Values:
    """Return the plain values of a config file with overrides applied; they are not checked yet."""
    values = read_mapping(path, "config", "task: {name: inbox}")
    for override in overrides:
        key, value = parse_override(override)
        put_value(values, key, value, f"--set {quoted(override)}")
        values.changed(key)
    return values


def read_mapping(path: Path, what: str, shortest: str) -> Values:
    """Return the mapping in a YAML file, named after the file where it has no name.

    Args:
        path: of the file.
        what: it is, for errors.
        shortest: a valid content, for errors.

    Raises:
        UserError: the file is missing, not YAML (with its line), or not a mapping.
    """
    values, root = read_yaml(path, what)
    if not isinstance(values, dict):
        wrong = "empty" if values is None else "not a mapping of keys to values"
        raise UserError(
            f"the {what} {clip(str(path), 1000)} is {wrong}; the shortest one is '{shortest}'"
        )
    values.setdefault("name", path.stem)
    return Values(values, root)


def parse_override(text: str) -> tuple[str, object]:
    """Return the dotted key and the value of `key=value`; the value is YAML.

    Raises:
        UserError: there is no key, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(
            f"--set {quoted(text)}: expected dotted.key=value, e.g. --set evolution.generations=5"
        )
    try:
        return key, parse_yaml(value)[0]
    except Mistake as mistake:
        raise UserError(f"--set {quoted(text)}: {mistake.problem}") from None
    except yaml.YAMLError:
        raise UserError(
            f"--set {quoted(text)}: {quoted(value)} is not a YAML value; a text with "
            "braces, brackets or colons stands in quotes, as in --set 'key=\"{a} {b}\"'"
        ) from None


def put_value(values: MutableMapping[str, Any], key: str, value: object, source: str) -> None:
    """Set the value of a dotted key among nested sections; those that are missing are made.

    Raises:
        UserError: the key leads through a value that is not a section; `source` begins the
            sentence.
    """
    *parents, last = key.split(".")
    if len(parents) > MAX_DEPTH:
        raise UserError(f"{source}: a key of {len(parents) + 1} parts, and none has so many")
    for name in parents:
        child = values.get(name)
        if child is None:
            child = values[name] = {}
        if not isinstance(child, dict):
            raise UserError(f"{source}: '{clip(name)}' is a value, not a section")
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
        errors = error.errors(include_url=False, include_context=False)
        sentences = [_sentence(each, place, values, schema) for each in errors[:MAX_SENTENCES]]
        if len(errors) > MAX_SENTENCES:
            sentences.append(f"and {len(errors) - MAX_SENTENCES} more mistakes")
        raise UserError(f"{source}: {'; '.join(sentences)}") from None


def dump_config(config: Section) -> str:
    """Return the configuration as YAML that is read back to an equal one."""
    return dump_yaml(config.model_dump(mode="json"))


def _sentence(
    error: ErrorDetails, place: Place, values: Mapping[str, Any], schema: type[Section]
) -> str:
    location, valid = place([str(part) for part in error["loc"]])
    is_key = location[-1:] == ["[key]"]
    location = location[:-1] if is_key else location
    number = values.line(location) if isinstance(values, Values) else None
    line = f"line {number}: " if number is not None else ""
    key = clip(".".join(location))
    if error["type"] == "extra_forbidden":
        hint = _elsewhere(schema, location[-1]) if len(location) == 1 else ""
        return f"{line}unknown key '{key}'; {hint or nearest(location[-1], valid)}"
    if error["type"] == "missing":
        return f"{line}'{key}' is missing"
    given = error["input"]
    if error["type"] in ("string_type", "invalid_key") and _is_no_text(given):
        what = "the key" if is_key or error["type"] == "invalid_key" else f"{key}:"
        return f"{line}{what} {quoted(given)} is not a text without quotes; put it in quotes"
    if error["type"] in ("model_type", "model_attributes_type"):
        return f"{line}{_no_section(key, given, _keys_at(schema, location))}"
    where, message = f"{key}: " if key else "", error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{line}{where}{clip(message, 1000)}"
    message = f"{message[:1].lower()}{message[1:]}"
    return f"{line}{where}{clip(message)} (given: {quoted(given)})"


def _no_section(key: str, given: object, inside: Sequence[str]) -> str:
    """Return what is said where a section has a value: how it is written, or its keys."""
    told = f"{key} is a section of keys, not a value (given: {quoted(given)})"
    if isinstance(given, str) and "name" in inside:
        return f"{told}; write {key}: {{name: {clip(given)}}}"
    return f"{told}; its keys are: {', '.join(inside)}"


def _elsewhere(schema: type[Section], name: str) -> str:
    """Return a hint to the keys of this name in sections, where there are any."""
    found = [key for key in _dotted(schema) if key.rpartition(".")[2] == name]
    return f"did you mean {' or '.join(repr(key) for key in found)}?" if found else ""


def _dotted(schema: type[BaseModel], before: str = "") -> Iterator[str]:
    """Yield the dotted name of every key in the sections of a schema."""
    for name, field in schema.model_fields.items():
        section = _section_of(field.annotation)
        if before:
            yield f"{before}{name}"
        if section is not None and before.count(".") < MAX_SECTIONS:
            yield from _dotted(section, f"{before}{name}.")


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a key is, also one that may be left out; None where it is none."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _is_no_text(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float)


def _keys_at(schema: type[Section], location: list[str]) -> list[str]:
    section: type[BaseModel] | None = schema
    for name in location:
        field = section.model_fields.get(name) if section is not None else None
        section = _section_of(field.annotation) if field is not None else PolicyConfig
    return list(section.model_fields) if section is not None else []
