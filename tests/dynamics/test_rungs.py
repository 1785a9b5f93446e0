"""Invariants: (1) the parts of a generation that is measured on rungs add up for any lineage; (2) a
slow loop over the definition says the same; (3) operators are judged on the first examples, over
all births; (4) births and parents on different examples are never compared in silence.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from math import fsum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.races import birth, on, race_lineage

from evoprompt.dynamics.account import (
    PriceAccount,
    example_degrees,
    example_errors,
    price_account,
)
from evoprompt.dynamics.cases import spread, strata
from evoprompt.dynamics.comparison import price_totals
from evoprompt.dynamics.evolvability import evolvability
from evoprompt.dynamics.history import History
from evoprompt.dynamics.population import Births, generations
from evoprompt.dynamics.price import generation_terms, restart_terms
from evoprompt.dynamics.remeasured import (
    gains,
    on_one_measurement,
    unknown_parents,
    with_parents,
)
from evoprompt.jobs.compare.runs import read_run
from evoprompt.jobs.evolve.ancestry import ancestry, operator_effects
from evoprompt.jobs.evolve.dynamics_page import dynamics_sections


def z(**values: float) -> dict[int, dict[str, float]]:
    """What a birth is worth by number of examples: `z(on2=1.0, on4=3.0)`."""
    return {int(name[2:]): {"fitness": value} for name, value in values.items()}


SELECTED = {"selected": True}


def two_parents() -> list[dict]:
    return [
        birth("a", 0, {}, "found") | on(z(on4=1.0), 1) | {"selected": True},
        birth("b", 0, {}, "found") | on(z(on4=3.0), 1) | {"selected": True},
    ]


def four_births() -> list[dict]:
    chosen = {"selected": True}
    return [
        birth("x", 1, {"b": 1.0}, "survive") | on(z(on2=2.0, on4=3.0), 2) | chosen,
        birth("s", 1, {"a": 1.0}, "survive") | on(z(on2=1.0, on4=1.0), 2),
        birth("y", 1, {"b": 1.0}, "edit") | on(z(on2=4.0, on4=5.0), 2) | chosen,
        birth("c", 1, {"a": 0.5, "b": 0.5}, "mix") | on(z(on2=0.5, on4=0.0), 1),
    ]


def pair(rows: list[dict]) -> tuple[Births, Births]:
    first, second = generations(rows)
    return first, second


def test_two_parents_and_four_births_on_two_and_four_examples_worked_by_hand():
    # The parents were worth (1, 3) on four examples, mean 2, and are (1, 2) on two: d = (0, -1),
    # mean -1/2. w = (1.5, 2.5), mean 2: cov(w, z) / 2 = 1/4 and cov(w, d) / 2 = -1/8. On two
    # examples the births are worth 2, 1, 4 and 0.5, their mid-parents 2, 1, 2 and 1.5: the edit
    # brings 2/4, the mix -1/4. Their mean is 15/8 = 2 - 1/2 + 1/4 - 1/8 + 1/4. Three go on, with
    # mean 7/3: selection 11/24. On four examples these have mean 3: shift 2/3. Two are selected,
    # with mean 4: survival 1. Change: 4 - 2 = -1/2 + 1/4 - 1/8 + 1/4 + 11/24 + 2/3 + 1.
    terms = generation_terms(*pair(two_parents() + four_births()))
    account = price_account(terms)["fitness"]
    assert account.batch_shift == pytest.approx(-1 / 2)
    assert account.reproduction.selection == pytest.approx(1 / 4)
    assert account.noise_giveback == pytest.approx(-1 / 8)
    assert account.selection_honest == pytest.approx(1 / 8)
    assert account.transmission_by_operator == pytest.approx(
        {"survive": 0, "edit": 0.5, "mix": -0.25}
    )
    assert [r.examples for r in terms.rungs] == [2, 4]
    assert account.rungs["2"].shift is None
    assert account.rungs["2"].selection == pytest.approx(11 / 24)
    assert account.rungs["4"].shift == pytest.approx(2 / 3)
    assert account.rungs["4"].selection is None
    assert account.survival.selection == pytest.approx(1.0)
    assert account.change == pytest.approx(2.0)
    assert account.residual == pytest.approx(0.0, abs=1e-15)
    assert account.racing == pytest.approx(11 / 24)
    assert account.remeasurement == pytest.approx(-1 / 2 - 1 / 8 + 2 / 3)
    left_out = replace(terms, rungs=()).residual[0]  # power: without these it would not add up
    assert left_out == pytest.approx(11 / 24 + 2 / 3)


def test_an_account_with_rungs_has_their_names_and_comes_back():
    account = price_account(generation_terms(*pair(two_parents() + four_births())))["fitness"]
    assert PriceAccount.from_dict(json.loads(json.dumps(account.to_dict()))) == account
    terms = account.terms()
    assert {n for n in terms if n.startswith(("ru", "ra"))} == {
        "rungs/2/selection",
        "rungs/4/shift",
        "racing/selection",
        "racing/shift",
    }


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_all_parts_add_up_to_the_change_and_are_those_of_a_slow_loop(seed: int):
    rows = race_lineage(seed)
    for before, births in pairwise(generations(rows)):
        terms = (generation_terms if births.has_parents.any() else restart_terms)(before, births)
        assert set(terms.trait_names) == {"fitness", "z", "length"}
        assert np.abs(terms.residual).max() < 1e-12
        accounts = price_account(terms)
        for trait, account in accounts.items():
            slow = slow_terms(rows, births.generation, trait)
            found = {k: v for k, v in account.terms().items() if k in slow}
            assert found.keys() == slow.keys()
            assert found == pytest.approx(slow, abs=1e-12)
        assert abs(accounts["length"].remeasurement) < 1e-12  # the same on all examples
        totals = price_totals([accounts["z"]])
        assert abs(totals.residual) < 1e-12


def mean(values: list[float]) -> float:
    return fsum(values) / len(values)


def slow_terms(rows: list[dict], generation: int, trait: str) -> dict[str, float]:
    """The terms by plain loops over the lineage's lines."""
    parents = {
        r["birth_id"]: r for r in rows if r["generation"] == generation - 1 and r["selected"]
    }
    brood = [r for r in rows if r["generation"] == generation]
    worth = [{m["examples"]: m["traits"][trait] for m in r.get("rungs", [r])} for r in brood]
    ladder = sorted({m for own in worth for m in own})
    then = {name: row["traits"][trait] for name, row in parents.items()}
    first = dict(then)
    for row, own in zip(brood, worth, strict=True):
        if row["operator"] == "survive":
            first[row["parent_ids"][0]] = own[ladder[0]]
    for name, row in parents.items():
        if "remeasured" in row:
            first[name] = row["remeasured"][trait]
    start, here = mean(list(then.values())), [own[ladder[0]] for own in worth]
    success = {
        name: fsum(
            dict(zip(r["parent_ids"], r["shares"], strict=True)).get(name, 0.0) for r in brood
        )
        for name in parents
    }
    born = fsum(success.values())
    native, found = born / len(brood), {}
    if native:
        weighted = fsum(success[n] * first[n] for n in parents) / born
        found["reproduction/selection"] = native * (
            fsum(success[n] * then[n] for n in parents) / born - start
        )
        effects = [
            own - fsum(s * first[p] for p, s in zip(r["parent_ids"], r["shares"], strict=True))
            for r, own in zip(brood, here, strict=True)
            if r["parent_ids"]
        ]
        found["transmission"] = fsum(effects) / len(brood)
        if first != then:
            found["selection_honest"] = native * (weighted - mean(list(first.values())))
            found["batch_shift"] = native * (mean(list(first.values())) - start)
    for m, following in pairwise(ladder):
        goes_on = [own for own in worth if following in own]
        found[f"rungs/{m}/selection"] = mean([own[m] for own in goes_on]) - mean(
            [own[m] for own in worth if m in own]
        )
        found[f"rungs/{following}/shift"] = mean([own[following] - own[m] for own in goes_on])
    last = [own[ladder[-1]] for own in worth if ladder[-1] in own]
    kept = [own[ladder[-1]] for own, r in zip(worth, brood, strict=True) if r["selected"]]
    return found | {"survival/selection": mean(kept) - mean(last), "change": mean(kept) - start}


def test_operators_are_judged_on_the_first_examples_over_all_births():
    first, second = pair(two_parents() + four_births())
    found = evolvability([on_one_measurement(first, second)])
    assert found["edit"].mean_effect == pytest.approx(2.0)  # 4 - 2, on two examples
    assert found["mix"].mean_effect == pytest.approx(-1.0)  # 0.5 - 1.5; it never went on
    assert found["edit"].num_better == 1
    history = History()
    for births in (first, second):
        history.add(births)
    summary, line = history.summary(), history.lines[1]
    assert summary["operators"]["mix"]["mean_effect"] == pytest.approx(-1.0)
    # S on two examples is 1/8, and R the births' mean less the parents': 15/8 - 3/2
    assert summary["heritability"]["fitness"] == pytest.approx((15 / 8 - 3 / 2) / (1 / 8))
    assert line.fitness.births_mean == pytest.approx(15 / 8)
    assert line.fitness.best == 5.0
    # on the way: 2, 1, 4 and 0.5 with variance 467/256... S = 11/24 over sd
    sd = np.std([2.0, 1.0, 4.0, 0.5])
    assert line.selection["rungs"]["2"]["intensity"] == pytest.approx(11 / 24 / sd)
    assert line.selection["survival"]["differential"] == pytest.approx(1.0)


def test_judging_operators_by_the_births_that_went_on_would_be_another_number():
    """Power twin: on each birth's own last examples against the parents as recorded."""
    first, second = pair(two_parents() + four_births())
    mixed = evolvability([(first, replace(second, rungs=None))])
    assert mixed["mix"].mean_effect == pytest.approx(-1.5)
    assert mixed["edit"].mean_effect == pytest.approx(2.0 + 0.0)


def test_a_generation_on_more_examples_takes_its_parents_from_the_survivors():
    # on four examples the parents were 1 and 3; on eight they are 2 and 3: shift 1/2
    rows = [
        *two_parents(),
        birth("x", 1, {"b": 1.0}, "survive") | on(z(on8=3.0), 1) | {"selected": True},
        birth("s", 1, {"a": 1.0}, "survive") | on(z(on8=2.0), 1),
    ]
    account = price_account(generation_terms(*pair(rows)))["fitness"]
    assert account.batch_shift == pytest.approx(0.5)
    assert account.transmission == pytest.approx(0.0)
    assert account.residual == pytest.approx(0.0, abs=1e-15)


def test_parents_on_other_examples_than_their_children_are_refused():
    child = birth("c", 1, {"a": 1.0}, "edit") | {"selected": True}
    for own in (on(z(on2=2.0, on8=2.0), 2), on(z(on8=2.0), 1)):
        first, second = pair([*two_parents(), child | own])
        with pytest.raises(ValueError, match="birth a is a parent, and not known on the"):
            generation_terms(first, second)
        assert unknown_parents(first, second) == ("a", "b")
        known = {"a": {"fitness": 1.5}, "b": {"fitness": 2.5}}
        told = with_parents(first, second, known)
        assert unknown_parents(first, told) == ()
        account = price_account(generation_terms(first, told))["fitness"]
        assert account.batch_shift == pytest.approx(0.0)
        assert account.transmission == pytest.approx(0.5)


def test_parents_that_were_measured_on_rungs_themselves_are_known_there():
    rows = [row | on(z(on2=1.0, on4=3.0), 2) for row in two_parents()]
    child = birth("c", 1, {"a": 1.0}, "edit") | on(z(on2=2.0, on4=5.0), 2) | {"selected": True}
    account = price_account(generation_terms(*pair([*rows, child])))["fitness"]
    assert account.batch_shift == pytest.approx(-2.0)
    assert account.transmission == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (on(z(on2=4.0), 1), "birth y is selected and was measured on 2 examples alone"),
        (on(z(on4=4.0), 1), "birth y was measured on 4 examples, and not on 2"),
        ({"rungs": None, "examples": None}, "birth y does not say on how many examples"),
    ],
)
def test_births_that_skip_a_number_of_examples_are_refused(change, said):
    births = four_births()
    births[2] = {k: v for k, v in births[2].items() if k not in ("rungs", "examples")}
    births[2] |= {k: v for k, v in change.items() if v is not None}
    with pytest.raises(ValueError, match=said):
        pair(two_parents() + births)


def test_births_on_different_numbers_without_rungs_are_refused():
    births = [birth("c", 1, {"a": 1.0}, "edit") | on(z(on8=1.0), 1) | {"selected": True}]
    births.append(births[0] | {"birth_id": "d", "examples": 2})
    with pytest.raises(ValueError, match="birth d was measured on 2 examples, others of its"):
        pair(two_parents() + births)


def test_a_trait_that_is_not_known_on_every_rung_has_no_terms():
    rows = two_parents() + four_births()
    for row in rows:
        row["traits"] = row["traits"] | {"length": 1.0}
        if "rungs" in row:
            row["rungs"][-1]["traits"] = row["traits"]
    assert generation_terms(*pair(rows)).trait_names == ("fitness",)


def test_a_survivor_has_the_fitness_that_it_had_on_as_many_examples():
    births = four_births()
    births[0] |= on(z(on2=2.0, on4=2.5), 2)
    with pytest.raises(ValueError, match="birth x survived from b with the fitness 2.5"):
        pair(two_parents() + births)


def test_a_gain_is_on_the_most_examples_on_which_both_are_known():
    rows = [row | on(z(on2=1.0, on4=3.0), 2) for row in two_parents()]
    children = [
        birth("c", 1, {"a": 1.0}, "edit")
        | on(z(on2=2.0, on4=5.0, on8=9.0), 3)
        | {"selected": True},
        birth("d", 1, {"a": 0.5, "b": 0.5}, "mix") | on(z(on2=2.5), 1),
    ]
    assert gains(*pair([*rows, *children]), "fitness").tolist() == [2.0, 1.5]
    lines = [
        row | {"policy_id": row["birth_id"], "fitness": row["traits"]["fitness"]}
        for row in [*rows, *children]
    ]
    assert [step.gain for step in ancestry(lines, "c")] == [None, 2.0]
    assert operator_effects(lines) == {"edit": [2.0], "mix": [1.5]}
    history = History()
    for births in generations(lines):
        history.add(births)
    assert [step.gain for step in history.genealogy.ancestry("d")] == [None, 1.5]


def test_the_best_so_far_is_of_births_on_as_many_examples(tmp_path: Path):
    """On two examples a birth was worth 9 and went no further; on eight the best is 4 again."""
    chosen = {"selected": True}
    rows = [
        birth("a", 0, {}, "found") | on(z(on4=5.0), 1) | chosen,
        birth("b", 1, {"a": 1.0}, "edit") | on(z(on2=9.0), 1),
        birth("s", 1, {"a": 1.0}, "survive") | on(z(on2=4.0, on4=5.0), 2) | chosen,
        birth("t", 2, {"s": 1.0}, "survive") | on(z(on8=4.0), 1) | chosen,
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "lineage.jsonl").write_text(text, encoding="utf-8")
    run = read_run(tmp_path, "fitness")
    assert run is not None
    assert run.best.tolist() == [5.0, 5.0, 4.0]
    assert [account.residual for account in run.accounts] == pytest.approx([0.0, 0.0])


def test_the_page_of_a_race_shows_its_selection_and_measuring_again():
    history = History()
    for births in generations(race_lineage(3, num_generations=4)):
        history.add(births)
    text = "".join(dynamics_sections(history, history.summary()))
    assert "selection in the race" in text
    assert "measuring again" in text
    plain = History()
    for births in generations(two_parents() + [row | {"generation": 1} for row in three_births()]):
        plain.add(births)
    without = "".join(dynamics_sections(plain, plain.summary()))
    assert "in the race" not in without  # power: no race, no column


def three_births() -> list[dict]:
    own = {"x": ({"b": 1.0}, "survive", 3.0), "y": ({"b": 1.0}, "edit", 4.0)}
    return [
        birth(name, 1, parents, operator) | on(z(on4=value), 1) | {"selected": True}
        for name, (parents, operator, value) in own.items()
    ]


def test_errors_over_the_first_examples_are_those_of_their_means():
    """Of a mean over the first two of four examples: sd over root 2, one degree of freedom; of the
    change from those two to all four: the mean over four less that over two is (x3 + x4 - x1 - x2)
    / 4, with the variance of each half from its own two examples.
    """
    x = np.array([1.0, 4.0, 2.0, 8.0])
    terms = {"few": spread(x[:2], 4), "change": x - spread(x[:2], 4), "all": x}
    assert {name: u.mean() for name, u in terms.items()} == {
        "few": 2.5,
        "change": 1.25,
        "all": 3.75,
    }
    errors, degrees = example_errors(terms, (2, 4)), example_degrees(terms, (2, 4))
    assert errors["few"] == pytest.approx(np.std(x[:2], ddof=1) / np.sqrt(2))
    assert degrees["few"] == pytest.approx(1.0)
    # variances 4.5 and 18; (2 * 4.5 + 2 * 18) / 16
    assert errors["change"] == pytest.approx(np.sqrt(45 / 16))
    assert degrees["change"] == pytest.approx(45**2 / (9**2 + 36**2))
    assert example_errors(terms)["all"] == np.std(x, ddof=1) / np.sqrt(4)  # one number: no strata
    assert example_degrees(terms)["all"] == 3.0
    shorter = {"all": x, "early": x[:2]}  # a term of generations that had two examples alone
    assert example_errors(shorter, (2, 4))["early"] == errors["few"]
    assert example_degrees(shorter, (2, 4))["early"] == 1.0
    assert strata((2, 4, 5)) == (2, 5)  # 4 alone would leave one example


def test_a_run_that_measures_on_more_and_more_has_errors_for_every_term():
    rows = race_lineage(11, num_generations=4)
    rng = np.random.default_rng(0)
    by_policy = {row["policy_id"]: rng.normal(size=64) for row in rows}
    for row in rows:  # traits are means over the first examples of the policy's own
        mean_of = by_policy[row["policy_id"]]
        for each in [row, *row.get("rungs", [])]:
            each["traits"] = {"fitness": float(mean_of[: each["examples"]].mean())}
    for row in rows:
        if "remeasured" in row:
            brood = [r for r in rows if r["generation"] == row["generation"] + 1]
            least = min(m["examples"] for r in brood for m in r.get("rungs", [r]))
            row["remeasured"] = {"fitness": float(by_policy[row["policy_id"]][:least].mean())}
            if least == row["examples"]:
                del row["remeasured"]  # as it was
    history = History()
    for births in generations(rows):
        history.add(births, lambda policy, num: {"fitness": by_policy[policy][:num]})
    total = history.summary()["price"]["fitness"]
    left_out = {"residual", "reproduction/continuous", "standard_error", "degrees"}
    assert total["standard_error"].keys() >= total.keys() - left_out
    assert all(0 < e < 1 for n, e in total["standard_error"].items() if n == "change")
    # by example the terms have the means that the account has
    for name, values in history._totals["fitness"].items():
        assert values.mean() == pytest.approx(total[name], abs=1e-9), name
