"""Answers of which one begins another are scored with their end, and a free answer is whole."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evoprompt.backends.local import LocalExecutor
from evoprompt.choices import correct
from evoprompt.errors import UserError
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.requests import encode_prompts, end_tokens, requests_of, tokenize
from evoprompt.measurement.units import Asked, Unit, UnitKey, Wanted, label_scores
from evoprompt.policy import Policy, Template
from evoprompt.records import Example, QueryKind, TokenCount
from evoprompt.scoring.engine import Scorer, TokenScores
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.judge import verdict_queries
from evoprompt.tasks.render import render_end, render_prompt, render_queries

POLICY = Policy(template=Template("T: ", "\nL:", " ;\n\n"))
CLASHING = Example("a", "6 + 6", "12", ("1", "12", "7"))
PLAIN = Example("b", "3 + 4", "7", ("7", "8"))


class Letters:
    """A token for each letter; those of `words` are one token each, as in a real vocabulary."""

    begin_token = 0
    special_tokens = frozenset({1, 2})

    def __init__(self, *words: str) -> None:
        self._words = words

    def encode(self, texts, *, add_special_tokens=True):
        return [self._encode(text) for text in texts]

    def _encode(self, text):
        for i, word in enumerate(self._words):
            text = text.replace(word, chr(0xE000 + i))
        return tuple(ord(letter) for letter in text)


def continuations(tokenizer, policy, *examples, **settings):
    found = requests_of(tokenizer, render_queries(policy, examples, **settings))
    return [(q.kind, q.example_id, q.continuation + q.end * q.is_ended) for q, _ in found]


def test_all_candidates_of_an_example_have_their_end_where_one_begins_another():
    found = continuations(Letters(), POLICY, CLASHING, PLAIN, with_prior=True)
    texts = [" 1 ;\n", " 12 ;\n", " 7 ;\n"]
    for kind in (QueryKind.CANDIDATE, QueryKind.PRIOR):
        assert [t for k, e, t in found if (k, e) == (kind, "a")] == texts
        assert [t for k, e, t in found if (k, e) == (kind, "b")] == [" 7", " 8"]


def test_tokens_decide_and_not_texts():
    # " 12" is one token here, so that " 1" does not begin it
    found = continuations(Letters(" 12"), POLICY, CLASHING)
    assert [text for _, _, text in found] == [" 1", " 12", " 7"]


def test_requests_without_such_answers_are_those_of_the_queries_as_they_are():
    queries = render_queries(POLICY, [PLAIN], with_prior=True, with_prompt=True)
    found = requests_of(Letters(), queries)
    assert [q for q, _ in found] == list(queries)
    assert tuple(r for _, r in found) == tokenize(Letters(), queries)


def test_verdicts_of_which_one_begins_the_other_have_their_end():
    evaluator = Policy(label_words=(("TRUE", "right"), ("FALSE", "right not")))
    found = requests_of(Letters(), verdict_queries(evaluator, [PLAIN]))
    texts = {q.continuation + q.end * q.is_ended for q, _ in found}
    assert texts == {" right\n", " right not\n"}


@pytest.mark.parametrize("words", [{"1": "a\nb", "12": "a"}, {"1": "A", "12": "a"}])
def test_answers_that_their_ends_do_not_tell_apart_are_refused(words):
    class Uncased(Letters):
        def _encode(self, text):
            return super()._encode(text.lower())

    policy = Policy(label_words=tuple(words.items()))
    with pytest.raises(UserError, match="cannot be told apart by the model"):
        requests_of(Uncased(), render_queries(policy, [CLASHING]))


@pytest.mark.parametrize("answer_prefix", ["", "\n", "\n ", " "])
def test_answers_are_told_apart_whatever_stands_before_them(answer_prefix: str):
    policy = replace(POLICY, template=Template("T: ", "\nL:", " ;\n", answer_prefix))
    space = " " if answer_prefix.endswith(" ") else ""
    assert [text for _, _, text in continuations(Letters(), policy, CLASHING)] == [
        f"{space}1 ;\n",
        f"{space}12 ;\n",
        f"{space}7 ;\n",
    ]
    with pytest.raises(UserError, match="cannot be told apart"):
        continuations(Letters(), replace(policy, label_words=(("1", "7 ;\nx"),)), CLASHING)


def test_an_answer_that_is_glued_on_does_not_share_a_token_with_the_prompt():
    glued = replace(POLICY, template=Template("T: ", "\nL", " ;\n", ""))
    assert len(continuations(Letters(), glued, PLAIN)) == 2
    with pytest.raises(UserError, match=r"not a prefix.*\(answer_prefix\)"):
        continuations(Letters("L7"), glued, PLAIN)
    assert len(continuations(Letters("L7"), POLICY, PLAIN)) == 2


class Pairs(Letters):
    """Two line ends are one token, but before a word, and a tab belongs to the word after it."""

    def _encode(self, text):
        text = re.sub(r"\n\n(?![^\s])", "\ue100", text)
        return super()._encode(re.sub(r"\t\w", lambda found: chr(0xE200 + ord(found[0][1])), text))


@pytest.mark.parametrize(
    ("answer_prefix", "prompt_end", "answer"),
    [
        ("\n", [10], [ord("7")]),
        ("\n\n", [10, 10], [ord("7")]),
        ("\n\n ", [0xE100], [ord(" "), ord("7")]),
        ("\t", [], [0xE200 + ord("7")]),
    ],
)
def test_a_prompt_has_the_tokens_that_it_has_before_an_answer(answer_prefix, prompt_end, answer):
    policy = replace(POLICY, template=Template("T: ", "\nL:", "\n", answer_prefix))
    colon = ord(":")
    for _, request in requests_of(Pairs(), render_queries(policy, [PLAIN, CLASHING])):
        *_, last = (i for i, token in enumerate(request.context) if token == colon)
        assert list(request.context[last + 1 :]) == prompt_end
    [_, seven] = next(iter(requests_of(Pairs(), render_queries(policy, [PLAIN]))))
    assert list(seven.continuation) == answer
    [prompt] = {query.context for query in render_queries(policy, [PLAIN])}
    spaces = [" "] if answer_prefix.endswith(" ") else []
    assert encode_prompts(Pairs(), [prompt], spaces) == [seven.context]


class Uncased:
    """A tokenizer that does not tell capitals from small letters."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str):
        return getattr(self._tokenizer, name)

    def encode(self, texts, *, add_special_tokens=True):
        small = [text.lower() for text in texts]
        return self._tokenizer.encode(small, add_special_tokens=add_special_tokens)


def test_a_policy_whose_answers_have_the_same_tokens_does_not_fit(measurer: Measurer):
    uncased = Measurer(Uncased(measurer.tokenizer), measurer.executor)
    alike = Policy(label_words=(("7", "Yes"), ("8", "yes")))
    judging = Policy(evaluator=Policy(label_words=(("TRUE", "Yes"), ("FALSE", "yes"))))
    for policy in (alike, judging):
        assert measurer.fits(policy, [PLAIN])
        assert not uncased.fits(policy, [PLAIN])
    assert uncased.fits(Policy(label_words=(("7", "Yes"), ("8", "no"))), [PLAIN])


@pytest.mark.parametrize(
    ("separator", "end"),
    [("\n\n", "\n"), ("\n", "\n"), (" | ", " | "), ("", "\n"), (" ", "\n"), ("</s>\nX", "</s>\n")],
)
def test_the_end_is_the_separator_up_to_its_first_line_end(separator: str, end: str):
    assert render_end(Policy(template=Template("", ":", separator))) == end


def test_the_ends_of_a_free_answer_are_line_ends_the_prompts_own_and_what_is_no_text():
    assert end_tokens(Letters("\n\n"), " |") == sorted([1, 2, ord("\n"), 0xE000, ord(" ")])


def free_form_scores(ended: bool):
    """Of the targets " 1", " 12" and " 11" of one prompt, after which the model writes " 12"."""
    examples = [Example(t, "q", t) for t in ("1", "12", "11")]
    found = requests_of(Letters(), render_queries(Policy(), examples))
    written = " 12\n" if ended else " 12, I think"
    greedy = [
        (written + "\0").startswith(
            q.continuation + (chr(r.continuation[0]) if q.kind is QueryKind.END else "")
        )
        for q, r in found
    ]
    unit = Unit(UnitKey(Policy().policy_id), tuple(Asked(q, r) for q, r in found), ())
    scores = TokenScores(np.full(len(found), -1.0), np.array(greedy), TokenCount())
    return label_scores(unit, scores, examples)


def test_of_targets_that_begin_each_other_at_most_one_is_right():
    assert correct(free_form_scores(ended=True)).tolist() == [[False, True, False]]
    assert not correct(free_form_scores(ended=False)).any()
    # the likelihood is that of the target alone
    assert free_form_scores(ended=True).num_tokens[0, :, 0].tolist() == [2, 3, 3]


@pytest.fixture(scope="module")
def measurer(tiny_model: Path) -> Measurer:
    scorer = Scorer(TransformersLM(tiny_model, threads=1), chunk_tokens=64)
    return Measurer(Tokenizer(tiny_model), LocalExecutor(scorer), Wanted())


def test_scores_with_their_end_are_those_of_answer_and_end(measurer: Measurer):
    import torch

    policy = Policy(template=Template("T: ", "\nL:"))
    words = [f"w{'x' * n}" for n in range(1, 9)]
    examples = [Example(w, f"item {w}", w, tuple(words)) for w in words]
    [(scores, _)] = measurer.measure([policy], examples, lambda _: None, Ledger().timed).values()
    network = measurer.executor._scorer.model.network
    prompt = render_prompt(policy, examples[0].input)
    for c, word in enumerate(words):
        [context, whole] = measurer.tokenizer.encode([prompt, f"{prompt} {word}\n"])
        with torch.no_grad():
            rows = network(torch.tensor([whole])).logits[0].log_softmax(-1)
        nats = sum(float(rows[i - 1, whole[i]]) for i in range(len(context), len(whole)))
        assert scores.log_likelihood[0, 0, c] == pytest.approx(nats, abs=1e-4)
        assert scores.num_tokens[0, 0, c] == len(whole) - len(context)
        assert scores.num_bytes[0, 0, c] == len(f" {word}\n")
