"""Any label, name and value is told to MLflow, and what differs stays different."""

from __future__ import annotations

import hashlib
import random

import pytest
from mlflow.utils.validation import _validate_metric_name, _validate_param, _validate_tag

from evoprompt.tracking.names import MAX_KEY, MAX_VALUE, flat_parameters, store_key, store_value

LABELS = (
    *(
        "yes/no?",
        "yes/no!",
        "é",
        "a:b",
        "a//b",
        "/a",
        "a/",
        "..",
        ".",
        "",
        " ",
        "?",
        "!",
        "灯",
        "a b",
    ),
    *("x" * 1000, "x" * 1000 + "y", "[bold]", "a\0b", "a\nb", "\ud800", "%s", "{a}", "a\\b", "👍"),
)


@pytest.mark.parametrize("label", LABELS)
def test_mlflow_takes_the_key_of_any_label(label: str):
    for key in (f"traits/label_bias/{label}", f"task.label_words.{label}", label):
        name = store_key(key)
        _validate_metric_name(name)
        _validate_param(name, store_value(label))
        _validate_tag(name, store_value(label))
        assert len(name) <= MAX_KEY


@pytest.mark.parametrize(
    "key",
    [
        *("fitness/best", "traits/label_bias/yes", "price/fitness/transmission/crossover"),
        *("task.label_words.ja/nein", "a b", "a:b", "größe", "final.alpha", "x" * 250),
    ],
)
def test_what_mlflow_takes_stays(key: str):
    assert store_key(key) == key


def test_different_keys_stay_different():
    rng = random.Random(3)
    letters = "ab/?!.-_ é\0\n👍"
    keys = {f"t/{''.join(rng.choices(letters, k=rng.randrange(8)))}" for _ in range(20_000)}
    keys |= set(LABELS)
    assert len({store_key(key) for key in keys}) == len(keys) > 5_000


def test_a_key_is_the_same_in_every_call():
    assert store_key("traits/yes?") == store_key("traits/yes?") == "traits/yes_-" + SIGN


#: BLAKE2b of "traits/yes?", four bytes.
SIGN = hashlib.blake2b(b"traits/yes?", digest_size=4).hexdigest()


def test_a_value_is_cut_with_a_mark():
    assert store_value(["a", 1]) == "['a', 1]"
    assert store_value("a\0\ud800") == "a\\x00\\ud800"
    assert len(store_value("x" * 10_000)) == MAX_VALUE
    assert store_value("x" * 10_000).endswith("…")


def test_no_parameter_is_lost_where_keys_have_dots():
    """The label "a.b" and the word b of the label a would both be `words.a.b`."""
    found = flat_parameters({"words": {"a.b": 1, "a": {"b": 2}}, "x": {}, "y": [1]})
    assert found == {"words.a.b": 1, "words.a.b_": 2, "x": {}, "y": [1]}
