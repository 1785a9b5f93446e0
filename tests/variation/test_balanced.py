"""Edits of the demonstrations that heed their labels."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Materials
from evoprompt.variation.catalog import OPERATORS

BY_NAME = {operator.name: operator for operator, _ in OPERATORS}
X = tuple(Demonstration(f"x {i}", "x") for i in range(6))
Y = tuple(Demonstration(f"y {i}", "y") for i in range(6))
Z = tuple(Demonstration(f"z {i}", "z") for i in range(6))
TWO = Materials(demonstrations=X + Y, choices=(("x", "y"),), max_demonstrations=8)
THREE = Materials(demonstrations=X + Y + Z, choices=(("x", "y", "z"),), max_demonstrations=8)
FREE = Materials(demonstrations=X + Y)


def made(
    name: str, shown: tuple[Demonstration, ...], materials: Materials, seeds: int = 100
) -> set[tuple[Demonstration, ...] | None]:
    children = [
        BY_NAME[name].apply((Policy("A.", shown),), materials, np.random.default_rng(seed))
        for seed in range(seeds)
    ]
    assert all(c is None or c.instruction == "A." for c in children)
    return {c and c.demonstrations for c in children}


def targets(name: str, shown: tuple[Demonstration, ...], materials: Materials) -> set[str]:
    return {
        "".join(d.target for d in child)
        for child in made(name, shown, materials)
        if child is not None
    }


def test_an_empty_prompt_gets_one_of_each_label():
    assert targets("demonstration_balance", (), TWO) == {"xy", "yx"}
    assert all(sorted(t) == ["x", "y", "z"] for t in targets("demonstration_balance", (), THREE))


def test_shares_are_balanced_by_the_label_shown_least_or_the_one_shown_most():
    # (3, 1): one more y, or one x less; nothing else brings (3/4, 1/4) nearer
    assert targets("demonstration_balance", X[:3] + Y[:1], TWO) == {
        "xxy",
        "yxxxy",
        "xyxxy",
        "xxyxy",
        "xxxyy",
    }
    # (1, 0): no x less, which would leave nothing
    assert targets("demonstration_balance", X[:1], TWO) == {"xy", "yx"}
    # (2, 1, 1): squares 6/16; one x less 1/3, one y or z more 9/25
    children = targets("demonstration_balance", (*X[:2], Y[0], Z[0]), THREE)
    assert {"".join(sorted(t)) for t in children} == {"xyz", "xxyyz", "xxyzz"}
    # (1, 1, 0): squares 1/2; one less 1, one z more 1/3
    assert {"".join(sorted(t)) for t in targets("demonstration_balance", (X[0], Y[0]), THREE)} == {
        "xyz"
    }
    assert made("demonstration_balance", X[:1] + Y[:1], TWO) == {None}


def test_where_the_prompt_is_full_or_the_label_used_up_one_is_left_out():
    full = Materials(demonstrations=X + Y, choices=(("x", "y"),), max_demonstrations=4)
    assert targets("demonstration_balance", X[:3] + Y[:1], full) == {"xxy"}
    few = Materials(demonstrations=X + Y[:1], choices=(("x", "y"),), max_demonstrations=8)
    assert targets("demonstration_balance", X[:3] + Y[:1], few) == {"xxy"}
    none = Materials(demonstrations=X + Y, choices=(("x", "y"),), max_demonstrations=0)
    assert made("demonstration_balance", (), none) == {None}


def test_of_more_labels_than_fit_no_label_comes_twice():
    small = Materials(demonstrations=X + Y + Z, choices=(("x", "y", "z"),), max_demonstrations=2)
    assert targets("demonstration_balance", (), small) == {"xy", "xz", "yx", "yz", "zx", "zy"}
    assert targets("demonstration_set", (X[0], Y[0]), small) == {"xy", "xz", "yx", "yz", "zx", "zy"}


def test_a_swap_in_a_label_keeps_every_place_its_label():
    shown = (X[0], Y[0], X[1])
    children = made("demonstration_swap_in_label", shown, TWO, 300)
    assert {"".join(d.target for d in c) for c in children} == {"xyx"}
    # one of four other x in either of two places, or one of five other y in one
    assert len(children) == 2 * 4 + 5
    used_up = Materials(demonstrations=X[:1] + Y, choices=(("x", "y"),))
    assert {c[0] for c in made("demonstration_swap_in_label", (X[0], Y[0]), used_up)} == {X[0]}
    assert made("demonstration_swap_in_label", (X[0],), used_up) == {None}


def test_an_order_has_the_labels_in_turns_or_one_last():
    shown = (*X[:2], *Y[:2])
    in_turns, last = {"xyxy", "xyyx", "yxxy", "yxyx"}, {"xxyy", "yyxx"}
    assert targets("demonstration_order", shown, TWO) == in_turns | last
    children = made("demonstration_order", shown, TWO, 1000)
    assert all(c is None or set(c) == set(shown) for c in children)
    assert shown not in children
    assert len(children - {None}) == 6 * 4 - 1
    assert made("demonstration_order", X[:1], TWO) == {None}


def test_a_set_is_of_the_same_size_new_and_even():
    shown = (X[0], X[1], X[2], Y[0])
    children = made("demonstration_set", shown, TWO)
    assert all(not set(c) & set(shown) for c in children)
    assert all(Counter(d.target for d in c) == {"x": 2, "y": 2} for c in children)
    assert {"".join(d.target for d in c) for c in children} == {"xyxy", "xyyx", "yxxy", "yxyx"}
    assert made("demonstration_set", (), TWO) == {None}
    assert made("demonstration_set", X[:3] + Y[:4], TWO) == {None}  # five are left


@pytest.mark.parametrize("offers", [(), (("x", "q"), ("y", "r"))], ids=["free form", "choices"])
def test_without_shared_choices_all_examples_are_of_one_label(offers):
    materials = Materials(demonstrations=X[:3] + Y[:3], choices=offers)
    assert {len(c) for c in made("demonstration_balance", (), materials)} == {1}
    assert made("demonstration_balance", X[:2], materials) == {None}
    assert {c[0] for c in made("demonstration_swap_in_label", X[:1], materials)} == {
        *X[1:3],
        *Y[:3],
    }
    three = X[:3]
    assert len(made("demonstration_order", three, materials) - {None}) == 5  # 3! - 1
    assert {frozenset(c) for c in made("demonstration_set", three, materials)} == {frozenset(Y[:3])}


def test_a_demonstration_of_none_of_the_choices_is_a_label_of_its_own():
    stray = Demonstration("q", "q")
    assert all(
        c[c.index(stray)] == stray for c in made("demonstration_swap_in_label", (X[0], stray), TWO)
    )
    assert targets("demonstration_balance", (X[0], stray), TWO) >= {"xqy", "yxq"}
