"""Random trees, by which a scorer finds out whether its ways are exact on a model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from evoprompt.scoring.language_model import REFUSALS, LanguageModel
from evoprompt.scoring.trie import TokenRequest, Tokens, TriePlan, plan
from evoprompt.seeding import Stream, generator

#: Block masks are probed by a tree so many times larger than the first one.
BLOCK_PROBE = 24
#: Their mean error may be so many times that of dense masks, beyond this part of the tolerance.
BLOCK_EXCESS, BLOCK_SLACK = 3.0, 0.01


def probe_requests(
    vocabulary: int, sliding_window: int | None, window: int, times: int = 1
) -> list[TokenRequest]:
    """Return a random tree of requests: 2 prompts, 3 examples each, 2 continuations of up to 3
    tokens, longer than a sliding window.

    Prompts and examples are `times` as long, as far as the model's window allows.
    """
    rng = generator(0, Stream.PROBE)
    times = max(1, min(times, (window - (sliding_window or 0)) // 32))

    def draw(length: int) -> Tokens:
        return tuple(int(t) for t in rng.integers(0, vocabulary, size=length))

    root = draw(min(6 * times + (sliding_window or 0), window - 24 * times))
    requests = []
    for _prompt in range(2):
        prompt = root + draw(5 * times)
        for _example in range(3):
            context = prompt + draw(int(rng.integers(3 * times, 6 * times + 1)))
            requests += [TokenRequest(context, draw(length)) for length in (1, 3)]
    return requests


def probe_blocks(
    model: LanguageModel,
    log_probs: Callable[[str, TriePlan], NDArray[np.float64]],
    tolerance: float,
) -> str:
    """Score a tree of many blocks in one pass under block masks; turn them off where they are less
    exact than dense ones.

    Args:
        model: its `block_masks` are on.
        log_probs: scores a plan in a way, `packed` or `plain`; nats, (scored token,).
        tolerance: what the order of summation may move a log-probability by, nats.

    Returns:
        What came out, for people, to be added to a reason.
    """
    trie = plan(
        probe_requests(model.vocabulary, model.sliding_window, model.window, BLOCK_PROBE),
        budget=2**20,
    )
    plain = log_probs("plain", trie)
    blocks, why = np.inf, ""
    try:
        blocks = float(np.abs(log_probs("packed", trie) - plain).mean())
    except REFUSALS as error:
        why = f" ({type(error).__name__}: {str(error)[:120]})"
    model.block_masks = False
    dense = float(np.abs(log_probs("packed", trie) - plain).mean())
    model.block_masks = blocks <= BLOCK_EXCESS * dense + BLOCK_SLACK * tolerance  # never when NaN
    verdict = "block masks" if model.block_masks else "block masks refused"
    return f"; {verdict}: mean error {blocks:.1g} nats, under dense masks {dense:.1g}{why}"
