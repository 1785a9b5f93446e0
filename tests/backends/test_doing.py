"""What workers did is told of each where they are few; of many the spread and the slowest."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from evoprompt.backends.doing import SLOWEST, Doing, Work, doing_of, paces_of
from evoprompt.jobs.evolve.display import worker_texts


def test_paces_are_of_the_time_between_two_looks():
    """Worker 1 did 300 tokens in 6 s of 10 since the first look, worker 2 has just joined and did
    50 in 2, worker 3 nothing.
    """
    before = [Work(1, "a:1", 4.0, 100.0), Work(3, "a:3", 1.0, 10.0)]
    after = [Work(1, "a:1", 10.0, 400.0), Work(2, "b:2", 2.0, 50.0), Work(3, "a:3", 1.0, 10.0)]
    found = paces_of(before, after, 10.0)
    assert [(p.worker, p.tokens_per_second, p.utilisation) for p in found] == [
        (3, 0.0, 0.0),
        (2, 25.0, 0.2),
        (1, 50.0, 0.6),
    ]
    first = next(worker_texts(found))
    assert first == "  worker 1 on a:1: 50 tokens/s, busy 60% of the time"


@pytest.mark.parametrize("num", [1, 4, 256])
def test_metrics_are_as_many_however_many_workers_there_are(num: int):
    after = [Work(w, f"h:{w}", 1.0, 100.0 + w) for w in range(1, num + 1)]
    doing = doing_of(paces_of([], after, 2.0))
    metrics = doing.metrics()
    assert metrics["count"] == num
    assert len(metrics) == 7 + 3 * min(num, SLOWEST)
    assert metrics["slowest_1_number"] == 1
    assert metrics["tokens_per_second_most"] == 100.0 + num
    assert metrics["tokens_per_second_median"] == pytest.approx(100 + (num + 1) / 2)
    assert metrics["utilisation_median"] == 0.5
    assert Doing.from_dict(json.loads(json.dumps(asdict(doing)))) == doing


def test_without_a_fleet_there_is_nothing_to_keep_and_that_is_said():
    assert doing_of([]) is None
    assert "no workers" in next(worker_texts([]))
