"""Every metric that a dashboard draws or lists is told by a run, a loop or a sweep, and every group
of metrics that they tell stands closed below.
"""

from __future__ import annotations

from pathlib import Path

from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.boost.folder import BoostFolder
from evoprompt.jobs.boost.metrics import recurrence_metrics
from evoprompt.jobs.boost.session import start as start_loop
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.metrics import generation_metrics, summary_metrics
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.sweep.tracked import METRICS
from evoprompt.records import SURVIVE
from evoprompt.tracking.dashboards import DASHBOARDS, GROUPS, OF_KIND, OPERATORS, RECURRENCE
from evoprompt.tracking.names import flat_parameters
from evoprompt.variation.catalog import OPERATORS as CATALOG


def test_what_the_dashboards_of_runs_draw_is_told(config_file: Path, tmp_path: Path):
    raced = ["evolution.racing.method=halving", "evolution.racing.first=4"]
    config = load_config(config_file, [*raced, "evolution.generations=3"])
    start(config, tmp_path / "run")
    run = EvolveFolder.open(tmp_path / "run")
    lines, summary = run.generations(), run.summary()
    assert summary is not None
    told = {name for line in lines for name in generation_metrics(line)}
    assert {name for line in lines for name in generation_metrics(line, "full")} > told
    assert len(told | set(summary_metrics(summary))) < 70
    told |= set(summary_metrics(summary))
    told |= {f"price_fitness_by_operator/{name}" for name in OPERATORS}
    drawn = {m for d in DASHBOARDS if d is not RECURRENCE for m in metrics_of(d)}
    assert drawn - told == set()
    parameters = flat_parameters(config.model_dump(mode="json"))
    for dashboard in DASHBOARDS:
        wanted = [name for kind, name in dashboard.columns if kind == "params"]
        wanted += [p for s in dashboard.sections for c in s.charts for p in c.parameters]
        assert set(wanted) <= set(parameters)
    groups = {name.rpartition("/")[0] for name in told | {*METRICS.values()}}
    assert groups <= set(GROUPS)


def test_operators_that_are_drawn_exist():
    assert set(OPERATORS) - {SURVIVE} <= {operator.name for operator, _ in CATALOG}


def test_what_the_dashboard_of_loops_draws_is_told(boost_file: Path, tmp_path: Path):
    start_loop(load_boost(boost_file, ["loop.rounds=1"]), tmp_path / "loop")
    rounds = BoostFolder.open(tmp_path / "loop").rounds()
    told = {name for line in rounds for name in recurrence_metrics(line)}
    # without a verdict in so few answers
    assert metrics_of(RECURRENCE) - told <= {"error_rate/deviation_in_sd"}


def test_each_kind_of_job_has_a_dashboard():
    assert set(OF_KIND) == {"run", "loop", "sweep"}


def metrics_of(dashboard) -> set[str]:
    charts = [chart for section in dashboard.sections for chart in section.charts]
    drawn = {name for chart in charts for name in (*chart.metrics, *([chart.by] * bool(chart.by)))}
    return drawn | {name for kind, name in dashboard.columns if kind == "metrics"}
