"""What MLflow is told of a generation: names that say what they are, few by default, all on
request.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from evoprompt.dynamics.account import (
    FitnessAccount,
    GenerationAccount,
    PriceAccount,
    RungAccount,
    SelectionAccount,
)
from evoprompt.jobs.evolve.metrics import generation_metrics, price_metrics
from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.records import TokenCount
from evoprompt.store.ledger import Ledger

#: 0.4 in reproduction, -0.1 by operators, 0.2 in survival.
ACCOUNT = PriceAccount(
    reproduction=SelectionAccount(0.4, expected=0.3, drift=0.1, drift_variance=0.01),
    transmission=-0.1,
    transmission_by_operator={"edit": -0.3, "survive": 0.2},
    immigration=0.0,
    survival=SelectionAccount(0.2),
    change=0.5,
    residual=0.0,
    standard_error={"reproduction/selection": 0.05, "transmission/edit": 0.02, "change": 0.07},
)


def line(**price: PriceAccount) -> GenerationLine:
    account = GenerationAccount(
        3,
        8,
        4,
        FitnessAccount(best=-0.5, mean=-0.75, births_mean=-1.0),
        {"fitness": -0.75, "accuracy": 0.8, "prompt_tokens": 40.0},
        best_accuracy=0.9,
        price=price,
        diversity={"num_policies": 4, "difference": 0.75, "effective_size": None, "neutral": 0.5},
        selection={"survival": {"differential": 0.2}},
        examples=16,
    )
    ledger = Ledger()
    ledger.count("search", TokenCount(body_tokens=300, floor_body_tokens=400, requests=8,
                                      memo_requests=2, stored_tokens=50))  # fmt: skip
    return GenerationLine(0, 0, account, None, ledger.token_summary(), 1.5)


def test_in_brief_a_generation_is_what_the_dashboards_show():
    assert generation_metrics(line(fitness=ACCOUNT, accuracy=ACCOUNT, prompt_tokens=ACCOUNT)) == {
        "fitness/best": -0.5,
        "fitness/mean": -0.75,
        "fitness/mean_of_births": -1.0,
        "accuracy/best": 0.9,
        "accuracy/mean": 0.8,
        "population/births": 8,
        "population/selected": 4,
        "population/examples": 16,
        "population/distinct_policies": 4,
        "population/chance_that_two_differ": 0.75,
        "cost/tokens": 300,
        "cost/tokens_floor": 400,
        "cost/tokens_spared_by_store": 50,
        "cost/tokens_per_second": 200.0,  # 300 in 1.5 s
        "cost/memo_share": 0.25,  # 2 of 8 requests
        "cost/seconds": 1.5,
        "price_fitness/covariance_parents": 0.4,
        "price_fitness/covariance_parents_expected": 0.3,
        "price_fitness/covariance_parents_drift": 0.1,
        "price_fitness/transmission": -0.1,
        "price_fitness/covariance_survival": 0.2,
        "price_fitness/change": 0.5,
        "price_fitness_by_operator/edit": -0.3,
        "price_fitness_by_operator/survive": 0.2,
        "price_accuracy/covariance_parents": 0.4,
        "price_accuracy/transmission": -0.1,
        "price_accuracy/covariance_survival": 0.2,
        "price_accuracy/change": 0.5,
    }


def test_what_was_raced_measured_again_or_new_is_told_where_there_was_any():
    """Two rungs: 0.05 + 0.03 by the race, -0.02 by measuring on more, 0.1 - 0.04 of the parents."""
    raced = replace(
        ACCOUNT,
        rungs={"8": RungAccount(selection=0.05), "16": RungAccount(shift=-0.02, selection=0.03)},
        batch_shift=0.1,
        noise_giveback=-0.04,
        immigration=0.01,
        change=0.63,
    )
    told = price_metrics("accuracy", raced)
    assert told.pop("price_accuracy/change") == 0.63
    assert told["price_accuracy/covariance_race"] == pytest.approx(0.08)
    assert told["price_accuracy/remeasurement"] == pytest.approx(0.04)
    assert told["price_accuracy/immigration"] == 0.01
    assert sum(told.values()) == pytest.approx(0.63)  # what is shown adds up


def test_in_full_all_that_a_generation_has_is_told_under_names_of_the_same_form():
    told = generation_metrics(line(fitness=ACCOUNT, prompt_tokens=ACCOUNT), "full")
    brief = generation_metrics(line(fitness=ACCOUNT, prompt_tokens=ACCOUNT))
    assert brief.items() <= told.items()
    assert told["price_prompt_tokens/covariance_parents_drift_variance"] == 0.01
    assert told["price_prompt_tokens_by_operator/edit"] == -0.3
    assert told["price_fitness_standard_error/covariance_parents"] == 0.05
    assert told["price_fitness_standard_error_by_operator/edit"] == 0.02
    assert told["traits/prompt_tokens"] == 40.0
    assert told["selection/survival/differential"] == 0.2
    assert told["diversity/neutral"] == 0.5
    assert told["cost/requests"] == 8


def test_no_two_terms_of_an_account_have_one_name_in_full():
    account = replace(
        ACCOUNT,
        rungs={"8": RungAccount(0.1, 0.2, 0.3, 0.4), "16": RungAccount(0.5, 0.6, 0.7, 0.8)},
        batch_shift=0.1,
        noise_giveback=0.2,
        selection_honest=0.3,
    )
    told = generation_metrics(line(z=account), "full")
    assert told["price_z/covariance_race_on_8_examples"] == 0.2
    assert told["price_z/remeasurement_race_on_16_examples"] == 0.5
    names = [name for name in told if name.startswith("price_z/")]
    # 4 + 1 of selection, transmission, immigration, 2 of the race, 8 of its rungs, change,
    # residual, 3 of measuring again
    assert len(names) == 5 + 1 + 1 + 2 + 8 + 1 + 1 + 3
