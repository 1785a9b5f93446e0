"""Who does which work: over simulated workers, in simulated time."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.backends.affinity import Affinity, cost_of
from evoprompt.backends.base import WorkUnit
from evoprompt.backends.dispatch import Dispatcher, Task
from evoprompt.scoring.trie import TokenRequest
from experiments.benchmarks.fleet import SimulatedCrew, efficiency, population


def done_by(crew: SimulatedCrew, queues: dict[int, list[int]]) -> list[int]:
    """Return the pieces that came back, each of which takes as many seconds as its number."""
    found: list[int] = []

    def on_done(piece: int, result: int) -> None:
        assert piece == result
        found.append(piece)

    tasks = {w: [Task(piece, float(piece)) for piece in queue] for w, queue in queues.items()}
    Dispatcher(crew).run(tasks, on_done)
    return found


def test_who_has_nothing_left_takes_from_whom_the_most_is_left_to():
    """By hand: 1 has pieces of 5, 4, 3 s and 2 one of 1 s. 2 takes 3 after 1 s and 4 after 4 s; all
    is done after 8 s, and without taking the first would need 12.
    """
    crew = SimulatedCrew({1: 1.0, 2: 1.0}, float)
    assert sorted(done_by(crew, {1: [5, 4, 3], 2: [1]})) == [1, 3, 4, 5]
    assert crew.now == pytest.approx(8, abs=0.1)


@given(
    pieces=st.lists(st.integers(1, 1000), min_size=1, max_size=60, unique=True),
    num_workers=st.integers(1, 6),
    lost=st.dictionaries(st.integers(1, 5), st.floats(0, 3000), max_size=5),
    late=st.dictionaries(st.integers(1, 5), st.floats(1, 3000), max_size=5),
)
def test_every_piece_comes_back_once_whoever_is_lost_or_joins(pieces, num_workers, lost, late):
    """Worker 0 stays, so that somebody does the work; the others are lost or come later."""
    speeds = {w: 1.0 + w / 3 for w in range(num_workers)}
    crew = SimulatedCrew(speeds, float, fails=lost, joins=late)
    queues = {w: pieces[w::num_workers] for w in range(num_workers)}
    assert sorted(done_by(crew, queues)) == sorted(pieces)


def test_who_does_not_come_back_is_ended_and_the_work_done_by_another(
    monkeypatch: pytest.MonkeyPatch,
):
    """Of two workers that take 1 s for a piece of 1, the second hangs at its 20th. Power twin: a
    speed of which nothing is known ends nobody.
    """
    crew = SimulatedCrew({1: 1.0, 2: 1.0}, lambda piece: 1e9 if piece == 77 and hangs else 1.0)
    monkeypatch.setattr(
        "evoprompt.backends.dispatch.time", SimpleNamespace(monotonic=lambda: crew.now)
    )
    hangs, found = True, []

    def on_done(piece: int, result: int) -> None:
        found.append(piece)

    def replaced(worker: int, error: Exception) -> None:
        nonlocal hangs
        hangs = False
        crew.speeds.pop(worker)

    monkeypatch.setattr(crew, "replace", replaced)
    pieces = [*range(19), 77, *range(20, 40)]
    Dispatcher(crew).run({1: [Task(p, 1.0) for p in pieces], 2: []}, on_done)
    assert sorted(found) == sorted(pieces)
    assert 120 < crew.now < 250
    assert len(crew.speeds) == 1
    hangs, found = True, []
    crew.speeds, crew.now = {3: 1.0}, 0.0
    crew.seconds = lambda piece: 1e4
    Dispatcher(crew).run({3: [Task(1, 1.0)]}, on_done)
    assert found == [1]


@pytest.mark.parametrize("is_known", [True, False], ids=["a lost one's speed", "no speed"])
def test_the_only_worker_left_is_ended_where_its_first_call_does_not_come_back(
    is_known: bool, monkeypatch: pytest.MonkeyPatch
):
    """The first worker, which takes 1 s a piece, is lost after 3.5 s; the second never answers. By
    what is known of the lost one it is late after two minutes; without that, after four hours.
    """
    lost = {1: 3.5 if is_known else 0.5}
    crew = SimulatedCrew({1: 1.0}, lambda piece: 1.0, fails=lost)
    monkeypatch.setattr(
        "evoprompt.backends.dispatch.time", SimpleNamespace(monotonic=lambda: crew.now)
    )
    found: list[int] = []

    def replaced(worker: int, error: Exception) -> None:
        crew.speeds.pop(worker)
        crew.speeds[worker + 1] = 1e-9 if worker == 1 else 1.0

    monkeypatch.setattr(crew, "replace", replaced)
    tasks = {1: [Task(piece, 1.0) for piece in range(6)]}
    Dispatcher(crew).run(tasks, lambda piece, result: found.append(piece))
    assert sorted(found) == list(range(6))
    limit = 120 if is_known else 14_400
    assert limit < crew.now < limit + 60


def test_a_mistake_in_the_work_ends_it():
    crew = SimulatedCrew({1: 1.0}, lambda piece: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        done_by(crew, {1: [1]})


def test_a_fleet_is_busy_to_the_end_of_a_generation():
    """Power twin: where a worker has none on its way, and each its own share, it is not."""
    units = population(256)
    for num_workers, least in ((4, 0.98), (16, 0.95), (64, 0.85)):
        assert efficiency(num_workers, units)[0] > least
    crew = SimulatedCrew({w: 1.0 + (w == 0) for w in range(16)}, lambda key: 0.5)
    alone = max(sum(0.5 for _ in range(16)) / speed for speed in crew.speeds.values())
    assert 0.5 * 256 / 17 / alone < 0.95


@given(st.data())
def test_a_unit_is_the_same_in_another_process(data: st.DataObject):
    tokens = st.lists(st.integers(0, 9), max_size=4).map(tuple)
    shared = data.draw(tokens.filter(bool))
    requests = data.draw(st.lists(st.tuples(tokens, tokens.filter(bool)), min_size=1, max_size=6))
    cuts = tuple(sorted(data.draw(st.sets(st.integers(1, max(1, len(shared))), max_size=2))))
    unit = WorkUnit(
        "key",
        tuple(TokenRequest((*shared, *own), end) for own, end in requests),
        tuple(cut for cut in cuts if cut <= len(shared)),
    )
    again = pickle.loads(pickle.dumps(unit))
    assert (again.key, again.requests, again.cuts) == (unit.key, unit.requests, unit.cuts)


def test_beginnings_go_where_they_are_stored_and_the_fast_get_more():
    affinity, units = Affinity(), population(64)
    first = affinity.spread(units, {1: 1.0, 2: 1.0})
    assert sorted(t.work.key for q in first.values() for t in q) == list(range(64))
    fast = Affinity().spread(units, {1: 1.0, 2: 1 / 3})
    assert len(fast[2]) > 2 * len(fast[1])
    # eight families: whoever has a family's beginning gets its next one, where the loads are alike
    holders = {t.work.key % 8 for t in first[1]}
    child = population(65)[64]
    affinity.forget(2)
    assert [len(q) for q in affinity.spread([child], {1: 1.0, 2: 1.0}).values()] == [1, 0]
    assert 0 in holders


def test_the_cost_of_a_unit_is_its_distinct_tokens():
    """By hand: 3 shared, then (4, 5) twice and (6,): 3 + 2 + 1."""
    contexts = ((1, 2, 3, 4, 5), (1, 2, 3, 4, 5), (1, 2, 3, 6))
    unit = WorkUnit(0, tuple(TokenRequest(c, (9,)) for c in contexts), (2, 3))
    assert cost_of(unit) == 6
