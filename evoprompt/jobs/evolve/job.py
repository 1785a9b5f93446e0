"""A run as a job: how its folder is known, gone on with, reported and used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evoprompt.jobs.base import Champion, complete_summary, page_of, sync_owned
from evoprompt.policy import Policy
from evoprompt.store.folder import CONFIG, SUMMARY
from evoprompt.store.form import in_form


class EvolveJob:
    """A run, or a lineage that another program wrote. Implements `base.Job`."""

    def owns(self, folder: Path) -> bool:
        """Return whether the folder has a run's configuration, or nothing of a job but a
        lineage.
        """
        from evoprompt.jobs.evolve.folder import LINEAGE

        return (folder / CONFIG).exists() or (folder / LINEAGE).exists()

    def start(self, config: Path, overrides: list[str], out: Path | None) -> int:
        """Evolve prompts as a config file says."""
        from evoprompt.jobs.evolve.config import load_config
        from evoprompt.jobs.evolve.session import start

        start(load_config(config, overrides), out)
        return 0

    def resume(
        self, folder: Path, overrides: Sequence[str] = (), *, accept_changes: bool = False
    ) -> int:
        """Go on with a run from its last committed generation."""
        from evoprompt.jobs.evolve.session import resume

        resume(folder, overrides, accept_changes=accept_changes)
        return 0

    def sync(self, folder: Path) -> list[Exception]:
        """Tell the tracker what it was not told of a run."""
        from evoprompt.jobs.evolve.folder import EvolveFolder
        from evoprompt.jobs.evolve.tracked import sync

        run = EvolveFolder.open(folder)
        return sync_owned(run, run.config(), sync)

    def report(self, folder: Path) -> Path:
        """Write the page of a run, or of a lineage that another program wrote."""
        from evoprompt.jobs.evolve.folder import EvolveFolder
        from evoprompt.jobs.evolve.page import write_lineage_page, write_page

        if not (folder / CONFIG).exists():
            return write_lineage_page(folder)
        return page_of(EvolveFolder.open(folder), write_page)

    def champion(self, folder: Path) -> Champion:
        """Return the champion of a run, which answers as its fitness compared choices, calibrated
        as it was tested; its clause judges, or the package's where it has none.
        """
        from evoprompt.calibration import LabelCalibration
        from evoprompt.fitness.catalog import fitness_of
        from evoprompt.jobs.evolve.answering import answering_of
        from evoprompt.jobs.evolve.folder import EvolveFolder
        from evoprompt.tasks.judge import evaluator_of

        run = EvolveFolder.open(folder)
        summary, config = complete_summary(run), run.config()
        with in_form(folder / SUMMARY):
            kind = config.fitness.model_copy(update={"kind": summary["fitness"]["kind"]})
        fitness = fitness_of(kind, has_choices=True)

        def answers(part: Mapping[str, Any], baseline: Champion | None = None) -> Champion:
            with in_form(folder / SUMMARY):
                policy, prompt = Policy.from_dict(part["policy"]), str(part["prompt"])
                calibration, offsets = (
                    LabelCalibration.from_dict(found) if found else None
                    for found in map(part.get, ("calibration", "offsets"))
                )
            return Champion(
                config,
                policy,
                evaluator_of(policy),
                answered_by=fitness.compared_by,
                answering=answering_of(config, fitness),
                calibration=calibration,
                offsets=offsets,
                prompt=prompt,
                baseline=baseline,
            )

        return answers(summary["champion"], answers(summary["baseline"]))
