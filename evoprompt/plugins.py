"""Name -> what stands for it: an entry of the package's own table, "module:name", or an entry point
of a plug-in.

A plug-in package names its things as entry points of the group `evoprompt`, each as
`<kind>.<name>`:

    [project.entry-points.evoprompt]
    "operator.shout" = "my_package.operators:Shout"

Knows names and imports. Does not know what the things are.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module, metadata
from itertools import count
from typing import Any

from evoprompt.errors import UserError, nearest, quoted

logger = logging.getLogger(__name__)

GROUP = "evoprompt"
#: Variable of the environment that is set where no configuration may have code imported; processes
#: that are started here have it too.
NO_CODE = "EVOPROMPT_NO_CODE"

#: What a program gave as an object rather than by name, by kind and name; it is known in this
#: process alone.
_given: dict[tuple[str, str], Any] = {}
_told: set[str] = set()


def refuse_code() -> None:
    """From now on refuse what would import code that is not the package's own."""
    os.environ[NO_CODE] = "1"


def may_import() -> bool:
    """Return whether a configuration may have code imported."""
    return not os.environ.get(NO_CODE)


def tell_code(place: str, where: str) -> None:
    """Say, once, that code is about to be imported because a configuration says so.

    Args:
        place: what is imported.
        where: the configuration names it.

    Raises:
        UserError: no code may be imported.
    """
    if not may_import():
        raise UserError(
            f"{where} imports code, {quoted(place)}, and --no-code ({NO_CODE}) refuses that; leave "
            f"it out of the configuration, or run without --no-code if you trust who wrote both"
        )
    if place not in _told:
        _told.add(place)
        logger.warning("%s imports code: %s", where, quoted(place))


def find(
    kind: str, name: str, table: Mapping[str, Any], where: str, parts: Sequence[str] = ()
) -> Any:
    """Return what stands for a name. A class is returned as an object of it, made without
    arguments.

    Args:
        kind: of thing, as in the names of entry points.
        name: one of the table or of an installed plug-in, or "module:name".
        table: the package's own; a value that is a text is itself "module:name", so that it is
            imported when it is asked for.
        where: the name was given, for errors.
        parts: attributes that such a thing has; a thing without one of them is none.

    Raises:
        UserError: nothing stands for the name, it is no such thing, or it may not be imported.
    """
    found = _find(kind, name, table, where)
    missing = [part for part in parts if not hasattr(found, part)]
    if missing:
        raise UserError(
            f"{where} '{name}' is {found!r}, which is no {kind}: it has no {', '.join(missing)}; "
            f"a {kind} has {', '.join(parts)}"
        )
    return found


def _find(kind: str, name: str, table: Mapping[str, Any], where: str) -> Any:
    if (kind, name) in _given:
        return _given[kind, name]
    if name in table:
        entry = table[name]
        return _made(_imported(entry, where) if isinstance(entry, str) else entry, where)
    if ":" in name:
        tell_code(name, where)
        return _made(_imported(name, where), where)
    for point in metadata.entry_points(group=GROUP, name=f"{kind}.{name}"):
        tell_code(f"{point.value} (plug-in {name})", where)
        return _made(_imported(point.value, where), where)
    known = names(kind, table)
    hint = nearest(name, known) if known else "none is installed"
    raise UserError(
        f"{where} has no {kind} '{name}'; {hint}{'' if hint.endswith('?') else '.'} Of a plug-in "
        f"that is not installed here, install it; of your own, give module:name"
    )


def names(kind: str, table: Iterable[str]) -> list[str]:
    """Return the names of a kind: the package's own, then those of installed plug-ins."""
    prefix = f"{kind}."
    points = metadata.entry_points(group=GROUP)
    return [
        *table,
        *sorted(p.name.removeprefix(prefix) for p in points if p.name.startswith(prefix)),
    ]


def name_of(kind: str, thing: Any) -> str:
    """Return the name under which this process finds an object that a program gave: the text itself
    where it is one.

    Where importing "module:name" gives the same thing, that is the name, so that another process
    finds it too. What it would not find there (a lambda, a local function, an object made with
    arguments) has a number behind the name, and is refused in another process rather than mistaken
    for something else.
    """
    if isinstance(thing, str):
        return thing
    source = thing if hasattr(thing, "__qualname__") else type(thing)
    place = f"{source.__module__}:{source.__qualname__}"
    made = _made(thing, f"the {kind}")
    name = place
    if not _stands_for(place, thing):
        numbered = (f"{place}#{number}" for number in count(1))
        name = next(n for n in numbered if _given.get((kind, n), made) is made)
    _given[kind, name] = made
    return name


def _stands_for(place: str, thing: Any) -> bool:
    """Return whether importing a place gives this thing, or, made without arguments, its equal."""
    try:
        found = _imported(place, place)
        if found is thing or isinstance(thing, type):
            return found is thing
        made = _made(found, place)
    except UserError:
        return False
    return type(made) is type(thing) and (
        bool(made == thing) or getattr(made, "__dict__", 0) == getattr(thing, "__dict__", 1)
    )


def _imported(place: str, where: str) -> Any:
    module, _, attribute = place.partition(":")
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(
            f"{where}: {place!r} cannot be imported ({error}); give package.module:name, and for "
            f"a file in this folder run with PYTHONPATH=."
        ) from None
    return found


def _made(found: Any, where: str) -> Any:
    if not isinstance(found, type):
        return found
    try:
        return found()
    except TypeError as error:
        raise UserError(
            f"{where}: {found.__name__} cannot be made without arguments ({error}); give an object "
            "of it, or defaults to its arguments"
        ) from None
