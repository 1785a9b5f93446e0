"""Small panels: where points and ticks stand, worked out by hand."""

from __future__ import annotations

import re
from math import inf, nan, ulp
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.report.panels import ABOVE, BELOW, HEIGHT, LEFT, RIGHT, UPWARDS, WIDTH, panels, ticks


def lines(svg: str) -> list[str]:
    return re.findall('points="([^"]*)"', svg)


def test_the_least_and_the_most_stand_a_twentieth_from_the_ends():
    # 5 % of 10 beyond either end: 0 stands at .5 of 11, that is 1/22 of the width; 10 at 21/22
    [line] = lines(panels([0, 10], {"up": [0.0, 1.0]}, "blue"))
    across, up = WIDTH - RIGHT - LEFT, HEIGHT - ABOVE - BELOW
    x = [LEFT + across / 22, LEFT + across * 21 / 22]
    y = [HEIGHT - BELOW - up / 22, HEIGHT - BELOW - up * 21 / 22]
    found = [tuple(map(float, point.split(","))) for point in line.split()]
    assert found == [pytest.approx(p, abs=0.051) for p in zip(x, y, strict=True)]


def test_a_curve_has_a_gap_where_it_is_not_known():
    drawn = lines(panels(range(5), {"a": [1.0, nan, 2.0, 3.0, inf]}, "blue"))
    assert [len(line.split()) for line in drawn] == [1, 2]
    assert lines(panels([0], {"a": [nan]}, "blue")) == []  # and what is never known has none


def test_names_are_text_and_every_panel_has_its_place():
    svg = panels([0, 1], {"a < b": [1.0, 1.0], **{str(i): [0.0, i] for i in range(3)}}, "blue")
    root = ElementTree.fromstring(svg)
    places = [g.get("transform") for g in root.iter("g")]
    assert places == [f"translate({x} {y})" for x, y in [(0, 0), (216, 0), (432, 0), (0, 122)]]
    assert "a < b" in [text.text for text in root.iter("text")]


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 9, "0.0 2.5 5.0 7.5"),
        (-0.12, -0.08, "-0.12 -0.11 -0.10 -0.09 -0.08"),
        (3.2, 1200.5, "500 1000"),
        (-1e-7, 2e-7, "-1e-07 0 1e-07 2e-07"),
        (1e6, 4e6, "1e+06 2e+06 3e+06 4e+06"),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, labels: str):
    assert [label for _, label in ticks(low, high, UPWARDS)] == labels.split()


def test_whole_ticks_are_whole():
    assert [label for _, label in ticks(-0.1, 2.1, 5, whole=True)] == ["0", "1", "2"]
    assert [label for _, label in ticks(-0.1, 2.1, 5)] == ["0.0", "0.5", "1.0", "1.5", "2.0"]


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(2, 8))
def test_ticks_lie_within_and_tell_each_other_apart(low: float, width: float, most: int):
    high = low + width
    found = ticks(low, high, most)
    assert 1 <= len(found) <= most + 1
    slack = 1e-6 * width + ulp(max(abs(low), abs(high)))  # no float lies nearer than that
    assert all(low - slack <= n <= high + slack for n, _ in found)
