"""Invariants: (1) the parts add up for any lineage; (2) equal success means no selection; (3)
clones mean no transmission; (4) both stages together are the whole change; (5) a slow double loop
says the same; (6) islands, drift and re-measurement split the terms without changing their sum.
"""

from __future__ import annotations

from math import fsum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.dynamics.population import Births, births_of, generations
from evoprompt.dynamics.price import generation_terms, selection_terms

OPERATORS = ("survive", "edit", "crossover")


def line(
    birth_id: str,
    traits: dict[str, float],
    parents: dict[str, float],
    operator: str,
    *,
    selected: bool = True,
    generation: int = 1,
    **more,
):
    row = {
        "generation": generation,
        "island": 0,
        "birth_id": birth_id,
        "policy_id": birth_id,
        "operator": operator,
        "selected": selected,
    }
    return (
        row
        | {"traits": traits, "parent_ids": list(parents), "shares": list(parents.values())}
        | more
    )


def pair(before: list[dict], after: list[dict]) -> tuple[Births, Births]:
    """The two generations of a lineage."""
    first, second = generations([*before, *after])
    return first, second


@st.composite
def lineages(draw):
    """Up to 12 parents, some of them dead, and up to 12 births of up to 3 parents each, some
    immigrants, on up to 3 islands.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_parents, num_births = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    islands = draw(st.integers(1, 3))
    living = rng.choice(num_parents, size=rng.integers(1, num_parents + 1), replace=False)
    chance = np.zeros(num_parents)
    chance[living] = rng.dirichlet(np.ones(len(living)))
    before = [
        line(
            f"p{i}",
            traits(rng),
            {},
            "found",
            selected=i in living,
            generation=0,
            island=int(rng.integers(islands)),
        )
        | ({"selection_probability": float(chance[i])} if i in living else {})
        for i in range(num_parents)
    ]
    after = []
    kept = set(rng.choice(num_births, size=rng.integers(1, num_births + 1), replace=False).tolist())
    for j in range(num_births):
        chosen = rng.choice(living, size=min(len(living), rng.integers(1, 4)), replace=False)
        shares = rng.dirichlet(np.ones(len(chosen)))
        parents = {f"p{i}": float(s) for i, s in zip(chosen, shares, strict=True)}
        if j and rng.random() < 0.2:
            parents = {}
        name = str(rng.choice(OPERATORS))
        after.append(
            line(
                f"b{j}",
                traits(rng),
                parents,
                name,
                selected=j in kept,
                island=int(rng.integers(islands)),
                survival_probability=0.5,
            )
        )
    return before, after


def traits(rng: np.random.Generator) -> dict[str, float]:
    z = float(rng.normal())
    return {"z": z, "twice": 2 * z, "other": float(rng.normal())}


def slow_terms(before, after, trait):
    """The same by double loops over the definition, for the reader and the differential test."""
    z = {p["birth_id"]: p["traits"][trait] for p in before if p["selected"]}
    native = [b for b in after if b["parent_ids"]]
    share_native = len(native) / len(after)
    mean = fsum(z.values()) / len(z)
    success = {
        i: fsum(
            s for b in after for p, s in zip(b["parent_ids"], b["shares"], strict=True) if p == i
        )
        for i in z
    }
    mean_success = fsum(success.values()) / len(success)
    covariance = fsum((success[i] - mean_success) * (z[i] - mean) for i in z) / len(z)
    transmission = {}
    for birth in native:
        effect = birth["traits"][trait] - fsum(
            s * z[p] for p, s in zip(birth["parent_ids"], birth["shares"], strict=True)
        )
        transmission[birth["operator"]] = transmission.get(
            birth["operator"], 0
        ) + share_native * effect / len(native)
    return share_native * covariance / mean_success, transmission


def two_parents(**more):
    return [
        line("a", {"z": 1.0}, {}, "found", generation=0, **more),
        line("b", {"z": 3.0}, {}, "found", generation=0, **more),
    ]


def three_births():
    return [
        line("x", {"z": 3.0}, {"b": 1.0}, "survive"),
        line("y", {"z": 4.0}, {"b": 1.0}, "edit"),
        line("c", {"z": 2.0}, {"a": 0.5, "b": 0.5}, "cross"),
    ]


def test_two_parents_and_three_births_worked_by_hand():
    # z = (1, 3), mean 2. The second parent survives (3) and is edited (4); a cross of both with
    # equal shares gets 2. w = (0.5, 2.5), mean 1.5: cov = ((-1)(-1) + (1)(1)) / 2 = 1, selection 1
    # / 1.5 = 2/3. z' - A z = 0, 1, 0: transmission by the edit 1/3. Change: (3 + 4 + 2) / 3 - 2 = 1
    # = 2/3 + 1/3.
    stage = generation_terms(*pair(two_parents(), three_births())).reproduction
    assert stage.selection.total == pytest.approx(2 / 3)
    assert {k: v.item() for k, v in stage.transmission.items()} == pytest.approx(
        {"survive": 0, "edit": 1 / 3, "cross": 0}
    )
    assert stage.immigration == 0
    assert stage.change == pytest.approx(1)
    assert stage.selection.drift is None
    assert stage.remeasurement is None


def test_drift_worked_by_hand():
    # Slots drawn with p = (1/4, 3/4): the edit's one of share 1, the cross's two of 1/2. The
    # survivor b is certain. E[w] = (1/4 * 2, 1 + 3/4 * 2) = (0.5, 2.5), which is what happened:
    # expected 2/3, drift 0. V_p = 1/4 * 1 + 3/4 * 9 - (10/4)^2 = 0.75; var = 0.75 * (1 + 1/4 + 1/4)
    # / 3^2 = 0.125.
    parents = two_parents()
    parents[0]["selection_probability"], parents[1]["selection_probability"] = 0.25, 0.75
    selection = generation_terms(*pair(parents, three_births())).reproduction.selection
    assert selection.expected == pytest.approx(2 / 3)
    assert selection.drift == pytest.approx(0, abs=1e-15)
    assert selection.drift_variance == pytest.approx(0.125)


def test_drift_of_slots_that_are_filled_together_worked_by_hand():
    # Four slots by truncation: each of z = 1, 3 fills two. The births have three of them, with
    # shares 1, 1/2 and 1/2: the mean of all four is 1/2. The total is certain; dealing adds 4/3
    # (the variance of 1, 1, 3, 3, ddof = 1) * (1/4 + 0 + 0 + 1/4), over 3^2 births.
    parents, births = pair(two_parents(), three_births())
    first = parents.with_chances([0.5, 0.5], "set", 4)
    assert generation_terms(first, births).reproduction.selection.drift_variance == pytest.approx(
        4 / 3 / 2 / 9
    )
    # Spaced points give each two slots as well.
    assert generation_terms(
        parents.with_chances([0.5, 0.5], "spaced", 4), births
    ).reproduction.selection.drift_variance == pytest.approx(2 / 27)
    with pytest.raises(ValueError, match="at least as many slots"):
        generation_terms(parents.with_chances([0.5, 0.5], "set", 2), births)
    unknown = generation_terms(
        parents.with_chances([0.5, 0.5], None), births
    ).reproduction.selection
    assert unknown.drift is not None
    assert unknown.drift_variance is None


def test_islands_worked_by_hand():
    # Islands A (z = 0, 2) and B (z = 4, 6), mean 3; weights 0, 1 on A and 1, 2 on B, sum 4. Change:
    # (2 + 4 + 12) / 4 - 3 = 1.5. Between: (1/4 - 1/2) (1 - 3) + (3/4 - 1/2) (5 - 3) = 1; within:
    # 0.5.
    terms = selection_terms(
        np.array([0.0, 1, 1, 2]), np.array([[0.0], [2], [4], [6]]), np.array([7, 7, 9, 9])
    )
    assert (terms.total.item(), terms.between.item(), terms.within.item()) == pytest.approx(
        (1.5, 1.0, 0.5)
    )


def test_remeasured_parents_worked_by_hand():
    # Parents 1 and 3 are 2 and 3.5 on the new examples: shift (1 + 0.5) / 2 = 0.75. w = (0.5, 2.5)
    # of 3 births: give-back sum w d / sum w - 0.75 = (0.5 + 1.25) / 3 - 0.75 = -1/6. Effects: 3 -
    # 3.5, 4 - 3.5, 2 - 2.75.
    parents = two_parents()
    parents[0]["remeasured"], parents[1]["remeasured"] = {"z": 2.0}, {"z": 3.5}
    terms = generation_terms(*pair(parents, three_births()))
    assert terms.reproduction.remeasurement.shift == pytest.approx(0.75)
    assert terms.reproduction.remeasurement.giveback == pytest.approx(-1 / 6)
    assert terms.reproduction.transmission["cross"] == pytest.approx(-0.25)
    assert abs(terms.residual) < 1e-12


@given(lineages())
def test_the_parts_add_up_for_any_lineage_from_selected_to_selected(lineage):
    before, after = lineage
    terms = generation_terms(*pair(before, after))
    assert terms.trait_names == ("z", "twice", "other")
    assert np.abs(terms.residual).max() < 1e-12
    means = [np.mean([r["traits"]["z"] for r in rows if r["selected"]]) for rows in lineage]
    assert terms.change[0] == pytest.approx(means[1] - means[0], abs=1e-12)
    stage = terms.reproduction
    assert np.abs(stage.change - stage.explained).max() < 1e-12


@given(lineages())
def test_islands_and_drift_split_selection_without_a_rest(lineage):
    terms = generation_terms(*pair(*lineage))
    for selection in (terms.reproduction.selection, terms.survival):
        assert np.abs(selection.total - selection.between - selection.within).max() < 1e-12
        assert np.abs(selection.total - selection.expected - selection.drift).max() < 1e-12


@given(lineages(), st.integers(0, 2**32 - 1))
def test_the_parts_add_up_when_parents_were_measured_again(lineage, seed):
    before, after = lineage
    rng = np.random.default_rng(seed)
    terms = generation_terms(*pair([row | {"remeasured": traits(rng)} for row in before], after))
    assert np.abs(terms.residual).max() < 1e-12
    plain = generation_terms(*pair(before, after))
    assert terms.reproduction.selection.total == pytest.approx(plain.reproduction.selection.total)


@given(lineages())
def test_double_loops_over_the_definition_say_the_same(lineage):
    stage = generation_terms(*pair(*lineage)).reproduction
    for place, trait in enumerate(("z", "twice", "other")):
        selection, transmission = slow_terms(*lineage, trait)
        assert stage.selection.total[place] == pytest.approx(selection, abs=1e-12)
        assert {k: v[place] for k, v in stage.transmission.items()} == pytest.approx(
            transmission, abs=1e-12
        )


@pytest.mark.slow
def test_drift_is_zero_in_the_mean_and_its_variance_is_the_closed_form():
    """4,000 broods drawn with known probabilities: |mean| below 4 standard errors (false alarm
    6e-5), variance within 12 %.
    """
    rng = np.random.default_rng(5)
    p, z = rng.dirichlet(np.ones(5)), rng.normal(size=5)
    before = births_of(
        [
            line(f"p{i}", {"z": z[i]}, {}, "found", generation=0, selection_probability=p[i])
            for i in range(5)
        ],
        {},
    )
    index = {name: i for i, name in enumerate(before.birth_ids)}
    drifts = []
    for _ in range(4000):
        slots = rng.choice(5, size=(6, 2), p=p)
        rows = [
            line(f"b{j}", {"z": 0.0}, {}, "mix")
            | {"parent_ids": [f"p{a}", f"p{b}"], "shares": [0.5, 0.5]}
            for j, (a, b) in enumerate(slots)
        ]
        selection = generation_terms(
            before, births_of([line("s", {"z": z[0]}, {"p0": 1.0}, "survive"), *rows], index)
        ).reproduction.selection
        drifts.append((selection.drift.item(), selection.drift_variance.item()))
    drift, closed = np.array(drifts).T
    variance = (p @ z**2 - (p @ z) ** 2) * 6 * 2 * 0.25 / 7**2
    assert closed == pytest.approx(variance)
    assert abs(drift.mean()) < 4 * np.sqrt(variance / len(drift))
    assert drift.var() == pytest.approx(variance, rel=0.12)
    assert drift.var() != pytest.approx(
        2 * variance, rel=0.12
    )  # what a variance that forgets the shares would say


def test_equal_reproductive_success_leaves_no_selection():
    parents = two_parents()
    after = [line("x", {"z": 2.0}, {"a": 1.0}, "edit"), line("y", {"z": 4.0}, {"b": 1.0}, "edit")]
    stage = generation_terms(*pair(parents, after)).reproduction
    assert stage.selection.total == pytest.approx(0, abs=1e-12)
    assert stage.transmission["edit"] == pytest.approx(1)


def test_clones_leave_no_transmission():
    after = [line(f"c{i}", {"z": 3.0}, {"b": 1.0}, "survive") for i in range(3)]
    assert generation_terms(*pair(two_parents(), after)).reproduction.transmission[
        "survive"
    ] == pytest.approx(0, abs=1e-12)


def test_the_identity_would_catch_a_sample_covariance():
    """Power twin: the same sum with ddof = 1 must fail, or the tests above prove nothing."""
    terms = generation_terms(*pair(two_parents(), three_births()))
    wrong_selection = terms.reproduction.selection.total * 2 / (2 - 1)
    assert abs(terms.residual + terms.reproduction.selection.total - wrong_selection) > 0.1


def test_operators_are_judged_by_all_births_and_not_by_the_selected():
    # One parent (0); three edits: -2, -1, +3, of which the best is selected. The edit's true mean
    # effect is 0, not +3.
    before = [line("p", {"z": 0.0}, {}, "found", generation=0)]
    after = [
        line(f"b{z}", {"z": z}, {"p": 1.0}, "edit", selected=z == 3) for z in (-2.0, -1.0, 3.0)
    ]
    terms = generation_terms(*pair(before, after))
    assert terms.reproduction.transmission["edit"] == pytest.approx(0)
    assert terms.survival.total == pytest.approx(3)


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ([line("x", {"z": 1.0}, {"a": 0.5, "b": 0.4}, "edit")], "shares of birth x sum to 0.9"),
        ([line("x", {"z": 1.0}, {}, "edit")], "no birth of generation 1 has parents"),
        ([line("x", {"z": 1.0}, {"nobody": 1.0}, "edit")], "names the parent nobody"),
        ([line("x", {"z": float("nan")}, {"a": 1.0}, "edit")], "birth x: 'traits' is"),
        (
            [line("x", {"z": 1.0}, {"a": 1.0}, "edit", selected=False)],
            "no birth of generation 1 is selected",
        ),
        (
            [line("x", {"z": 1.0}, {"a": 1.0}, "edit"), line("x", {"z": 1.0}, {"a": 1.0}, "edit")],
            "birth x comes twice",
        ),
        ([line("x", {"z": 1.0}, {"a": 1.0}, "edit") | {"shares": []}], "1 parents and 0 shares"),
    ],
)
def test_a_broken_lineage_is_refused_with_its_reason(after, message):
    with pytest.raises(ValueError, match=message):
        generation_terms(*pair(two_parents(), after))


def test_generations_out_of_order_are_refused():
    with pytest.raises(ValueError, match="in order of generation"):
        list(
            generations(
                [
                    line("x", {"z": 1.0}, {}, "found", generation=3),
                    line("y", {"z": 1.0}, {}, "found", generation=2),
                ]
            )
        )


def test_parents_that_were_not_selected_are_not_ancestors():
    before = [
        line("p", {"z": 1.0}, {}, "found", generation=0),
        line("dead", {"z": 9.0}, {}, "found", generation=0, selected=False),
    ]
    assert (
        generation_terms(*pair(before, [line("b", {"z": 1.0}, {"p": 1.0}, "survive")])).change == 0
    )
    with pytest.raises(ValueError, match="the parent dead, which was not selected"):
        generation_terms(*pair(before, [line("b", {"z": 1.0}, {"dead": 1.0}, "edit")]))


def test_parents_measured_again_in_part_are_refused():
    parents = two_parents()
    parents[0]["remeasured"] = {"z": 2.0}
    with pytest.raises(ValueError, match="confounded"):
        generation_terms(*pair(parents, three_births()))
