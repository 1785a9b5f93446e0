"""Units -> their scores: from the memo where it has them, from the workers where it has not, a
sample of them checked.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from evoprompt.backends.base import Executor, ModelInfo
from evoprompt.measurement.standing import StandingCheck
from evoprompt.measurement.units import Unit, UnitKey, logical_tokens
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.memo import Memo


class UnitScorer:
    """Scores units with one model.

    Args:
        executor: scores with it.
        open_memo: called once the model is loaded; None measures everything anew.
    """

    def __init__(
        self, executor: Executor, open_memo: Callable[[ModelInfo], Memo] | None = None
    ) -> None:
        self._executor = executor
        self._open_memo = open_memo
        self._memo: Memo | None = None
        self.check: StandingCheck | None = None  #: of a sample; None checks nothing

    def score(
        self,
        units: Sequence[Unit],
        tell: Callable[[UnitKey, TokenScores], None],
        timed: Callable[[str], AbstractContextManager[None]],
    ) -> dict[UnitKey, TokenScores]:
        """Return the scores of units; `tell` hears of each.

        Raises:
            InexactScoringError: the check found a wrong score.
        """
        if not units:
            return {}
        with timed("memo"):
            scores = self._recall(units)
            for key, recalled in scores.items():
                tell(key, recalled)
        sent: dict[Hashable, Unit] = {u.key: u for u in units if u.key not in scores}

        def on_result(key: Hashable, done: TokenScores) -> None:
            unit = sent[key]
            if self._memo is not None:
                work = unit.work
                self._memo.keep(work.requests, done, work.features)
            tell(unit.key, done)

        with timed("scoring"):
            done = self._executor.score([unit.work for unit in sent.values()], on_result)
        scores |= {unit.key: done[unit.key] for unit in sent.values()}
        scores = {unit.key: _with_logical(unit, scores[unit.key]) for unit in units}
        if self.check is not None:
            with timed("check"):
                self.check.look(units, scores)
        return scores

    def _recall(self, units: Sequence[Unit]) -> dict[UnitKey, TokenScores]:
        """Return the scores of the units that the memo has."""
        if self._open_memo is None:
            return {}
        if self._memo is None:
            self._memo = self._open_memo(self._executor.info())
        works = {unit.key: unit.work for unit in units}
        found = {key: self._memo.recall(w.requests, w.features) for key, w in works.items()}
        return {key: scores for key, scores in found.items() if scores is not None}

    def close(self) -> None:
        """Close the memo and give the executor's workers back."""
        if self._memo is not None:
            self._memo.close()
        self._executor.close()


def _with_logical(unit: Unit, scores: TokenScores) -> TokenScores:
    count = replace(scores.count, logical_tokens=logical_tokens(unit.asked))
    return replace(scores, count=count)
