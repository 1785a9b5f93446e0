"""Texts of users are shown as they are, in any terminal; a reader who goes makes no noise."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.progress import Progress, TextColumn
from rich.text import Text

from evoprompt.report.table import new_table, to_rich
from evoprompt.terminal import PlainConsole

HOSTILE = (
    *("[bold]", "[/]", "[/x]y", ":smile:", "\\[a]", "[link=x]", "a[0]"),
    *("\x1b]0;t\x07", "\r\x9b1m"),
)


def shown(*things: object, **settings: object) -> str:
    stream = io.StringIO()
    PlainConsole(file=stream, width=60, **settings).print(*things)
    return stream.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_of_a_user_is_shown_as_it_is(text: str):
    expected = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    for thing in (text, to_rich(new_table(("head",), [[text]], title=text))):
        assert expected in shown(thing)
    bar = Progress(TextColumn("{task.description}", markup=False))
    bar.add_task(text)
    found = shown(Text(text), bar.get_renderable())
    assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in found)


def test_colours_stay_and_a_link_cannot_end_itself():
    table = to_rich(new_table(("head",), [["a\x1b[0m"]]))
    found = shown(table, Text("x", style="red"), force_terminal=True, color_system="standard")
    assert "\x1b[31mx" in found
    assert "a\\x1b[0m" in found


def run(code: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, env=environment
    )


#: A command line with one command, which does what a test wants.
COMMAND = """
import sys
from evoprompt import cli
cli.app = lambda standalone_mode: {body}
cli.main()
"""


def command(body: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return run(COMMAND.format(body=body), **environment)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_any_encoding_takes_any_text(encoding: str):
    body = (
        "(__import__('evoprompt.terminal').terminal.new_console().print('Gr\\u00f6\\u00dfe "
        "\\u706f \\ud800'), sys.stderr.write('\\u706f'), 0)[-1]"
    )
    done = command(body, PYTHONIOENCODING=encoding, LC_ALL="C")
    assert done.returncode == 0, done.stderr
    lamp = "灯" if encoding == "utf-8" else "\\u706f"
    size = "Gr\\xf6\\xdfe" if encoding == "ascii" else "Größe"
    assert done.stdout.decode(encoding).strip() == f"{size} {lamp} \\ud800"
    assert done.stderr.decode(encoding) == lamp


@pytest.mark.parametrize(
    ("error", "sentence", "status"),
    [
        ("OSError(28, 'No space left on device', '/x/\\x1b')", "the disk is full", 1),
        ("OSError(30, 'Read-only file system', '/x')", "Read-only file system: /x", 1),
        ("PermissionError(13, 'Permission denied', '/x')", "Permission denied: /x", 1),
        ("MemoryError()", "memory ran out", 1),
        ("__import__('sqlite3').OperationalError('disk I/O error')", "disk I/O error", 1),
        ("__import__('evoprompt.errors').errors.UserError('a\\x1b[1mb')", "a\\x1b[1mb", 2),
    ],
)
def test_a_failure_of_the_machine_is_one_sentence(error: str, sentence: str, status: int):
    done = command(f"(_ for _ in ()).throw({error})")
    text = done.stderr.decode()
    assert (done.returncode, text.count("\n")) == (status, 1), text
    assert sentence in text
    assert "\x1b" not in text


def test_an_error_of_the_program_itself_is_shown_whole():
    """Power twin: were every error a sentence, a fault of the package could not be found."""
    done = command("1 / 0")
    assert done.returncode == 1
    assert b"Traceback" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_under_the_output_is_a_sentence(unbuffered: str):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "evoprompt.cli", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done.stderr
    assert b"the disk is full" in done.stderr


@pytest.mark.parametrize("printer", ["print('x' * 99, flush=True)", "c.print('x' * 99)"])
def test_a_reader_who_goes_makes_no_noise(printer: str):
    console = "c := __import__('evoprompt.terminal').terminal.new_console()"
    body = f"len([{console}, [{printer} for _ in range(10**5)]])"
    code = COMMAND.format(body=body)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 1)
    process.stderr.close()
