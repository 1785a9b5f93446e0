"""Prompts -> the text that the model writes after them: tokenize, decode, cut. Knows nothing of
policies.

A token may hold a stop text with text before it (for some models a full stop and a line end are one
token), so what was written is cut as text, and what counts are the fewest tokens that have the text
that is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum

from evoprompt.backends.base import Executor, TextTokenizer
from evoprompt.conversation import Prompt
from evoprompt.measurement.requests import encode_prompts
from evoprompt.records import TokenCount
from evoprompt.scoring.decoding import Decoded, Decoding
from evoprompt.scoring.trie import Tokens

#: What decoding gives for bytes that are no whole character.
UNFINISHED = "\ufffd"


@dataclass(frozen=True, slots=True)
class Written:
    """What was written after one prompt."""

    text: str  #: up to the stop text
    #: nats, summed over the tokens that have the text, under the model itself (temperature 1)
    log_likelihood: float
    num_tokens: int
    count: TokenCount


class Writer:
    """Writes after prompts with one model."""

    def __init__(self, tokenizer: TextTokenizer, executor: Executor) -> None:
        self.tokenizer = tokenizer
        self.executor = executor

    def write(
        self,
        prompts: Sequence[Prompt],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seeds: Sequence[int] | None = None,
        stops: Sequence[str] = ("\n",),
    ) -> list[Written]:
        """Return what the model writes after each prompt, in order.

        Args:
            prompts: tokenized as for scoring; one that ends in a space breaks the words that the
                model would write.
            max_tokens: that are written at most, after each.
            temperature: 0 takes the likeliest token each time.
            seeds: of the draws, one for each prompt; what is written follows from prompt, seed and
                the arguments here alone.
            stops: each ends the text, which contains none of them. The model's special tokens end
                it always.

        Raises:
            UserError: a prompt with `max_tokens` is longer than the model's window.
            ValueError: seeds are missing at a temperature above 0, or are not as many as the
                prompts.
        """
        if seeds is None and temperature > 0:
            raise ValueError(
                f"write(temperature={temperature}) draws at random: give seeds, one for each prompt"
            )
        with_stops = (self.tokenizer.tokens_with(stop) for stop in stops)
        stop = tuple(sorted(self.tokenizer.special_tokens.union(*with_stops)))
        begins = [
            tokens or (self.tokenizer.begin_token,)
            for tokens in encode_prompts(self.tokenizer, prompts)
        ]
        numbers = [0] * len(prompts) if seeds is None else seeds
        requests = [
            Decoding(begin, max_tokens, temperature, seed, stop)
            for begin, seed in zip(begins, numbers, strict=True)
        ]
        decoded = self.executor.generate(requests)
        return [
            self._cut(request.prompt, result, stops)
            for request, result in zip(requests, decoded, strict=True)
        ]

    def _cut(self, prompt: Tokens, decoded: Decoded, stops: Sequence[str]) -> Written:
        """Return the text up to the first stop text, or up to an unfinished character that
        `max_tokens` broke off.
        """
        texts = self._texts(prompt, decoded.drawn)
        text = texts[-1]
        for stop in stops:
            text = text.split(stop)[0]
        text = text.rstrip(UNFINISHED)
        num_tokens = next(n for n, begun in enumerate(texts) if begun.startswith(text))
        count = replace(decoded.count, logical_tokens=len(prompt) + len(decoded.drawn))
        return Written(text, fsum(decoded.token_logprobs[:num_tokens]), num_tokens, count)

    def _texts(self, prompt: Tokens, drawn: Tokens) -> list[str]:
        """Return the text after each number of tokens, from none to all.

        They are decoded after the prompt: some tokenizers drop the space before the first token of
        a text.
        """
        begin = len(self.tokenizer.decode(prompt))
        return [self.tokenizer.decode(prompt + drawn[:n])[begin:] for n in range(len(drawn) + 1)]
