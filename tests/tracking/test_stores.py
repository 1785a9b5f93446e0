"""Where the store is, and the sentence for each way in which it is of no use."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from toys.stores import answering, error_body, nobody, silent

from evoprompt.errors import UserError
from evoprompt.tracking.base import StoreDownError
from evoprompt.tracking.mlflow import MlflowTracker
from evoprompt.tracking.stores import beside, candidates, default_uri, explain

pytestmark = pytest.mark.filterwarnings("ignore")

PAGE = "<html><head><title>Sign in</title></head><body>Please</body></html>"


def failure(runs: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> Exception:
    """Return what the beginning of a run raises in a store."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises((UserError, StoreDownError)) as raised:
        MlflowTracker(runs, "evoprompt").begin("x", {}, {}, [])
    return raised.value


def test_the_store_is_where_the_environment_says_else_beside_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert default_uri(tmp_path) == f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert default_uri(tmp_path) == "http://127.0.0.1:5000"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///a.db")
    assert default_uri(tmp_path) == f"sqlite:///{tmp_path}/a.db"


def test_a_run_that_goes_on_is_looked_for_where_it_was_and_where_its_folder_may_have_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert candidates(tmp_path, "sqlite:////old/mlflow.db") == ["sqlite:////old/mlflow.db"]
    (tmp_path / "mlflow.db").touch()
    moved = ["sqlite:////old/mlflow.db", beside(tmp_path)]
    assert candidates(tmp_path, "sqlite:////old/mlflow.db") == moved
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://h:1")
    assert candidates(tmp_path, "sqlite:////old/mlflow.db") == ["http://h:1", *moved]


def test_a_password_that_was_not_kept_is_taken_from_the_environment_or_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(StoreDownError, match=r"set MLFLOW_TRACKING_URI to that, with its password"):
        candidates(tmp_path, "http://ann:***@h")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:pw@h")
    assert candidates(tmp_path, "http://ann:***@h") == ["http://ann:pw@h"]


@pytest.mark.parametrize(
    ("status", "body", "kind", "sentence"),
    [
        (401, "You are not authenticated", UserError, "does not let this user in .401"),
        (403, error_body("PERMISSION_DENIED", "no"), UserError, "does not let this user in"),
        (200, PAGE, UserError, "not as an MLflow server does .Sign in Please"),
        (404, PAGE, UserError, "not as an MLflow server does .404: Sign in"),
        (500, "oops", StoreDownError, "error 500"),
        (503, PAGE, StoreDownError, "error 503"),
        (429, "slow down", StoreDownError, "error 429"),
    ],
)
def test_a_server_that_answers_with_something_else_is_told_apart(
    status: int,
    body: str,
    kind: type[Exception],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    with answering(status, body) as address:
        found = failure(tmp_path, address, monkeypatch)
    assert type(found) is kind
    assert address in str(found)
    assert re.search(sentence, str(found)), str(found)


def test_nobody_there_is_noticed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = failure(tmp_path, nobody(), monkeypatch)
    assert type(found) is StoreDownError
    assert "refuses connections" in str(found)


def test_a_silent_server_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("evoprompt.tracking.stores.PROBE_SECONDS", 1)
    with silent() as address:
        found = failure(tmp_path, address, monkeypatch)
    assert type(found) is StoreDownError
    assert "does not answer" in str(found)


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("postgresql://ann:pa55word@db.invalid/m", "pip install 'psycopg[binary]'"),
        ("postgresql+psycopg2://ann:pa55word@db.invalid/m", "pip install psycopg2-binary"),
        ("mysql+pymysql://ann:pa55word@db.invalid/m", "pip install pymysql"),
        ("postgresql+nothing://ann:pa55word@db.invalid/m", "no address that MLflow knows"),
        ("htp://ann:pa55word@127.0.0.1:5000", "no address that MLflow knows"),
        ("sqlite:////dev/null/m.db", "cannot be made"),
    ],
)
def test_a_store_that_cannot_be_used_is_the_users_to_mend(
    uri: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found = failure(tmp_path, uri, monkeypatch)
    assert type(found) is UserError
    assert sentence in str(found)
    assert "pa55word" not in str(found)


def test_files_that_are_no_store_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "text.db").write_text("not a database at all, but text\n" * 40)
    found = failure(tmp_path, f"sqlite:///{tmp_path}/text.db", monkeypatch)
    assert type(found) is UserError
    assert "file is not a database" in str(found)
    found = failure(tmp_path, str(tmp_path / "mlruns"), monkeypatch)
    assert type(found) is UserError
    assert "no address that MLflow knows" in str(found)


def test_a_locked_database_is_down_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("evoprompt.tracking.stores.PROBE_SECONDS", 0.5)
    lock = sqlite3.connect(tmp_path / "m.db", isolation_level=None)
    lock.execute("CREATE TABLE t (x)")
    lock.execute("BEGIN EXCLUSIVE")
    found = failure(tmp_path, f"sqlite:///{tmp_path}/m.db", monkeypatch)
    lock.close()
    assert type(found) is StoreDownError
    assert "is locked by another process" in str(found)


def test_a_store_of_another_version_is_to_be_upgraded():
    found = explain(
        RuntimeError("Detected out-of-date database schema (found ..."), "mysql://a:b@h"
    )
    assert type(found) is UserError
    assert "mlflow db upgrade mysql://a:***@h" in str(found)
