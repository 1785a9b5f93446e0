"""Writes continuations with a language model: prompts forwarded, then token after token.

Knows a model behind a narrow protocol. Takes one of three ways, which are exact where the scorer's
are:

- `packed`: the prompts of a group go through as one trie, each distinct prefix once, and all
  continuations grow by a token in each pass,
  under the tree mask of scoring. Logits differ in their last bits with the group, so where a draw
  is closer than `CLOSE`, its request is decoded again by itself: the tokens are those of decoding
  each request alone.
- `stepwise`: a request by itself, from the state (of keys and values, or of a recurrent model)
  after the tokens before.
- `plain`: a request by itself, the whole sequence again for every token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from evoprompt.records import TokenCount
from evoprompt.scoring.decoding import Decoded, Decoding, draw, log_softmax, noise_at, shared_tokens
from evoprompt.scoring.language_model import REFUSALS, Ints, LanguageModel, Logits
from evoprompt.scoring.trie import Pass, TokenRequest, TriePlan, plan, visible
from evoprompt.seeding import Stream, generator

#: Margins (nats) below which a draw in company is repeated alone; the order of summation moves
#: logits ten times less. For the 16-bit types there is none: they round logits so coarsely that a
#: tenth of all draws would be close, and company may decide those.
CLOSE = {"float32": 1e-3}


@dataclass(slots=True)
class _Draft:
    """A continuation as it is being written."""

    request: Decoding
    stop: frozenset[int]
    least_margin: float  #: a closer draw leaves the draft undecided
    drawn: list[int] = field(default_factory=list)
    token_logprobs: list[float] = field(default_factory=list)
    is_stopped: bool = False
    is_undecided: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether another token is wanted."""
        return not (
            self.is_stopped or self.is_undecided or len(self.drawn) == self.request.max_tokens
        )

    def take(self, logits: Logits) -> None:
        """Draw the next token."""
        noise = (
            noise_at(self.request.seed, len(self.drawn), len(logits))
            if self.request.temperature
            else None
        )
        found = draw(logits, self.request.temperature, noise)
        self.drawn.append(found.token)
        self.token_logprobs.append(found.log_prob)
        self.is_stopped = found.token in self.stop
        self.is_undecided = found.margin < self.least_margin

    def work(self) -> TokenCount:
        """Return the work that is its own: a head row for each token drawn, and the tokens
        written.
        """
        rows = len(self.drawn)
        return TokenCount(
            head_rows=rows,
            floor_head_rows=rows,
            generated_tokens=rows - self.is_stopped,
            requests=1,
        )

    def finish(self, count: TokenCount) -> Decoded:
        """Return what was written."""
        return Decoded(tuple(self.drawn), tuple(self.token_logprobs), self.is_stopped, count)


class Decoder:
    """Decodes groups of requests with one model.

    Args:
        model: what predicts.
        path: how the scorer forwards with it: `packed` is taken as it is; else steps are tried
            against the plain forward, once.
        tolerance: absolute (nats) and relative difference of a log-probability that the order of
            summation explains.
    """

    def __init__(self, model: LanguageModel, path: str, tolerance: tuple[float, float]) -> None:
        self.model = model
        self._tolerance = tolerance
        self._path: str | None = "packed" if path == "packed" else None
        if model.picks_positions:
            self._path = "plain"

    @property
    def path(self) -> str:
        """`packed`, `stepwise` or `plain`."""
        if self._path is None:
            self._path = "stepwise" if self._steps_are_exact() else "plain"
        return self._path

    def decode(self, group: Sequence[Decoding], chunk_tokens: int) -> list[Decoded]:
        """Return what is written for each of the requests, which are distinct and sorted; passes
        have at most `chunk_tokens` tokens.
        """
        if self.path != "packed":
            return [
                self._by_itself(request, new)
                for request, new in zip(group, _new_rows(group), strict=True)
            ]
        written = []
        for draft, count in self._together(
            group, chunk_tokens, CLOSE.get(self.model.dtype, 0.0) if len(group) > 1 else 0.0
        ):
            if draft.is_undecided:
                [(draft, more)] = self._together([draft.request], chunk_tokens, 0.0)
                count += TokenCount(
                    more.body_tokens,
                    0,
                    more.head_rows,
                    0,
                    more.forwards,
                    generated_tokens=more.generated_tokens,
                )
            written.append(draft.finish(count))
        return written

    def _together(
        self, group: Sequence[Decoding], chunk_tokens: int, least_margin: float
    ) -> list[tuple[_Draft, TokenCount]]:
        drafts = [_Draft(r, self._stop(r), least_margin) for r in group]
        trie = plan([TokenRequest(r.prompt, (0,)) for r in group], chunk_tokens)
        ends = trie.scored_row  # the row of each prompt's last token, (request,)
        logits, forwards = self._prefill(trie, chunk_tokens)
        for draft, end in zip(drafts, ends.tolist(), strict=True):
            draft.take(logits[end])
        depth = trie.depth  # (kept row,)
        rows = np.arange(trie.num_rows)
        sees = (rows <= ends[:, None]) & (ends[:, None] < trie.subtree_end)  # (request, kept row)
        while live := [i for i, draft in enumerate(drafts) if draft.goes_on]:
            own = np.zeros((len(group), len(live)), dtype=bool)
            own[live, np.arange(len(live))] = True  # (request, new row)
            sees = np.hstack([sees, own])
            tokens = np.array([drafts[i].drawn[-1] for i in live])
            place = np.array([len(group[i].prompt) + len(drafts[i].drawn) - 1 for i in live])
            answers = self.model.forward_logits(
                tokens, place, depth, sees[live], np.arange(len(live))
            )
            depth = np.concatenate([depth, place])
            forwards += 1
            for i, row in zip(live, answers, strict=True):
                drafts[i].take(row)
        # A prompt without rows of its own shares its last one, which went through the head once.
        counts = [
            d.work() + TokenCount(new, new, -(new == 0), -(new == 0))
            for d, new in zip(drafts, _new_rows(group), strict=True)
        ]
        counts[0] += TokenCount(forwards=forwards)
        return list(zip(drafts, counts, strict=True))

    def _prefill(self, trie: TriePlan, chunk_tokens: int) -> tuple[dict[int, Logits], int]:
        """Forward and keep all prompts; return the logits at the rows that end one, and the number
        of passes.
        """
        self.model.begin()
        found: dict[int, Logits] = {}
        starts = range(0, trie.num_rows, chunk_tokens)
        for start in starts:
            piece = Pass(start, min(start + chunk_tokens, trie.num_rows), ((0, start),), keep=True)
            ends: Ints = np.unique(
                trie.scored_row[(trie.scored_row >= start) & (trie.scored_row < piece.end)]
            )
            place = slice(start, piece.end)
            answers = self.model.forward_logits(
                trie.tokens[place],
                trie.depth[place],
                trie.depth[:start],
                visible(trie, piece),
                ends - start,
            )
            found |= zip(ends.tolist(), answers, strict=True)
        return found, len(starts)

    def _by_itself(self, request: Decoding, new_rows: int) -> Decoded:
        draft = _Draft(request, self._stop(request), 0.0)
        body = forwards = 0
        self.model.begin()
        while draft.goes_on:
            if self.path == "plain":
                self.model.begin()
            anew = not draft.drawn or self.path == "plain"
            fed = (*request.prompt, *draft.drawn) if anew else draft.drawn[-1:]
            draft.take(self.model.extend(np.array(fed)))
            body += len(fed) - (forwards > 0)  # the newest token is counted as generated
            forwards += 1
        return draft.finish(
            draft.work()
            + TokenCount(body, new_rows, floor_head_rows=-(new_rows == 0), forwards=forwards)
        )

    def _stop(self, request: Decoding) -> frozenset[int]:
        return self.model.end_tokens.union(request.stop)

    def _steps_are_exact(self) -> bool:
        """Return whether tokens one at a time after a prompt give what the plain forward gives; an
        architecture may also refuse them.
        """
        limits = [limit for limit in self.model.limits if limit + 2 < self.model.window]
        return all(self._step_past(n) for n in (min(14, self.model.window - 2), *limits))

    def _step_past(self, length: int) -> bool:
        """Return whether the tokens at this length, one at a time, are as in the plain forward."""
        tokens = generator(0, Stream.PROBE, 1).integers(0, self.model.vocabulary, size=length + 3)
        rows = np.arange(len(tokens) - 1)
        self.model.begin()
        try:
            first, *others = np.split(tokens[:-1], np.arange(max(1, length - 1), length + 2))
            logits = [self.model.extend(part) for part in (first, *others)]
        except REFUSALS:
            return False
        absolute, relative = self._tolerance
        for row, end in zip(logits, range(len(first), len(tokens)), strict=True):
            # each against a forward of its own length: a longer one may compute otherwise
            plain = self.model.forward_plain(tokens[:end], (rows[end - 1 : end], tokens[end][None]))
            error = abs(log_softmax(row)[tokens[end]] - plain.log_prob[0])
            if not error <= absolute + relative * abs(plain.log_prob[0]):
                return False
        return True


def _new_rows(group: Sequence[Decoding]) -> list[int]:
    """Return how many tokens of each prompt lie beyond what it shares with a prompt before it; the
    prompts are sorted.
    """
    before = [(), *(request.prompt for request in group)]
    return [
        len(request.prompt) - shared_tokens(other, request.prompt)
        for other, request in zip(before, group, strict=False)
    ]
