"""`evoprompt ui` on a real store with a real MLflow server, seen by a real browser where there is
one.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from toys.browser import shown
from toys.stores import free_port

from evoprompt.errors import UserError
from evoprompt.tracking.base import KIND
from evoprompt.tracking.dashboards import DASHBOARDS
from evoprompt.tracking.mlflow import MlflowTracker, latest_run
from evoprompt.tracking.server import check_free, dashboard_links, serve
from evoprompt.tracking.stores import default_uri
from evoprompt.tracking.views import view_key

pytestmark = pytest.mark.filterwarnings("ignore")

#: What is told of each run, round by round.
TOLD = {
    "run": ("fitness/best", "price_fitness/covariance_parents", "cost/tokens", "test/champion"),
    "loop": ("error_rate/measured", "error_rate/predicted", "judge/sensitivity", "cost/tokens"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with a run and, later, a loop."""
    runs = tmp_path_factory.mktemp("pages")
    for kind, names in TOLD.items():
        tracker = MlflowTracker(runs, "evoprompt")
        tracker.begin(f"a {kind}", {"seed": 0}, {KIND: kind}, [])
        for step in range(3):
            tracker.log(dict.fromkeys(names, step / 4), step, 1_700_000_000_000 + step)
        tracker.finish("FINISHED")
        time.sleep(0.01)  # the next is the latest
    return runs


@pytest.mark.slow
def test_the_dashboards_are_there_from_the_first_run_and_the_latest_ones_comes_first(
    store: Path, monkeypatch: pytest.MonkeyPatch
):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    client = MlflowClient(tracking_uri=default_uri(store))
    experiment = client.get_experiment_by_name("evoprompt")
    assert {view_key(dashboard) for dashboard in DASHBOARDS} <= set(experiment.tags)
    found = latest_run(default_uri(store))
    assert found is not None
    assert (found.experiment_id, found.kind) == (experiment.experiment_id, "loop")
    links = dashboard_links(default_uri(store), "http://here")
    assert list(links) == ["recurrence", "fitness", "price", "cost", "sweep"]
    assert next(iter(dashboard_links(default_uri(store), "http://here", DASHBOARDS[3]))) == "cost"
    # a view that somebody deleted is there again when the pages are opened
    client.delete_experiment_tag(experiment.experiment_id, view_key(DASHBOARDS[0]))
    dashboard_links(default_uri(store), "http://here")
    assert view_key(DASHBOARDS[0]) in client.get_experiment(experiment.experiment_id).tags


def test_a_store_without_runs_has_no_dashboards_to_open(tmp_path: Path, store: Path):
    assert dashboard_links(f"sqlite:///{tmp_path / 'none.db'}", "http://here") == {}
    assert not (tmp_path / "none.db").exists()


def test_a_port_in_use_is_refused_before_anything_starts(store: Path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(UserError, match=f"127.0.0.1, port {port} .*give another with --port"):
            serve(store, "127.0.0.1", port, show=lambda line: None)
    check_free("127.0.0.1", port)  # the same, once it is free
    with pytest.raises(UserError, match="cannot be on no.such.host"):
        check_free("no.such.host", port)


def test_an_unknown_dashboard_is_answered_with_those_that_there_are(store: Path):
    with pytest.raises(UserError, match="no dashboard 'prise'; there are fitness, price"):
        serve(store, "127.0.0.1", 5000, "prise")


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[tuple[str, str]]:
    """`evoprompt ui` as people start it; its address, and what it printed."""
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-m", "evoprompt.cli", "ui", "--runs", str(store)]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--no-browser"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        printed = "".join(process.stdout.readline() for _ in range(6))
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}", printed
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.name)
def test_a_browser_shows_each_dashboard(dashboard, server: tuple[str, str], tmp_path: Path):
    address, printed = server
    links = dict(re.findall(r"^  (\w+) +(http\S+)$", printed, re.MULTILINE))
    assert next(iter(links)) == "recurrence"
    assert links[dashboard.name].startswith(address)
    page = shown(links[dashboard.name], tmp_path / "profile")
    assert dashboard.title.replace("'", "&#39;") in page.replace("'", "&#39;")
    titles = [section.title for section in dashboard.sections]
    assert [title for title in titles if title not in page] == []
    assert "Request error" not in page
    assert ("a loop" if dashboard.name == "recurrence" else "a run") in page
