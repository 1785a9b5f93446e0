"""Random trees, by which a scorer finds out whether its ways are exact on a model.

A tree reaches past every length at which the model may begin to compute otherwise (`limits`), and
has answers on both sides of each: a window by key index, frequencies that switch on the longest
position of a pass, and a state that is lost between chunks all show there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoprompt.errors import UserError
from evoprompt.scoring.language_model import (
    DENSE_CHUNK,
    REFUSALS,
    LanguageModel,
    OutOfMemoryError,
)
from evoprompt.scoring.trie import TokenRequest, Tokens, TriePlan, plan
from evoprompt.seeding import Stream, generator

#: A way may differ from the plain forward by this many nats per token plus as many parts of its
#: log-probability, or the next is taken. On the probe's random tokens (log-probabilities near -20)
#: the order of summation alone moves SmolLM2 by 1.3e-4 nats. On text the limit of 1e-4 nats is held
#: by a test with the real model. The limits of the 16-bit types are chosen, not measured.
PROBE_TOLERANCE = {"float32": (1e-4, 2e-5), "float16": (0.1, 0.01), "bfloat16": (0.3, 0.03)}
#: Tokens of a pass of the probe, so that keeping and dropping are probed too.
SMALL_PASS = 24
#: Branches on both sides of a limit go through in one pass of this length or more.
WHOLE_PASS = 96
#: Recurrent layers cut a sequence into chunks that no configuration names.
UNNAMED_CHUNK = 160
#: Past a limit of up to so many tokens it is gone on to twice the limit.
LEAST_SINGLE = 512
#: Nothing is split by length below this: short requests alone would be packed.
LEAST_SPLIT = 64
#: Block masks are probed by a tree so many times larger than the first one.
BLOCK_PROBE = 24
#: Their mean error may be so many times that of dense masks, beyond this part of the tolerance.
BLOCK_EXCESS, BLOCK_SLACK = 3.0, 0.01
#: Why a model whose queries pick their positions is plain, for people.
PICKED = (
    "this architecture attends to the best few positions, and where two are about equal it picks "
    "another with other tokens beside it"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a model is scored."""

    path: str  #: `packed`, `branched` or `plain`
    reason: str  #: for people
    #: packed are only requests that feed so many tokens at most, the others plain; None: all
    packed_length: int | None = None
    block_masks: bool = False  #: long passes are exact under block masks
    chunk_tokens: int | None = None  #: passes are no longer; None: as asked


LogProbs = Callable[[str, TriePlan], NDArray[np.float64]]


def probe(model: LanguageModel, log_probs: LogProbs, chunk_tokens: int) -> Verdict:
    """Score random trees in every way, down the ladder; return the first that is exact, and why
    those above it are not.

    Args:
        model: its `block_masks` are turned off where they are not exact.
        log_probs: scores a plan in a way; nats, (scored token,).
        chunk_tokens: of a pass, as they will be.
    """
    trial = _Trial(model, log_probs, chunk_tokens)
    short = probe_requests(model.vocabulary, model.window)
    if model.picks_positions:
        trial.is_exact("plain", short, SMALL_PASS)  # or it cannot be scored at all
        model.block_masks = False
        return Verdict("plain", PICKED)
    for path in ("packed", "branched"):
        limits, steps = model.limits, []
        if path == "branched":
            limits, steps = (*limits, UNNAMED_CHUNK), step_requests(model.vocabulary, model.window)
        if all(
            trial.is_exact(path, requests, SMALL_PASS) for requests in (short, steps) if requests
        ) and trial.is_exact_past(path, limits):
            reason = f"{path} passes reproduce the plain forward within {trial.worst:.1g} nats"
            blocks, most = "", None
            if path == "packed" and model.block_masks:
                blocks = probe_blocks(model, log_probs, PROBE_TOLERANCE[model.dtype][0])
                most = None if model.block_masks else min(chunk_tokens, DENSE_CHUNK)
            return Verdict(path, reason + trial.refused + blocks, None, model.block_masks, most)
    model.block_masks = False
    refused = trial.refused.removeprefix("; ")
    for limit in sorted(model.limits, reverse=True):
        if (
            limit >= LEAST_SPLIT
            and trial.is_exact("packed", short, SMALL_PASS)
            and trial.is_exact_past("packed", model.limits, limit)
        ):
            return Verdict(
                "packed",
                f"requests of up to {limit} tokens are packed, which reproduces the plain forward "
                f"within {trial.worst:.1g} nats; longer ones are plain, as {refused}",
                packed_length=limit,
                chunk_tokens=min(chunk_tokens, DENSE_CHUNK),
            )
    return Verdict("plain", refused)


class _Trial:
    """Compares ways with the plain forward. `refused` says for people which were not exact."""

    def __init__(self, model: LanguageModel, log_probs: LogProbs, chunk_tokens: int) -> None:
        self.refused = ""
        self.worst = 0.0  #: nats, of the last way where it was right
        self._last = ""
        self._model, self._log_probs, self._chunk_tokens = model, log_probs, chunk_tokens
        self._plain: dict[TokenRequest, NDArray[np.float64]] = {}

    def is_exact_past(self, path: str, limits: Sequence[int], longest: int | None = None) -> bool:
        """Return whether a way is exact on the requests past each limit, of which none that feeds
        more than `longest` tokens is asked.
        """
        for limit in limits:
            requests = [
                r
                for r in limit_requests(self._model.vocabulary, self._model.window, limit)
                if longest is None or len(r.fed) <= longest
            ]
            whole = max(self._chunk_tokens, WHOLE_PASS)
            budgets = (SMALL_PASS, whole) if limit <= LEAST_SINGLE else (whole,)
            if requests and not all(self.is_exact(path, requests, n) for n in budgets):
                return False
        return True

    def is_exact(self, path: str, requests: Sequence[TokenRequest], budget: int) -> bool:
        """Return whether a way is exact on these requests, in passes of so many tokens."""
        plain = self._reference(requests)
        absolute, relative = PROBE_TOLERANCE[self._model.dtype]
        try:
            errors = np.abs(self._log_probs(path, plan(requests, budget)) - plain)
        except OutOfMemoryError as error:
            raise UserError(
                f"there is no memory for passes of {budget} tokens ({error}), by which the model "
                f"is tried; use a smaller model.chunk_tokens, now {self._chunk_tokens}, a smaller "
                "model or fewer workers (workers.count)"
            ) from None
        except REFUSALS as error:
            self.refused += (
                f"; {path} passes are refused by this architecture "
                f"({type(error).__name__}: {str(error)[:120]})"
            )
            return False
        is_right = bool((errors <= absolute + relative * np.abs(plain)).all())  # never when NaN
        if not is_right:
            self.refused += (
                f"; {path} passes differ from the plain forward by {errors.max():.2g} "
                "nats on this model"
            )
        elif path == self._last:
            self.worst = max(self.worst, float(errors.max()))
        else:
            self.worst, self._last = float(errors.max()), path
        return is_right

    def _reference(self, requests: Sequence[TokenRequest]) -> NDArray[np.float64]:
        """Return the log-probabilities by the plain forward, (scored token,)."""
        new = [r for r in dict.fromkeys(requests) if r not in self._plain]
        if new:
            try:
                found = self._log_probs("plain", plan(new, self._chunk_tokens))
            except REFUSALS as error:
                raise UserError(
                    "this model cannot be scored: not even the plain forward of a sequence works "
                    f"({type(error).__name__}: {str(error)[:200]}); give a model of another "
                    "architecture"
                ) from None
            ends = np.cumsum([len(r.continuation) for r in new])
            self._plain |= zip(new, np.split(found, ends[:-1]), strict=True)
        return np.concatenate([self._plain[r] for r in requests])


def probe_requests(vocabulary: int, window: int, times: int = 1) -> list[TokenRequest]:
    """Return a random tree of requests: 2 prompts, 3 examples each, 2 continuations of up to 3
    tokens.

    Prompts and examples are `times` as long, as far as the model's window allows.
    """
    rng = generator(0, Stream.PROBE)
    times = max(1, min(times, window // 32))

    def draw(length: int) -> Tokens:
        return tuple(int(t) for t in rng.integers(0, vocabulary, size=length))

    root = draw(min(6 * times, window - 24 * times))
    requests = []
    for _prompt in range(2):
        prompt = root + draw(5 * times)
        for _example in range(3):
            context = prompt + draw(int(rng.integers(3 * times, 6 * times + 1)))
            requests += [TokenRequest(context, draw(length)) for length in (1, 3)]
    return requests


def step_requests(vocabulary: int, window: int) -> list[TokenRequest]:
    """Return requests that in short passes go on by 1, 2 and 3 tokens from what is kept, and from
    there in branches by as many: recurrent layers may compute so few tokens by other code.
    """
    rng = generator(0, Stream.PROBE, 4)
    requests = []
    for step in (1, 2, 3):
        length = SMALL_PASS + step
        root = tuple(rng.integers(0, vocabulary, size=length).tolist())
        for first in rng.choice(vocabulary, size=min(4, vocabulary), replace=False).tolist():
            rest = rng.integers(0, vocabulary, size=step).tolist()
            if length + step < window:
                requests.append(TokenRequest(root, (first, *rest)))
    return requests


def limit_requests(vocabulary: int, window: int, limit: int) -> list[TokenRequest]:
    """Return requests on both sides of a limit, that begin alike; none where the window ends before
    it.

    One goes past it, and one that branches off before does not, though its rows come after those
    of the first in one pass; past a limit of up to `LEAST_SINGLE` another goes to twice that
    length.
    """
    if limit >= window:
        return []
    rng = generator(0, Stream.PROBE, 2)
    tail = min(28, max(2, limit // 2))
    root = rng.integers(0, vocabulary, size=max(1, limit - tail - 4)).tolist()

    def request(length: int, low: int, high: int) -> TokenRequest:
        """Score the last dozen tokens; the first after the root says where the rows stand."""
        rest = rng.integers(0, vocabulary, size=length - 1).tolist()
        tokens = (*root, int(rng.integers(low, high)), *rest)[: window + 1]
        at = max(1, len(tokens) - 12)
        return TokenRequest(tokens[:at], tokens[at:])

    quarter, half = max(1, vocabulary // 4), max(2, vocabulary // 2)
    requests = [request(tail + 16, quarter, half), request(tail, half, vocabulary)]
    if limit <= LEAST_SINGLE:
        requests.append(request(limit + tail + 16, 0, quarter))
    return requests


def probe_blocks(
    model: LanguageModel,
    log_probs: LogProbs,
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
        [
            *probe_requests(model.vocabulary, model.window, BLOCK_PROBE),
            *(
                request
                for limit in model.limits
                for request in limit_requests(model.vocabulary, model.window, limit)
            ),
        ],
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
