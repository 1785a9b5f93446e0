"""The standing check: of the requests that a run really makes, a sample is scored again by the
plain forward.

A model's ways of scoring are probed on random tokens when it is loaded. What no probe has thought
of, a limit that only longer prompts meet, is met here. The sample follows from the seed and from
what is asked, never from the order of calls: it is the same with one worker or many, and after a
resume.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evoprompt.backends.base import Executor, ModelInfo
from evoprompt.errors import InexactScoringError
from evoprompt.measurement.units import Unit, UnitKey
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.memo import Memo
from evoprompt.scoring.probe import PROBE_TOLERANCE
from evoprompt.scoring.trie import TokenRequest
from evoprompt.store.ledger import Ledger

#: A run checks so many requests at least, and beyond them as many as this part of its tokens pays.
LEAST_REQUESTS, SHARE = 16, 0.005
#: Of them in the first call, and in each later one until the least is reached.
FIRST, NEXT = 8, 4
#: A prompt that is so many times longer than all that were checked is checked too: what goes wrong
#: goes wrong with length.
LONGER = 1.25


@dataclass(frozen=True, slots=True)
class _Group:
    """All that was asked after one context."""

    priority: bytes
    requests: tuple[TokenRequest, ...]
    values: tuple[float, ...]  #: what they were given, nats

    @property
    def length(self) -> int:
        return max(len(r.fed) for r in self.requests)

    @property
    def tokens(self) -> int:
        return sum(len(fed) for fed in {r.fed for r in self.requests})


class StandingCheck:
    """Checks what a run measures.

    Args:
        executor: scores, and scores again.
        seed: of the run.
        ledger: gets what is found, and what finding it costs, as the phase `check`.
        open_memo: of what was forwarded plainly before; None forwards everything anew.
        first: requests that are checked in the first call.
    """

    def __init__(
        self,
        executor: Executor,
        seed: int,
        ledger: Ledger,
        open_memo: Callable[[ModelInfo], Memo] | None = None,
        first: int = FIRST,
    ) -> None:
        self._executor = executor
        self._seed = seed
        self._ledger = ledger
        self._open_memo = open_memo
        self._first = first

    def look(self, units: Sequence[Unit], scores: Mapping[UnitKey, TokenScores]) -> None:
        """Check a sample of these units, which have these scores.

        Raises:
            InexactScoringError: a score differs by more than the order of summation explains.
        """
        measured = sum(scores[unit.key].count.floor_body_tokens for unit in units)
        checked = self._ledger.checked
        self._ledger.checked = replace(checked, measured_tokens=checked.measured_tokens + measured)
        sample = self._sample(_groups(units, scores, self._seed))
        requests = [request for group in sample for request in group.requests]
        again = self._plainly(requests) if requests else None
        if again is None:
            return
        # nobody needs it to know what the policies are worth
        self._ledger.count("check", replace(again.count, floor_body_tokens=0, floor_head_rows=0))
        self._compare(sample, requests, again)

    def _sample(self, groups: Sequence[_Group]) -> list[_Group]:
        """Return the groups to check: the longest, where it is the longest so far, and others in
        order of their priority as far as the least and the share go.
        """
        if not groups:
            return []
        checked, sample = self._ledger.checked, []
        longest = max(groups, key=lambda g: (g.length, g.priority))
        if longest.length > LONGER * checked.longest:
            sample.append(longest)
        due = min(self._first if not checked.requests else NEXT, LEAST_REQUESTS - checked.requests)
        taken = sum(len(group.requests) for group in sample)
        tokens = checked.tokens + sum(group.tokens for group in sample)
        for group in sorted(groups, key=lambda g: g.priority):
            if group in sample:
                continue
            tokens += group.tokens
            if taken >= due and tokens > SHARE * checked.measured_tokens:
                break
            sample.append(group)
            taken += len(group.requests)
        return sample

    def _plainly(self, requests: Sequence[TokenRequest]) -> TokenScores | None:
        """Return what the plain forward gives, or None where there is none."""
        if self._open_memo is None or self._executor.score_plain(requests[:0]) is None:
            return self._executor.score_plain(requests)

        def score(new: Sequence[TokenRequest]) -> TokenScores:
            scores = self._executor.score_plain(new)
            assert scores is not None, "a way that was there has gone"
            return scores

        memo = self._open_memo(replace(self._executor.info(), path="plain"))
        try:
            return memo.complete(requests, score)
        finally:
            memo.close()

    def _compare(
        self, sample: Sequence[_Group], requests: Sequence[TokenRequest], again: TokenScores
    ) -> None:
        info, checked = self._executor.info(), self._ledger.checked
        absolute, relative = PROBE_TOLERANCE.get(info.dtype, PROBE_TOLERANCE["float32"])
        given = np.array([value for group in sample for value in group.values])
        lengths = np.array([len(request.continuation) for request in requests])
        allowed = absolute * lengths + relative * np.abs(again.log_likelihood)
        difference = np.abs(given - again.log_likelihood)
        worst = int((difference / allowed).argmax())
        used = float(difference[worst] / allowed[worst])
        self._ledger.checked = replace(
            checked,
            requests=checked.requests + len(requests),
            tokens=checked.tokens + sum(group.tokens for group in sample),
            longest=max(checked.longest, *(group.length for group in sample)),
            difference=max(checked.difference, float(difference.max())),
            allowed=float(allowed[worst]) if used > checked.used else checked.allowed,
            used=max(checked.used, used),
        )
        if not used <= 1:  # NaN too
            length = len(requests[worst].context)
            raise InexactScoringError(
                f"{info.path} scoring gave {given[worst]:.6g} nats to an answer after {length} "
                f"tokens, and the plain forward {again.log_likelihood[worst]:.6g}"
            )


def _groups(
    units: Sequence[Unit], scores: Mapping[UnitKey, TokenScores], seed: int
) -> list[_Group]:
    """Return what was asked by context, in order."""
    groups = []
    for unit in units:
        by_context: dict[tuple[int, ...], list[int]] = {}
        for index, asked in enumerate(unit.asked):
            by_context.setdefault(asked.request.context, []).append(index)
        values = scores[unit.key].log_likelihood
        for indices in by_context.values():
            query = unit.asked[indices[0]].query
            name = f"{seed}|{query.policy_id}|{query.example_id}|{query.kind}|{query.answer}"
            priority = hashlib.blake2b(name.encode(), digest_size=8).digest()
            requests = tuple(unit.asked[i].request for i in indices)
            groups.append(_Group(priority, requests, tuple(values[indices].tolist())))
    return groups
