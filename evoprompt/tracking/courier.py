"""What is told of a run, in order and exactly once, by a thread that nothing waits for.

The run's folder is the spool: `tracking.json` says who was told, and up to which step. What is
missing there is told when the store answers again, when the run is resumed, or by `evoprompt sync`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from threading import Condition, Thread
from typing import Any
from uuid import uuid4

from evoprompt.errors import UserError
from evoprompt.masking import without_secrets
from evoprompt.store.folder import TRACKING, RunFolder
from evoprompt.tracking.base import About, Ending, NullTracker, Point, StoreDownError, Tracker

logger = logging.getLogger(__name__)

#: Seconds from the opening until a run begins without its tracker having answered.
CONTACT_SECONDS = 15.0
#: Seconds that the end of a run waits for what is not told yet, at most.
LAST_SECONDS = 20.0
#: The same where nobody answered before.
LAST_SECONDS_DOWN = 5.0
#: The same where an earlier run of this process found nobody there.
LAST_SECONDS_KNOWN = 1.0
#: The same where somebody waits for just that; each call has its own limit.
SYNC_SECONDS = 3600.0
#: Seconds between two attempts: the first, and the longest.
PAUSES = (2.0, 30.0)
#: Stores that did not answer this process when they were last asked: the next run of a sweep
#: neither waits for them nor says so again.
_DOWN: set[str] = set()
#: Points that wait in memory, at most, where a spool has them too.
MOST_WAITING = 64
#: The tag that a run is found by where the answer to its beginning was lost.
KEY = "evoprompt.key"


@dataclass(frozen=True, slots=True)
class _Item:
    call: Callable[[], Mapping[str, Any] | None]  #: returns what is kept in `tracking.json`
    is_spool: bool = False  #: tells all points that the spool has, those that come meanwhile too


@dataclass(frozen=True, slots=True)
class Spool:
    """Points of a run that are read when they are told, since they may be more than fit memory."""

    last: int  #: step of the last that is committed; -1: there is none
    after: Callable[[int], Iterator[Point]]  #: a step -> what is committed after it, in order


@dataclass(slots=True)
class _Progress:
    """How far the thread is; guarded by the courier's condition."""

    items: deque[_Item] = field(default_factory=deque)
    is_open: bool = False
    refused: UserError | None = None  #: at the opening
    down: StoreDownError | None = None  #: why nobody answers now
    problem: UserError | None = None  #: the first thing that could not be told
    warned: bool = False
    closing: bool = False  #: nobody is waited for any more
    is_last: bool = False  #: nothing more is put
    is_over: bool = False


class Courier:
    """Tells a tracker of one run.

    Args:
        tracker: whom.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._folder: RunFolder | None = None
        self._known: dict[str, Any] = {}
        self._opened_at = 0.0
        self._resumes = False
        self._address: str | None = None
        self._was_down = False
        self._spool: Spool | None = None
        self._latest = self._told = -1  # steps: of the last point, and of the last that was told
        self._thread: Thread | None = None
        self._condition = Condition()
        self._at = _Progress()

    def open(
        self,
        folder: RunFolder | None,
        about: Callable[[], About],
        points: Sequence[Point] | Spool = (),
        *,
        once: bool = False,
    ) -> None:
        """Begin to tell of a run, or go on with it. Waits for nobody.

        Args:
            folder: has `tracking.json`; None keeps nothing.
            about: makes what the run begins with; not called where it began earlier.
            points: all that are committed; those that were told are passed over. With a spool,
                points that wait for long are read from there, and the memory stays as it is.
            once: whether the first call that nobody answers is the last.
        """
        known = (folder.read(TRACKING) if folder is not None else None) or {}
        if type(self._tracker) is NullTracker:
            if folder is not None and folder.read(TRACKING) is None:
                folder.write(TRACKING, {})
            return
        self._folder, self._known, self._resumes = folder, dict(known), "run_id" in known
        self._opened_at, self._at.closing = time.monotonic(), once
        settle = getattr(self._tracker, "settle", None)
        address = settle(known) if settle is not None else {}
        self._address = address.get("tracking_uri")
        self._was_down = self._address in _DOWN
        if known and "about" not in known:
            self._put(_Item(partial(self._go_on, known)))
        else:
            told = About.from_dict(known["about"]) if "about" in known else _with_key(about())
            self._keep({**known, **address, "about": asdict(told)})
            self._put(_Item(partial(self._begin, told)))
        self._told = known.get("told", -1)
        if isinstance(points, Spool):
            self._spool, self._latest = points, points.last
            if points.last > self._told:
                self._put(_Item(self._empty, is_spool=True))
            points = ()
        for point in points:
            if point.step > self._told:
                self.log(point)
        self._thread = Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def ready(self) -> None:
        """Wait for the first answer, for a while; without one the run goes on, and that is said.

        Raises:
            UserError: what the user gave cannot work, and the run has not begun.
        """
        if self._thread is None or self._was_down:
            return
        patience = getattr(self._tracker, "patience", CONTACT_SECONDS)
        with self._condition:
            answered = self._condition.wait_for(
                lambda: self._at.is_open or self._at.down or self._at.refused,
                max(0.0, self._opened_at + patience - time.monotonic()),
            )
            refused = self._at.refused
            if not answered:
                self._remember()
                self._warn(str(self._late(patience)))
        if refused is not None and not self._resumes:
            self._thread = None  # it is said, and there is no end to tell
            raise refused
        if refused is not None:
            self._warn(str(refused))

    def log(self, point: Point) -> None:
        """Tell metrics, later."""
        if type(self._tracker) is NullTracker:
            return  # nobody comes for them
        with self._condition:
            self._latest, items = point.step, self._at.items
            if self._spool is not None and items and items[-1].is_spool:
                return  # it is told with the others
        is_spool = self._spool is not None and len(items) >= MOST_WAITING
        self._put(_Item(self._empty if is_spool else partial(self._log, point), is_spool))

    def finish(
        self, status: str, ending: Ending | None = None, seconds: float | None = None
    ) -> Exception | None:
        """Tell the end; wait until all is told, but no longer than this many seconds (None: as long
        as the end of a run may). Return why not all was told, None where it was.
        """
        if self._thread is None:
            return None
        if ending is not None:
            self._put(_Item(partial(self._call, "describe", ending.description)))
            if ending.point is not None:
                self._put(_Item(partial(self._log, ending.point, is_last=True)))
            if ending.files:
                self._put(_Item(partial(self._call, "attach", ending.files)))
            for path, make in ending.pages.items():
                self._put(_Item(partial(self._made, "write", path, make)))
            for path, table in ending.tables.items():
                self._put(_Item(partial(self._made, "tabulate", path, table)))
            if ending.prompt is not None and hasattr(self._tracker, "register"):
                self._put(_Item(partial(self._call, "register", ending.prompt)))
        self._put(_Item(partial(self._end, status, ending)))
        with self._condition:
            at = self._at
            at.closing = at.is_last = True
            self._condition.notify_all()
            if seconds is None:
                seconds = LAST_SECONDS_DOWN if at.down or at.warned else LAST_SECONDS
                seconds = LAST_SECONDS_KNOWN if self._was_down and not at.is_open else seconds
            in_time = self._condition.wait_for(lambda: at.is_over, seconds)
            self._folder = None  # from here on nothing is written
        late = (
            None if in_time else StoreDownError(f"it has not answered within {seconds:.0f} seconds")
        )
        return at.refused or at.problem or at.down or late

    def location(self) -> str:
        """Return where people find the run."""
        return self._tracker.location()

    # what the thread does

    def _work(self) -> None:
        pause, tried_last = PAUSES[0], False
        while (item := self._next()) is not None:
            tried_last = tried_last or self._at.closing
            try:
                kept = item.call()
            except StoreDownError as error:
                self._is_down(str(error))
                if tried_last:
                    break
                with self._condition:
                    self._condition.wait_for(lambda: self._at.closing, pause)
                pause = min(2 * pause, PAUSES[1])
                continue
            except Exception as error:  # noqa: BLE001 (kept, and reported by `finish`)
                if self._failed(error):
                    break
                if item.is_spool:  # it cannot be read
                    self._told = self._latest
            else:
                self._done(kept)
                pause = PAUSES[0]
            with self._condition:
                if not item.is_spool or self._told >= self._latest:
                    self._at.items.popleft()
        with self._condition:
            self._at.is_over = True
            self._condition.notify_all()

    def _next(self) -> _Item | None:
        with self._condition:
            self._condition.wait_for(lambda: self._at.items or self._at.is_last)
            return self._at.items[0] if self._at.items else None

    def _is_down(self, reason: str) -> None:
        with self._condition:
            self._at.down = StoreDownError(without_secrets(reason))
            self._remember()
            self._warn(str(self._at.down))
            self._condition.notify_all()

    def _failed(self, error: Exception) -> bool:
        """Keep what could not be told; return whether nothing can be, since the opening failed."""
        reason = without_secrets(str(error) or type(error).__name__)
        with self._condition:
            opening = not self._at.is_open
            if opening:
                self._at.refused = UserError(reason)
            else:
                self._at.problem = self._at.problem or UserError(reason)
            self._condition.notify_all()
        return opening

    def _done(self, kept: Mapping[str, Any] | None) -> None:
        with self._condition:
            self._at.is_open, self._at.down = True, None
            _DOWN.discard(self._address or "")
            if kept is not None and self._at.problem is None:
                self._keep(kept)
            self._condition.notify_all()

    def _begin(self, about: About) -> dict[str, Any]:
        identity = self._tracker.begin(
            about.name, about.parameters, about.tags, list(about.datasets)
        )
        return {**identity, "told": -1}

    def _go_on(self, known: Mapping[str, Any]) -> dict[str, Any]:
        self._tracker.resume({k: v for k, v in known.items() if isinstance(v, str)})
        return {k: v for k, v in known.items() if k != "ended"}

    def _log(self, point: Point, *, is_last: bool = False) -> dict[str, Any] | None:
        self._tracker.log(point.metrics, point.step, point.timestamp_ms)
        if is_last:
            return None
        self._told = point.step
        return {**self._known, "told": point.step}

    def _empty(self) -> None:
        """Tell all that the spool has and that was not told."""
        assert self._spool is not None, "nothing is put so without a spool"
        latest = self._latest
        for point in self._spool.after(self._told):
            try:
                kept = self._log(point)
            except StoreDownError:
                raise
            except Exception as error:  # noqa: BLE001 (kept, and reported by `finish`)
                self._told = point.step
                self._failed(error)
            else:
                self._done(kept)
        self._told = max(self._told, latest)

    def _call(self, name: str, argument: Any) -> None:
        getattr(self._tracker, name)(argument)

    def _made(self, name: str, path: str, make: Callable[[], Any]) -> None:
        getattr(self._tracker, name)(path, make())

    def _end(self, status: str, ending: Ending | None) -> dict[str, Any]:
        folder = ending.folder if ending else None
        self._tracker.finish(status, folder, ending.champion if ending else None)
        return {**self._known, "ended": status}

    # what both do

    def _remember(self) -> None:
        if self._address is not None:
            _DOWN.add(self._address)

    def _late(self, seconds: float) -> StoreDownError:
        store = self._known.get("tracking_uri", "it")
        return StoreDownError(f"the store {store} has not answered within {seconds:.0f} seconds")

    def _put(self, item: _Item) -> None:
        with self._condition:
            if not self._at.is_over:
                self._at.items.append(item)
                self._condition.notify_all()

    def _keep(self, content: Mapping[str, Any]) -> None:
        self._known = dict(content)
        if self._folder is not None:
            self._folder.write(TRACKING, content)

    def _warn(self, reason: str) -> None:
        """Say once during a run that it is not told."""
        if self._at.warned or self._at.closing or self._was_down:
            return
        self._at.warned = True
        logger.warning(
            "MLflow is not told of this run for now: %s. The run goes on, and what is missing is "
            "told when the store answers again",
            reason,
        )


def is_told(folder: RunFolder) -> bool:
    """Return whether the tracker of a run knows that it is complete."""
    return (folder.read(TRACKING) or {}).get("ended") == "FINISHED"


def sync_hint(folder: RunFolder) -> str:
    """Return what is said of a complete run whose tracker does not know that it is; nothing of
    another.
    """
    if not folder.read(TRACKING) or is_told(folder):
        return ""
    return f". MLflow was not told everything; to tell the rest: evoprompt sync {folder.path}"


def warn_untold(folder: Path, reason: Exception | None) -> None:
    """Say at the end of a run why not all was told, and how it will be; nothing where it was."""
    if reason is not None:
        logger.warning(
            "MLflow was not told everything (%s). The run folder has it all; to tell the rest: "
            "evoprompt sync %s",
            reason,
            folder,
        )


def _with_key(about: About) -> About:
    return About(about.name, about.parameters, {**about.tags, KEY: uuid4().hex}, about.datasets)
