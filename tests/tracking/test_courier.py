"""What is told arrives in order and once, whatever becomes of the store; nothing waits for it."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from threading import Event

import pytest

from evoprompt.errors import UserError
from evoprompt.store.folder import TRACKING, RunFolder
from evoprompt.tracking import courier as module
from evoprompt.tracking.base import About, Ending, NullTracker, Point, StoreDownError
from evoprompt.tracking.courier import Courier, is_told, sync_hint

ABOUT = About("run", {"a": 1}, {"t": "x"}, [])
POINTS = [Point({"m": float(n)}, n, 1000 + n) for n in range(6)]
ENDING = Ending("all went well", Point({"total": 1.0}, 5, 1005), champion="a prompt")


class Store:
    """A store with an outage: it takes this many calls, then answers no more until it is up."""

    def __init__(self, calls: float = float("inf")) -> None:
        self.left = calls
        self.heard: list[tuple] = []

    def tracker(self) -> StoreTracker:
        return StoreTracker(self)


class StoreTracker(NullTracker):
    """Raises what a store does that does not answer."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def hear(self, *what: object) -> None:
        if self.store.left <= 0:
            raise StoreDownError("the store is down")
        self.store.left -= 1
        self.store.heard.append(what)

    def begin(self, name, parameters, tags, datasets):
        self.hear("begin", name, tags[module.KEY])
        return {"run_id": "r1", "tracking_uri": "http://store"}

    def resume(self, identity):
        self.hear("resume", identity["run_id"])

    def log(self, metrics, step, timestamp_ms):
        self.hear("log", step, timestamp_ms, *metrics.items())

    def describe(self, text):
        self.hear("describe", text)

    def finish(self, status, folder=None, champion=None):
        self.hear("finish", status, champion)

    def steps(self) -> list[int]:
        return [what[1] for what in self.store.heard if what[0] == "log"]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.02, 0.05))
    monkeypatch.setattr(module, "LAST_SECONDS", 60.0)


def kept(folder: RunFolder) -> dict:
    return folder.read(TRACKING)


def whole(folder: RunFolder, store: Store) -> Exception | None:
    """Tell a whole run in which every point comes as it is made."""
    courier = Courier(store.tracker())
    courier.open(folder, lambda: ABOUT)
    courier.ready()
    for point in POINTS:
        courier.log(point)
    return courier.finish("FINISHED", ENDING)


def test_a_run_is_told_in_order_and_its_folder_says_up_to_where(folder: RunFolder):
    store = Store()
    assert whole(folder, store) is None
    [begin, *rest] = store.heard
    assert begin[:2] == ("begin", "run")
    assert rest == [
        *[("log", n, 1000 + n, ("m", float(n))) for n in range(6)],
        ("describe", "all went well"),
        ("log", 5, 1005, ("total", 1.0)),
        ("finish", "FINISHED", "a prompt"),
    ]
    known = {"run_id": "r1", "tracking_uri": "http://store", "told": 5, "ended": "FINISHED"}
    assert kept(folder) == known
    assert is_told(folder)
    assert sync_hint(folder) == ""


@pytest.mark.parametrize("calls", range(10))
def test_what_an_outage_kept_from_the_store_is_told_later_and_each_step_once(
    calls: int, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
):
    """The store takes 0 to 9 of the ten calls, and nothing more before the run has ended."""
    monkeypatch.setattr(module, "LAST_SECONDS_DOWN", 1.0)
    store = Store(calls)
    reason = whole(folder, store)
    assert "down" in str(reason)
    assert "evoprompt sync" in sync_hint(folder)
    store.left = float("inf")
    later = Courier(store.tracker())
    later.open(folder, lambda: ABOUT, POINTS, once=True)
    assert later.finish("FINISHED", ENDING, 5.0) is None
    assert is_told(folder)
    steps = [what[1:3] for what in store.heard if what[0] == "log" and what[3][0] == "m"]
    assert steps == [(n, 1000 + n) for n in range(6)]
    begins = [what for what in store.heard if what[0] == "begin"]
    assert len(begins) == 1
    assert store.heard[-1] == ("finish", "FINISHED", "a prompt")


def test_a_store_that_comes_back_during_the_run_is_told_all(
    folder: RunFolder, caplog: pytest.LogCaptureFixture
):
    store = Store(3)
    courier = Courier(store.tracker())
    courier.open(folder, lambda: ABOUT)
    courier.ready()
    for point in POINTS:
        courier.log(point)
    deadline = time.monotonic() + 60
    while not caplog.records and time.monotonic() < deadline:
        time.sleep(0.01)
    store.left = float("inf")
    while len(store.heard) < 7 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert courier.finish("FINISHED", ENDING) is None
    assert store.tracker().steps() == [0, 1, 2, 3, 4, 5, 5]
    [warning] = caplog.records
    assert "the store is down" in warning.getMessage()


def test_a_beginning_whose_answer_was_lost_has_the_same_key_when_it_is_told_again(
    folder: RunFolder,
):
    class Loses(StoreTracker):
        def begin(self, name, parameters, tags, datasets):
            super().begin(name, parameters, tags, datasets)
            raise StoreDownError("the answer is lost")

    store = Store()
    first = Courier(Loses(store))
    first.open(folder, lambda: ABOUT, once=True)
    assert first.finish("KILLED") is not None
    second = Courier(store.tracker())
    second.open(folder, lambda: pytest.fail("what it began with is kept"), once=True)
    assert second.finish("FINISHED", ENDING) is None
    keys = [what[2] for what in store.heard if what[0] == "begin"]
    assert len(keys) > 1
    assert len(set(keys)) == 1


def test_a_silent_store_delays_neither_the_beginning_nor_the_steps_nor_the_end_for_long(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(module, "CONTACT_SECONDS", 0.2)
    monkeypatch.setattr(module, "LAST_SECONDS_DOWN", 0.2)
    free = Event()

    class Silent(StoreTracker):
        def begin(self, *told):
            free.wait()
            return super().begin(*told)

    courier = Courier(Silent(Store()))
    courier.open(folder, lambda: ABOUT)
    courier.ready()
    for point in POINTS:
        courier.log(point)
    reason = courier.finish("FINISHED", ENDING)
    assert "has not answered within" in str(reason)
    assert len(caplog.records) == 1
    before = kept(folder)
    free.set()
    courier._thread.join(60)
    assert kept(folder) == before  # a thread that is late writes nothing


def test_the_next_run_of_a_process_neither_waits_for_a_store_that_is_down_nor_says_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(module, "_DOWN", set())
    free = Event()

    class Placed(StoreTracker):
        patience = 0.3

        def settle(self, known):
            return {"tracking_uri": "http://store"}

        def begin(self, *told):
            if self.store.left <= 0:
                free.wait()  # silent
            return super().begin(*told)

    def seconds(store: Store, name: str) -> float:
        (tmp_path / name).mkdir()
        courier, begun = Courier(Placed(store)), time.monotonic()
        courier.open(RunFolder(tmp_path / name), lambda: ABOUT)
        courier.ready()
        first = time.monotonic() - begun
        courier.finish("FINISHED", ENDING)
        return first

    monkeypatch.setattr(module, "LAST_SECONDS_DOWN", 0.1)
    monkeypatch.setattr(module, "LAST_SECONDS_KNOWN", 0.1)
    assert seconds(Store(0), "a") >= 0.3
    Placed.patience = 60
    assert seconds(Store(0), "b") < 60
    assert len(caplog.records) == 1
    monkeypatch.setattr(module, "LAST_SECONDS_KNOWN", 60)
    seconds(Store(), "c")
    assert is_told(RunFolder(tmp_path / "c"))
    assert not module._DOWN  # it is back
    free.set()


def test_a_store_that_cannot_work_is_refused_before_a_run_and_warned_of_when_it_goes_on(
    folder: RunFolder, caplog: pytest.LogCaptureFixture
):
    class Guarded(StoreTracker):
        def begin(self, *told):
            raise UserError("the store lets nobody in; token=abc http://a:pa55word@h")

        resume = begin

    courier = Courier(Guarded(Store()))
    courier.open(folder, lambda: ABOUT)
    with pytest.raises(UserError, match=r"lets nobody in.*a:\*\*\*@h"):
        courier.ready()
    assert courier.finish("FAILED") is None  # it was said
    folder.write(TRACKING, {"run_id": "r1"})
    courier = Courier(Guarded(Store()))
    courier.open(folder, lambda: ABOUT)
    courier.ready()
    assert "lets nobody in" in caplog.text
    assert "pa55word" not in caplog.text
    assert "lets nobody in" in str(courier.finish("FINISHED", ENDING))


def test_what_cannot_be_told_is_reported_and_the_mark_stays_before_it(folder: RunFolder):
    class Picky(StoreTracker):
        def log(self, metrics, step, timestamp_ms):
            if step == 2:
                raise ValueError("no such metric")
            super().log(metrics, step, timestamp_ms)

    store = Store()
    courier = Courier(Picky(store))
    courier.open(folder, lambda: ABOUT)
    for point in POINTS:
        courier.log(point)
    assert "no such metric" in str(courier.finish("FINISHED", ENDING))
    assert store.tracker().steps() == [0, 1, 3, 4, 5, 5]
    assert kept(folder)["told"] == 1
    assert not is_told(folder)


def test_tracking_that_is_off_leaves_what_is_known_of_an_earlier_part(folder: RunFolder, caplog):
    caplog.set_level(logging.WARNING)
    for content in ({}, {"run_id": "r1", "told": 3}):
        if content:
            folder.write(TRACKING, content)
        courier = Courier(NullTracker())
        courier.open(folder, lambda: ABOUT)
        courier.ready()
        courier.log(POINTS[0])
        assert not courier._at.items  # a long run keeps none of its points
        assert courier.finish("FINISHED", ENDING) is None
        assert kept(folder) == content
    assert not caplog.records


def test_a_store_that_is_down_for_long_costs_no_memory_and_is_told_all_in_the_end(
    folder: RunFolder,
):
    """2,000 points come while nobody answers; at most `MOST_WAITING` of them wait in memory."""
    store, made = Store(0), []
    courier = Courier(store.tracker())

    def after(step: int):
        return (point for point in list(made) if point.step > step)

    courier.open(folder, lambda: ABOUT, module.Spool(-1, after))
    for step in range(2_000):
        made.append(Point({"m": 1.0}, step, step))
        courier.log(made[-1])
        assert len(courier._at.items) <= module.MOST_WAITING + 2
    store.left = float("inf")
    for step in range(2_000, 2_100):
        made.append(Point({"m": 1.0}, step, step))
        courier.log(made[-1])
    assert courier.finish("FINISHED", ENDING) is None
    steps = [what[1] for what in store.heard if what[0] == "log" and what[3][0] == "m"]
    assert steps == list(range(2_100))
