"""No password and no token is shown or kept."""

from __future__ import annotations

import pytest

from evoprompt.masking import ADDRESS_VARIABLES, SECRET_VARIABLES, without_secrets


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SECRET_VARIABLES, *ADDRESS_VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://ann:pa55w@h:5000/x", "http://ann:***@h:5000/x"),
        ("postgresql+psycopg2://ann:a@b/c:d@db/m", "postgresql+psycopg2://ann:***@db/m"),
        (
            "see 'mysql://a:b@h/x' and \"http://c:d@e\"",
            "see 'mysql://a:***@h/x' and \"http://c:***@e\"",
        ),
        ("https://tok3n@h/api", "https://***@h/api"),
        ("http://h/?token=abc&x=1", "http://h/?token=***&x=1"),
        ("postgresql://h/m?user=ann&password=a%40b#f", "postgresql://h/m?user=ann&password=***#f"),
        ("http://h/?X-Amz-Signature=12ab&api_key=k", "http://h/?X-Amz-Signature=***&api_key=***"),
        ("Authorization: Bearer abcdefghi", "Authorization: Bearer ***"),
    ],
)
def test_what_an_address_carries_is_masked(text: str, shown: str):
    assert without_secrets(text) == shown
    assert without_secrets(shown) == shown  # and masking again changes nothing


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/ann/runs/mlflow.db",
        "http://127.0.0.1:5000",
        "http://h:5000/#/experiments/1?compareRunsMode=CHART",
        "postgresql://ann@db/m",
        "mail ann@example.org: 3 of 4",
        "sqlite:////tmp/a@b/mlflow.db",
    ],
)
def test_what_is_no_secret_stays(text: str):
    assert without_secrets(text) == text


def test_a_secret_of_the_environment_is_masked_wherever_it_stands(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "long-token-1")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "ab")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:p%40ss%21word@h?token=q%2Fr%2Fs%2Ft")
    text = without_secrets("no xlong-token-1x, ab, table, p@ss!word, p%40ss%21word, q/r/s/t")
    assert text == "no x***x, ***, table, ***, ***, ***"
