"""What a model that is held in full says beside likelihoods, as proposals for operators: label
words by what it would say next, and other tokens by its gradient. Implements `authors.Reader`.

Proposals are made on examples of the pool of demonstrations that a prompt does not show, so that
the fitness examples judge them as they judge any child.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice, takewhile
from operator import eq

import numpy as np
from numpy.typing import NDArray

from evoprompt.backends.base import Executor, TextTokenizer
from evoprompt.calibration import fit
from evoprompt.errors import UserError
from evoprompt.measurement.allowance import Allowance
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.requests import encode_prompts, tokenize
from evoprompt.policy import Policy
from evoprompt.records import Example
from evoprompt.scoring.gradient import FORWARDS, Exchange
from evoprompt.scoring.readout import Readout
from evoprompt.scoring.trie import Tokens
from evoprompt.tasks.render import render_answer, render_prefix, render_prompt, render_queries

Floats = NDArray[np.float64]

#: Examples of a proposal, and how many of them an exchange is worked out on.
EXAMPLES = 16
#: A word is looked at where it is among so many likeliest tokens after some example; beyond the
#: tokens that are read of an example, its word is as likely as the last of them.
LIKELY, READ = 200, 2000
#: Words proposed for each choice, exchanges proposed for each prompt, and of one place.
WORDS, EXCHANGES, OF_A_PLACE = 4, 8, 2
#: Variance, square nats, that every mean of log-probabilities has at least: of a few examples some
#: words are alike by chance.
LEAST_VARIANCE = 0.05
#: Exchanges that are looked at, the most promising first, until enough can be written as text.
LOOKED_AT = 2000


class ModelReader:
    """Reads one model. What it read of a policy once it knows.

    Args:
        measurer: scores with the model, and has its tokenizer and executor.
        pool: labelled examples that share their choices; none where nothing can be proposed.
        allowance: counts the work; nothing is read that it has no room for.
    """

    def __init__(self, measurer: Measurer, pool: Sequence[Example], allowance: Allowance) -> None:
        self._measurer = measurer
        self._pool = tuple(pool)
        self._allowance = allowance
        self._words: dict[str, Mapping[str, tuple[str, ...]]] = {}
        self._exchanges: dict[str, tuple[Policy, ...]] = {}

    @property
    def _executor(self) -> Executor:
        return self._measurer.executor

    @property
    def _tokenizer(self) -> TextTokenizer:
        return self._measurer.tokenizer

    def words(self, policy: Policy) -> Mapping[str, Sequence[str]]:
        """Return for each choice the words that the model's next token separates it by, the best
        first; empty where none was read.

        For word w and choice y, with log p(w) after the examples of y and after the others:

            (mean_y - mean_others) / sqrt(var_y / n_y + var_others / n_others + LEAST_VARIANCE)

        A word is a token that begins with what stands between prompt and answer, then has two
        letters or more and nothing else, is what the tokenizer makes of its text after the prompt,
        and is no word of another choice.

        Raises:
            UserError: the backend has no readout.
        """
        examples = self._examples(policy)
        if policy.policy_id not in self._words and examples:
            contexts = self._contexts(policy, examples)
            if self._has_room(contexts, 1):
                read = self._executor.readout(contexts, READ)
                if read is None:
                    raise _lacking("words by what the model would say next")
                self._allowance.add(read.count)
                self._words[policy.policy_id] = self._separating(policy, examples, contexts, read)
        return self._words.get(policy.policy_id, {})

    def exchanges(self, policy: Policy) -> Sequence[Policy]:
        """Return the policy with another word in its instruction, the likeliest gain to first order
        first; none where none can be told.

        What gains is the mean log-probability of the right answers among the choices, calibrated.
        An exchange is of a token for a token, each a word with a space before it; the text of both
        has the tokens that were exchanged.

        Raises:
            UserError: the backend has no gradient.
        """
        examples = self._examples(policy)
        known = self._exchanges
        if policy.policy_id not in known and policy.instruction and examples:
            contexts = self._contexts(policy, examples)
            if self._has_room(contexts, 1 + FORWARDS):
                known[policy.policy_id] = self._exchanged(policy, examples)
        return known.get(policy.policy_id, ())

    def _examples(self, policy: Policy) -> list[Example]:
        """Return examples that the policy does not show, choices in turns; none where it has steps
        or nothing can be proposed.
        """
        shown = {d.input for d in policy.demonstrations}
        free = [e for e in self._pool if e.input not in shown]
        by_choice = [[e for e in free if e.target == c] for c in free[0].candidates] if free else []
        if policy.steps or any(len(some) < 2 for some in by_choice):
            return []
        longest = max(map(len, by_choice), default=0)
        turns = [some[i] for i in range(longest) for some in by_choice if i < len(some)]
        return turns[: max(EXAMPLES, 2 * len(by_choice))]

    def _contexts(self, policy: Policy, examples: Sequence[Example]) -> list[Tokens]:
        prompts = [render_prompt(policy, e.input) for e in examples]
        answers = [render_answer(policy, e.target) for e in examples]
        encoded = encode_prompts(self._tokenizer, prompts, answers)
        return [tokens or (self._tokenizer.begin_token,) for tokens in encoded]

    def _has_room(self, contexts: Sequence[Tokens], forwards: int) -> bool:
        fits = max(map(len, contexts)) < self._executor.info().window
        return fits and self._allowance.has_room(forwards * sum(map(len, contexts)))

    def _separating(
        self,
        policy: Policy,
        examples: Sequence[Example],
        contexts: Sequence[Tokens],
        read: Readout,
    ) -> dict[str, tuple[str, ...]]:
        choices = examples[0].candidates
        gap = render_answer(policy, choices[0]).removesuffix(policy.word(choices[0]))
        texts = self._texts(contexts[0][-1], np.unique(read.tokens[:, :LIKELY]).tolist())
        words = {t: s.removeprefix(gap) for t, s in texts.items() if s.startswith(gap)}
        used = {policy.word(c).strip().casefold() for c in choices}
        tokens = [t for t, w in words.items() if is_word(w) and w.casefold() not in used]
        gold = np.array([e.gold for e in examples])
        worth = separation(log_prob_of(read, tokens), gold, len(choices))
        prompt = render_prompt(policy, examples[0].input)
        found: dict[str, tuple[str, ...]] = {}
        for choice, row in zip(choices, worth, strict=True):
            best = [tokens[i] for i in np.argsort(-row, kind="stable").tolist() if row[i] > 0]
            whole = (
                words[token]
                for token in best
                if self._tokenizer.encode([prompt + gap + words[token]])[0] == (*contexts[0], token)
            )
            found[choice] = tuple(islice(whole, WORDS))
        return found

    def _texts(self, before: int, tokens: Sequence[int]) -> dict[int, str]:
        """Return each token's text after another token: some tokenizers drop the space before the
        first token of a text.
        """
        begin = len(self._tokenizer.decode((before,)))
        return {t: self._tokenizer.decode((before, t))[begin:] for t in tokens}

    def _exchanged(self, policy: Policy, examples: Sequence[Example]) -> tuple[Policy, ...]:
        texts = (policy.instruction, render_prefix(policy))
        own, whole = self._tokenizer.encode(texts)
        size = len(tuple(takewhile(bool, map(eq, own, whole))))
        told = self._texts(own[0], own)
        places = tuple(i for i in range(1, size) if is_spaced_word(told[own[i]]))
        if not places:
            return ()
        [(scores, count)] = self._measurer.measure(
            [policy], examples, lambda _: None, lambda _: nullcontext()
        ).values()
        weights = slopes(scores.log_likelihood[0], scores.gold).ravel().tolist()
        requests = tokenize(self._tokenizer, render_queries(policy, examples))
        found = self._executor.gains(Exchange(requests, tuple(weights), places))
        if found is None:
            raise _lacking("exchanges by the model's gradient")
        self._allowance.add(count + found.count)
        return tuple(islice(self._rewritten(policy, own, places, found.gain), EXCHANGES))

    def _rewritten(
        self, policy: Policy, own: Tokens, places: Sequence[int], gain: Floats
    ) -> Iterator[Policy]:
        """Yield the policy with an exchange each, the greatest gain first."""
        taken: Counter[int] = Counter()
        best = np.argsort(-gain, axis=None, kind="stable")[:LOOKED_AT]
        for place, token in zip(*np.unravel_index(best, gain.shape), strict=True):
            if gain[place, token] <= 0:
                return
            if taken[int(place)] == OF_A_PLACE:
                continue
            if not is_spaced_word(self._texts(own[0], [int(token)])[int(token)]):
                continue
            at = places[place]
            tokens = (*own[:at], int(token), *own[at + 1 :])
            text = self._tokenizer.decode(tokens)
            if self._tokenizer.encode([text])[0] == tokens:
                taken[int(place)] += 1
                yield replace(policy, instruction=text)


def is_word(text: str) -> bool:
    """Return whether a text is two letters or more, and nothing else."""
    return len(text) >= 2 and text.isalpha()


def is_spaced_word(text: str) -> bool:
    """Return whether a text is a word after one space."""
    return text.startswith(" ") and is_word(text[1:])


def log_prob_of(read: Readout, tokens: Sequence[int]) -> Floats:
    """Return the log-probability of tokens after each context, nats, shape (context, token); that
    of the last token read, where one was not read.
    """
    places = {token: i for i, token in enumerate(tokens)}
    found = np.repeat(read.log_prob[:, -1:], len(tokens), axis=1)
    for row, ids, values in zip(found, read.tokens.tolist(), read.log_prob, strict=True):
        for token, value in zip(ids, values, strict=True):
            if token in places:
                row[places[token]] = value
    return found


def separation(log_prob: Floats, gold: NDArray[np.int64], num_choices: int) -> Floats:
    """Return by how many standard errors each word's log-probability is higher after the examples
    of a choice than after the others, shape (choice, word); see `ModelReader.words`.

    Args:
        log_prob: nats, shape (example, word).
        gold: index of each example's choice, two or more of each.
        num_choices: that there are.
    """
    rows = []
    for choice in range(num_choices):
        own, others = log_prob[gold == choice], log_prob[gold != choice]
        error = sum(x.var(axis=0, ddof=1) / len(x) for x in (own, others)) + LEAST_VARIANCE
        rows.append((own.mean(axis=0) - others.mean(axis=0)) / np.sqrt(error))
    return np.array(rows)


def slopes(values: Floats, gold: NDArray[np.int64]) -> Floats:
    """Return by how much the mean log-probability of the right choices, calibrated by these very
    examples, rises with each value; shape (example, choice).
    """
    calibration = fit(values, gold, "labelled")
    right = np.eye(values.shape[1])[gold]
    found: Floats = calibration.temperature * (right - np.exp(calibration.apply(values)))
    return found / len(values)


def _lacking(what: str) -> UserError:
    return UserError(
        f"an operator asks for {what}, and this backend (workers.backend) does not give that; "
        "use local or ray, or leave the operator out of evolution.operators"
    )
