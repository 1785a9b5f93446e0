"""Of what a run asks, a sample is scored again: enough of it, no more than that, and whatever the
order is in which it is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from evoprompt.errors import InexactScoringError
from evoprompt.measurement.standing import LEAST_REQUESTS, SHARE, StandingCheck
from evoprompt.measurement.units import Asked, Unit, UnitKey
from evoprompt.records import Query, QueryKind, TokenCount
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.trie import TokenRequest
from evoprompt.store.ledger import Checked, Ledger


class Plain:
    """Gives every request a score that follows from its tokens, and notes what it was asked."""

    class Info:
        dtype, path = "float32", "packed"

    def __init__(self, *, has_plain: bool = True) -> None:
        self.asked: list[TokenRequest] = []
        self.has_plain = has_plain

    def info(self) -> Info:
        return self.Info()

    def score_plain(self, requests: Sequence[TokenRequest]) -> TokenScores | None:
        if not self.has_plain:
            return None
        self.asked += requests
        body = sum(len(fed) for fed in {r.fed for r in requests})
        values = np.array([truth(r) for r in requests])
        count = TokenCount(body, body, requests=len(requests))
        return TokenScores(values, np.zeros(len(requests), dtype=bool), count)


def truth(request: TokenRequest) -> float:
    return -0.01 * sum(request.fed) - len(request.continuation)


def unit(policy: str, lengths: Sequence[int], error: float = 0.0) -> tuple[Unit, TokenScores]:
    """Two answers after each of these prompts, with scores that are wrong by an error, and a count
    of a thousand tokens for each prompt.
    """
    asked = []
    for place, length in enumerate(lengths):
        context = (1, 100 + place, *(2 for _ in range(length - 2)))
        for candidate in range(2):
            query = Query(policy, f"e{place}", candidate, QueryKind.CANDIDATE, "", "")
            asked.append(Asked(query, TokenRequest(context, (10 + candidate,))))
    values = np.array([truth(a.request) + error for a in asked])
    count = TokenCount(floor_body_tokens=1000 * len(lengths), requests=len(asked))
    scores = TokenScores(values, np.zeros(len(asked), dtype=bool), count)
    return Unit(UnitKey(policy), tuple(asked), ()), scores


def look(check: StandingCheck, *units: tuple[Unit, TokenScores]) -> None:
    check.look([u for u, _ in units], {u.key: s for u, s in units})


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def test_three_calls_check_the_least_and_later_ones_no_more_than_the_share(ledger: Ledger):
    check, found = StandingCheck(Plain(), 0, ledger), []
    for call in range(60):
        look(check, unit(f"p{call}", [50] * 30))
        found.append(ledger.checked.requests)
    # from the third on the share of 30,000 tokens a call pays more: 450 of 50 each, then 600
    assert found[:4] == [8, 12, 18, 24]
    measured = 60 * 30 * 1000
    assert ledger.checked.measured_tokens == measured
    assert SHARE * measured - 100 < ledger.checked.tokens <= SHARE * measured
    assert ledger.tokens["check"].body_tokens == ledger.checked.tokens
    assert ledger.checked.difference == 0


def test_a_prompt_longer_than_all_before_is_always_checked(ledger: Ledger):
    plain = Plain()
    check = StandingCheck(plain, 0, ledger)
    for call in range(4):
        look(check, unit(f"p{call}", [50] * 10))
    assert max(len(r.fed) for r in plain.asked) == 50
    look(check, unit("q", [*[50] * 10, 60, *[50] * 10]))  # less than a quarter longer
    assert max(len(r.fed) for r in plain.asked) == 50
    look(check, unit("r", [*[50] * 10, 70, *[50] * 10]))
    assert ledger.checked.longest == 70


def test_the_sample_does_not_depend_on_the_order_but_on_the_seed():
    def sample(seed: int, *, reverse: bool) -> set[TokenRequest]:
        plain = Plain()
        units = [unit(f"p{n}", range(20, 60)) for n in range(5)]
        look(StandingCheck(plain, seed, Ledger()), *(units[::-1] if reverse else units))
        return set(plain.asked)

    assert sample(0, reverse=False) == sample(0, reverse=True)
    assert sample(0, reverse=False) != sample(1, reverse=False)


@pytest.mark.parametrize("error", [0.01, -0.01, np.nan])
def test_a_wrong_score_is_told_with_both_numbers(ledger: Ledger, error: float):
    with pytest.raises(InexactScoringError, match=r"packed scoring gave .* plain forward -"):
        look(StandingCheck(Plain(), 0, ledger), unit("p", [40] * 4, error))


def test_what_the_order_of_summation_explains_is_no_error(ledger: Ledger):
    """Power twin: the same check, with a tenth of what is allowed."""
    look(StandingCheck(Plain(), 0, ledger), unit("p", [40] * 4, 1e-5))
    assert ledger.checked.difference == pytest.approx(1e-5)
    assert 0 < ledger.checked.used < 0.1


def test_a_backend_with_one_way_is_not_checked(ledger: Ledger):
    look(StandingCheck(Plain(has_plain=False), 0, ledger), unit("p", [40] * 4, 1.0))
    assert ledger.checked.requests == 0
    assert "check" not in ledger.tokens


def test_what_was_found_comes_back_with_the_ledger(ledger: Ledger):
    look(StandingCheck(Plain(), 0, ledger), unit("p", [40] * 40, 1e-6))
    again = Ledger.from_dict(ledger.to_dict())
    assert again.checked == ledger.checked != Checked()
    plain = Plain()
    look(StandingCheck(plain, 0, again), unit("q", [40] * 40))
    assert 0 < len(plain.asked) < 16, "the least was begun anew"
    assert again.checked.requests == ledger.checked.requests + len(plain.asked)


def test_at_least_so_many_in_one_call_where_there_is_but_one(ledger: Ledger):
    look(StandingCheck(Plain(), 0, ledger, first=LEAST_REQUESTS), unit("p", [40] * 40))
    assert ledger.checked.requests == LEAST_REQUESTS
