"""`evoprompt scaling fit`: the GPT-3 paper's table to known digits, a planted table, and what a
table may not be.
"""

from __future__ import annotations

import json
from math import exp, inf
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evoprompt.cli import app
from evoprompt.errors import UserError
from evoprompt.jobs.scaling.analysis import Scaling, analyse
from evoprompt.jobs.scaling.session import fit_scaling
from evoprompt.jobs.scaling.table import GPT3, read_table
from evoprompt.jobs.scaling.tables import numbers


@pytest.fixture(scope="module")
def gpt3() -> Scaling:
    return analyse(read_table(GPT3, None, "loss", 100.0)[0], 0.9)


def test_the_gpt3_table_has_its_known_curves(gpt3: Scaling):
    """Worked out apart, by another program, from the same 50 few-shot rows."""
    mean = gpt3.mean
    means = [0.0925, 0.1650, 0.2114, 0.2353, 0.2886, 0.3131, 0.3518, 0.4684]
    assert mean.performance == pytest.approx(means, abs=5e-5)
    assert mean.logistic.parameters == pytest.approx((2.209713, 1.708211), abs=1e-6)
    assert mean.logistic.errors == pytest.approx((0.085902, 0.016674), abs=1e-6)
    reached = mean.logistic.where(0.9)
    assert (reached.value, reached.error) == pytest.approx((0.713862, 0.053633), abs=2e-6)
    assert mean.linear.parameters == pytest.approx((1.105875, -0.380308), abs=1e-6)
    assert mean.linear.where(0.9).value == pytest.approx(0.541336, abs=1e-6)
    found = (mean.logistic.rmse, mean.linear.rmse)
    assert found == pytest.approx((0.008852, 0.021799), abs=1e-6)
    held_out = (mean.logistic_held_out, mean.linear_held_out)
    assert held_out == pytest.approx((-0.029606, -0.071900), abs=1e-6)
    arithmetic = next(s for s in gpt3.categories if s.name == "Arithmetic")
    assert arithmetic.logistic.parameters == pytest.approx((10.870, 1.7878), abs=1e-3)
    assert arithmetic.logistic_held_out == pytest.approx(0.226, abs=1e-3)


def test_laws_of_the_loss_and_what_the_target_takes(gpt3: Scaling):
    own, offset = gpt3.laws["own"], gpt3.laws["with offset"]
    assert (own.factor, own.exponent) == pytest.approx((2.716, 0.0555), abs=1e-3)
    assert (offset.least, offset.exponent) == pytest.approx((1.546, 0.2086), abs=1e-3)
    orders = {r.law: r.orders for r in gpt3.reaches if r.form == "logistic"}
    assert orders["own"] == pytest.approx(6.9, abs=0.05)
    assert orders["published"] == pytest.approx(8.0, abs=0.05)
    assert orders["with offset"] == inf
    reach = next(r for r in gpt3.reaches if (r.form, r.law) == ("logistic", "own"))
    assert reach.flop == pytest.approx(6 * reach.parameters * reach.tokens)
    assert reach.dollars == pytest.approx(reach.flop * 1e11 / 3.14e28)
    assert reach.loss_interval[0] < reach.loss < reach.loss_interval[1]


def test_what_does_not_follow_is_named(gpt3: Scaling):
    told = {v.name: v.text for v in gpt3.verdicts}
    assert {told[f"ANLI R{i} (acc)"] for i in (1, 2, 3)} == {"no trend shown"}
    assert {told[f"{i}D{sign} (acc)"] for i in (2, 3) for sign in "+-"} == {"steeper"}
    assert told["Symbol Insertion (acc)"] == "steeper"
    assert told["COPA (acc)"] == told["BoolQ (acc)"] == "follows"


def table(tmp_path: Path, lines: list[str], head: str = "benchmark,model,loss,score,chance") -> str:
    file = tmp_path / "t.csv"
    file.write_text("\n".join([head, *lines]) + "\n")
    return str(file)


def planted(k: float = 3.0, num: int = 6) -> list[str]:
    """Return rows of two benchmarks on one curve: of 50 to 100, and of 0 to 100."""
    rows = []
    for i in range(num):
        loss = 3.0 - 0.25 * i
        y = 1 / (1 + exp(k * (loss - 2.0)))
        rows += [f"a,m{i},{loss},{50 + 50 * y!r},50", f"b,m{i},{loss},{100 * y!r},0"]
    return rows


def test_a_planted_curve_is_found_and_written(tmp_path: Path):
    out = tmp_path / "out"
    run = CliRunner().invoke(
        app, ["scaling", "fit", table(tmp_path, planted()), "--out", str(out), "--target", ".8"]
    )
    assert run.exit_code == 0, run.output
    assert max(map(len, run.output.splitlines())) <= 80 or "page" in run.output
    told = json.loads((out / "scaling.json").read_text())
    assert told["mean"]["logistic"]["parameters"] == pytest.approx([3.0, 2.0], abs=1e-6)
    assert told["mean"]["logistic"]["held_out_error"] == pytest.approx(0, abs=1e-6)
    assert told["reaches"] == []  # no compute, no price
    assert "<svg" in (out / "scaling.html").read_text()
    assert {v["text"] for v in told["verdicts"]} == {"follows"}


def test_what_worse_models_do_better_is_never_reached_by_better_ones(tmp_path: Path):
    rows = [f"a,m{i},{3 - 0.3 * i},{90 - 12 * i},0,{10.0**i}" for i in range(5)]
    head = "benchmark,model,loss,score,chance,pfdays"
    found = fit_scaling([table(tmp_path, rows, head)], tmp_path / "out")
    told = json.loads((found / "scaling.json").read_text())
    assert told["mean"]["linear"]["loss_at_target"] is None
    assert {reach["flop"] for reach in told["reaches"]} == {None}
    for column, value in (("pfdays", "0"), ("best", "0")):
        bad = [*rows[1:], f"a,m0,3,90,0,{value}"]
        with pytest.raises(UserError, match="pfdays is 0; it is above 0|best possible score, 0"):
            fit_scaling([table(tmp_path, bad, head.replace("pfdays", column))], tmp_path / "no")


def test_json_has_no_number_that_is_none(gpt3: Scaling):
    text = json.dumps(numbers(gpt3), allow_nan=False)
    assert json.loads(text)["reaches"][2]["flop"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r[:4], "2 models with 2 different losses; a curve takes 3"),
        (lambda r: [*r, r[0]], "a has two scores of m0"),
        (lambda r: [*r[1:], "a,m0,x,50,50"], "loss is 'x', and a number is needed"),
        (lambda r: [*r, "c,m0,2.9,5,0"], "several losses of m0"),
        (lambda r: [*r[1:], "a,m0,3.0,5,100"], "not above chance, 100"),
        (lambda r: [], "has no row below its header"),
        (lambda r: [e.rsplit(",", 1)[0] + "," for e in r], "no row of .* has a chance level"),
        (lambda r: [r[0], r[3], r[4]], "no benchmark of .* has a score of every model"),
    ],
)
def test_what_a_table_may_not_be(tmp_path: Path, change, message):
    with pytest.raises(UserError, match=message):
        fit_scaling([table(tmp_path, change(planted()))], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_columns_settings_and_options_that_are_not_there(tmp_path: Path):
    with pytest.raises(UserError, match="has no column perplexity; it has benchmark"):
        fit_scaling([table(tmp_path, planted())], tmp_path / "out", loss="perplexity")
    head = "benchmark,model,loss,score,chance,setting"
    two = [f"{row},{s}" for row in planted() for s in ("few", "zero")]
    with pytest.raises(UserError, match="settings few, zero; take one by --setting"):
        fit_scaling([table(tmp_path, two, head)], tmp_path / "out")
    with pytest.raises(UserError, match="no setting 'one'; it has few, zero"):
        fit_scaling([table(tmp_path, two, head)], tmp_path / "out", setting="one")
    with pytest.raises(UserError, match="--target is 1; it is between"):
        fit_scaling([GPT3], tmp_path / "out", target=1.0)
    with pytest.raises(UserError, match=r"no\.csv cannot be read .*gpt3 for the table"):
        fit_scaling(["no.csv"], tmp_path / "out")


@pytest.mark.parametrize("scores", [(40, 50, 60), (40, 40, 40)])
def test_three_models_are_fitted_and_predict_none_of_them(tmp_path: Path, scores: tuple[int, ...]):
    file = tmp_path / "three.csv"
    rows = [f"x,{m},{3 - 0.5 * i},{s}" for i, (m, s) in enumerate(zip("abc", scores, strict=True))]
    file.write_text("\n".join(["benchmark,model,loss,score", *rows]) + "\n")
    found = fit_scaling([str(file)], tmp_path / "out")
    content = json.loads((found / "scaling.json").read_text())
    assert content["mean"]["linear"]["held_out_error"] is None
    assert "too few to predict the best one" in (found / "scaling.html").read_text()
    if scores[0] < scores[2]:  # a line of .2 for each nat
        assert content["mean"]["linear"]["parameters"][1] == pytest.approx(-0.2)
