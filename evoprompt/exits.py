"""How a command ended -> its exit status, and what is said of it."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Callable

import typer

from evoprompt.errors import MachineError, UserError, clip, printable
from evoprompt.interrupt import was_interrupted
from evoprompt.masking import without_secrets
from evoprompt.streams import leave_closed_pipe, leave_full_output

#: What is wrong with the name of a file that a user gave: too long, or links that lead in circles.
NO_NAME = (errno.ENAMETOOLONG, errno.ELOOP)

#: Said where the machine fails.
KEPT = (
    "What was committed is kept; once that is mended, go on with a run, sweep or loop by "
    "evoprompt resume FOLDER"
)


class SafeFormatter(logging.Formatter):
    """Writes warnings without passwords and tokens, and without characters that act on a
    terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return printable(without_secrets(super().format(record)))


def log_safely() -> None:
    """From now on show warnings of this package and of others on the standard error, as
    `SafeFormatter` writes them, where nobody else has said where they go.
    """
    assert logging.lastResort is not None, "the standard library has one"
    logging.lastResort.setFormatter(SafeFormatter())


def exit_status(command: Callable[[], int | None]) -> int:
    """Run a command and return its exit status: 0 on success, 2 for a user's mistake, 1 for a
    failure, 130 after Ctrl-C. A failure of the machine is a sentence; one of the program itself is
    shown whole.
    """
    try:
        status = command() or 0
        sys.stdout.flush()
        return status
    except UserError as error:
        return _say(str(error), 2)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        leave_closed_pipe()
        return 1
    except MachineError as error:
        return _say(f"{error}. {KEPT}", 1)
    except (OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno in NO_NAME:
            return _say(f"no file can have this name ({_reason(error)}); give another one", 2)
        leave_full_output()
        return _say(f"{_of_machine(error)}. {KEPT}", 1)
    except Exception as error:  # noqa: BLE001 (the last frame: printed whole, exit 1)
        # C code may make another error of an interrupt that comes while it is called
        return 130 if was_interrupted() else _other(error)


def _of_machine(error: OSError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return "memory ran out"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"{'the disk is full' if full else 'the machine refuses'} ({_reason(error)})"


def _reason(error: OSError) -> str:
    place = f": {clip(str(error.filename))}" if error.filename else ""
    return f"{error.strerror or error}{place}"


def _other(error: Exception) -> int:
    """Print what ended the command and return its exit status; usage errors of the command line are
    the user's (2).
    """
    show = getattr(error, "show", None)
    if show is not None:  # click's own errors: an unknown option, a missing argument
        error.message = printable(getattr(error, "message", ""))  # type: ignore[attr-defined]
        show()
        return int(getattr(error, "exit_code", 2))
    if isinstance(error, typer.Abort):
        return 130
    import sqlite3
    import traceback

    if isinstance(error, sqlite3.Error):
        return _say(f"a database cannot be written or read ({error}). {KEPT}", 1)
    text = without_secrets("".join(traceback.format_exception(error)))
    typer.echo(printable(text), err=True, nl=False)
    return 1


def _say(sentence: str, status: int) -> int:
    typer.echo(f"evoprompt: {printable(without_secrets(sentence))}", err=True)
    return status
