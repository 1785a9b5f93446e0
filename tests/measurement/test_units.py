"""Results are assembled from what each query says of itself, and workers get token ids alone."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from evoprompt.backends.local import LocalExecutor
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.requests import tokenize
from evoprompt.measurement.units import (
    Asked,
    Unit,
    UnitKey,
    Wanted,
    label_scores,
    verdict_scores,
)
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example, LabelScores, QueryKind, TokenCount
from evoprompt.scoring.engine import Scorer, TokenScores
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.store.ledger import Ledger
from evoprompt.tasks import render
from evoprompt.tasks.judge import verdict_queries
from evoprompt.tasks.render import CONTENT_FREE, render_prompt, render_queries

EXAMPLES = (
    Example("a", "fine film", "good", ("bad", "good", "so so")),
    Example("b", "poor", "bad", ("bad", "good")),
)
POLICY = Policy("Sort.", (Demonstration("lovely", "good"),), Template("T: ", "\nL:", "\n"))


class Letters:
    """A tokenizer with a token for each letter and none at the beginning."""

    begin_token = 0

    def encode(self, texts, *, add_special_tokens=True):
        return [tuple(ord(letter) for letter in text) for text in texts]


def unit_of(queries, order=None) -> tuple[Unit, TokenScores]:
    """A unit whose requests stand in this order, each with a score that follows from its query."""
    asked = [Asked(q, r) for q, r in zip(queries, tokenize(Letters(), queries), strict=True)]
    asked = [asked[i] for i in (range(len(asked)) if order is None else order)]
    values = [-float(len(a.request.fed)) - list(QueryKind).index(a.query.kind) for a in asked]
    greedy = [a.query.candidate == 1 for a in asked]
    scores = TokenScores(np.array(values), np.array(greedy), TokenCount())
    return Unit(UnitKey(POLICY.policy_id), tuple(asked), ()), scores


def same(a: LabelScores, b: LabelScores) -> bool:
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(LabelScores)]
    return all(np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y for x, y in pairs)


def test_features_are_those_of_each_example_whatever_the_order():
    """Read once an example, after its prompt, and kept in numbers of 16 bits."""
    queries = render_queries(POLICY, EXAMPLES, with_prior=True, with_prompt=True)
    found = []
    for seed in (0, 1):
        order = np.random.default_rng(seed).permutation(len(queries))
        unit, scores = unit_of(queries, order)
        unit = replace(unit, features=(7, 8))
        work = unit.work
        assert work.features.tokens == (7, 8)
        assert len(work.features.places) == 2
        prompts = [unit.asked[i].query.context for i in work.features.places]
        assert sorted(prompts) == sorted(render_prompt(POLICY, e.input) for e in EXAMPLES)
        # a third of the length of the context, and less
        values = [[-len(p) / 3, -len(p) / 3 - 1] for p in prompts]
        read = label_scores(unit, replace(scores, features=np.array(values)), EXAMPLES)
        expected = np.array([[-len(render_prompt(POLICY, e.input)) / 3] for e in EXAMPLES])
        expected = np.concatenate([expected, expected - 1], axis=1)[None]
        np.testing.assert_array_equal(read.features, expected.astype(np.float16))
        found.append(read.features.tolist())
    assert found[0] == found[1]
    both = read.joined(read)
    assert both.features.shape == (1, 4, 2)
    np.testing.assert_array_equal(both.first(2).features, read.features)
    assert label_scores(*unit_of(queries), EXAMPLES).features is None
    # of a word that never comes, the least number of 16 bits
    never = label_scores(unit, replace(scores, features=np.full((2, 2), -np.inf)), EXAMPLES)
    assert (never.features == -65504).all()


def test_the_order_of_the_queries_changes_nothing():
    queries = render_queries(POLICY, EXAMPLES, with_prior=True, with_prompt=True)
    assert [q.kind for q in queries].count(QueryKind.PROMPT) == 1
    straight = label_scores(*unit_of(queries), EXAMPLES)
    order = np.random.default_rng(0).permutation(len(queries))
    assert same(label_scores(*unit_of(queries, order), EXAMPLES), straight)
    assert straight.prior is not None
    assert straight.prompt_cross_entropy is not None
    # Power twin: scores that are laid out by position come out otherwise.
    unit, scores = unit_of(queries)
    turned = replace(scores, log_likelihood=scores.log_likelihood[order])
    assert not same(label_scores(unit, turned, EXAMPLES), straight)


def test_the_order_of_the_verdicts_changes_nothing():
    queries = verdict_queries(POLICY, EXAMPLES)
    straight = verdict_scores(*unit_of(queries), EXAMPLES)
    order = np.random.default_rng(1).permutation(len(queries))
    assert np.array_equal(verdict_scores(*unit_of(queries, order), EXAMPLES), straight)
    assert straight.shape == (1, 2, 2, 2)
    assert np.isfinite(straight).all()


def test_what_was_not_asked_for_is_absent():
    scores = label_scores(*unit_of(render_queries(POLICY, EXAMPLES)), EXAMPLES)
    assert (scores.prior, scores.prompt_cross_entropy, scores.verdict) == (None, None, None)


def test_a_score_too_few_is_refused():
    unit, scores = unit_of(render_queries(POLICY, EXAMPLES))
    short = replace(
        scores, log_likelihood=scores.log_likelihood[:-1], is_greedy=scores.is_greedy[:-1]
    )
    with pytest.raises(ValueError, match="shorter"):
        label_scores(unit, short, EXAMPLES)


def test_workers_get_no_text():
    unit, _ = unit_of(render_queries(POLICY, EXAMPLES))
    sent = pickle.dumps(unit.work)
    assert b"Sort" not in sent
    assert b"Sort" in pickle.dumps(unit)


@pytest.fixture(scope="module")
def scorer(tiny_model: Path) -> Scorer:
    return Scorer(TransformersLM(tiny_model, threads=1), chunk_tokens=64)


def test_the_prompt_has_the_cross_entropy_of_its_own_tokens(scorer: Scorer, tiny_model: Path):
    import torch

    measurer = Measurer(Tokenizer(tiny_model), LocalExecutor(scorer), Wanted(prompt=True))
    [(scores, _)] = measurer.measure([POLICY], EXAMPLES, lambda _: None, Ledger().timed).values()
    [tokens] = measurer.tokenizer.encode([render_prompt(POLICY, CONTENT_FREE)])
    with torch.no_grad():
        rows = scorer.model.network(torch.tensor([tokens])).logits[0].float().log_softmax(-1)
    expected = -np.mean([float(rows[i - 1, tokens[i]]) for i in range(1, len(tokens))])
    assert scores.prompt_cross_entropy == pytest.approx([expected], abs=1e-4)


def test_no_prompt_is_rendered_twice(
    scorer: Scorer, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
):
    rendered: list[tuple[str, str]] = []
    real = render._renderer

    def counting(policy):
        def one(text, written):
            rendered.append((policy.policy_id, text))
            return real(policy)(text, written)

        return one

    monkeypatch.setattr(render, "_renderer", counting)
    measurer = Measurer(Tokenizer(tiny_model), LocalExecutor(scorer), Wanted(verdicts=True))
    measurer.measure([POLICY], EXAMPLES, lambda _: None, Ledger().timed)
    # 2 examples, and 2 answers to each; not once more for each candidate and verdict
    assert len(rendered) == len(set(rendered)) == 2 + 4


def test_without_verdicts_the_same_is_measured_but_for_them(scorer: Scorer, tiny_model: Path):
    measurer = Measurer(Tokenizer(tiny_model), LocalExecutor(scorer), Wanted(verdicts=True))
    both = [
        m.measure([POLICY], EXAMPLES, lambda _: None, Ledger().timed)[POLICY.policy_id]
        for m in (measurer, measurer.without_verdicts())
    ]
    (whole, all_tokens), (answers, tokens) = both
    assert whole.verdict is not None
    assert answers.verdict is None
    np.testing.assert_array_equal(answers.num_tokens, whole.num_tokens)
    assert tokens.floor_body_tokens < all_tokens.floor_body_tokens
    assert measurer.wanted.verdicts
