"""What every key of a configuration means: the schemas that ship for editors, made from the classes
and the comments beside their keys, and what is read off them.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from evoprompt.config.task import TaskConfig
from evoprompt.config.values import Section
from evoprompt.errors import UserError, clip, nearest
from evoprompt.tasks.render import render_prompt
from evoprompt.tasks.sources.builtin import BuiltinSource, builtin_names

#: The configurations that have a schema, each with its class.
SCHEMAS: Mapping[str, str] = {
    "run": "evoprompt.jobs.evolve.config:Config",
    "sweep": "evoprompt.jobs.sweep.config:SweepConfig",
    "boost": "evoprompt.jobs.boost.config:BoostConfig",
    "shots": "evoprompt.jobs.shots.config:ShotsConfig",
    "robustness": "evoprompt.jobs.robustness.config:RobustnessConfig",
    "curriculum": "evoprompt.jobs.curriculum.config:CurriculumConfig",
}
#: The folder of the schemas, in the package.
FOLDER = "schemas"
#: How the page of the configuration begins.
_PAGE_HEAD = (
    "# The configuration",
    "",
    "Every key has a default but the task: the shortest configuration is `task: {name: inbox}`. A",
    "key that is unknown is answered with the nearest valid one. Relative paths are read from the",
    "folder of the file. `--set key=value` sets one key, e.g. `--set evolution.generations=5`.",
    "Editors complete YAML by `evoprompt/schemas/run.json`, `evoprompt/schemas/sweep.json`,",
    "`evoprompt/schemas/boost.json`, `evoprompt/schemas/shots.json`,",
    "`evoprompt/schemas/robustness.json` and `evoprompt/schemas/curriculum.json`. This page is",
    "made from them by `python -m evoprompt.jobs.document`.",
)
#: A comment that says what a key means.
_MARK = re.compile(r"#:\s?(.*)$")


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a configuration."""

    name: str  #: dotted
    kind: str  #: what it takes, in words
    default: str  #: as YAML has it; empty where there is none
    text: str  #: what it means
    is_section: bool


def keys_of(job: str) -> dict[str, Key]:
    """Return every key of a job's configuration by its dotted name, from the schema that ships.

    Raises:
        UserError: there is no such job.
    """
    schema = shipped(job)
    return {key.name: key for key in _keys(schema, schema, "")}


def explain(job: str, name: str) -> str:
    """Return what a key means, what it takes and its default; of a section also its keys.

    Raises:
        UserError: there is no such key; the nearest is named.
    """
    known = keys_of(job)
    if name not in known:
        same = [key for key in known if key.rpartition(".")[2] == name]
        hint = f"did you mean {' or '.join(repr(k) for k in same)}?" if same else ""
        raise UserError(f"there is no key '{clip(name)}'; {hint or nearest(name, known)}")
    key = known[name]
    takes = f"takes {key.kind}" + (f"; default {key.default}" if key.default else "")
    below = [k for k in known if k.startswith(f"{name}.") and "." not in k[len(name) + 1 :]]
    lines = [name, *textwrap.wrap(key.text, 96, initial_indent="  ", subsequent_indent="  ")]
    lines += ["  keys:", *listed(known, below)] if below else [f"  {takes}"]
    return "\n".join(lines)


def listed(known: Mapping[str, Key], names: Sequence[str]) -> Iterator[str]:
    """Yield a line for each key, of its name and the beginning of what it means."""
    width = max(len(name) for name in names)
    for name in names:
        key = known[name]
        default = f" [{clip(key.default, 24)}]" if key.default and not key.is_section else ""
        yield f"  {name:<{width}}  {clip(key.text, 100)}{default}"


def shipped(job: str) -> dict[str, Any]:
    """Return the schema of a job's configuration, as it ships.

    Raises:
        UserError: there is no such job.
    """
    if job not in SCHEMAS:
        raise UserError(f"there is no configuration of '{job}'; {nearest(job, SCHEMAS)}")
    file = resources.files("evoprompt") / FOLDER / f"{job}.json"
    schema: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return schema


def described(config: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a configuration, in which every key has its description."""
    schema = config.model_json_schema()
    for section in _sections(config):
        own = schema if section is config else schema["$defs"].get(section.__name__)
        if own is None:
            continue
        own["description"] = _one_line(section.__doc__)
        fields = {field.alias or name: field for name, field in section.model_fields.items()}
        for name, prop in own["properties"].items():
            prop.pop("title", None)
            field = fields[name]
            text = _comments(section).get(name) or field.description or _of_section(field)
            if text:
                prop["description"] = text
    _limits(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _limits(part: Any) -> None:
    """Give the limits of numbers the names that JSON Schema has for them."""
    if isinstance(part, dict):
        if part.get("type") in ("integer", "number"):
            for name, own in (("ge", "minimum"), ("le", "maximum")):
                if name in part:
                    part[own] = part.pop(name)
        part.pop("allow_inf_nan", None)
    for value in part.values() if isinstance(part, dict) else part:
        if isinstance(value, dict | list):
            _limits(value)


def write_schemas() -> None:
    """Write every schema into the package; a test says when that is needed."""
    folder = Path(__file__).parent.parent / FOLDER
    folder.mkdir(exist_ok=True)
    for job in SCHEMAS:
        (folder / f"{job}.json").write_text(schema_text(job), encoding="utf-8")


def configuration_page() -> str:
    """Return every key of every configuration as a page in Markdown: its name, what it means, what
    it takes, and its default.
    """
    lines = [*_PAGE_HEAD]
    for job in SCHEMAS:
        known = keys_of(job)
        tops = [name for name in known if "." not in name]
        plain = [name for name in tops if not known[name].is_section]
        lines += ["", f"## evoprompt {job}", "", *_items(known, plain)]
        for top in (name for name in tops if known[name].is_section):
            inner = [name for name in known if name.startswith(f"{top}.")]
            lines += ["", f"### {job}: {top}", "", _escaped(known[top].text), ""]
            lines += _items(known, inner)
    return "\n".join(lines) + "\n"


def _items(known: Mapping[str, Key], names: Sequence[str]) -> Iterator[str]:
    """Yield an item of a list for each key."""
    for name in names:
        key = known[name]
        default = f"; default `{key.default}`" if key.default else ""
        takes = "" if key.is_section else f" *Takes {_escaped(key.kind)}{default}.*"
        end = "" if key.text.endswith(".") else "."
        yield f"- `{name}`: {_escaped(key.text)}{end}{takes}"


def _escaped(text: str) -> str:
    """Return a text in which signs of Markdown outside of code stay what they are."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"([<>*_\[\]])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def write_page() -> None:
    """Write the page of the configuration into the documentation, in a checkout that has one."""
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    if page.parent.is_dir():
        page.write_text(configuration_page(), encoding="utf-8")


def schema_text(job: str) -> str:
    """Return the schema of a job's configuration as text, made anew."""
    module, name = SCHEMAS[job].split(":")
    return json.dumps(described(getattr(import_module(module), name)), indent=1) + "\n"


def _sections(config: type[BaseModel]) -> list[type[BaseModel]]:
    """Return a configuration's class and those of all sections in it."""
    found: dict[type[BaseModel], None] = {}
    waiting: list[Any] = [config]
    while waiting:
        kind = waiting.pop()
        waiting += get_args(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in found:
            found[kind] = None
            waiting += [field.annotation for field in kind.model_fields.values()]
    return list(found)


@cache
def _comments(section: type[BaseModel]) -> Mapping[str, str]:
    """Return what the comments `#:` say of each key, those of a base class too."""
    found: dict[str, str] = {}
    for kind in reversed(section.__mro__):
        if issubclass(kind, Section):
            found |= _comments_in(kind)
    return found


def _comments_in(kind: type[BaseModel]) -> dict[str, str]:
    """Return the comments of one class: the lines before a key, and behind it on its own lines."""
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):  # made by a function
        return {}
    lines, found = source.splitlines(), {}
    for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        start = node.lineno - 1
        while lines[start - 1].lstrip().startswith("#:"):
            start -= 1
        marks = (_MARK.search(line) for line in lines[start : node.end_lineno])
        text = " ".join(mark[1].strip() for mark in marks if mark is not None)
        if text:
            found[node.target.id] = text
    return found


def _of_section(field: Any) -> str:
    """Return what a section says of itself, where a key is one."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return _one_line(kind.__doc__)
    return ""


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _keys(root: Mapping[str, Any], schema: Mapping[str, Any], before: str) -> Iterator[Key]:
    for name, prop in schema.get("properties", {}).items():
        dotted = f"{before}{name}"
        section = _section(root, prop)
        default = json.dumps(prop["default"]) if "default" in prop and not section else ""
        text = prop.get("description", "")
        yield Key(dotted, _kind(root, prop), default, text, section is not None)
        if section is not None and before.count(".") < 3:
            yield from _keys(root, section, f"{dotted}.")


def _section(root: Mapping[str, Any], prop: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the schema of a section, where a key is one."""
    for part in (prop, *prop.get("anyOf", ())):
        if "$ref" in part:
            found: Mapping[str, Any] = root["$defs"][part["$ref"].rpartition("/")[2]]
            return found if "properties" in found else None
    return None


WORDS: Mapping[str, str] = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
    "object": "a mapping of keys to values",
}


def _kind(root: Mapping[str, Any], prop: Mapping[str, Any]) -> str:
    """Return in words what a key takes."""
    if "enum" in prop:
        return " | ".join(str(value) for value in prop["enum"])
    if "const" in prop:
        return str(prop["const"])
    if "$ref" in prop:
        return _kind(root, root["$defs"][prop["$ref"].rpartition("/")[2]])
    if alternatives := prop.get("anyOf") or prop.get("oneOf"):
        return " or ".join(dict.fromkeys(_kind(root, each) for each in alternatives))
    words = WORDS.get(prop.get("type", ""), "a value")
    low, high = (prop.get(name) for name in ("minimum", "maximum"))
    if low is not None and high is not None:
        words += f" from {low:,} to {high:,}"
    return words


#: Examples of a task that are shown.
SHOWN = 5


def task_lines(name: str | None) -> Iterator[str]:
    """Yield a line for each of the package's own tasks; of one its examples and its prompts.

    Raises:
        UserError: there is no such task.
    """
    names = builtin_names() if name is None else [name]
    for each in names:
        raw = BuiltinSource().read(TaskConfig(name=each))
        choices = {example.choices for example in raw.examples}
        offered = next(iter(choices)) if len(choices) == 1 else None
        answers = ", ".join(offered) if offered else "free text" if None in choices else "choices"
        answers = "paths" if raw.examples[0].path else answers
        yield f"{each}: {len(raw.examples):,} examples, answers: {answers}"
        if name is None:
            continue
        for example in raw.examples[:SHOWN]:
            yield f"  {example.input!r} -> {example.target!r}"
        yield "it begins with:"
        for policy in raw.starting_policies:
            yield textwrap.indent(str(render_prompt(policy)), "  ") + "\n"
    if name is None:
        yield "show one: evoprompt tasks NAME; take it: task: {name: NAME}"
        yield "of the LM Evaluation Harness (lm_eval ls tasks): task: {lm_eval: NAME}"


if __name__ == "__main__":
    write_schemas()
    write_page()
