"""Sixty faults, forty of them of simulated workers, lead to the same record or to a refusal that
loses nothing, and what is neither is seen.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "experiments"))
import fault_campaign
from fault_campaign import Ended, Site, WrongError, command, meet, prepare, refused

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return prepare(tmp_path_factory.mktemp("campaign") / "site")


@pytest.mark.parametrize("seed", range(20))
def test_a_fault_changes_nothing_and_loses_nothing(site: Site, seed: int, tmp_path: Path):
    outcome = meet(site, seed, tmp_path / "scratch")
    assert outcome.is_right, outcome


@pytest.mark.usefixtures("no_pages")
@pytest.mark.parametrize("seed", range(40))
def test_workers_that_fail_change_nothing(site: Site, seed: int, tmp_path: Path):
    fleet = "simulated workers fail"
    outcome = meet(site, seed, tmp_path / "scratch", {fleet: fault_campaign.FAULTS[fleet]})
    assert outcome.is_right, outcome


def test_answers_that_are_lost_or_given_twice_are_seen(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Power twin: a driver that takes the answer of another call for a lost one."""
    from toys import faulty_fleet

    def mixed(self: faulty_fleet.FaultyCrew, calls: list[int]) -> list[object]:
        return [self._collect(call) for call in calls][::-1]

    monkeypatch.setattr(faulty_fleet.FaultyCrew, "collect", mixed)
    fleet = "simulated workers fail"
    faults = {fleet: fault_campaign.FAULTS[fleet]}
    outcomes = [meet(site, seed, tmp_path / "scratch", faults) for seed in range(4)]
    assert not all(outcome.is_right for outcome in outcomes)


def test_another_record_something_lost_and_silence_are_seen(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def other_seed(own: Site, rng: random.Random) -> str:
        started = own.begin("--set", "seed=1")
        fault_campaign.wait(started, own.folder / "begun.log")
        own.check_same()
        return "same"

    def erased(own: Site, rng: random.Random) -> str:
        fault_campaign.half(own, rng)
        before = fault_campaign.kept_of(own.run)
        (own.run / "lineage.jsonl").unlink()
        return fault_campaign.same_or_refused(own, before, Ended(2, "evoprompt: refused"))

    for fault, said in ((other_seed, "another lineage"), (erased, "is lost")):
        monkeypatch.setattr(fault_campaign, "FAULTS", {"one": (fault, 1)})
        outcome = meet(site, 0, tmp_path / "scratch")
        assert not outcome.is_right
        assert said in outcome.end


def test_a_hang_a_traceback_and_a_wrong_status_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import evoprompt.cli

    def hang() -> None:
        fault_campaign.time.sleep(60)

    def break_down() -> None:
        print("Traceback (most recent call last)")

    monkeypatch.setattr(evoprompt.cli, "main", hang)
    with pytest.raises(WrongError, match="hangs"):
        command([], tmp_path, patience=0.2)
    monkeypatch.setattr(evoprompt.cli, "main", break_down)
    with pytest.raises(WrongError, match="traceback"):
        command([], tmp_path)
    for ended in (Ended(0, "evoprompt: fine"), Ended(2, "no sentence"), Ended(-9, "")):
        with pytest.raises(WrongError):
            refused(ended)
