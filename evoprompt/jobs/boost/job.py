"""A self-evaluation loop as a job: how its folder is known, gone on with, reported and used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evoprompt.jobs.base import Champion, complete_summary, page_of, sync_owned
from evoprompt.policy import Policy
from evoprompt.store.folder import CONFIG, RunFolder
from evoprompt.store.form import in_form

if TYPE_CHECKING:
    from evoprompt.calibration import LabelCalibration
    from evoprompt.jobs.boost.config import BoostConfig


def _calibration(summary: Mapping[str, Any], config: BoostConfig) -> LabelCalibration | None:
    """Return how a loop's answers are calibrated: as those of the run whose champion answered, or
    by what a batch took from each choice.
    """
    from evoprompt.calibration import LabelCalibration

    champion, test = summary["champion"], summary.get("test")
    if champion.get("prior") is None:
        return _of_run(champion)
    num = test["num_examples"] if test else config.loop.batch
    offsets = {choice: -nats for choice, nats in champion["prior"].items()}
    return LabelCalibration("batch", 1.0, offsets, num)


def _of_run(part: Mapping[str, Any]) -> LabelCalibration | None:
    """Return the calibration of the run that a part of a loop's summary comes from."""
    from evoprompt.calibration import LabelCalibration

    found = part.get("calibration")
    return LabelCalibration.from_dict(found) if found else None


class BoostJob:
    """A self-evaluation loop. Implements `base.Job`."""

    def owns(self, folder: Path) -> bool:
        """Return whether the folder has a loop's configuration."""
        return (folder / CONFIG).exists() and "loop" in RunFolder(folder).config_values()

    def start(self, config: Path, overrides: list[str], out: Path | None) -> int:
        """Run a loop as a config file says."""
        from evoprompt.jobs.boost.config import load_boost
        from evoprompt.jobs.boost.session import start

        start(load_boost(config, overrides), out)
        return 0

    def resume(
        self, folder: Path, overrides: Sequence[str] = (), *, accept_changes: bool = False
    ) -> int:
        """Go on with a loop from its last committed round."""
        from evoprompt.jobs.boost.session import resume

        resume(folder, overrides, accept_changes=accept_changes)
        return 0

    def sync(self, folder: Path) -> list[Exception]:
        """Tell the tracker what it was not told of a loop."""
        from evoprompt.jobs.boost.folder import BoostFolder
        from evoprompt.jobs.boost.tracked import sync

        loop = BoostFolder.open(folder)
        return sync_owned(loop, loop.config(), sync)

    def report(self, folder: Path) -> Path:
        """Write the page of a loop."""
        from evoprompt.jobs.boost.folder import BoostFolder
        from evoprompt.jobs.boost.page import write_boost_page

        return page_of(BoostFolder.open(folder), write_boost_page)

    def champion(self, folder: Path) -> Champion:
        """Return the policy with the context that the loop ended with, and what judged its answers,
        as the loop answered and judged.
        """
        from evoprompt.choices import COMPARISONS
        from evoprompt.jobs.boost.folder import BoostFolder
        from evoprompt.jobs.boost.judges import JUDGES

        opened = BoostFolder.open(folder)
        summary, config = complete_summary(opened), opened.config()
        loop, judge = config.loop, JUDGES[config.loop.judge]
        with in_form(folder):
            return Champion(
                config,
                Policy.from_dict(summary["champion"]["policy"]),
                Policy.from_dict(summary["evaluator"]["policy"]) if judge.asks_evaluator else None,
                questions=config.questions,
                answer_tokens=loop.answer_tokens,
                # over a batch, by the prior that the loop found
                answered_by="likelihood" if COMPARISONS[loop.answers].over_batch else loop.answers,
                among_rivals=judge.among_choices,
                threshold=opened.rounds()[0].threshold or 0.0,
                abstain_below=loop.abstain_below,
                calibration=_calibration(summary, config),
                verdict_calibration=_of_run(summary["evaluator"]),
                verdict_prior=summary["evaluator"].get("prior"),
                prompt=summary["champion"]["prompt"],
            )
