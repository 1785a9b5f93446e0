"""Invariants: a history's lines and summary are those of the parts that it is made of; it says what
is undefined; large runs fit.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from reference.wright_fisher import lineage

from evoprompt.dynamics.account import GenerationAccount
from evoprompt.dynamics.history import History
from evoprompt.dynamics.population import Births, generations
from evoprompt.dynamics.price import generation_terms
from evoprompt.jobs.evolve.dynamics_page import dynamics_sections
from evoprompt.jobs.evolve.folder import GENERATIONS, LINEAGE, EvolveFolder


def followed(births: list[Births], **more) -> History:
    history = History()
    for generation in births:
        history.add(generation, **more)
    return history


@pytest.fixture
def births() -> list[Births]:
    """Six generations of twelve, whose only trait is their fitness."""
    rows = lineage(12, 6, np.random.default_rng(3), mutation=0.3)
    return list(generations(row | {"traits": {}, "fitness": row["traits"]["z"]} for row in rows))


def test_a_line_is_the_account_of_its_generation(births):
    history = followed(births)
    assert [line.generation for line in history.lines] == [b.generation for b in births]
    assert history.lines[0].price == {}
    for before, after, line in zip(births[:-1], births[1:], history.lines[1:], strict=True):
        terms = generation_terms(before, after)
        at = terms.trait_names.index("fitness")
        selection = line.price["fitness"].reproduction.selection
        assert selection == terms.reproduction.selection.total[at]
        assert line.fitness.mean == pytest.approx(after.trait("fitness")[after.selected].mean())
        assert line.diversity["num_policies"] == len(
            {p for p, s in zip(after.policy_ids, after.selected, strict=True) if s}
        )


def test_the_continuous_form_agrees_on_fitness_and_leaves_other_traits_what_came_with_it():
    """On fitness itself cov(f, f) S_f / var(f) is S_f; a trait that is twice the fitness moves
    twice as far.
    """
    rows = lineage(12, 2, np.random.default_rng(3), mutation=0.3)
    history = followed(
        list(
            generations(
                row | {"traits": {"fitness": row["traits"]["z"], "twice": 2 * row["traits"]["z"]}}
                for row in rows
            )
        )
    )
    for line in history.lines[1:]:
        terms = line.price["fitness"].reproduction
        assert terms.continuous == pytest.approx(terms.selection)
        assert line.price["twice"].reproduction.continuous == pytest.approx(2 * terms.selection)


def test_the_terms_of_the_whole_run_are_its_change(births):
    total = followed(births).summary()["price"]["fitness"]
    parts = (
        total["reproduction/selection"]
        + total["transmission"]
        + total["immigration"]
        + total["survival/selection"]
    )
    assert parts == pytest.approx(total["change"], abs=1e-12)
    means = [b.trait("fitness")[b.selected].mean() for b in (births[0], births[-1])]
    assert total["change"] == pytest.approx(means[1] - means[0], abs=1e-12)


def test_errors_of_the_whole_run_are_those_of_the_summed_terms(births):
    """The change of a run is a paired difference of two means over the same examples, so its error
    is that of paired examples.
    """
    rng = np.random.default_rng(0)
    history = History()
    by_policy = {p: rng.normal(size=40) for g in births for p in g.policy_ids}
    cases = [np.stack([by_policy[p] for p in generation.policy_ids]) for generation in births]
    for generation in births:
        history.add(generation, lambda policy, _: {"fitness": by_policy[policy]})
    difference = cases[-1][births[-1].selected].mean(axis=0) - cases[0][births[0].selected].mean(
        axis=0
    )
    error = history.summary()["price"]["fitness"]["standard_error"]["change"]
    assert error == pytest.approx(difference.std(ddof=1) / np.sqrt(40))


def test_history_is_plain_json_and_says_what_is_undefined(births):
    history = followed(births)
    lines = [line.to_dict() for line in history.lines]
    text = json.dumps([lines, history.summary()], allow_nan=False)
    assert [GenerationAccount.from_dict(line) for line in lines] == history.lines
    assert history.lines[1].gradients == {"undefined": "no trait varies"}
    assert "nan" not in text.lower()


def test_chances_given_later_are_those_of_the_lineage(births):
    bare = History()
    bare.add(births[0].with_chances(None))
    p = np.full(int(births[0].selected.sum()), 1 / births[0].selected.sum())
    line = bare.add(births[1], chances=p.tolist(), filling=None)
    assert line.price["fitness"].reproduction.drift is not None
    assert line.price["fitness"].reproduction.drift_variance is None
    assert bare.summary()["drift"] is None


def test_slots_that_are_filled_together_leave_less_to_chance(births):
    p = [1 / 12] * 12
    variances = []
    for filling in ("independent", "set"):
        history = History()
        history.add(births[0])
        account = history.add(births[1], chances=p, filling=filling, num_slots=18)
        variances.append(account.price["fitness"].reproduction.drift_variance)
    # Twelve of 18 slots have a share of 1. Each individual fills one, and six of the twelve one
    # more: with V the twelve's variance var(T) = 6 * 6 / 11 V and m_a = 12/18, sum (a - m_a)^2 = 4:
    # in all (4/9 * 36/11 + 4 (18 - 2/11) / 17) V, where independent slots have 12 V.
    assert variances[1] / variances[0] == pytest.approx(
        (4 / 9 * 36 / 11 + 4 * (18 - 2 / 11) / 17) / 12
    )


@pytest.mark.parametrize(
    ("record", "filling", "num_slots"),
    [
        ({"filling": "spaced", "num_slots": 15}, "spaced", 15),
        ({"filling": None, "num_slots": 15}, None, 15),
    ],
)
def test_how_slots_were_filled_is_read_from_the_run_folder(record, filling, num_slots, tmp_path):
    rows = [
        row | {"fitness": row["traits"]["z"]} for row in lineage(2, 1, np.random.default_rng(0))
    ]
    lines = [
        {"generation": 0, "parent_selection": None},
        {"generation": 1, "parent_selection": {"probability": [0.25, 0.75]} | record},
    ]
    for name, content in ((LINEAGE, rows), (GENERATIONS, lines)):
        (tmp_path / name).write_text(
            "".join(json.dumps(line) + "\n" for line in content), encoding="utf-8"
        )
    first, last = EvolveFolder(tmp_path).births()
    assert (first.filling, first.num_slots, first.selection_probability.tolist()) == (
        filling,
        num_slots,
        [0.25, 0.75],
    )
    assert (last.filling, last.num_slots) == ("independent", None)


@pytest.mark.parametrize(
    ("filling", "said"),
    [
        ("independent", "Test of the scheme"),
        ("set", "left nothing to chance"),
        (None, "How the slots were filled is not known"),
    ],
)
def test_the_report_says_what_is_known_of_drift(filling, said, births):
    history = History()
    history.add(births[0])
    one_child_each = replace(births[1], parent=np.arange(12))
    history.add(one_child_each, chances=[1 / 12] * 12, filling=filling)
    page = "".join(dynamics_sections(history, history.summary()))
    notes = (
        "Test of the scheme",
        "left nothing to chance",
        "How the slots were filled is not known",
    )
    assert [note for note in notes if note in page] == [said]


def test_heritability_is_undefined_where_selection_is_within_what_chance_does():
    """Parents drawn with equal chances: the sum of S is drift alone, within 2 SD of 0 in about 95 %
    of histories. That 14 or fewer of 20 are has a probability of 3e-4.
    """

    def undefined(seed: int, errors: bool) -> bool:
        rows = lineage(12, 6, np.random.default_rng(seed), mutation=0.3)
        told = [row | {"fitness": row["traits"]["z"]} for row in rows]
        known = [{k: v for k, v in row.items() if k != "selection_probability"} for row in told]
        history = followed(list(generations(told if errors else known)))
        return isinstance(history.summary()["heritability"]["z"], dict)

    assert sum(undefined(seed, errors=True) for seed in range(20)) > 14
    assert not any(undefined(seed, errors=False) for seed in range(20))  # power: nothing known


def test_the_error_of_selection_has_the_examples_and_the_draw(births):
    history = followed(births)
    history._differentials["fitness"] = np.array([1.0, 3.0])
    history._chance["fitness"] = 8.0
    # sd of (1, 3) is sqrt(2), over sqrt(2): 1; 1 + 8 = 9
    assert history._selection_error("fitness") == pytest.approx(3.0)
    assert history._selection_error("other") == 0.0
