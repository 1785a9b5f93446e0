"""What is asked of a model that writes, what it wrote, and how one token is drawn from its logits.
Numbers only: no text, no model.

A draw follows from the logits, the request's seed and the token's place in the continuation, never
from the order of calls. Logits differ in their last bits with what is forwarded beside them, so
each draw says how far they may move before it becomes another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from math import ceil, fsum, inf, isfinite
from operator import eq

import numpy as np
from numpy.typing import NDArray

from evoprompt.errors import UserError
from evoprompt.records import TokenCount
from evoprompt.scoring.language_model import NOT_A_NUMBER, Logits
from evoprompt.scoring.trie import Tokens
from evoprompt.seeding import Stream, generator

Noise = NDArray[np.float64]

#: Requests decoded together. SmolLM2 on one core, 300 tokens of prompt: 18 tokens/s alone, 67 by 4,
#: 161 by 16, 203 by 32; with few requests, large groups leave workers idle.
GROUP_REQUESTS = 16
#: Rows of keys and values that a group may need: 94 MB for SmolLM2 in float32. A longer request is
#: a group by itself.
GROUP_ROWS = 2048


@dataclass(frozen=True, slots=True, order=True)
class Decoding:
    """A continuation is wanted: tokens one after another, until a stop token, the model's
    end-of-text token, or `max_tokens`.

    Raises:
        ValueError: no prompt (an empty one is a beginning-of-text token), no token asked for, a
            temperature that is negative or not finite.
    """

    prompt: Tokens
    max_tokens: int
    #: 0 takes the likeliest token (of equal ones the lowest id); above, softmax(logits /
    #: temperature) is drawn from
    temperature: float = 0.0
    seed: int = 0  #: of the draws; no effect at temperature 0
    stop: Tokens = ()  #: tokens that end the continuation and are not part of it

    def __post_init__(self) -> None:
        if not self.prompt or self.max_tokens < 1:
            raise ValueError(
                f"Decoding(prompt={len(self.prompt)} tokens, max_tokens={self.max_tokens}): both "
                f"must be at least 1"
            )
        if not (isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(
                f"Decoding(temperature={self.temperature}): give 0 for the likeliest tokens, or "
                f"a positive number"
            )


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was written after a prompt."""

    drawn: Tokens  #: every token drawn; where `is_stopped`, the last one is the stop token
    #: nats, of each token drawn, under the model itself (temperature 1)
    token_logprobs: tuple[float, ...]
    is_stopped: bool  #: a stop or end-of-text token ended it, not `max_tokens`
    count: TokenCount  #: `body_tokens` are the prompt's, `generated_tokens` the continuation's

    @property
    def tokens(self) -> Tokens:
        """The continuation, without the token that stopped it."""
        return self.drawn[:-1] if self.is_stopped else self.drawn

    @property
    def log_likelihood(self) -> float:
        """Nats, summed over the continuation; what the scorer gives for `tokens` after the
        prompt.
        """
        return fsum(self.token_logprobs[: len(self.tokens)])


@dataclass(frozen=True, slots=True)
class Draw:
    """One token, drawn."""

    token: int
    log_prob: float  #: nats, under softmax(logits)
    #: nats; while no two logits move by more than this against each other, the same token is drawn
    margin: float


def draw(logits: Logits, temperature: float, noise: Noise | None) -> Draw:
    """Return the token that these logits and this noise give: the greatest of logits / temperature
    + noise, of equal ones the lowest id.

    With independent standard Gumbel noise g and T = `temperature`, argmax_k(x_k / T + g_k) is drawn
    from softmax(x / T) (Gumbel 1954; the "Gumbel-max trick"). Its margin, T times the lead over the
    second, is below e for about e of all draws, however many tokens are unlikely; with one uniform
    number and the cumulative distribution it would be, whenever an unlikely token is drawn.

    Args:
        logits: shape (vocabulary,).
        temperature: at least 0; at 0 the greatest logit is taken.
        noise: shape (vocabulary,); None at temperature 0.

    Raises:
        UserError: a logit is NaN or infinitely large.
    """
    log_prob = log_softmax(logits)
    unit = temperature or 1.0
    with np.errstate(over="ignore"):
        value = log_prob if noise is None else (log_prob - log_prob.max()) / unit + noise
    token = int(value.argmax())
    lead = value[token] - np.delete(value, token).max(initial=-inf)
    return Draw(token, float(log_prob[token]), unit * float(lead))


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Return the log-probability of each token, nats, shape (vocabulary,).

    Raises:
        UserError: a logit is NaN or infinitely large.
    """
    log_prob: NDArray[np.float64] = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # an infinite logit comes out as NaN
        log_prob -= log_prob.max()
    log_prob -= np.log(np.exp(log_prob).sum())
    if np.isnan(log_prob).any():
        raise UserError(NOT_A_NUMBER)
    return log_prob


def noise_at(seed: int, place: int, size: int) -> Noise:
    """Return the standard Gumbel noise that draws the token at this place of a continuation (from
    0), shape (size,).
    """
    exponential = generator(seed, Stream.DECODING, place).standard_exponential(size)
    # -log E is Gumbel, in half the time of drawing it
    noise: Noise = -np.log(exponential.clip(min=np.finfo(float).tiny))
    return noise


def group_requests(requests: Sequence[Decoding]) -> list[tuple[Decoding, ...]]:
    """Return the distinct requests in groups to be decoded together, in order of their prompts, so
    that neighbours share beginnings.

    The groups are of about equal size. They follow from the set of requests alone, and a group's
    own groups are itself: whoever decodes it, the same bits come back.
    """
    wanted = sorted(set(requests))
    size = ceil(len(wanted) / max(1, ceil(len(wanted) / GROUP_REQUESTS)))
    groups: list[list[Decoding]] = []
    rows = 0
    for request in wanted:
        shared = shared_tokens(groups[-1][-1].prompt, request.prompt) if groups else 0
        own = len(request.prompt) - shared + request.max_tokens
        if groups and len(groups[-1]) < size and rows + own <= GROUP_ROWS:
            groups[-1].append(request)
            rows += own
        else:
            groups.append([request])
            rows = len(request.prompt) + request.max_tokens
    return [tuple(group) for group in groups]


def in_order(requests: Sequence[Decoding], decoded: Mapping[Decoding, Decoded]) -> list[Decoded]:
    """Return what was written for each request. Of equal requests the first one carries the work;
    the others cost none.
    """
    seen: set[Decoding] = set()
    results = []
    for request in requests:
        result = decoded[request]
        results.append(replace(result, count=TokenCount(requests=1)) if request in seen else result)
        seen.add(request)
    return results


def shared_tokens(one: Tokens, other: Tokens) -> int:
    """Return how many tokens two sequences have in common at their beginning."""
    return sum(takewhile(bool, map(eq, one, other)))
