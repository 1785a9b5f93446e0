"""Who takes the places of a population that begins anew."""

from __future__ import annotations

import pytest

from evoprompt.evolution.restart import difference, newcomers, restarted
from evoprompt.policy import SLOTS, Demonstration, Policy, Template
from evoprompt.records import RESTART, SURVIVE, Birth, Evaluation, Member, State

A, B, C = (Demonstration(name, "x") for name in "abc")


def test_policies_differ_by_their_slots():
    """Demonstrations {a, b} and {b, c} share one of three, instructions one word of three; the
    template is another.
    """
    first = Policy("Say it.", (A, B))
    second = Policy("say that", (C, B), Template("In: "))
    assert difference(first, second) == pytest.approx((2 / 3 + 2 / 3 + 1) / len(SLOTS))
    assert difference(first, Policy("SAY  it.", (B, A))) == 0
    assert difference(Policy(), Policy()) == 0


def test_newcomers_are_of_the_better_half_and_as_different_as_can_be():
    """Of six others the better half is {a b c}, {b}, {c}. From the kept {a b}, {c} differs most;
    then {a b c} differs from both by 1/3 at least, {b} by 1/2.
    """
    kept, member = Policy("", (A, B)), Policy("", (A,))
    better = {Policy("", (A, B, C)): -1.0, Policy("", (B,)): -1.1, Policy("", (C,)): -1.2}
    worse = {Policy(f"far away {i}", (C,)): -2.0 - i for i in range(3)}
    scored = {kept: -0.5, member: -0.6} | better | worse
    found = newcomers([kept, member], scored, 2)
    assert found == [Policy("", (C,)), Policy("", (B,))]
    assert len(newcomers([kept, member], scored, 10)) == 6
    assert newcomers([kept], {kept: 0.0}, 2) == []


def test_a_restart_keeps_the_fittest_and_gives_the_others_no_parents():
    policies = [Policy("One."), Policy("Two.")]
    members = tuple(
        Member(Birth(f"4.0.{i}", p, (), (), "set"), Evaluation(f, (f,), {"fitness": f}))
        for i, (p, f) in enumerate(zip(policies, (-2.0, -1.0), strict=True))
    )
    brood = restarted(State(0, 4, members), [Policy("Three.")])
    told = [(b.birth_id, b.policy.instruction, b.parent_ids, b.operator) for b in brood.births]
    assert told == [("5.0.0", "Two.", ("4.0.1",), SURVIVE), ("5.0.1", "Three.", (), RESTART)]
