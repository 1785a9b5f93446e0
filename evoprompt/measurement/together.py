"""Policies whose prompts begin alike, measured as one unit: what they share is forwarded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.units import label_scores
from evoprompt.policy import Policy
from evoprompt.records import Example, LabelScores, TokenCount
from evoprompt.scoring.engine import TokenScores


class JointMeasurer(Measurer):
    """Measures policies one by one, or several as one unit."""

    def measure_together(
        self,
        policies: Sequence[Policy],
        examples: Sequence[Example],
        timed: Callable[[str], AbstractContextManager[None]],
    ) -> tuple[list[LabelScores], TokenCount]:
        """Return the scores of each policy, in order, and what all cost together. Each distinct
        prefix of all their prompts is forwarded once.

        Args:
            policies: that all differ, without steps.
            examples: at least one.
            timed: is given the phases `tokenization`, `memo`, `scoring` and `check`.

        Raises:
            UserError: as `prepare`.
            InexactScoringError: the standing check found a wrong score.
        """
        with timed("tokenization"):
            units = self.prepare(policies, examples)
            joint = self._unit(units[0].key, policies[0], tuple(a for u in units for a in u.asked))
        scores = self._scorer.score([joint], lambda *_: None, timed)[joint.key]
        found, start = [], 0
        for unit in units:
            part = slice(start, start + len(unit.asked))
            own = TokenScores(scores.log_likelihood[part], scores.is_greedy[part], TokenCount())
            found.append(label_scores(unit, own, examples))
            start = part.stop
        return found, scores.count
