"""Invariants: a history's lines and summary are those of the parts that it is made of; it says what is undefined; large runs fit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from reference.wright_fisher import lineage

from evoprompt.dynamics.history import History
from evoprompt.dynamics.population import Births, generations
from evoprompt.dynamics.price import generation_terms


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
    assert [line["generation"] for line in history.lines] == [b.generation for b in births]
    assert history.lines[0]["price"] == {}
    for before, after, line in zip(births[:-1], births[1:], history.lines[1:], strict=True):
        terms = generation_terms(before, after)
        at = terms.trait_names.index("fitness")
        assert line["price"]["fitness"]["reproduction"]["selection"] == terms.reproduction.selection.total[at]
        assert line["fitness"]["mean"] == pytest.approx(after.trait("fitness")[after.selected].mean())
        assert line["diversity"]["num_policies"] == len({p for p, s in zip(after.policy_ids, after.selected, strict=True) if s})


def test_the_continuous_form_agrees_on_fitness_and_leaves_other_traits_what_came_with_it():
    """On fitness itself cov(f, f) S_f / var(f) is S_f; a trait that is twice the fitness moves twice as far."""
    rows = lineage(12, 2, np.random.default_rng(3), mutation=0.3)
    history = followed(list(generations(row | {"traits": {"fitness": row["traits"]["z"], "twice": 2 * row["traits"]["z"]}} for row in rows)))
    for line in history.lines[1:]:
        terms = line["price"]["fitness"]["reproduction"]
        assert terms["continuous"] == pytest.approx(terms["selection"])
        assert line["price"]["twice"]["reproduction"]["continuous"] == pytest.approx(2 * terms["selection"])


def test_the_terms_of_the_whole_run_are_its_change(births):
    total = followed(births).summary()["price"]["fitness"]
    parts = total["reproduction/selection"] + total["transmission"] + total["immigration"] + total["survival/selection"]
    assert parts == pytest.approx(total["change"], abs=1e-12)
    means = [b.trait("fitness")[b.selected].mean() for b in (births[0], births[-1])]
    assert total["change"] == pytest.approx(means[1] - means[0], abs=1e-12)


def test_errors_of_the_whole_run_are_those_of_the_summed_terms(births):
    """The change of a run is a paired difference of two means over the same examples, so its error is that of paired examples."""
    rng = np.random.default_rng(0)
    history, cases = History(), []
    for generation in births:
        cases.append(rng.normal(size=(len(generation), 40)))
        history.add(generation, {"fitness": cases[-1]})
    difference = cases[-1][births[-1].selected].mean(axis=0) - cases[0][births[0].selected].mean(axis=0)
    error = history.summary()["price"]["fitness"]["standard_error"]["change"]
    assert error == pytest.approx(difference.std(ddof=1) / np.sqrt(40))


def test_history_is_plain_json_and_says_what_is_undefined(births):
    history = followed(births)
    text = json.dumps([history.lines, history.summary()], allow_nan=False)
    assert history.lines[1]["gradients"] == {"undefined": "no trait varies"}
    assert "nan" not in text.lower()


def test_chances_given_later_are_those_of_the_lineage(births):
    bare = History()
    bare.add(births[0].with_chances(None))
    p = np.full(int(births[0].selected.sum()), 1 / births[0].selected.sum())
    line = bare.add(births[1], chances=p.tolist(), independent=False)
    assert "drift" in line["price"]["fitness"]["reproduction"]
    assert "drift_variance" not in line["price"]["fitness"]["reproduction"]
    assert bare.summary()["drift"] is None
