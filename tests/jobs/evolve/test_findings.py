"""What a run claims, and how far its fitness is trusted: by hand, and over many runs without any
truth in them (fixed seeds).
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from html import escape
from math import sqrt
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from evoprompt.jobs.evolve.advice import advice
from evoprompt.jobs.evolve.champion_page import champion_section, verdict
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.ending import _cost
from evoprompt.jobs.evolve.findings import (
    Trust,
    claim_of,
    fitness_ranks,
    trust_of,
    trust_rows,
    trust_text,
)
from evoprompt.jobs.evolve.folder import LINEAGE, EvolveFolder
from evoprompt.jobs.evolve.metrics import summary_description, summary_metrics
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.held_out import HeldOut, Share, compare
from evoprompt.stats.rank_correlation import spearman
from evoprompt.store.ledger import TokenSummary


def check(before: list[int], after: list[int]) -> HeldOut:
    return compare(np.array(before, dtype=bool), np.array(after, dtype=bool), 0, 0.05)


def ended(low: float, high: float) -> HeldOut:
    share, difference = Share(0.5, (0.4, 0.6)), Share((low + high) / 2, (low, high))
    return HeldOut("accuracy", 40, share, share, difference)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.025, 0.2, "better"),
        (-0.2, -0.025, "worse"),
        (-0.05, 0.2, "not shown"),
        (0.0, 0.2, "not shown"),
        (-0.2, 0.0, "not shown"),
        (0.0, 0.0, "not shown"),
    ],
)
def test_a_champion_is_better_only_where_the_interval_does_not_hold_zero(low, high, verdict):
    claim = claim_of(ended(low, high), is_baseline=False)
    assert claim.verdict == verdict
    assert f"{100 * low:+.1f} to {100 * high:+.1f}" in claim.text
    assert "40 test examples" in claim.text
    assert ("is better than the best starting prompt" in claim.text) == (verdict == "better")
    assert ("which may be chance" in claim.text) == (verdict == "not shown")


def test_a_run_that_ends_with_its_starting_prompt_says_so():
    claim = claim_of(ended(0.0, 0.0), is_baseline=True)
    assert claim.verdict == "baseline"
    assert "that prompt is the champion" in claim.text


@pytest.mark.parametrize("is_baseline", [True, False])
def test_a_claim_tells_the_gain_over_the_prompt_as_it_is(is_baseline: bool):
    """Of 40, 38 right where the prompt as it is has 10: 28 more, never fewer, so its interval has
    no 0, while that of the 2 more than the calibrated one has.
    """
    raw, before, after = (np.arange(40) < num for num in (10, 36, 38))
    test = compare(before, after, 0, 0.05, raw=(raw, raw))
    assert test.gain is not None
    assert test.gain.value == pytest.approx(0.7)
    assert 0.5 < test.gain.ci[0] < 0.7 < test.gain.ci[1] < 0.9
    claim = claim_of(test, is_baseline=is_baseline)
    assert claim.verdict == ("baseline" if is_baseline else "not shown")
    assert "+70.0 points" in claim.text
    lead = (
        "The prompt found (the champion), with calibration, answers 38 of 40 test examples right; "
        "the best starting prompt, without it, answers 10. That is +70.0 points (95 % interval "
    )
    assert claim.text.startswith(lead) != is_baseline
    told = (
        "Calibration alone brings the starting prompt to 36; the search adds +5.0 points, which "
        "may be chance (+0.0 to +12.5)."
    )
    assert claim.text.endswith(told) != is_baseline
    assert "alibrat" not in claim_of(compare(before, after, 0, 0.05), is_baseline=False).text


def test_a_search_that_changed_no_calibrated_answer_added_nothing_that_is_shown():
    raw, right = np.arange(40) < 10, np.arange(40) < 36
    claim = claim_of(compare(right, right, 0, 0.05, raw=(raw, raw)), is_baseline=False)
    assert claim.verdict == "not shown"
    assert "with it, the starting prompt answers the same ones right. They may still" in claim.text
    assert "up to 7 %" in claim.text  # .93^40 = .05


def test_two_that_answer_a_small_test_alike_are_not_said_to_be_equal():
    """Of 4 examples none differs: were 53 % of all to differ, none of 4 would with probability
    .47^4 = .05.
    """
    claim = claim_of(check([1, 1, 0, 0], [1, 1, 0, 0]), is_baseline=False)
    assert claim.verdict == "not shown"
    assert "the same of 4 test examples right" in claim.text
    assert "up to 53 %" in claim.text


def test_few_answers_more_claim_nothing():
    """Three more of 40, and none lost: the bootstrap's lower end is 0, as 5 % of resamples have
    none of the three.
    """
    before = [1] * 20 + [0] * 20
    assert claim_of(check(before, [1] * 23 + [0] * 17), is_baseline=False).verdict == "not shown"
    assert claim_of(check(before, [1] * 30 + [0] * 10), is_baseline=False).verdict == "better"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            [1] * 20 + [0] * 20,
            [1] * 30 + [0] * 10,
            "it has 30 of 40 test examples right, and the starting prompt 20. That is +25.0 points",
        ),
        ([1, 1, 0, 0], [1, 1, 0, 0], "both answer the same of 4 test examples right."),
    ],
)
def test_the_page_says_in_plain_words_what_its_verdict_rests_on(before, after, said):
    test = check(before, after)
    claim = claim_of(test, is_baseline=False)
    page = verdict(SimpleNamespace(test=test, claim=claim), [], ["Rest."])
    assert said in page
    assert '<a href="#what-to-do-next">What to do next</a>: Rest.' in page
    assert "never saw the test examples. On other examples of this kind a difference" in page


def test_a_metric_between_right_and_wrong_is_not_counted():
    test = replace(ended(0.1, 0.2), metric="token_f1")
    claim = claim_of(test, is_baseline=False)
    assert "better than the best starting prompt: +15.0 points (95 % " in claim.text
    assert "of the metric token_f1 on 40 test examples, beyond chance." in claim.text
    page = verdict(SimpleNamespace(test=test, claim=claim), [], [])
    assert "token_f1 is 0.500 with the best starting prompt and 0.500 with the champion." in page


def test_the_page_says_what_guessing_gets_and_gives_the_better_prompt_to_copy():
    test = check([1] * 30 + [0] * 10, [1] * 18 + [0] * 22)
    claim = claim_of(test, is_baseline=False)
    chosen = SimpleNamespace(choices=("a", "b", "c", "d"), split="test")
    run = SimpleNamespace(test=test, claim=claim, baseline=SimpleNamespace(prompt="Sort: {input}"))
    page = verdict(run, [chosen] * 40, [])
    assert "is worse than the best starting prompt: it has 18 of 40 test examples right" in page
    assert "Guessing gets 25 % of them right." in page
    shown = SimpleNamespace(
        prompt="p", export="e", answers={}, changed=[], example=None, slots={}, alone=""
    )
    section = champion_section(shown, run)
    assert section.index("Sort: {input}") < section.index("The champion</h3>")
    won = check([0] * 40, [1] * 40)
    better = SimpleNamespace(test=won, claim=claim_of(won, is_baseline=False))
    assert "Keep the best starting prompt: the champion does no better on the test." in section
    assert "<h3>The text alone (75.0 % right)</h3>" in section
    assert "Keep the best" not in champion_section(shown, better)
    [told] = advice(SimpleNamespace(**vars(run), headroom=None, generations=3), {"operators": {}})
    assert told.startswith("Keep the best starting prompt.")


def test_a_page_says_to_keep_what_is_no_worse_and_to_search_where_nothing_was():
    test = check([1] * 23 + [0] * 11, [1] * 20 + [0] * 14)
    run = SimpleNamespace(test=test, claim=claim_of(test, is_baseline=False), headroom=None)
    searched, began = (
        advice(SimpleNamespace(**vars(run), generations=num), {"operators": {}}) for num in (3, 0)
    )
    assert searched == began[1:]
    assert began[0].startswith("The run ended with its first generation")
    # 3 of 34 differ: 2 sqrt(3) / 34 = .10
    assert searched[0].startswith("Keep the best starting prompt for now. To be surer, give more")
    assert "34 the two prompts answer 3 differently, so a difference below about 10" in searched[0]
    little = SimpleNamespace(**vars(run) | {"headroom": SimpleNamespace(verdict="little to win")})
    assert (
        "first generation"
        not in advice(SimpleNamespace(**vars(little), generations=0), {"operators": {}})[0]
    )


def test_the_command_that_answers_as_measured_stands_before_the_prompt_alone():
    """Calibrated 38 of 40 are right and raw 12: who copies the prompt gets the 12."""
    raw, before, after = (np.arange(40) < num for num in (12, 30, 38))
    test = compare(before, after, 0, 0.05, raw=(raw, raw))
    shown = SimpleNamespace(
        prompt="p", export="e", answers={}, changed=[], example=None, slots={}, alone=""
    )
    run = SimpleNamespace(test=test, claim=claim_of(test, is_baseline=False))
    section = champion_section(shown, run)
    assert section.index("(95.0 % right)") < section.index(
        "The text alone, uncalibrated (30.0 % right; the best starting prompt: 30.0 %)"
    )
    told = verdict(run, [], [])
    assert "answers 38 of 40 test examples right; the best" in told
    assert "without it, answers 12. That is +65.0 points" in told
    assert "starting prompt to 30; the search adds +20.0 points, beyond chance (+" in told
    assert "The search never saw the test examples. Calibration takes off the" in told


def test_a_verdict_on_the_starting_prompt_itself_tells_of_it_alone():
    test = check([1, 1, 0, 0], [1, 1, 0, 0])
    claim = claim_of(test, is_baseline=True)
    page = verdict(SimpleNamespace(test=test, claim=claim), [], [])
    assert "accuracy is 50.0 % with the best starting prompt.</p>" in page
    assert "What to do next" not in page


@pytest.mark.statistical
@pytest.mark.slow
def test_equal_policies_are_claimed_to_differ_at_the_stated_rate():
    """200 tests of 100 examples, 5 % of them discordant either way: nominal .05 for both sides, sd
    .015; 3 sd are allowed. Twin: half the interval is found out.
    """
    rng, claimed, halved = np.random.default_rng(0), [], []
    for _ in range(200):
        values = rng.choice(4, p=[0.45, 0.45, 0.05, 0.05], size=100)
        test = compare(np.isin(values, [0, 2]), np.isin(values, [0, 3]), 0, 0.05)
        claimed.append(claim_of(test, is_baseline=False).verdict != "not shown")
        value, (low, high) = test.difference.value, test.difference.ci
        halved.append(not (low + value) / 2 <= 0 <= (high + value) / 2)
    assert np.mean(claimed) < 0.05 + 3 * 0.015
    assert np.mean(halved) > 0.05 + 3 * 0.015


SEARCHED = {"a": [0.0, 2.0], "b": [4.0, 2.0]}


def test_the_luck_of_the_champion_by_hand():
    """1 of the best, and -1 of the worst, as in `test_optimism`. The best has mean 3 and variance 2
    of two; on the test mean 4 and variance 4 of three.
    """
    tested = np.array([2.0, 4.0, 6.0])
    found = trust_of(SEARCHED, "b", tested, None)
    assert found.num_scored == 2
    assert found.optimism_est == pytest.approx(1)
    assert found.optimism_observed == -1
    assert found.optimism_observed_se == pytest.approx(sqrt(2 / 2 + 4 / 3))
    assert trust_of(SEARCHED, "a", tested, None).optimism_est == pytest.approx(-1)


def test_what_is_undefined_is_nothing_and_not_a_number():
    one = trust_of({"a": [1.0, 2.0]}, "a", np.array([1.0, 3.0]), None)
    assert (one.num_scored, one.optimism_est, one.optimism_est_se) == (1, None, None)
    assert one.optimism_observed == -0.5
    untested = trust_of(SEARCHED, "b", None, None)
    assert (untested.optimism_observed, untested.optimism_observed_se) == (None, None)
    short = trust_of(SEARCHED, "b", np.array([1.0]), None)
    assert (short.optimism_observed, short.optimism_observed_se) == (2, None)
    assert one.metrics() == {
        "trust/num_scored": 1,
        "trust/optimism_observed": -0.5,
        "trust/optimism_observed_se": pytest.approx(sqrt(0.5 / 2 + 2 / 2)),
    }
    assert trust_text(trust_of({"a": [1.0]}, "a", None, None)) == ""


def test_policies_that_met_fewer_examples_are_counted_too():
    rng = np.random.default_rng(1)
    searched = {str(i): rng.normal(size=4 if i else 16).tolist() for i in range(9)}
    found = trust_of(searched, "0", None, None)
    assert found.num_scored == 9
    assert found.optimism_est is not None


def test_accuracy_is_not_correlated_with_itself():
    right = np.array([[1.0, 0, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1]])
    assert fitness_ranks(right, right, 0, 0.05) is None
    found = fitness_ranks(right + np.arange(3)[:, None], right, 0, 0.05)
    assert found is not None
    assert found.value == pytest.approx(-0.5)
    assert found == fitness_ranks(right + np.arange(3)[:, None], right, 0, 0.05), "same seed"


def test_what_is_written_is_read_again_and_said():
    rng = np.random.default_rng(2)
    fitness = rng.normal(size=(8, 1)) + rng.normal(size=(8, 12))
    ranks = fitness_ranks(fitness, (fitness > 0).astype(float), 0, 0.05)
    searched = {str(i): row.tolist() for i, row in enumerate(fitness)}
    found = trust_of(searched, "0", rng.normal(size=20), ranks)
    assert Trust.from_dict(json.loads(json.dumps(asdict(found)))) == found
    text = trust_text(found)
    assert f"{found.optimism_est:.3f}" in text
    assert "among 8 scored policies" in text
    assert ranks is not None
    assert f"rank correlation of {ranks.value:.2f}" in text
    rows = dict(trust_rows(found))
    assert rows["winner's optimism"].startswith(f"{found.optimism_est:.3f} of")
    assert rows["rank correlation"].startswith(f"{ranks.value:.2f}  [")
    assert found.metrics()["trust/rank_correlation"] == ranks.value
    assert {"trust/rank_correlation_low", "trust/optimism_est_se"} < found.metrics().keys()


def test_a_run_says_what_it_shows_and_how_far_its_fitness_is_trusted(
    config_file: Path, tmp_path: Path
):
    """Of the champion on the search's examples, recomputed from what was measured."""
    finished = tmp_path / "run"
    start(load_config(config_file), finished)
    folder = EvolveFolder(finished)
    summary = folder.summary()
    assert summary is not None
    assert summary.claim is not None
    assert summary.report is not None
    test, report = summary.test, summary.report
    low, high = test.difference.ci
    is_baseline = summary.champion.policy_id == summary.baseline.policy_id
    shown = {"better": low > 0, "worse": high < 0, "not shown": low <= 0 <= high}
    assert is_baseline or shown[summary.claim.verdict]
    assert test.mcnemar is not None
    differing = test.mcnemar.only_champion - test.mcnemar.only_baseline
    assert differing / test.num_examples == pytest.approx(test.difference.value)
    born = {b["policy_id"]: b["traits"] for b in folder.lines(LINEAGE)}
    assert report.num_scored == summary.policies_scored == len(born)
    ranks = report.rank_correlation
    assert ranks is not None
    assert (ranks.num_policies, ranks.num_examples) == (len(born), 8)
    pairs = [np.array([t[name] for t in born.values()]) for name in ("fitness", "accuracy")]
    assert ranks.value == pytest.approx(spearman(*pairs))
    page, said = (finished / "report.html").read_text(), summary_description(summary)
    for text in (summary.claim.text, trust_text(report), "McNemar"):
        assert escape(text) in page
        assert text in said
    metrics = summary_metrics(summary)
    assert metrics["trust/optimism_est"] == report.optimism_est
    assert metrics["test/mcnemar_p"] == test.mcnemar.p_value


@pytest.mark.parametrize(("prefill", "rows"), [(900, 0), (1_050, 0), (2_500, 1)])
def test_what_a_server_forwards_again_is_told_beside_what_the_budget_counts(prefill, rows):
    by_phase = {"search": prefill}
    tokens = TokenSummary(prefill, 0, prefill, 1_000, 9, 9, 9, 0, 40, 0, 0, by_phase)
    said = [text for title, text in _cost(tokens, {"total": 1.0}) if title == "forwarded again"]
    assert len(said) == rows
    assert all(text.startswith("1,500  (") and "1,000" in text for text in said)
