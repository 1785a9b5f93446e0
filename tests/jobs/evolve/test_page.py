"""The report's numbers, by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evoprompt.dynamics.account import (
    FitnessAccount,
    GenerationAccount,
    PriceAccount,
    SelectionAccount,
)
from evoprompt.jobs.evolve.ancestry import ancestry, operator_effects, what_changed
from evoprompt.jobs.evolve.figures import price_figure
from evoprompt.jobs.evolve.page import write_lineage_page
from evoprompt.jobs.held_out import Share
from evoprompt.report.text import interval


def birth(
    generation: int, name: str, fitness: float, parents: dict[str, float], operator: str
) -> dict:
    return {
        "generation": generation,
        "birth_id": name,
        "policy_id": f"policy-{name}",
        "parent_ids": list(parents),
        "shares": list(parents.values()),
        "operator": operator,
        "fitness": fitness,
        "traits": {"fitness": fitness},
        "policy": {"demonstrations": [["x", "y"]] * generation},
    }


LINEAGE = [
    birth(0, "a", 1.0, {}, "found"),
    birth(0, "b", 3.0, {}, "found"),
    birth(1, "b2", 3.0, {"b": 1.0}, "survive"),
    birth(1, "c", 2.5, {"a": 0.5, "b": 0.5}, "cross"),
    birth(1, "d", 0.0, {"a": 1.0}, "edit"),
    birth(2, "e", 4.0, {"c": 0.5, "b2": 0.5}, "cross"),
]


def test_an_operators_effect_is_over_the_mid_parent_and_counts_the_dead():
    # c: 2.5 - (1 + 3) / 2; e: 4 - (2.5 + 3) / 2; d: 0 - 1
    effects = operator_effects(LINEAGE)
    assert effects == {"cross": pytest.approx([0.5, 1.25]), "edit": [-1.0]}


def test_the_ancestry_follows_the_fitter_parent_to_a_founder():
    steps = ancestry(LINEAGE, "policy-e")
    assert [(s.generation, s.operator, s.fitness) for s in steps] == [
        (0, "found", 3.0),
        (1, "survive", 3.0),
        (2, "cross", 4.0),
    ]
    assert [s.gain for s in steps] == [None, 0, pytest.approx(1.25)]
    assert [s.num_demonstrations for s in steps] == [0, 1, 2]


def test_a_step_says_what_changed_slot_by_slot():
    parent = {
        "instruction": "Sort.",
        "demonstrations": [["x", "1"], ["y", "2"]],
        "label_words": [["1", "one"]],
    }
    assert what_changed(parent, parent | {"instruction": "Decide."}) == "instruction: 'Decide.'"
    assert (
        what_changed(parent, parent | {"demonstrations": [["y", "2"], ["x", "1"]]})
        == "demonstrations in another order"
    )
    assert (
        what_changed(parent, parent | {"demonstrations": [["y", "2"], ["z", "1"]]})
        == "+ demonstration 'z': '1'; - demonstration 'x': '1'"
    )
    assert (
        what_changed(parent, parent | {"label_words": [["1", "uno"]]})
        == 'label words: [["1", "uno"]]'
    )
    assert what_changed(parent, dict(parent)) == ""
    assert (
        what_changed(
            {"template": ["", "?", "\n"], "steps": ["Who?"]}, {"evaluator": {}, "steps": ["Wó?"]}
        )
        == 'template: null; steps: ["Wó?"]; evaluator: {}'
    )


def test_an_interval_is_written_with_its_sign_where_it_is_a_difference():
    assert interval(Share(0.5, (0.25, 0.75))) == ("0.500", "[0.250, 0.750]")
    assert interval(Share(0.1, (-0.05, 0.25)), signed=True) == (
        "+0.100",
        "[-0.050, +0.250]",
    )


def test_the_bars_of_a_generation_add_up_with_immigrants_and_parents_that_were_measured_again():
    account = PriceAccount(
        reproduction=SelectionAccount(1.0),
        transmission=-2.0,
        transmission_by_operator={"edit": -2.0},
        immigration=0.5,
        survival=SelectionAccount(3.0),
        change=2.75,
        residual=0.0,
        batch_shift=0.5,
        noise_giveback=-0.25,
    )
    founders = GenerationAccount(0, 1, 1, FitnessAccount(0, 0, 0), {})
    drawn = price_figure([founders, replace(founders, generation=1, price={"z": account})], "z")
    assert "immigration" in drawn
    assert "measuring again" in drawn
    common = replace(account, immigration=0.0, batch_shift=None, noise_giveback=None)
    plain = price_figure([replace(founders, generation=1, price={"z": common})], "z")
    assert "immigration" not in plain
    assert "measuring again" not in plain
    assert "selection in survival" in plain


@pytest.mark.parametrize("has", [(1, 2), (2,)])
def test_a_trait_that_the_first_generations_lack_has_a_panel_with_a_gap(tmp_path: Path, has: tuple):
    rows = [
        {
            "generation": g,
            "birth_id": f"{g}.{i}",
            "parent_ids": [f"{g - 1}.{i}"] if g else [],
            "shares": [1.0] if g else [],
            "operator": "edit" if g else "found",
            "selected": True,
            "fitness": g + i / 10,
            "traits": {"size": i, **({"odd_one": 1.0 + i} if g in has else {})},
        }
        for g in range(3)
        for i in range(3)
    ]
    (tmp_path / "lineage.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = write_lineage_page(tmp_path).read_text()
    assert "odd one" in page
