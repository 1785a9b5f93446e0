"""The memo gives back what was put in, to the bit, and nothing else; what goes wrong with its file
costs the memo and not the run.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys.toy_lm import ToyLM

from evoprompt.backends.local import LocalExecutor
from evoprompt.jobs.score import score_with_memo
from evoprompt.records import TokenCount
from evoprompt.scoring.engine import Scorer, TokenScores
from evoprompt.scoring.memo import Memo, clear_memo, describe_memo
from evoprompt.scoring.trie import Features, TokenRequest

REQUESTS = [
    TokenRequest((1, 2, 3), (4, 5)),
    TokenRequest((1, 2), (3, 4, 5)),
    TokenRequest((1, 2, 3), (4,)),
    TokenRequest((9,), (1,)),
]


def scores_of(requests, offset: float = 0.0) -> TokenScores:
    values = np.array([-1 / 3 - i - offset for i in range(len(requests))])
    return TokenScores(values, values < -1, TokenCount())


@pytest.fixture
def memo(tmp_path: Path):
    memo = Memo(tmp_path / "memo.sqlite", "model")
    yield memo
    memo.close()


def test_what_was_kept_comes_back_to_the_bit(memo: Memo):
    kept = scores_of(REQUESTS)
    memo.keep(REQUESTS, kept)
    again = memo.recall(REQUESTS)
    assert again.log_likelihood.tolist() == kept.log_likelihood.tolist()
    assert again.is_greedy.tolist() == kept.is_greedy.tolist()
    assert again.count == TokenCount(floor_body_tokens=5, requests=4, memo_requests=4)


def test_features_come_back_to_the_bit_with_those_they_were_read_with_alone(memo: Memo):
    features = Features((7, 8), (0, 3))
    kept = replace(scores_of(REQUESTS), features=np.array([[-1 / 3, -2.0], [-5.5, -1e-9]]))
    memo.keep(REQUESTS, kept, features)
    again = memo.recall(REQUESTS, features)
    np.testing.assert_array_equal(again.features, kept.features)
    assert again.log_likelihood.tolist() == kept.log_likelihood.tolist()
    assert memo.recall(REQUESTS).features is None
    # other words, other places, other company: nothing is known
    assert memo.recall(REQUESTS, Features((8, 7), (0, 3))) is None
    assert memo.recall(REQUESTS, Features((7, 8), (0, 1))) is None
    memo.keep(REQUESTS[:1], scores_of(REQUESTS[:1]))
    assert memo.recall(REQUESTS[:1], Features((7, 8), (0,))) is None


def test_a_backend_that_reads_no_features_is_recalled_too(memo: Memo):
    features = Features((7, 8), (0, 3))
    memo.keep(REQUESTS, scores_of(REQUESTS), features)
    again = memo.recall(REQUESTS, features)
    assert again.features is None
    assert again.log_likelihood.tolist() == scores_of(REQUESTS).log_likelihood.tolist()
    # what was kept where none were asked for says nothing of them
    memo.keep(REQUESTS[:2], scores_of(REQUESTS[:2]))
    assert memo.recall(REQUESTS[:2], Features((7, 8), (0,))) is None


@pytest.mark.parametrize("damaged", [np.array([-1.0, -2.5]).tobytes(), "text", 7, None, b""])
def test_features_that_were_changed_in_the_file_are_not_believed(memo: Memo, damaged):
    features = Features((7, 8), (0,))
    kept = replace(scores_of(REQUESTS), features=np.array([[-1.0, -2.0]]))
    memo.keep(REQUESTS, kept, features)
    assert memo.recall(REQUESTS, features) is not None
    with sqlite3.connect(memo.path) as file:
        file.execute("UPDATE feature SET log_prob = ?", (damaged,))
    assert memo.recall(REQUESTS, features) is None


def test_where_context_ends_and_continuation_begins_is_part_of_the_key(memo: Memo):
    memo.keep(REQUESTS[:1], scores_of(REQUESTS[:1]))
    assert memo.find([REQUESTS[1]]).scores == {}  # the same tokens, split elsewhere


def test_other_company_is_found_one_by_one_but_not_recalled_as_a_whole(memo: Memo):
    memo.keep(REQUESTS, scores_of(REQUESTS))
    known = memo.find(REQUESTS[:3])
    assert len(known.scores) == 3
    assert not known.in_company
    assert memo.recall(REQUESTS[:3]) is None
    assert memo.recall([*REQUESTS, TokenRequest((8,), (8,))]) is None


def test_a_request_in_two_companies_is_recalled_with_each(memo: Memo):
    memo.keep(REQUESTS[:2], scores_of(REQUESTS[:2]))
    memo.keep(REQUESTS[1:], scores_of(REQUESTS[1:], offset=1e-6))
    assert (
        memo.recall(REQUESTS[:2]).log_likelihood.tolist()
        == scores_of(REQUESTS[:2]).log_likelihood.tolist()
    )
    assert (
        memo.recall(REQUESTS[1:]).log_likelihood.tolist()
        == scores_of(REQUESTS[1:], offset=1e-6).log_likelihood.tolist()
    )
    assert not memo.find(REQUESTS).in_company


def test_scores_of_passes_that_found_no_memory_are_not_kept(memo: Memo):
    model = ToyLM()
    scorer = Scorer(model, chunk_tokens=16, path="packed")
    requests = [TokenRequest((1, 2, 3), (label,) * 20) for label in (4, 5)]  # 3 + 19 + 19 rows
    whole = scorer.score(requests)
    assert not whole.is_shortened
    memo.keep(requests, whole)
    assert memo.recall(requests) is not None
    model.memory = 8
    others = [TokenRequest((2, 2, 3), (label,) * 20) for label in (4, 5)]
    shortened = scorer.score(others)
    assert shortened.count.halvings == 1
    assert shortened.is_shortened
    memo.keep(others, shortened)
    assert memo.find(others).scores == {}
    model.memory = 10**9
    later = scorer.score(others)  # no pass fails, and all are still of 8 tokens
    assert later.count.halvings == 0
    assert later.is_shortened
    memo.complete(others, scorer.score)
    assert memo.find(others).scores == {}


@pytest.mark.parametrize("asked", [REQUESTS[::-1], [*REQUESTS, REQUESTS[0]]])
def test_order_and_repetition_are_the_same_company(memo: Memo, asked):
    kept = dict(zip(REQUESTS, scores_of(REQUESTS).log_likelihood.tolist(), strict=True))
    memo.keep(REQUESTS, scores_of(REQUESTS))
    assert memo.recall(asked).log_likelihood.tolist() == [kept[r] for r in asked]


def test_another_model_finds_nothing(tmp_path: Path, memo: Memo):
    memo.keep(REQUESTS, scores_of(REQUESTS))
    assert Memo(tmp_path / "memo.sqlite", "another").find(REQUESTS).scores == {}


@pytest.mark.parametrize(
    "damage",
    ["log_likelihood = log_likelihood + 1e-9", "is_greedy = 1 - is_greedy", "seal = zeroblob(16)"],
)
def test_a_damaged_score_is_not_believed(tmp_path: Path, memo: Memo, damage: str):
    memo.keep(REQUESTS, scores_of(REQUESTS))
    with sqlite3.connect(tmp_path / "memo.sqlite") as connection:
        connection.execute(f"UPDATE score SET {damage} WHERE id = 2")
    assert set(memo.find(REQUESTS).scores) == {0, 2, 3}
    assert memo.recall(REQUESTS) is None


def test_the_oldest_go_when_the_file_is_full(tmp_path: Path):
    memo = Memo(tmp_path / "memo.sqlite", "model", limit_bytes=200_000)
    for first in range(0, 6000, 100):
        batch = [TokenRequest((n,), (1,)) for n in range(first, first + 100)]
        memo.keep(batch, scores_of(batch))
    assert memo.find([TokenRequest((0,), (1,))]).scores == {}
    assert memo.recall(batch) is not None
    assert (tmp_path / "memo.sqlite").stat().st_size < 300_000


def test_a_file_that_is_no_memo_is_told_and_scoring_goes_on(tmp_path: Path, caplog):
    path = tmp_path / "memo.sqlite"
    path.write_text("not a database, but a long enough text to look at " * 100)
    memo = Memo(path, "model")
    memo.keep(REQUESTS, scores_of(REQUESTS))
    assert memo.recall(REQUESTS) is None
    assert "cannot be used" in caplog.text
    assert "--clear-memo" in caplog.text
    assert "cannot be read" in describe_memo(path)
    clear_memo(path)
    assert describe_memo(path) == "empty"
    Memo(path, "model").keep(REQUESTS, scores_of(REQUESTS))
    assert describe_memo(path).startswith("4 scores")


def _write_without_end(path: Path) -> None:
    memo = Memo(path, "model")
    for first in range(0, 10**9, 50):
        batch = [TokenRequest((n,), (1, 2)) for n in range(first, first + 50)]
        memo.keep(batch, scores_of(batch))


def test_two_writers_and_a_kill_in_the_middle_leave_whole_entries(tmp_path: Path):
    path = tmp_path / "memo.sqlite"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_without_end, args=[path]) for _ in range(2)]
    for writer in writers:
        writer.start()
    memo = None
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (
            path.exists()
            and (memo := memo or Memo(path, "model")).find([TokenRequest((1999,), (1, 2))]).scores
        ):
            break
        time.sleep(0.05)
    else:
        pytest.fail("nothing was written in a minute")
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    for first in range(0, 2000, 50):
        assert (
            memo.recall([TokenRequest((n,), (1, 2)) for n in range(first, first + 50)]) is not None
        )
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) % 50 FROM score").fetchone() == (0,)


@given(
    st.lists(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=6), min_size=1, max_size=5)
)
def test_scores_are_the_same_with_the_memo_and_without(tmp_path_factory, calls):
    memo = Memo(tmp_path_factory.mktemp("memo") / "memo.sqlite", "toy")
    scorer = Scorer(ToyLM(), path="packed")
    seen: set[TokenRequest] = set()
    for requests in calls:
        scores = score_with_memo(LocalExecutor(scorer), requests, memo)
        np.testing.assert_allclose(
            scores.log_likelihood,
            Scorer(ToyLM(), path="plain").score(requests).log_likelihood,
            atol=1e-9,
        )
        assert scores.count.memo_requests == sum(r in seen for r in requests)
        assert scores.count.requests == len(requests)
        seen.update(requests)
