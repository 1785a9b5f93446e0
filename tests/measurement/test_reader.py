"""What is proposed: words that separate, exchanges that can be written as text; on examples that
the prompt does not show, and counted.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toys.instant import InstantBackend, InstantExecutor

from evoprompt.backends.local import LocalExecutor
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.errors import UserError
from evoprompt.measurement import reader as module
from evoprompt.measurement.allowance import Allowance
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.reader import (
    ModelReader,
    log_prob_of,
    separation,
    slopes,
)
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example, TokenCount
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.gradient import Gains
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.readout import Readout
from evoprompt.scoring.tokenizer import Tokenizer

CHOICES = ("bad", "good")
POOL = tuple(
    Example(f"p{i}", f"the meal was {word}", CHOICES[i % 2], CHOICES)
    for i, word in enumerate(("poor", "great", "sad", "fine", "awful", "lovely", "broken", "happy"))
)
POLICY = Policy("Say which mood the text has.", template=Template("T: ", "\nL:", "\n"))


class WordTokenizer:
    """Each word with the space before it is a token, in order of a vocabulary; anything else is a
    token by character.
    """

    begin_token = 0
    break_tokens = special_tokens = frozenset()
    words = (
        *("", " bad", " good", " dull", " bright", " x", " a1", "bright", " Good", " part"),
        " partbright",
    )

    def encode(self, texts, *, add_special_tokens=True):
        return [tuple(self._tokens(text)) for text in texts]

    def _tokens(self, text):
        while text:
            fit = [w for w in self.words if w and text.startswith(w)]
            word = max(fit, key=len) if fit else text[0]
            yield self.words.index(word) if fit else 100 + ord(word)
            text = text[len(word) :]

    def decode(self, tokens):
        return "".join(self.words[t] if t < 100 else chr(t - 100) for t in tokens)

    def tokens_with(self, text):
        return frozenset()


class Told(InstantExecutor):
    """An executor whose readout and gains are given."""

    def __init__(self, log_prob=None, gain=None) -> None:
        self.log_prob, self.gain = log_prob, gain
        self.read: list = []

    def gains(self, asked):
        self.asked = asked
        return Gains(self.gain, TokenCount(1000, 1000))

    def readout(self, contexts, top):
        self.read += contexts
        rows = np.array([self.log_prob[i % 2] for i in range(len(contexts))])
        order = np.argsort(-rows, axis=1, kind="stable")[:, :top]
        count = TokenCount(7, 7, requests=len(contexts))
        return Readout(order, np.take_along_axis(rows, order, axis=1), count)


def told_reader(executor, allowance=None) -> ModelReader:
    measurer = Measurer(WordTokenizer(), executor)
    return ModelReader(measurer, POOL, allowance or Allowance())


def test_separation_is_the_difference_of_means_in_standard_errors():
    # word 0: means -1 and -3, variances 2 and 2 (ddof 1) of 2 each: 2 / sqrt(1 + 1 + .05)
    # word 1: the same after all: 0
    log_prob = np.array([[0.0, -5.0], [-2.0, -5.0], [-2.0, -5.0], [-4.0, -5.0]])
    worth = separation(log_prob, np.array([0, 0, 1, 1]), 2)
    np.testing.assert_allclose(worth[0], [2 / np.sqrt(2.05), 0.0])
    np.testing.assert_allclose(worth[1], [-2 / np.sqrt(2.05), 0.0])


def test_a_token_that_was_not_read_is_as_likely_as_the_last_that_was():
    read = Readout(np.array([[4, 2], [3, 4]]), np.array([[-1.0, -2.0], [-0.5, -3.0]]), TokenCount())
    assert log_prob_of(read, [2, 3, 4]).tolist() == [[-2.0, -2.0, -1.0], [-3.0, -0.5, -3.0]]


def test_slopes_are_differences_of_the_calibrated_likelihood_of_the_right_choices():
    rng = np.random.default_rng(0)
    values, gold = rng.normal(size=(6, 3)), np.array([0, 1, 2, 0, 1, 2])
    calibration = module.fit(values, gold, "labelled")

    def worth(v):
        return calibration.apply(v)[np.arange(6), gold].mean()

    found = slopes(values, gold)
    for place in ((0, 0), (3, 1), (5, 2)):
        step = np.zeros_like(values)
        step[place] = 1e-5
        slope = (worth(values + step) - worth(values - step)) / 2e-5
        assert found[place] == pytest.approx(slope, abs=1e-8)


def test_words_are_whole_words_that_separate_the_choices_and_stand_for_none():
    # by token: none, bad, good, dull, bright, x, a1, bright without a space, Good, part;
    # after texts of the first choice (bad) dull is likelier, after the second bright, x, a1, Good
    first = [-9.0, -1.0, -1.0, -2.0, -6.0, -6.0, -6.0, -6.0, -6.0, -4.0]
    second = [-9.0, -1.0, -1.0, -5.0, -3.0, -2.0, -2.0, -2.0, -2.0, -4.0]
    executor, allowance = Told([first, second]), Allowance()
    reader = told_reader(executor, allowance)
    assert reader.words(POLICY) == {"bad": ("dull",), "good": ("bright",)}
    assert reader.words(POLICY) == {"bad": ("dull",), "good": ("bright",)}
    assert len(executor.read) == len(POOL)  # once
    assert allowance.take_count() == TokenCount(7, 7, requests=8)


def test_a_prompt_is_read_on_examples_that_it_does_not_show():
    executor = Told([[-1.0] * 10] * 2)
    reader = told_reader(executor)
    shown = replace(POLICY, demonstrations=(Demonstration(POOL[1].input, "good"),))
    reader.words(shown)
    texts = [WordTokenizer().decode(c) for c in executor.read]
    assert len(texts) == len(POOL) - 1
    assert not any(text.endswith(f"T: {POOL[1].input}\nL:") for text in texts)


@pytest.mark.parametrize(
    "policy",
    [
        replace(POLICY, steps=("Why?",)),
        replace(POLICY, demonstrations=tuple(Demonstration(e.input, e.target) for e in POOL[:6])),
    ],
    ids=["steps", "pool used up"],
)
def test_nothing_is_proposed_where_nothing_can_be_read(policy: Policy):
    reader = told_reader(Told())
    assert reader.words(policy) == {}
    assert reader.exchanges(policy) == ()


def test_nothing_is_read_that_there_is_no_room_for():
    allowance = Allowance()
    allowance.allow(100)
    gain = np.full((2, 11), 1.0)
    reader = told_reader(Told([[-1.0] * 11] * 2, gain), allowance)
    policy = replace(POLICY, instruction=INSTRUCTION)
    assert (reader.words(policy), reader.exchanges(policy)) == ({}, ())
    assert allowance.take_count() == TokenCount()
    allowance.allow(None)
    assert reader.words(policy).keys() == set(CHOICES)
    assert len(reader.exchanges(policy)) > 0


def test_a_real_model_is_read(tiny_model: Path):
    scorer = Scorer(TransformersLM(tiny_model, threads=1), chunk_tokens=64)
    measurer = Measurer(Tokenizer(tiny_model), LocalExecutor(scorer))
    reader = ModelReader(measurer, POOL, Allowance())
    # its tokens are letters, of which none is a word
    assert reader.words(POLICY) == {"bad": (), "good": ()}
    assert reader.exchanges(POLICY) == ()


#: Of tokens 1 and 2, or of token 1 alone: an instruction is a letter and two words, or a letter
#: and a word that another is joined to.
INSTRUCTION, JOINED = "x good part", "x goodbright"


def test_an_exchange_is_a_word_for_a_word_the_greatest_gain_first():
    gain = np.full((2, 11), -1.0)
    # a word without its space, one with a digit and one of a letter are none
    gain[0, [7, 6, 5, 3]] = 5.0, 4.0, 4.5, 2.0
    gain[1, [4, 8, 1]] = 3.0, 0.5, 0.4  # of a place two are taken
    executor, allowance = Told(gain=gain), Allowance()
    reader = told_reader(executor, allowance)
    found = reader.exchanges(replace(POLICY, instruction=INSTRUCTION))
    assert [c.instruction for c in found] == ["x good bright", "x dull part", "x good Good"]
    assert {replace(c, instruction="") for c in found} == {replace(POLICY, instruction="")}
    assert executor.asked.places == (1, 2)
    assert executor.asked.candidates is None
    # of all examples, of both choices each
    assert len(executor.asked.requests) == len(executor.asked.weights) == 2 * len(POOL)
    assert allowance.take_count().body_tokens > 1000  # the gradient's, and the scores'


def test_an_exchange_whose_text_has_other_tokens_is_left_out():
    gain = np.full((1, 11), -1.0)
    gain[0, [9, 3]] = 2.0, 1.0  # " part" and "bright" together are one token
    found = told_reader(Told(gain=gain)).exchanges(replace(POLICY, instruction=JOINED))
    assert [c.instruction for c in found] == ["x dullbright"]


def test_without_a_word_to_exchange_nothing_is_asked():
    executor, allowance = Told(), Allowance()
    assert told_reader(executor, allowance).exchanges(replace(POLICY, instruction="xyz")) == ()
    assert allowance.take_count() == TokenCount()


def test_a_backend_without_readout_and_gradient_is_a_mistake_that_is_told():
    executor = InstantBackend().open(ModelConfig(name="x"), WorkersConfig())
    reader = ModelReader(Measurer(InstantBackend().tokenizer(None), executor), POOL, Allowance())
    with pytest.raises(UserError, match="words by what the model would say next.*local or ray"):
        reader.words(POLICY)
