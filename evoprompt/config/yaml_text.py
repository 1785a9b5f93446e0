"""YAML text -> plain values, by stricter rules than YAML's own.

Refused, with the line: a key that stands twice, words that YAML 1.1 reads as something that they do
not look like (`no`, `2020-01-01`, `012`, `1:30`), tags, and what grows beyond all measure as
aliases are followed. `off` is the text, as in YAML 1.2: settings have that value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from evoprompt.errors import UserError, clip, quoted
from evoprompt.text_files import read_text

#: Bytes of a file, values in it with every alias followed, and how deep they lie in each other.
MAX_BYTES, MAX_NODES, MAX_DEPTH = 1_000_000, 100_000, 40
#: Digits of a number: more are no number that anything here counts.
MAX_DIGITS = 40

#: Said of what is left out.
OFF = "off"

_PLAIN = "tag:yaml.org,2002:"
_TAGS = frozenset(_PLAIN + kind for kind in ("str", "map", "seq"))
_KEYS = frozenset((f"{_PLAIN}str", f"{_PLAIN}merge"))
#: Keys that are taken as they are written: labels are numbers or truth values in many files.
_WRITTEN = frozenset((f"{_PLAIN}int", f"{_PLAIN}bool"))
_TRUTH = frozenset({"true", "false"})
_OTHER_BASE = re.compile(r"[-+]?0[0-9_]+$|.*:")  # 8, or 60


class Mistake(yaml.YAMLError):
    """What is not allowed here though it is YAML, and the line it is on."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem)
        self.problem, self.line = problem, line


class Values(dict[str, Any]):
    """The plain values of a file, which know their lines as long as they are what the file says."""

    def __init__(self, values: dict[str, Any], root: Node | None = None) -> None:
        super().__init__(values)
        self._root = root
        self._others: set[str] = set()

    def changed(self, key: str) -> None:
        """Forget the line of a dotted key: its value is no longer the file's."""
        self._others.add(key)

    def line(self, location: Sequence[str]) -> int | None:
        """Return the line of a value, counted from 1, or None where it is not of the file."""
        key, node, line = ".".join(location), self._root, None
        if any(key == other or key.startswith(f"{other}.") for other in self._others):
            return None
        for name in location:
            found = _child(node, name)
            if found is None:
                return None
            mark, node = found
            line = mark + 1
        return line


def read_yaml(path: Path, what: str) -> tuple[Any, Node | None]:
    """Return the values of a YAML file, and where they stand in it.

    Args:
        path: of the file.
        what: it is, for errors.

    Raises:
        UserError: it cannot be read, is too large, not UTF-8, or not YAML by the rules here; the
            message has the line.
    """
    where = f"the {what} {clip(str(path), 1000)}"
    try:
        large = path.is_file() and path.stat().st_size > MAX_BYTES
    except (OSError, ValueError):
        large = False  # the reader says what is wrong with it
    if large:
        raise UserError(
            f"{where} has more than {MAX_BYTES:,} bytes; put examples in a JSONL file (task.path)"
        )
    text = read_text(path, what)
    try:
        values, root = _parsed(text)
        return deepcopy(values), root
    except Mistake as mistake:
        raise UserError(f"{where}, line {mistake.line}: {mistake.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"{where}, line {line} has the character {chr(error.character)!r}, which is not "
            f"allowed in YAML; write it as an escape in double quotes"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark is not None else ""
        reason = clip(str(getattr(error, "problem", error)))
        raise UserError(f"{where}{place} is not YAML: {reason}{_tab_hint(reason)}") from None


@lru_cache(maxsize=4)  # a job asks for its folder's configuration many times
def _parsed(text: str) -> tuple[Any, Node | None]:
    return parse_yaml(text)


def parse_yaml(text: str) -> tuple[Any, Node | None]:
    """Return the values of YAML text, and where they stand in it.

    Raises:
        Mistake: it is YAML, but not by the rules here.
        yaml.YAMLError: it is not YAML.
    """
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        return (None if root is None else loader.construct_document(root)), root
    finally:
        loader.dispose()


def dump_yaml(values: Any) -> str:
    """Return plain values as YAML that `read_yaml` reads back."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the rules of this module."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._total = 0  # nodes so far, every alias followed
        self._sizes: dict[int, int] = {}  # nodes in each node that is whole

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Return the next node, unless it is one that is not allowed."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in _TAGS:
            raise Mistake(f"the tag {quoted(tag)} is not allowed; give plain values", line)
        before, self._depth = self._total, self._depth + 1
        if self._depth > MAX_DEPTH:
            raise Mistake(f"values lie in each other more than {MAX_DEPTH} deep", line)
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise Mistake(f"the alias *{event.anchor} stands inside what it stands for", line)
            self._total += self._sizes[id(node)]
        else:
            self._total += 1
            self._sizes[id(node)] = self._total - before
        if self._total > MAX_NODES:
            raise Mistake(f"more than {MAX_NODES:,} values, with every alias followed", line)
        return node

    def compose_scalar_node(self, anchor: Any) -> ScalarNode:
        """Return the next scalar, unless YAML reads it as what it does not look like."""
        node: ScalarNode = super().compose_scalar_node(anchor)
        try:  # JSON writes a character beyond the first 65,536 as two halves
            node.value = node.value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            line = node.start_mark.line + 1
            raise Mistake("half a surrogate pair is no character; write both", line) from None
        if node.style is None and node.value == OFF:
            node.tag = f"{_PLAIN}str"
        if node.style is None and (problem := _surprise(node)):
            raise Mistake(problem, node.start_mark.line + 1)
        return node

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        """Return the next mapping, unless it has a key twice."""
        node: MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, ScalarNode):
                line = key.start_mark.line + 1
                if key.tag in _WRITTEN:
                    key.tag = f"{_PLAIN}str"
                if key.tag not in _KEYS:
                    raise Mistake(
                        f"the key {quoted(key.value)} is not a text without quotes; put it in "
                        f"quotes",
                        line,
                    )
                same = (key.tag, key.value)
                if same in lines:
                    raise Mistake(
                        f"the key {quoted(key.value)} stands twice, in line {lines[same]} and in "
                        f"line {line}; keep one of them",
                        line,
                    )
                lines[same] = line
        return node


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which quotes what this loader reads as no text."""


for _kind in (_Loader, _Dumper):  # 1e-3 is a number in YAML 1.2, and to everybody
    _kind.add_implicit_resolver(
        f"{_PLAIN}float",
        re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )


def _surprise(node: ScalarNode) -> str:
    """Return what is wrong with a scalar that has no quotes, or nothing."""
    kind, value = node.tag.removeprefix(_PLAIN), node.value
    text = f"put it in quotes where a text is meant: {quoted(value)}"
    if kind == "bool" and value.lower() not in _TRUTH:
        return f"{value} without quotes is true or false in YAML; write that, or {text}"
    if kind == "timestamp":
        return f"{clip(value)} without quotes is a date in YAML; {text}"
    if kind == "value":
        return f"{value} without quotes has a meaning of its own in YAML; {text}"
    if kind in ("int", "float") and _OTHER_BASE.match(value):
        return (
            f"{clip(value)} without quotes is a number of base 8 or 60 in YAML; write it with "
            f"base 10, or {text}"
        )
    if kind in ("int", "float") and len(value) > MAX_DIGITS:
        return f"{clip(value, MAX_DIGITS)} is a number of {len(value)} digits; {text}"
    return ""


def _child(node: Node | None, name: str) -> tuple[int, Node] | None:
    """Return the line, counted from 0, and the node of a key or of a place in a list."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.value == name:
                return key.start_mark.line, value
    if isinstance(node, SequenceNode) and name.isdecimal() and int(name) < len(node.value):
        child = node.value[int(name)]
        return child.start_mark.line, child
    return None


def _tab_hint(reason: str) -> str:
    return "; indent with spaces, not with tabs" if "'\\t'" in reason else ""
