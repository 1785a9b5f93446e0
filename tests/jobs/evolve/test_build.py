"""Configuration -> parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from evoprompt.errors import UserError
from evoprompt.jobs.evolve.build import check_task, strategy_of
from evoprompt.jobs.evolve.config import load_config


def weights(config_file: Path, *overrides: str) -> dict[str, float]:
    config = load_config(config_file, overrides)
    return dict(strategy_of(config, check_task(config)[0]).weights)


def test_operators_that_are_not_named_are_drawn_by_default_or_not_at_all(config_file: Path):
    named = "evolution.operators={step_add: 2, instruction_swap: 1}"
    usual = weights(config_file, named)
    assert {"step_add": 2.0, "instruction_swap": 1.0, "demonstration_add": 1.0}.items() <= (
        usual.items()
    )
    alone = weights(config_file, named, "evolution.other_operators=none")
    assert alone == {"step_add": 2.0, "instruction_swap": 1.0}
    with pytest.raises(UserError, match="no child can be made"):
        weights(config_file, "evolution.other_operators=none")
