"""Who is chosen in the end, with a stand-in for the model."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys.curricula import REGIONS, StandIn

from evoprompt.jobs.curriculum.config import CurriculumConfig, load_curriculum
from evoprompt.jobs.curriculum.ending import conclude
from evoprompt.jobs.curriculum.folder import CurriculumFolder
from evoprompt.jobs.curriculum.loop import Progress, begin, rounds
from evoprompt.jobs.curriculum.players import ANTAGONIST, PROTAGONIST
from evoprompt.jobs.curriculum.regions import Regions, load_regions
from evoprompt.policy import Policy


def played(tmp_path: Path) -> tuple[CurriculumConfig, Regions, StandIn, Progress]:
    """Return a curriculum after three rounds, and what gives its policies their worth."""
    path = tmp_path / "toy.yaml"
    path.write_text(f"regions: {REGIONS}\nrounds: 3\nmax_demonstrations: 4\n")
    config = load_curriculum(path)
    regions = load_regions(config)
    meter = StandIn({d.input: t.name for t in regions.tasks for d in t.demonstrations})
    progress = begin(config, regions)
    list(rounds(config, regions, meter, progress, CurriculumFolder(tmp_path)))
    return config, regions, meter, progress


def test_the_champion_is_the_best_of_either_population(tmp_path: Path):
    """A member that the antagonist alone has is worth .9 everywhere, all others .5."""
    config, regions, meter, progress = played(tmp_path)
    ours, theirs = (progress.players[place].policies for place in (PROTAGONIST, ANTAGONIST))
    own = next(p for p in theirs if p not in ours and p not in regions.given)
    meter.worth = lambda policy, region: 0.9 if policy == own else 0.5  # type: ignore[method-assign]
    assert conclude(config, regions, meter, progress).champion == own


@pytest.mark.parametrize("harm", [0.0, 0.3])
def test_a_starting_policy_stays_champion_where_no_member_is_better(tmp_path: Path, harm: float):
    """Demonstrations are worth up to .6 in a region; then they do harm of .3 everywhere."""
    config, regions, meter, progress = played(tmp_path)
    worth = meter.worth

    def harmed(policy: Policy, region: str) -> float:
        return worth(policy, region) if not harm else 0.8 - harm * (policy not in regions.given)

    meter.worth = harmed  # type: ignore[method-assign]
    ending = conclude(config, regions, meter, progress)
    assert (ending.champion in regions.given) == (harm > 0)
    test = ending.summary["test"]
    low, high = test["difference"]["ci"]
    assert low <= test["difference"]["value"] <= high
    assert test["difference"]["value"] == pytest.approx(
        test["champion"]["value"] - test["baseline"]["value"], abs=1e-5
    )
    assert (test["difference"]["value"] > 0.03) == (harm == 0)
    assert ending.summary["game"]["duality_gap"] >= 0
    counted = sum(len(t.validation) for t in regions.tasks)
    chosen = {p for own in progress.players.values() for p in own.policies} | set(regions.given)
    spent = progress.ledger.tokens["validation"].logical_tokens
    assert spent == meter.cost * counted * len(chosen)
