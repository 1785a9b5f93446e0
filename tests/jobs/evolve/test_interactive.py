"""The pages of a run: hand-worked fronts, places and tables, and charts that plotly takes."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from evoprompt.dynamics.account import (
    FitnessAccount,
    GenerationAccount,
    PriceAccount,
    SelectionAccount,
)
from evoprompt.jobs.evolve.interactive import (
    embedded,
    pareto_front,
    population_columns,
    price_page,
    run_pages,
)
from evoprompt.policy import Policy


def birth(number: int, generation: int, parents: list[str], fitness: float, text: str, **more):
    return {
        "generation": generation,
        "birth_id": f"b{number}",
        "policy_id": f"p{number}",
        "parent_ids": parents,
        "shares": [1.0] * len(parents),
        "operator": "instruction_insert" if parents else "found",
        "selected": number != 1,
        "fitness": fitness,
        "traits": {"fitness": fitness, "prompt_tokens": 10.0 * number, "accuracy": 0.5},
        "examples": 8,
        "policy": Policy(text).to_dict(),
        **more,
    }


LINEAGE = [
    birth(0, 0, [], -1.0, "Say <yes> or no."),
    birth(1, 0, [], -2.0, "Answer."),
    birth(2, 1, ["b0"], -0.5, "Say <yes> or no now."),
    birth(3, 2, ["b2"], -0.75, "Say yes or no now, please."),
]
#: 0.4 in reproduction, -0.1 by operators, 0.2 in survival.
ACCOUNT = PriceAccount(
    SelectionAccount(0.4), -0.1, {"edit": -0.1}, 0.0, SelectionAccount(0.2), 0.5, 0.0
)


def generation(number: int, account: PriceAccount | None) -> GenerationAccount:
    price = {} if account is None else {"fitness": account}
    return GenerationAccount(number, 4, 2, FitnessAccount(-1, -1, -1), {}, price=price)


def chart_of(page: str) -> dict:
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    return json.loads(data)


def test_the_parts_of_the_change_are_stacked_and_their_sum_has_its_interval():
    told = replace(ACCOUNT, standard_error={"change": 0.05})
    chart = chart_of(price_page([generation(0, None), generation(1, told), generation(2, told)]))
    assert chart["layout"]["barmode"] == "relative"
    shown = {trace["name"]: trace["y"] for trace in chart["data"]}
    assert shown == {
        "covariance of parents": [0.4, 0.4],
        "transmission by operators": [-0.1, -0.1],
        "covariance of survival": [0.2, 0.2],
        "change (their sum)": [0.5, 0.5],
    }
    assert chart["data"][-1]["error_y"]["array"] == pytest.approx([0.098, 0.098])  # 1.96 x 0.05
    plain = chart_of(price_page([generation(1, ACCOUNT)]))
    assert "error_y" not in plain["data"][-1]


def test_every_page_of_a_run_is_a_chart_that_plotly_takes():
    pages = run_pages([generation(0, None), generation(1, ACCOUNT)], LINEAGE, "p3")
    assert set(pages) == {"price.html", "descent.html", "operators.html", "pareto.html", "map.html"}
    for name, make in pages.items():
        figure = go.Figure(chart_of(make()))
        assert len(figure.data) > 0, name


def test_the_descent_shows_what_changed_word_by_word():
    page = run_pages([], LINEAGE, "p3")["descent.html"]()
    assert chart_of(page)["data"][0]["y"] == [-1.0, -0.5, -0.75]
    assert "Say &lt;yes&gt; or <del>no.</del><ins>no now.</ins>" in page
    assert "Say <del>&lt;yes&gt;</del><ins>yes</ins> or no <del>now.</del><ins>now, please." in page
    assert "-0.7500 on 8 examples, -0.2500 over its parents" in page


def test_operators_are_ranked_by_what_they_gained():
    """Gains 0.5 and -0.25: one of two births is better than its parent."""
    chart = chart_of(run_pages([], LINEAGE, "p3")["operators.html"]())
    [box] = chart["data"]
    assert sorted(box["x"]) == [-0.25, 0.5]
    assert box["name"] == "instruction insert<br>1 of 2 gained"


def test_the_front_is_of_the_policies_that_met_the_most_examples():
    more = [
        birth(4, 3, ["b3"], -0.9, "A", examples=16),
        birth(5, 3, ["b3"], -0.8, "B", examples=16),
    ]
    chart = chart_of(run_pages([], LINEAGE + more, "p3")["pareto.html"]())
    points, front = chart["data"]
    assert len(points["x"]) == 6
    assert (front["x"], front["y"]) == ([40.0, 50.0], pytest.approx([-0.9, -0.8]))


def test_no_point_is_better_than_one_on_the_front():
    # (1, 5) and (3, 7); (2, 4) is longer and less fit than the first, (3, 6) than the second
    assert pareto_front([(3, 6), (2, 4), (1, 5), (3, 7), (1, 5)]) == [2, 3]
    rng = np.random.default_rng(0)
    points = [(float(x), float(y)) for x, y in rng.integers(0, 20, size=(200, 2))]
    front = [points[place] for place in pareto_front(points)]
    for x, y in points:
        dominated = any(a <= x and b >= y and (a, b) != (x, y) for a, b in front)
        assert dominated or (x, y) in front


def test_places_on_the_map_have_the_distances_of_the_prompts():
    """{a, b}, {a, b} and {c}: distances 0 and 1, which fit in the plane."""
    places = embedded([frozenset("ab"), frozenset("ab"), frozenset("c")])
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert distance == pytest.approx(np.array([[0, 0, 1], [0, 0, 1], [1, 1, 0]]), abs=1e-6)
    assert embedded([frozenset("a")]).shape == (1, 2)
    assert embedded([frozenset(), frozenset()]) == pytest.approx(np.zeros((2, 2)))


def test_the_population_of_every_generation_is_a_table_the_selected_and_fittest_first():
    columns = population_columns(LINEAGE)
    assert columns["birth"] == ["b0", "b1", "b2", "b3"]
    assert columns["selected"] == [True, False, True, True]
    assert columns["prompt"][1].startswith("Answer.")
    assert columns["parents"] == ["", "", "b0", "b2"]
    assert {len(column) for column in columns.values()} == {4}
