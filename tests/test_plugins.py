"""Names of things that a program gives as objects: each finds its own thing, and another process
finds the same or is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from evoprompt.errors import UserError
from evoprompt.plugins import find, name_of


@dataclass(frozen=True)
class Loud:
    level: int = 1


class Plain:
    pass


def length(policy, scores):
    return 1.0


def again(kind: str, name: str):
    """What another process would find: by import alone."""
    from evoprompt import plugins

    return plugins._made(plugins._imported(name, "test"), "test")


@pytest.mark.parametrize("thing", [Loud, Loud(), Plain, Plain(), length])
def test_what_can_be_imported_has_its_place_as_its_name(thing):
    name = name_of("trait", thing)
    assert name.startswith(f"{__name__}:")
    assert "#" not in name
    assert type(again("trait", name)) is type(find("trait", name, {}, "test"))


def test_an_object_made_with_arguments_is_not_taken_for_one_without():
    name = name_of("operator", Loud(3))
    assert find("operator", name, {}, "test") == Loud(3)
    with pytest.raises(UserError, match="cannot be imported"):
        again("operator", name)


def test_lambdas_and_local_functions_do_not_take_each_others_place():
    functions = [lambda policy, scores, n=n: float(n) for n in range(3)]
    names = [name_of("trait", function) for function in functions]
    assert len(set(names)) == 3
    assert [find("trait", name, {}, "test")(None, None) for name in names] == [0.0, 1.0, 2.0]
    assert [name_of("trait", function) for function in functions] == names


def test_a_text_is_its_own_name():
    assert name_of("fitness", "auto") == "auto"
