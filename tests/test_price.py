"""Invariants: (1) the parts add up for any lineage; (2) equal success means no selection; (3) clones mean no transmission;
(4) both stages together are the whole change; (5) a slow double loop says the same."""

from __future__ import annotations

from math import fsum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.dynamics.price import generation_terms, price_terms
from evoprompt.policy import Policy
from evoprompt.records import Birth, Evaluation, LineageEntry, Member


@st.composite
def stages(draw):
    """A random stage: up to 12 parents and 12 births of up to 3 parents each, some immigrants, three operators."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_parents, num_births = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    shares = np.zeros((num_births, num_parents))
    for birth in range(num_births):
        chosen = rng.choice(num_parents, size=min(num_parents, rng.integers(1, 4)), replace=False)
        shares[birth, chosen] = rng.dirichlet(np.ones(len(chosen)))
    shares[1:][rng.random(num_births - 1) < 0.2] = 0
    operators = rng.choice(["survive", "edit", "crossover"], size=num_births).tolist()
    return rng.normal(size=num_parents), rng.normal(size=num_births), shares, operators


def slow_terms(parents, births, shares, operators):
    """The same by double loops over the definition, for the reader and the differential test."""
    native = [j for j in range(len(births)) if sum(shares[j]) > 0]
    share_native = len(native) / len(births)
    mean = fsum(parents) / len(parents)
    success = [fsum(shares[j][i] for j in range(len(births))) for i in range(len(parents))]
    mean_success = fsum(success) / len(success)
    covariance = fsum((w - mean_success) * (z - mean) for w, z in zip(success, parents, strict=True)) / len(parents)
    transmission = {}
    for j in native:
        effect = births[j] - fsum(shares[j][i] * parents[i] for i in range(len(parents)))
        transmission[operators[j]] = transmission.get(operators[j], 0) + share_native * effect / len(native)
    return share_native * covariance / mean_success, transmission


def test_two_parents_and_three_births_worked_by_hand():
    # z = (1, 3), mean 2. The second parent survives (3) and is edited (4); a cross of both with equal shares gets 2.
    # w = (0.5, 2.5), mean 1.5: cov = ((-1)(-1) + (1)(1)) / 2 = 1, selection 1 / 1.5 = 2/3.
    # z' - A z = 0, 1, 0: transmission by the edit 1/3. Change: (3 + 4 + 2) / 3 - 2 = 1 = 2/3 + 1/3.
    terms = price_terms(np.array([1.0, 3.0]), np.array([3.0, 4.0, 2.0]), np.array([[0, 1], [0, 1], [0.5, 0.5]]), ["survive", "edit", "crossover"])
    assert terms.selection == pytest.approx(2 / 3)
    assert terms.transmission == pytest.approx({"survive": 0, "edit": 1 / 3, "crossover": 0})
    assert terms.immigration == 0
    assert terms.change == pytest.approx(1)


@given(stages())
def test_the_parts_add_up_for_any_stage(stage):
    assert abs(price_terms(*stage).residual) < 1e-12


@given(stages())
def test_double_loops_over_the_definition_say_the_same(stage):
    selection, transmission = slow_terms(*stage)
    terms = price_terms(*stage)
    assert terms.selection == pytest.approx(selection, abs=1e-12)
    assert dict(terms.transmission) == pytest.approx(transmission, abs=1e-12)


@given(stages())
def test_equal_reproductive_success_leaves_no_selection(stage):
    parents, _, _, _ = stage
    terms = price_terms(parents, parents + 1, np.eye(len(parents)), ["edit"] * len(parents))
    assert terms.selection == pytest.approx(0, abs=1e-12)
    assert terms.transmission == pytest.approx({"edit": 1})


@given(stages())
def test_clones_leave_no_transmission(stage):
    parents, _, _, _ = stage
    picks = np.random.default_rng(0).integers(len(parents), size=7)
    terms = price_terms(parents, parents[picks], np.eye(len(parents))[picks], ["survive"] * 7)
    assert terms.transmission == pytest.approx({"survive": 0}, abs=1e-12)


def test_the_identity_would_catch_a_sample_covariance():
    """Power twin: the same sum with ddof = 1 must fail, or the tests above prove nothing."""
    parents, births = np.array([1.0, 3.0]), np.array([3.0, 4.0, 2.0])
    terms = price_terms(parents, births, np.array([[0, 1], [0, 1], [0.5, 0.5]]), ["a", "b", "c"])
    wrong_selection = terms.selection * len(parents) / (len(parents) - 1)
    assert abs(terms.residual + terms.selection - wrong_selection) > 0.1


@pytest.mark.parametrize(("shares", "message"), [([[0.5, 0.4]], "sum to 0.9"), ([[0.0, 0.0]], "no birth has parents")])
def test_a_broken_lineage_is_refused_with_its_reason(shares, message):
    with pytest.raises(ValueError, match=message):
        price_terms(np.array([1.0, 2.0]), np.array([1.0]), np.array(shares), ["edit"])


def test_a_trait_that_is_nan_is_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        price_terms(np.array([np.nan]), np.array([1.0]), np.array([[1.0]]), ["edit"])


def entry(birth_id: str, value: float, parents: dict[str, float], operator: str, *, selected: bool, generation: int = 1) -> LineageEntry:
    birth = Birth(birth_id, Policy(birth_id), tuple(parents), tuple(parents.values()), operator)
    return LineageEntry(generation, 0, Member(birth, Evaluation(value, (), {"z": value, "twice": 2 * value})), selected)


@st.composite
def generations(draw):
    """The selected of one generation, and all births of the next, of which some are selected."""
    parents, births, shares, operators = draw(stages())
    before = [entry(f"p{i}", float(z), {}, "found", selected=True, generation=0) for i, z in enumerate(parents)]
    chosen = draw(st.sets(st.integers(0, len(births) - 1), min_size=1))
    after = [
        entry(f"b{j}", float(z), {f"p{i}": float(s) for i, s in enumerate(shares[j]) if s}, operators[j], selected=j in chosen)
        for j, z in enumerate(births)
    ]
    return before, after


@given(generations())
def test_both_stages_are_the_whole_change_from_selected_to_selected(generation):
    before, after = generation
    terms = generation_terms(before, after)
    assert set(terms) == {"z", "twice"}
    values = [e.member.evaluation.traits["z"] for e in after if e.selected]
    assert terms["z"].change == pytest.approx(np.mean(values) - np.mean([e.member.evaluation.traits["z"] for e in before]))
    for name in terms:
        assert abs(terms[name].residual) < 1e-12


def test_operators_are_judged_by_all_births_and_not_by_the_selected():
    # One parent (0); three edits: -2, -1, +3, of which the best is selected. The edit's true mean effect is 0, not +3.
    before = [entry("p", 0, {}, "found", selected=True, generation=0)]
    after = [entry(f"b{z}", z, {"p": 1.0}, "edit", selected=z == 3) for z in (-2, -1, 3)]
    terms = generation_terms(before, after)["z"]
    assert terms.reproduction.transmission["edit"] == pytest.approx(0)
    assert terms.survival == pytest.approx(3)


def test_parents_that_were_not_selected_are_not_ancestors():
    before = [entry("p", 1, {}, "found", selected=True, generation=0), entry("dead", 9, {}, "found", selected=False, generation=0)]
    assert generation_terms(before, [entry("b", 1, {"p": 1.0}, "survive", selected=True)])["z"].change == 0
    with pytest.raises(ValueError, match="names the parent dead"):
        generation_terms(before, [entry("b", 1, {"dead": 1.0}, "edit", selected=True)])


def test_a_generation_without_survivors_is_refused():
    with pytest.raises(ValueError, match="no birth is selected"):
        generation_terms([entry("p", 1, {}, "found", selected=True)], [entry("b", 1, {"p": 1.0}, "edit", selected=False)])
