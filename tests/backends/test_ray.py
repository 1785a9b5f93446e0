"""The fleet on Ray: the same lineage for any number of workers, dead workers replaced, GPUs given
out as asked.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from evoprompt.backends.base import WorkUnit
from evoprompt.backends.doing import doing_of, paces_of
from evoprompt.backends.local import LocalExecutor
from evoprompt.backends.ray import RayFleet
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.errors import MachineError, UserError
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import LINEAGE
from evoprompt.jobs.evolve.session import start
from evoprompt.records import TokenCount
from evoprompt.scoring.decoding import GROUP_REQUESTS, Decoding
from evoprompt.scoring.load import load_scorer
from evoprompt.scoring.trie import TokenRequest

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.usefixtures("ray_session"),
    pytest.mark.filterwarnings("ignore"),
]

UNITS = [
    WorkUnit(f"u{i}", tuple(TokenRequest((5, 6, 7 + i, 8 + j), (9,)) for j in range(3)))
    for i in range(12)
]


@pytest.fixture
def fleet_of(tiny_model: Path):
    fleets = []

    def make(**workers) -> RayFleet:
        fleets.append(
            RayFleet(
                ModelConfig(name=str(tiny_model)),
                WorkersConfig(**({"gpus_per_worker": 0} | workers)),
            )
        )
        return fleets[-1]

    yield make
    for fleet in fleets:
        fleet.close()


def score(fleet: RayFleet) -> dict[str, list[float]]:
    return {
        key: scores.log_likelihood.tolist()
        for key, scores in fleet.score(UNITS, lambda *_: None).items()
    }


@pytest.mark.slow
def test_one_worker_and_two_write_the_same_lineage(config_file: Path, tmp_path: Path):
    for count in (1, 2):
        config = load_config(
            config_file,
            ["workers.backend=ray", f"workers.count={count}", "workers.gpus_per_worker=0"],
        )
        start(config, tmp_path / f"workers-{count}")
    start(load_config(config_file), tmp_path / "local")
    lineages = {
        (tmp_path / run / LINEAGE).read_bytes() for run in ("workers-1", "workers-2", "local")
    }
    assert len(lineages) == 1
    assert (
        "2 Ray workers"
        in json.loads((tmp_path / "workers-2" / "summary.json").read_text())["model"]["placement"]
    )


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(fleet_of):
    fleet = fleet_of(count=2)
    expected = score(fleet)
    victim = fleet.worker_pids()[0]
    done = []

    def on_result(*_):
        done.append(1)
        if len(done) == 3:
            os.kill(victim, signal.SIGKILL)

    again = {k: s.log_likelihood.tolist() for k, s in fleet.score(UNITS, on_result).items()}
    assert again == expected
    assert len(done) == len(UNITS)
    deadline = time.monotonic() + 60
    while victim in fleet.worker_pids():
        assert time.monotonic() < deadline


@pytest.mark.slow
def test_a_worker_that_is_stopped_hangs_nothing(fleet_of, monkeypatch: pytest.MonkeyPatch):
    """A stopped process answers nobody and dies of nothing; it is ended and its work done again."""
    monkeypatch.setattr("evoprompt.backends.dispatch.LOOK_SECONDS", 0.5)
    fleet = fleet_of(count=2)
    expected = score(fleet)
    victim = fleet.worker_pids()[0]
    os.kill(victim, signal.SIGSTOP)
    assert score(fleet) == expected
    assert victim not in fleet.worker_pids()


@pytest.mark.slow
def test_what_is_written_does_not_depend_on_workers_on_order_or_on_a_worker_that_dies(
    fleet_of, tiny_model: Path
):
    requests = [
        Decoding((5, 6, 7 + i % 9, 8), 6, temperature, i)
        for i in range(3 * GROUP_REQUESTS)
        for temperature in (0.0, 1.0)
    ]
    expected = LocalExecutor(load_scorer(ModelConfig(name=str(tiny_model)), 1)).generate(requests)
    fleet = fleet_of(count=2)
    assert (
        fleet.generate(requests) == expected
    )  # to the bit, work included: groups are the same whoever decodes them
    victim = fleet.worker_pids()[0]
    os.kill(victim, signal.SIGKILL)
    backwards = fleet.generate(requests[::-1])[::-1]
    assert [(d.drawn, d.token_logprobs) for d in backwards] == [
        (d.drawn, d.token_logprobs) for d in expected
    ]
    assert sum((d.count for d in backwards), TokenCount()) == sum(
        (d.count for d in expected), TokenCount()
    )
    assert victim not in fleet.worker_pids()
    with pytest.raises(
        UserError,
        match="a prompt of 306 tokens with the 6 that may be written is longer than the model's "
        "window of 256",
    ):
        fleet.generate([Decoding((1,) * 300, 6)])


@pytest.mark.slow
def test_when_workers_go_on_dying_the_run_gives_up_and_says_what_to_do(fleet_of):
    fleet = fleet_of(count=1, max_restarts=0)
    pids = fleet.worker_pids()
    threading.Timer(0.05, lambda: os.kill(pids[0], signal.SIGKILL)).start()
    with pytest.raises(MachineError, match=r"max_restarts is used up; look for the cause"):
        for _ in range(1000):
            fleet.score(UNITS, lambda *_: None)


@pytest.mark.parametrize(
    ("workers", "count"),
    [({"gpus_per_worker": None}, 2), ({"gpus_per_worker": 0.5}, 4), ({"gpus_per_worker": 2}, 1)],
)
@pytest.mark.slow
def test_gpus_are_given_out_one_each_in_fractions_or_several(fleet_of, workers, count):
    """On Ray's logical GPUs: two of them exist in its books. What a worker was given is read from
    Ray, not from the placement.
    """
    import ray

    fleet = fleet_of(**workers)
    assert fleet.placement.count == count
    assert score(fleet).keys() == {u.key for u in UNITS}
    share = fleet.placement.gpus
    given = ray.get(
        [
            a.__ray_call__.remote(
                lambda _self: ray.get_runtime_context().get_accelerator_ids()["GPU"]
            )
            for a in fleet.crew._actors.values()
        ]
    )
    assert all(len(ids) == max(1, int(share)) for ids in given)
    assert {i for ids in given for i in ids} == {"0", "1"}
    assert ray.available_resources().get("GPU", 0) == pytest.approx(2 - share * count)


def test_a_child_goes_to_the_worker_that_has_its_beginning(fleet_of):
    fleet = fleet_of(count=2)

    def units(last: int) -> list[WorkUnit]:
        trunks = {
            key: tuple(5 + (i * salt) % 90 for i in range(100))
            for key, salt in (("a", 3), ("b", 7))
        }
        return [
            WorkUnit(k, tuple(TokenRequest((*t, last, j), (9,)) for j in range(3)), (50, 100))
            for k, t in trunks.items()
        ]

    fleet.info()  # both have loaded
    fleet.crew.ready()
    assert sum(s.count.stored_tokens for s in fleet.score(units(6), lambda *_: None).values()) == 0
    fleet.pin([u.requests[0].context for u in units(6)])
    # one each: with more, who is done first would take over from the other
    spread = fleet._affinity.spread(units(7), {1: 1.0, 2: 1.0})
    assert [len(queue) for queue in spread.values()] == [1, 1]
    counts = [s.count for s in fleet.score(units(7), lambda *_: None).values()]
    assert [c.stored_tokens for c in counts] == [100, 100]
    assert all(c.body_tokens + c.stored_tokens == c.floor_body_tokens for c in counts)


def test_a_prompt_too_long_for_a_worker_is_the_users_mistake_here_too(fleet_of):
    with pytest.raises(UserError, match="longer than the model's window of 256"):
        fleet_of(count=1).score(
            [WorkUnit("long", (TokenRequest((1,) * 300, (2,)),))], lambda *_: None
        )


def test_a_model_that_does_not_load_is_the_users_mistake_here_too(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    fleet = RayFleet(ModelConfig(name=str(tmp_path)), WorkersConfig(count=1, gpus_per_worker=0))
    with pytest.raises(UserError, match="cannot load a causal language model"):
        fleet.info()
    fleet.close()


def test_more_workers_than_fit_are_refused_at_once(tiny_model: Path):
    with pytest.raises(UserError, match="at most 4 do"):
        RayFleet(ModelConfig(name=str(tiny_model)), WorkersConfig(count=9, gpus_per_worker=0))


def test_a_fleet_tells_what_each_worker_did(fleet_of):
    """Every worker's tokens and time are there, by the place that it works in; together they are
    what was asked.
    """
    fleet = fleet_of(count=2)
    fleet.info()  # waits for both
    fleet.score(UNITS, lambda key, scores: None)
    work = fleet.work_done()
    assert [w.place.rpartition(":")[2] for w in work] == [str(pid) for pid in fleet.worker_pids()]
    assert sum(w.tokens for w in work) > 0
    assert all((w.seconds > 0) == (w.tokens > 0) for w in work)
    doing = doing_of(paces_of((), work, 1e9))
    assert doing is not None
    assert doing.count == 2
