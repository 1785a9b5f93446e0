"""Runs that end in a second, for populations of other shapes: whole, and ended and resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evoprompt.jobs.evolve.config import Config, check_config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.store.folder import SUMMARY

GENERATIONS = 4


def instant(task_file: Path, evolution: Mapping[str, Any], seed: int = 0) -> Config:
    """Return a configuration with a backend that answers at once."""
    plain = {"children": 4, "generations": GENERATIONS, "max_demonstrations": 3}
    return check_config(
        {
            "seed": seed,
            "model": {"name": "instant", "memo": False},
            "task": {
                "path": str(task_file),
                **{"fitness_examples": 8, "validation_examples": 8, "test_examples": 8},
                "starting_demonstrations": [0],
                "label_words": {"bad": ["poor", "sad"], "good": ["great", "fine"]},
            },
            "fitness": {"calibration": "off"},
            "evolution": plain | evolution,
            "workers": {"backend": "toys.instant:InstantBackend"},
            "tracking": {"enabled": False},
        },
        "test.yaml",
    )


def whole_and_parted(config: Config, folder: Path) -> tuple[EvolveFolder, EvolveFolder]:
    """Return a run that went through, and the same that was ended half-way and resumed."""
    start(config, folder / "whole")
    half = config.evolution.model_copy(update={"generations": config.evolution.generations // 2})
    start(config.model_copy(update={"evolution": half}), folder / "parted")
    (folder / "parted" / SUMMARY).unlink()
    resume(folder / "parted", [f"evolution.generations={config.evolution.generations}"])
    return EvolveFolder.open(folder / "whole"), EvolveFolder.open(folder / "parted")
