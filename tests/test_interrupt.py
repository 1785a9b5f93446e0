"""An interrupt that C code swallows is said by nobody, and still known; all else is said."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Iterator

import pytest

from evoprompt import interrupt


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    hook = sys.unraisablehook
    interrupt.install_signal_handlers()
    yield
    interrupt._interrupted = False
    sys.unraisablehook = hook
    for number, handler in handlers.items():
        signal.signal(number, handler)


class Raises:
    """Something whose end raises, which Python can only print."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    def __del__(self) -> None:
        if self.error is None:
            signal.raise_signal(signal.SIGINT)
            return
        raise self.error


def test_a_swallowed_interrupt_is_no_traceback_and_not_lost(capsys: pytest.CaptureFixture[str]):
    thing = Raises(None)
    del thing
    gc.collect()
    assert capsys.readouterr().err == ""
    with pytest.raises(KeyboardInterrupt):
        interrupt.raise_if_interrupted()


def test_what_else_is_swallowed_is_said(capsys: pytest.CaptureFixture[str]):
    thing = Raises(ValueError("of its own"))
    del thing
    gc.collect()
    assert "ValueError: of its own" in capsys.readouterr().err
