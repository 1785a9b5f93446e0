"""The scorer: requests of token ids -> exact log-likelihoods, each distinct prefix forwarded once;
and, by `decoder`, continuations.

Knows the plan and a language model behind a narrow protocol. A model is probed when it is loaded,
and takes the first way down this ladder that reproduces the plain forward on it; the reason is
kept, and a wrong number is never silent:

- `packed`: the branches of the trie go through in one sequence under a tree mask.
- `branched`: the state after a prompt (keys and values, or the state of a recurrent model) is
  copied to a batch of its branches.
- `plain`: every distinct sequence is forwarded by itself.

Where packing is exact up to a length only (frequencies that switch with it), longer requests are
plain.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evoprompt.errors import UserError
from evoprompt.records import TokenCount
from evoprompt.scoring.decoder import Decoder
from evoprompt.scoring.decoding import Decoded, Decoding, group_requests, in_order
from evoprompt.scoring.language_model import (
    LEAST_CHUNK,
    NOT_A_NUMBER,
    Answers,
    Ints,
    LanguageModel,
    OutOfMemoryError,
    check_tokens,
    check_window,
)
from evoprompt.scoring.prefix_store import PrefixStore
from evoprompt.scoring.probe import PROBE_TOLERANCE, Verdict, probe
from evoprompt.scoring.readout import Readout, groups_of, joined_readout, likeliest, plan_readout
from evoprompt.scoring.sheet import Sheet, Tally, one_pass
from evoprompt.scoring.trie import (
    Features,
    Pass,
    TokenRequest,
    Tokens,
    TriePlan,
    branches,
    column_ends,
    features_of,
    segments,
    visible,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TokenScores:
    """What a scoring call measured, by request."""

    log_likelihood: NDArray[np.float64]  #: nats, summed over the continuation, shape (request,)
    is_greedy: NDArray[np.bool_]  #: every token of the continuation is the model's first choice
    count: TokenCount
    #: passes were shorter than asked for, for want of memory: the last bits may be others
    is_shortened: bool = False
    #: log-probabilities of the features' tokens, nats, shape (place, token); where they were wanted
    features: NDArray[np.float64] | None = None


class Scorer:
    """Scores requests with one model. `path` says how (`packed`, `branched` or `plain`), `reason`
    why; both are `verdict`'s, which is found by a probe where none is given.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        chunk_tokens: int = 256,
        path: str | None = None,
        store: PrefixStore | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        self.model = model
        self.chunk_tokens = chunk_tokens
        self.store: PrefixStore | None = None
        self._ways = {"packed": self._packed, "branched": self._branched, "plain": self._plain}
        if path is not None:
            verdict = Verdict(path, "asked for", block_masks=model.block_masks)
        self.verdict = verdict or probe(model, self._log_probs, chunk_tokens)
        model.block_masks = self.verdict.block_masks
        self.chunk_tokens = min(chunk_tokens, self.verdict.chunk_tokens or chunk_tokens)
        self._asked_chunk = self.chunk_tokens
        self.store = store
        self.path, self.reason = self.verdict.path, self.verdict.reason
        tolerance = PROBE_TOLERANCE[model.dtype]
        self._decoders = {way: Decoder(model, way, tolerance) for way in (self.path, "plain")}

    def score(
        self,
        requests: Sequence[TokenRequest],
        cuts: Sequence[int] = (),
        features: Features | None = None,
    ) -> TokenScores:
        """Return the log-likelihood of every request, in order.

        Args:
            requests: any.
            cuts: where the tokens that all requests share are cut (`trie.trunk_cuts`); the segments
                go through the prefix store. Under block masks nothing is cut or stored: a trunk is
                a small part of a long pass, and costs less there than passes of its own.
            features: read beside them.

        Raises:
            UserError: a request is longer than the model's window or has a token that is none of
                the model's, the model returns NaN, or the shortest pass finds no memory.
        """
        if not requests:
            return TokenScores(np.zeros(0), np.zeros(0, dtype=bool), TokenCount())
        check_window(self.model.window, max(len(r.fed) for r in requests))
        check_tokens(self.model.vocabulary, (r.context + r.continuation for r in requests))
        log_likelihood = np.zeros(len(requests))
        is_greedy = np.zeros(len(requests), dtype=bool)
        count = TokenCount()
        read = np.zeros((len(features.places), len(features.tokens))) if features else None
        for path, which in self._paths([len(r.fed) for r in requests]):
            asked = features_of(features, which)
            scores = self._score_by(path, [requests[i] for i in which], cuts, asked)
            log_likelihood[which], is_greedy[which] = scores.log_likelihood, scores.is_greedy
            if features and read is not None:
                read[np.isin(features.places, which)] = scores.features
            count += scores.count
        if np.isnan(log_likelihood).any() or (read is not None and np.isnan(read).any()):
            raise UserError(NOT_A_NUMBER)
        is_shortened = self.chunk_tokens < self._asked_chunk
        return TokenScores(log_likelihood, is_greedy, count, is_shortened, read)

    def _paths(self, lengths: Sequence[int]) -> list[tuple[str, list[int]]]:
        """Return each way that sequences of these lengths take, with the places of those that take
        it.
        """
        most = self.verdict.packed_length
        ways: dict[str, list[int]] = {}
        for place, length in enumerate(lengths):
            is_long = most is not None and length > most
            ways.setdefault("plain" if is_long else self.path, []).append(place)
        return sorted(ways.items(), key=lambda way: way[0] == "plain")

    def _score_by(
        self,
        path: str,
        requests: Sequence[TokenRequest],
        cuts: Sequence[int],
        features: Features | None,
    ) -> TokenScores:
        if self.model.block_masks and self.path == "packed":
            cuts = ()
        tally = Tally(requests, features)
        trie = tally.plan(self.chunk_tokens, cuts)
        count = TokenCount(0, trie.num_rows, 0, int(trie.needs_head.sum()), requests=len(requests))
        while True:
            sheet = Sheet(trie)
            try:
                count += self._ways[path](trie, sheet)
            except OutOfMemoryError as error:
                count += self._halve(error)
            tally.enter(trie, sheet)
            if not len(tally.left):
                break
            trie = tally.plan(self.chunk_tokens, cuts)
        return TokenScores(tally.log_likelihood, tally.is_greedy, count, features=tally.features)

    def readout(self, contexts: Sequence[Tokens], top: int, cuts: Sequence[int] = ()) -> Readout:
        """Return the `top` likeliest next tokens after each context, in order; of the model's
        vocabulary all, where it has no more. Cuts and errors are those of `score`.
        """
        parts: list[tuple[list[int], Readout]] = []
        check_window(self.model.window, max(map(len, contexts), default=0))
        check_tokens(self.model.vocabulary, contexts)
        for path, some in self._paths([len(c) for c in contexts]):
            for group in groups_of([contexts[i] for i in some], self.model.vocabulary):
                places = [some[i] for i in group]
                parts.append((places, self._read(path, [contexts[i] for i in places], top, cuts)))
        return joined_readout(parts, len(contexts))

    def _read(
        self, path: str, contexts: Sequence[Tokens], top: int, cuts: Sequence[int]
    ) -> Readout:
        if self.model.block_masks and self.path == "packed":
            cuts = ()
        count = TokenCount(requests=len(contexts))
        while True:
            trie = plan_readout(contexts, self.model.vocabulary, self.chunk_tokens, cuts)
            sheet = Sheet(trie)
            try:
                count += self._ways[path](trie, sheet)
            except OutOfMemoryError as error:
                count += self._halve(error)
                continue
            count += TokenCount(0, trie.num_rows, 0, int(trie.needs_head.sum()))
            return likeliest(sheet.log_prob.reshape(len(contexts), -1), top, count)

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        """Return what the model writes for every request, in order. The tokens depend neither on
        the order nor on the other requests.

        Raises:
            UserError: a prompt and what may follow it are longer than the model's window, or as
                `score`.
        """
        for request in requests:
            check_window(
                self.model.window,
                len(request.prompt) + request.max_tokens,
                f" with the {request.max_tokens} that may be written",
            )
            check_tokens(self.model.vocabulary, [request.prompt])
        decoded: dict[Decoding, Decoded] = {}
        for path, which in self._paths([len(r.prompt) + r.max_tokens for r in requests]):
            decoded |= self._decode(self._decoders[path], [requests[i] for i in which])
        return in_order(requests, decoded)

    def _decode(self, decoder: Decoder, requests: Sequence[Decoding]) -> dict[Decoding, Decoded]:
        decoded: dict[Decoding, Decoded] = {}
        waiting = group_requests(requests)
        lost = TokenCount()
        while waiting:
            group = waiting.pop(0)
            try:
                first, *others = decoder.decode(group, self.chunk_tokens)
            except OutOfMemoryError as error:
                lost += self._halve(error) if len(group) == 1 else TokenCount(halvings=1)
                half = len(group) // 2
                waiting = [part for part in (group[:half], group[half:]) if part] + waiting
                continue
            decoded |= zip(group, (replace(first, count=first.count + lost), *others), strict=True)
            lost = TokenCount()
        return decoded

    def _halve(self, error: OutOfMemoryError) -> TokenCount:
        """Make passes half as long after one that found no memory."""
        if self.chunk_tokens <= LEAST_CHUNK:
            raise UserError(
                f"there is no memory even for passes of {self.chunk_tokens} tokens ({error}); "
                f"use a smaller model, fewer workers "
                "(workers.count) or a smaller prefix store (model.prefix_store_mib)"
            ) from None
        self.chunk_tokens = max(LEAST_CHUNK, self.chunk_tokens // 2)
        if self.store is not None:
            self.store.clear()
        logger.warning(
            "out of memory in a forward pass; passes have at most %d tokens from now on",
            self.chunk_tokens,
        )
        return TokenCount(halvings=1)

    def _packed(self, trie: TriePlan, sheet: Sheet) -> TokenCount:
        self.model.begin()
        count = self._from_store(trie, sheet)
        kept = tuple((p.start, p.end) for p in trie.passes if p.end <= count.stored_tokens)
        see = column_ends if self.model.reads_ends else visible
        answers: list[tuple[Ints, Answers]] = []
        try:
            for piece in trie.passes[len(kept) :]:
                kept = self._drop_to(kept, piece)
                wanted = sheet.of_rows(piece.start, piece.end)
                past = (
                    np.concatenate([np.arange(s, e) for s, e in piece.past])
                    if piece.past
                    else np.zeros(0, dtype=np.int64)
                )
                scores = self.model.forward(
                    trie.tokens[piece.start : piece.end],
                    trie.depth[piece.start : piece.end],
                    trie.depth[past],
                    see(trie, piece),
                    (trie.scored_row[wanted] - piece.start, trie.scored_token[wanted]),
                    keep=piece.keep,
                )
                answers.append((wanted, scores))
                count += one_pass(trie, wanted, piece.end - piece.start)
                if piece.keep:
                    kept = (*kept, (piece.start, piece.end))
                if piece.is_trunk and self.store is not None:
                    self.store.add(
                        segments(trie, (*piece.past, (piece.start, piece.end))),
                        *self.model.take(piece.end - piece.start),
                    )
        finally:
            # Read at the end: until then a device computes while the next passes are prepared.
            for wanted, scores in answers:
                sheet.write(wanted, scores)
        return count

    def _from_store(self, trie: TriePlan, sheet: Sheet) -> TokenCount:
        """Give the model what the store has of the trunk; a segment that predicts a scored token
        must be forwarded.
        """
        if self.store is None:
            return TokenCount()
        ranges = []
        for piece in trie.passes:
            if not piece.is_trunk or len(sheet.of_rows(piece.start, piece.end)):
                break
            ranges.append((piece.start, piece.end))
        found = self.store.match(segments(trie, ranges))
        if found:
            self.model.put(found)
        return TokenCount(stored_tokens=ranges[len(found) - 1][1] if found else 0)

    def _drop_to(
        self, kept: tuple[tuple[int, int], ...], piece: Pass
    ) -> tuple[tuple[int, int], ...]:
        surplus = sum(end - start for start, end in kept[len(piece.past) :])
        if surplus:
            self.model.drop(surplus)
        return kept[: len(piece.past)]

    def _branched(self, trie: TriePlan, sheet: Sheet) -> TokenCount:
        self.model.begin()
        count = TokenCount()
        height = 0
        for piece in trie.passes:
            for _ in range(height - len(piece.past)):
                self.model.shrink()
            height = len(piece.past)
            if piece.keep:
                wanted = sheet.of_rows(piece.start, piece.end)
                scored = (trie.scored_row[wanted] - piece.start, trie.scored_token[wanted])
                sheet.write(wanted, self.model.grow(trie.tokens[piece.start : piece.end], scored))
                count += one_pass(trie, wanted, piece.end - piece.start)
                height += 1
            else:
                count += self._batches(trie, sheet, piece)
        return count

    def _batches(self, trie: TriePlan, sheet: Sheet, piece: Pass) -> TokenCount:
        """Forward the paths through a pass in batches of about equal length, padded on the right,
        where nothing looks back at it.
        """
        count = TokenCount()
        todo = sorted(branches(trie, piece), key=lambda b: -len(b.rows))
        while todo:
            length = len(todo[0].rows)
            size = max(1, self.chunk_tokens // length)
            batch, todo = todo[:size], todo[size:]
            tokens = np.zeros((len(batch), length), dtype=np.int64)
            answers = [sheet.of_rows(b.first, int(b.rows[-1]) + 1) for b in batch]
            for row, b in zip(tokens, batch, strict=True):
                row[: len(b.rows)] = trie.tokens[b.rows]
            wanted = np.concatenate(answers)
            which = np.repeat(np.arange(len(batch)), [len(a) for a in answers])
            # all paths of a pass begin at one depth
            place = trie.depth[trie.scored_row[wanted]] - trie.depth[batch[0].rows[0]]
            sheet.write(
                wanted, self.model.branch(tokens, (which, place, trie.scored_token[wanted]))
            )
            count += one_pass(trie, wanted, tokens.size)
        return count

    def _plain(self, trie: TriePlan, sheet: Sheet) -> TokenCount:
        """Forward every distinct sequence by itself, also one that begins another: some models
        compute the beginning of a long sequence otherwise than alone.
        """
        count = TokenCount()
        last = np.zeros(trie.num_requests, dtype=np.int64)
        np.maximum.at(last, trie.scored_request, trie.scored_row)
        ends = last[trie.scored_request]  # (scored token,)
        for end in np.unique(last).tolist():
            rows = np.flatnonzero(trie.subtree_end[: end + 1] > end)
            wanted = np.flatnonzero(ends == end)
            scored = (trie.depth[trie.scored_row[wanted]], trie.scored_token[wanted])
            sheet.write(wanted, self.model.forward_plain(trie.tokens[rows], scored))
            count += one_pass(trie, wanted, len(rows))
        return count

    def _log_probs(self, path: str, trie: TriePlan) -> NDArray[np.float64]:
        """Return what a way gives for the scored tokens, nats, shape (scored token,)."""
        sheet = Sheet(trie)
        self._ways[path](trie, sheet)
        return sheet.log_prob
