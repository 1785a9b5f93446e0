"""How a run's policies are calibrated: as its configuration says, or, where that is left to the
run, in the way under which its founders' answers are likeliest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from evoprompt.calibration import (
    LabelCalibration,
    Way,
    apply,
    by_label,
    calibrated_out,
    fitted,
    worth_of_ways,
)
from evoprompt.config.sections import CalibrationConfig
from evoprompt.fitness.base import Fitness
from evoprompt.records import FITNESS_DIGITS, LabelScores
from evoprompt.store.folder import PROVENANCE, RunFolder
from evoprompt.tasks.base import Task

#: Of `provenance.json`: how the policies of a run are calibrated.
CALIBRATION = "calibration"
#: What is chosen from where that is left to the run; the first of those that tie.
TO_CHOOSE: tuple[Way, ...] = ("head", "labelled", "batch", "off")


class Calibrator:
    """Fits what makes the choices of a run's policies comparable. Pure but for the way, which is
    settled once.

    Args:
        asked: of the configuration.
        labels: the choices that all examples share, in their order; none where there is nothing to
            calibrate.
        words: the tokens whose log-probabilities are read beside the choices, for a head.
    """

    def __init__(
        self,
        asked: CalibrationConfig = "off",
        labels: Sequence[str] = (),
        words: Sequence[int] = (),
    ) -> None:
        self.asked: CalibrationConfig = asked
        self._labels = tuple(labels)
        self.words = tuple(words) if self.is_used and reads_words(asked) else ()
        self._way: Way | None = _given(asked) if labels else "off"
        self._worth: Mapping[Way, float] = {}

    @property
    def is_used(self) -> bool:
        """Whether answers may be calibrated at all."""
        return bool(self._labels) and self.asked != "off"

    @property
    def needs_prior(self) -> bool:
        """Whether the candidates' prior has to be measured."""
        return self._way == "contextual"

    @property
    def way(self) -> Way:
        """The way of this run.

        Raises:
            ValueError: the founders have not settled it yet.
        """
        if self._way is None:
            raise ValueError("fitness.calibration=auto is settled by the founders' scores first")
        return self._way

    def settle(self, founders: Sequence[LabelScores]) -> None:
        """Choose the way, where that is left to the run, by what was measured of its founders; a
        head where words were read is else one without.
        """
        words = [None if s.features is None else s.features[0] for s in founders]
        is_read = bool(words) and all(w is not None for w in words)
        if self._way == "head" and not is_read:
            self._way = "labelled"
        if self.asked == "auto" and self._labels:
            prompts = [
                (scores.log_likelihood[0], scores.gold, read)
                for scores, read in zip(founders, words, strict=True)
            ]
            ways = TO_CHOOSE if is_read else tuple(w for w in TO_CHOOSE if w != "head")
            worth = worth_of_ways(prompts, ways)
            self._worth = {way: round(nats, FITNESS_DIGITS) for way, nats in worth.items()}
            best: Way = max(ways, key=self._worth.__getitem__)
            self._way = best

    def record(self, folder: RunFolder) -> None:
        """Write into a run's provenance how its policies are calibrated, and why, where they may
        be.
        """
        if self.is_used:
            entry = {"asked": self.asked, "way": self.way, "log_likelihood": dict(self._worth)}
            folder.write(PROVENANCE, {**(folder.read(PROVENANCE) or {}), CALIBRATION: entry})

    def left_out(self, scores: LabelScores) -> LabelScores:
        """Return scores with each example calibrated by the others."""
        return calibrated_out(scores, self.way)

    def applied(
        self,
        learned: Sequence[LabelScores],
        scores: LabelScores,
        way: Way | None = None,
        changed: Sequence[LabelScores] = (),
    ) -> LabelScores:
        """Return one policy's scores on examples that nothing was fitted on, calibrated by what was
        measured of it on others, and of some of these under changes; in another way than the run's,
        if one is given.
        """
        way = way or self.way
        return scores if way == "off" else apply(fitted(learned, way, changed), scores)

    def of_policy(
        self, learned: Sequence[LabelScores], changed: Sequence[LabelScores] = ()
    ) -> LabelCalibration | None:
        """Return one policy's calibration by what was measured of it, and under changes; None where
        nothing is calibrated in this run.
        """
        if not self.is_used:
            return None
        return self._by_label(learned, self.way, changed)

    def by_offsets(self, learned: Sequence[LabelScores]) -> LabelCalibration | None:
        """Return the same without a head, for those who have no words to read; None where this run
        has no head.
        """
        has_head = self.is_used and self.way == "head"
        return self._by_label(learned, "labelled") if has_head else None

    def _by_label(
        self, learned: Sequence[LabelScores], way: Way, changed: Sequence[LabelScores] = ()
    ) -> LabelCalibration:
        num = sum(len(scores.gold) for scores in learned)
        return by_label(fitted(learned, way, changed), self._labels, num, self.words)


def calibrator_of(
    asked: CalibrationConfig, task: Task, fitness: Fitness, words: Sequence[int] = ()
) -> Calibrator:
    """Return the calibrator of a run: it does nothing where `why_not` says why."""
    return Calibrator(asked, () if why_not(task, fitness) else task.choices or (), words)


def reads_words(asked: CalibrationConfig) -> bool:
    """Return whether other words than the choices' own have to be read."""
    return asked in ("auto", "head")


def why_not(task: Task, fitness: Fitness) -> str | None:
    """Return why answers cannot be calibrated, or None where they can."""
    if not task.has_choices:
        return "answers are in free form"
    if any(e.rest for e in task.fitness):
        return "the choices stand in the context, and what follows them is scored (task.blank)"
    if len(task.choices or ()) < 2:
        return "the choices differ by example"
    if fitness.compared_by != "likelihood":
        return f"fitness.kind '{fitness.name}' compares choices by '{fitness.compared_by}'"
    return None


def why_no_head(asked: CalibrationConfig, task: Task, fitness: Fitness) -> str | None:
    """Return why no head of words is fitted, or None where one may be."""
    reason = why_not(task, fitness)
    return reason or (None if reads_words(asked) else f"fitness.calibration is '{asked}'")


def way_of(folder: RunFolder) -> Way:
    """Return how the policies of a run are calibrated, as its folder says; `off` where it says
    nothing.
    """
    known: Mapping[str, object] = (folder.read(PROVENANCE) or {}).get(CALIBRATION) or {}
    return next((way for way in get_args(Way) if way == known.get("way")), "off")


def _given(asked: CalibrationConfig) -> Way | None:
    """Return the way that a configuration names; None where that is left to the run."""
    return None if asked == "auto" else asked
