"""Damage files that users give, run the commands on them, and look at what becomes of that.

    python experiments/fuzz_inputs.py --kind config,lineage --number 1000 --seed 0 --programs 5

Of each kind in `KINDS`, so many folders with damaged files meet the command line in this process,
and some of them as programs of their own. The model is one that answers at once; a search or loop
is interrupted, as by Ctrl-C, a moment after it was opened. A command may do its work or refuse it
with a sentence. Faults are: an exit status other than 0, 2 and 130, a traceback, a refusal without
a sentence or with a long one, a character that acts on the terminal, a file written outside the
folder, more than `LIMIT` seconds of CPU. Each is printed with its number and its folder is kept;
exits with 1 where there is one. A new kind is a line in `KINDS`.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from signal import ITIMER_PROF, SIGPROF, setitimer, signal
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]
os.environ |= {"HF_HUB_OFFLINE": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}

from fuzz_changes import damaged  # noqa: E402
from fuzz_kinds import KINDS, Files, Kind  # noqa: E402
from toys.instant import InstantBackend, InstantExecutor  # noqa: E402

from evoprompt import interrupt  # noqa: E402
from evoprompt.backends import local  # noqa: E402
from evoprompt.backends.open import BACKENDS  # noqa: E402
from evoprompt.errors import MESSAGE, printable  # noqa: E402
from evoprompt.scoring.models import EMBEDDED  # noqa: E402
from evoprompt.tracking.base import NullTracker  # noqa: E402
from evoprompt.tracking.open import TRACKERS  # noqa: E402

#: Seconds of CPU that a command may take, and that one goes on once its model is open.
LIMIT, GOES_ON = 5.0, 0.4
#: Of what is not damaged, one of which at least is not refused.
TRIES = 6


class TooLongError(BaseException):
    """A command takes too long; nothing catches it."""


class Clock:
    """Interrupts a command whose model is open, and ends one that takes too long."""

    def __init__(self) -> None:
        self.begun, self.opened, self.goes_on = 0.0, None, GOES_ON
        self.is_interrupted = False

    @contextmanager
    def running(self, goes_on: float) -> Iterator[None]:
        """Watch what is done meanwhile; `goes_on` is in seconds of CPU."""
        self.begun, self.opened, self.goes_on = time.process_time(), None, goes_on
        self.is_interrupted = interrupt._interrupted = False
        signal(SIGPROF, self._tick)
        sys.unraisablehook = interrupt._unraisable
        setitimer(ITIMER_PROF, 0.1, 0.1)
        try:
            yield
        finally:
            setitimer(ITIMER_PROF, 0)
            sys.unraisablehook = sys.__unraisablehook__
            interrupt._interrupted = False

    @property
    def seconds(self) -> float:
        """Of CPU since the command began."""
        return time.process_time() - self.begun

    def _tick(self, number: int, frame: Any) -> None:
        if self.seconds > LIMIT:
            raise TooLongError
        now = time.process_time()
        is_due = self.opened is not None and now - self.opened > self.goes_on
        if is_due and not self.is_interrupted:
            self.is_interrupted = True
            interrupt._interrupt(number, frame)


CLOCK = Clock()


class Backend(InstantBackend):
    """Answers at once for an embedded model; any other has to exist."""

    def identify(self, model: Any) -> Any:
        """Return what answers."""
        embedded = model.name in EMBEDDED
        return super().identify(model) if embedded else local.folder_identity(model)

    def open(self, model: Any, workers: Any) -> InstantExecutor:
        """Return what answers, and let the clock know of it."""
        CLOCK.opened = time.process_time()
        return super().open(model, workers)


@contextmanager
def without_model() -> Iterator[None]:
    """Meanwhile a model answers at once, whichever backend is asked, and MLflow is told nothing."""
    tables: tuple[Any, Any] = (BACKENDS, TRACKERS)
    own = [dict(table) for table in tables]
    BACKENDS.update(dict.fromkeys(BACKENDS, Backend))  # type: ignore[attr-defined]
    TRACKERS.update(mlflow=lambda *_: NullTracker())  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for table, entries in zip(tables, own, strict=True):
            table.update(entries)


class Writes:
    """What this process opens for writing outside a folder, while it is watched."""

    def __init__(self) -> None:
        self.inside: Path | None = None
        self.found: list[str] = []
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.inside is None:
            return
        match event, arguments:
            case "open", (str() | bytes() as path, _, int() as flags):
                if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                    return
            case (
                ("os.mkdir" | "os.rename" | "os.remove" | "os.rmdir" | "os.truncate"),
                (path, *_),
            ):
                if isinstance(path, int):
                    return
            case _:
                return
        name = os.path.abspath(os.fsdecode(path))
        allowed = (self.inside, os.environ["HOME"])
        if name != os.devnull and not any(map(Path(name).is_relative_to, allowed)):
            self.found.append(f"{event} {name}")


WRITES = Writes()


@dataclass(frozen=True, slots=True)
class End:
    """How a command ended."""

    status: int
    said: str  #: on the terminal
    seconds: float = 0.0  #: of CPU


def in_this_process(arguments: Sequence[str], stdin: bytes, goes_on: float) -> End:
    """Run a command of the command line as `cli.main` does."""
    from evoprompt.cli import app
    from evoprompt.exits import exit_status
    from evoprompt.streams import take_any_text

    said = BytesIO()
    out, before = TextIOWrapper(said, "utf-8", write_through=True), sys.stdin
    sys.stdin = TextIOWrapper(BytesIO(stdin), "utf-8")
    try:
        with redirect_stdout(out), redirect_stderr(out), CLOCK.running(goes_on):
            take_any_text()
            status = exit_status(lambda: app(list(arguments), standalone_mode=False))
    except BaseException:  # noqa: BLE001 - also what nothing may catch
        return End(-1, f"{_text(said)}\n{traceback.format_exc(limit=-12)}", CLOCK.seconds)
    finally:
        sys.stdin = before
    return End(status, _text(said), CLOCK.seconds)


def as_program(arguments: Sequence[str], stdin: bytes, goes_on: float) -> End:
    """Run a command as a program of its own."""
    begin = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import fuzz_inputs as f\n"
        f"from evoprompt.cli import main\n"
        f"with f.without_model(), f.CLOCK.running({goes_on}): main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", begin, *arguments],
        input=stdin,
        capture_output=True,
        timeout=300,
        check=False,
    )
    return End(done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace"))


def _text(said: BytesIO) -> str:
    return said.getvalue().decode("utf-8")


def fault_of(end: End) -> str | None:
    """Return what is wrong with how a command ended."""
    if end.status not in (0, 2, 130) or "Traceback" in end.said:
        return f"exit {end.status}: {end.said[-2500:]}"
    if end.status == 2 and not end.said.strip():
        return "an empty sentence"
    if end.status == 2 and len(end.said) > 2 * MESSAGE:
        return f"a sentence of {len(end.said)} characters"
    if printable(end.said) != end.said:
        return f"characters that act on the terminal: {end.said[-500:]!r}"
    return f"{end.seconds:.1f} s" if end.seconds > LIMIT else None


def try_one(
    kind: Kind, rng: random.Random, files: Files, folder: Path, run: Callable[..., End]
) -> tuple[list[str], str | None]:
    """Write files into a folder and run the kind's commands on them; return how they ended, and
    what is wrong with that.
    """
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    ends = []
    goes_on = GOES_ON if rng.random() < 0.9 else 2.0
    WRITES.inside, WRITES.found = folder, []
    try:
        with chdir(folder):
            for arguments in kind.commands(rng):
                end = run(arguments, files.get("stdin.txt", b""), goes_on)
                ends.append(f"exit {end.status}")
                if fault := fault_of(end):
                    return ends, f"{' '.join(arguments)!r:.300}: {fault}"
    finally:
        WRITES.inside = None
    return ends, f"outside: {WRITES.found[0]}" if WRITES.found else None


def with_damage(kind: Kind, rng: random.Random, files: Files) -> dict[str, bytes]:
    """Return files with one or two of those damaged that the kind names."""
    files = dict(kind.variant(rng, files))
    names = [name for name in files if name.startswith(kind.damages)]
    for name in rng.sample(names, min(len(names), rng.choice((1, 1, 1, 2)))):
        files[name] = damaged(rng, files[name], name.rpartition(".")[2])
    return dict(kind.seal(rng, files))


def fuzz(
    kind: Kind, numbers: Sequence[int], folder: Path, seed: int = 0, *, programs: bool = False
) -> Counter[str]:
    """Try a folder with damage for each number; print what is wrong, and return how often which
    command ended how.
    """
    counts: Counter[str] = Counter()
    valid = kind.files()
    for number in numbers:
        rng = random.Random(f"{kind.name} {seed} {number}")
        place = folder / f"{kind.name}-{seed}-{number}"
        place.mkdir()
        run = as_program if programs else in_this_process
        ends, fault = try_one(kind, rng, with_damage(kind, rng, valid), place, run)
        counts.update(ends)
        if fault is None:
            shutil.rmtree(place)
        else:
            counts["fault"] += 1
            print(f"{place}: {fault}\n", flush=True)
    return counts


def check_valid(kind: Kind, folder: Path) -> str | None:
    """Return what is wrong with the commands on files that are not damaged; None where they do
    their work. Also warms up what is imported at first use.
    """
    rng, told = random.Random(0), []
    for number in range(TRIES):
        place = folder / f"{kind.name}-valid-{number}"
        place.mkdir()
        files = kind.seal(rng, dict(kind.variant(rng, kind.files())))
        ends, fault = try_one(kind, rng, files, place, in_this_process)
        shutil.rmtree(place)
        if not fault and "exit 2" not in ends:
            return None
        told.append(fault or " ".join(ends))
    return "; ".join(told)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    names = [kind.name for kind in KINDS]
    parser.add_argument("--kind", default=",".join(names), help=f"of {', '.join(names)}")
    parser.add_argument("--number", type=int, default=1000, help="of folders of each kind")
    parser.add_argument("--first", type=int, default=0, help="number")
    parser.add_argument("--programs", type=int, default=0, help="of folders met by programs")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="evoprompt-fuzz-")).resolve()
    places = {name: str(folder / "home") for name in ("HOME", "TMPDIR", "MPLCONFIGDIR")}
    os.environ |= places | {"EVOPROMPT_MEMO": str(folder / "home" / "memo")}
    (folder / "home").mkdir()
    faults = 0
    with without_model():
        for kind in (kind for kind in KINDS if kind.name in given.kind.split(",")):
            if (wrong := check_valid(kind, folder)) is not None:
                print(f"{kind.name}: {wrong}")
                return 1
            for number, programs in ((given.number, False), (given.programs, True)):
                numbers = range(given.first, given.first + number)
                begun = time.process_time()
                ends = fuzz(kind, numbers, folder, given.seed, programs=programs)
                faults += ends["fault"]
                told = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
                how = "programs" if programs else f"{time.process_time() - begun:.0f} s of CPU"
                print(f"{kind.name}: {told} ({how})" if number else "", flush=True)
    print(f"{faults} faults{f'; their folders are in {folder}' if faults else ''}")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
