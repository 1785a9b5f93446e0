"""Weights that change under one name are told apart from those that were there before."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys.model_server import served_model

import evoprompt as ep
from evoprompt.backends.server.weights import MOST, TOLERANCE, known_weights

PAIRS = [("a good", " film"), ("a bad", " meal")]


def test_the_same_values_are_the_same_weights_within_the_tolerance(tmp_path):
    file = tmp_path / "new" / "servers.json"
    first = known_weights(file, "m", [-1.0, -2.0])
    assert known_weights(file, "m", [-1.0, -2.0]) == first
    assert known_weights(file, "m", [-1.0 + 0.9 * TOLERANCE, -2.0]) == first
    other = known_weights(file, "m", [-1.0, -2.0 - 1.1 * TOLERANCE])
    assert other != first
    assert known_weights(file, "m", [-1.0, -2.0]) == first, "and the old ones are known again"
    assert known_weights(file, "n", [-1.0, -2.0]) not in (first, other)
    assert known_weights(file, "m", [-1.0]) not in (first, other)


def test_what_was_heard_does_not_drift(tmp_path):
    """Small steps add up to other weights: each is held against the first that were heard."""
    file = tmp_path / "servers.json"
    names = [known_weights(file, "m", [-1.0 - 0.45 * TOLERANCE * i]) for i in range(5)]
    # steps of 0.009 from -1: those of 0, 1 and 2 are within 0.02 of it, that of 3 is not
    assert names[0] == names[1] == names[2]
    assert names[3] != names[0]


def test_a_file_that_cannot_be_used_makes_new_weights(tmp_path):
    file = tmp_path / "servers.json"
    for content in ("not json", "[1]", '{"m": {"a": "b"}}'):
        file.write_text(content)
        assert len(known_weights(file, "m", [-1.0])) == 16
    (tmp_path / "file").write_text("")
    assert len(known_weights(tmp_path / "file" / "servers.json", "m", [-1.0])) == 16
    for number in range(MOST + 10):
        known_weights(file, "m", [-float(number)])
    assert file.read_text().count("[") == MOST


@pytest.mark.parametrize("dialect", ["vllm", "llama.cpp"])
def test_the_memo_answers_for_the_weights_that_it_was_asked_of(dialect, tiny_model: Path):
    with served_model(dialect, tiny_model) as (url, model):

        def scored() -> tuple[list[float], int]:
            before = len(model.prompts)
            found = ep.score(PAIRS, model=str(tiny_model), backend=url)
            return [s.log_likelihood for s in found], len(model.prompts) - before

        first, asked = scored()
        model.noise = TOLERANCE / 10
        again, asked_again = scored()
        assert again == first, "within the noise of a server the memo answers"
        assert asked_again < asked
        model.noise, model.weights = 0.0, 1
        other, asked_other = scored()
        assert asked_other == asked
        assert other != first
        # the requests themselves, by the weights that are there now
        assert other == pytest.approx(
            [model.score(*tokens) for tokens in tokens_of(model)], abs=1e-9
        )
        model.weights = 0
        assert scored()[0] == first


def tokens_of(model) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    pairs = []
    for context, continuation in PAIRS:
        [before, whole] = model.tokenizer.encode([context, context + continuation])
        pairs.append((before, whole[len(before) :]))
    return pairs
