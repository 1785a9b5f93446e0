"""Do to runs what machines and people do to them, and look at what becomes of the result.

    python experiments/fault_campaign.py --number 200 --results FILE

A tiny run is carried out once without any fault. Then, for each seed, the same run meets one of
`FAULTS`: it is killed at random moments, resumed twice at once or while it goes on, its files are
cut, changed, exchanged, deleted, its inputs are other ones when it is resumed, its store of metrics
is dead or silent, its disk is full, its workers fail. What may become of it: the same record to the
byte, or a refusal in a sentence that loses nothing. Faults are: another record, a traceback, a
hang, something lost. Results are appended to FILE, and what is in it already is not done again;
exits with 1 where there is a fault.

Runs are forked from this process, which has imported everything, so one takes a second or two.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import psutil

import evoprompt.cli
import evoprompt.jobs.evolve.loop
import evoprompt.jobs.evolve.session
import evoprompt.report.plots
import evoprompt.scoring.lm

#: What has to be the same to the byte, and of the summary.
RECORD = ("lineage.jsonl", "measurements.jsonl")
RESULT = ("champion", "baseline", "fitness", "test", "policies_scored")
#: Seconds after which a command hangs; with a store that does not answer it may take a minute more.
PATIENCE, PATIENCE_WITH_STORE, PATIENCE_WITH_RAY = 60.0, 150.0, 300.0
#: Seconds that a run takes about; it is killed within these.
LIFE = 4.0

CONFIG = """
model: {{name: "{folder}/model", memo: false}}
task: {{path: "{folder}/data.jsonl", fitness_examples: 8, validation_examples: 8,
  test_examples: 20, starting_demonstrations: [0],
  label_words: {{bad: [poor, sad], good: [great, fine]}}}}
evolution: {{population: 4, children: 4, generations: 8, max_demonstrations: 3,
  racing: {{first: 2}}, examples: {{first: 4, grow: [0.5]}}}}
workers: {{backend: local}}
tracking: {{enabled: false}}
"""
WORDS = ("good", "great", "fine", "happy", "bad", "poor", "sad", "film", "meal", "was", "is", "so")


class WrongError(Exception):
    """What became of a run is a fault."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended."""

    status: int
    said: str


@dataclass(frozen=True, slots=True)
class Site:
    """A folder with a model, data and a configuration, and the record of a run without faults."""

    folder: Path
    record: Mapping[str, bytes]
    result: Mapping[str, object]

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.folder / "run"

    def resume(self, *options: str, patience: float = PATIENCE) -> Ended:
        """Go on with the run to its end."""
        return command(["resume", str(self.run), *options], self.folder, patience)

    def begin(self, *options: str, first: Callable[[], object] = bool) -> int:
        """Begin the run in a process of its own, which does something else first; return its id."""
        arguments = ["run", str(self.folder / "config.yaml"), "--out", str(self.run), *options]
        return fork(arguments, self.folder / "begun.log", first)

    def check_same(self) -> None:
        """Hold the record against that of the run without faults."""
        for name, content in self.record.items():
            if (self.run / name).read_bytes() != content:
                raise WrongError(f"another {name}")
        summary = json.loads((self.run / "summary.json").read_text())
        for name, value in self.result.items():
            if summary[name] != value:
                raise WrongError(f"another {name} in summary.json")


def fork(arguments: Sequence[str], log: Path, first: Callable[[], object] = bool) -> int:
    """Run a command in a process of its own that writes to a file, and does something else first;
    return the process's id.
    """
    child = os.fork()
    if child:
        return child
    try:
        with log.open("wb") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
        os.setsid()
        sys.argv = ["evoprompt", *arguments]
        first()
        evoprompt.cli.main()
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:  # noqa: BLE001  # raised on, it would have the child go on as its parent
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def wait(child: int, log: Path, patience: float = PATIENCE) -> Ended:
    """Return how a process ended; one that hangs is killed.

    Raises:
        WrongError: it hung, or showed a traceback.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            said = log.read_text(encoding="utf-8", errors="replace")
            if "Traceback (most recent call last)" in said:
                raise WrongError(f"traceback: {said.strip().splitlines()[-1][:200]}")
            return Ended(os.waitstatus_to_exitcode(status), said)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise WrongError(f"hangs for {patience:.0f} s")


def command(arguments: Sequence[str], folder: Path, patience: float = PATIENCE) -> Ended:
    log = folder / "said.log"
    return wait(fork(arguments, log), log, patience)


def kill(child: int) -> bool:
    """Kill a process; return whether it was still running."""
    done, _ = os.waitpid(child, os.WNOHANG)
    if done:
        return False
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def refused(ended: Ended, *words: str) -> None:
    """Hold a command to having refused in a sentence with these words.

    Raises:
        WrongError: it did otherwise.
    """
    sentences = [line for line in ended.said.splitlines() if line.startswith("evoprompt: ")]
    if ended.status not in (1, 2) or not sentences:
        raise WrongError(f"ended with {ended.status} and said {ended.said.strip()[-200:]!r}")
    missing = [word for word in words if word not in sentences[-1]]
    if missing:
        raise WrongError(f"{missing[0]!r} is not in {sentences[-1]!r}")


def kept_of(folder: Path) -> set[bytes]:
    """Return the content of each file of a run; locks and scratch files may go."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.read_bytes() for file in files if not file.name.startswith(".")}


def same_or_refused(site: Site, before: set[bytes], ended: Ended) -> str:
    """Hold the end of a resumed run to the same record, or to a refusal that lost nothing."""
    if ended.status == 0:
        site.check_same()
        return "same"
    refused(ended)
    if before - kept_of(site.run):
        raise WrongError("refused, and what was there is lost")
    return "refused"


def half(site: Site, rng: random.Random) -> bool:
    """Begin the run and kill it at a random moment; return whether it left a generation."""
    child = site.begin()
    wanted = rng.randrange(1, 8)
    deadline = time.monotonic() + PATIENCE
    lines = site.run / "generations.jsonl"
    while time.monotonic() < deadline and os.waitpid(child, os.WNOHANG) == (0, 0):
        if lines.exists() and lines.read_bytes().count(b"\n") >= wanted:
            time.sleep(rng.random() * 0.1)
            return kill(child)
        time.sleep(0.005)
    return False


def killed(site: Site, rng: random.Random, *options: str) -> str:
    child = site.begin(*options)
    for _ in range(rng.randrange(1, 4)):
        time.sleep(rng.random() * LIFE)
        kill(child)
        child = fork(["resume", str(site.run)], site.folder / "begun.log")
    return brought_to_its_end(site, wait(child, site.folder / "begun.log"), *options)


def brought_to_its_end(site: Site, ended: Ended, *options: str) -> str:
    """Hold a run that was gone on with to the same record; one that had not begun is begun."""
    if ended.status == 2 and "is complete" in ended.said:
        site.check_same()  # ended between the summary and its end
        return "same"
    if ended.status == 2 and not (site.run / "lineage.jsonl").exists():
        shutil.rmtree(site.run, ignore_errors=True)  # ended before there was a run
        ended = wait(site.begin(*options), site.folder / "begun.log")
    if ended.status:
        refused(ended, "never refused")
    site.check_same()
    return "same"


def asked_to_end(site: Site, rng: random.Random) -> str:
    """Ctrl-C, or a polite signal, at a random moment."""
    child = site.begin()
    time.sleep(rng.random() * LIFE)
    done, _ = os.waitpid(child, os.WNOHANG)
    if not done:
        os.kill(child, rng.choice((signal.SIGINT, signal.SIGTERM)))
        ended = wait(child, site.folder / "begun.log")
        if ended.status not in (0, 130, -signal.SIGTERM):  # the last: before it could listen
            raise WrongError(f"ended with {ended.status} and said {ended.said.strip()[-200:]!r}")
    return brought_to_its_end(site, site.resume())


def stopped(site: Site, rng: random.Random) -> str:
    """Stopped for a while, in which somebody resumes it."""
    child = site.begin()
    time.sleep(rng.random() * LIFE)
    done, _ = os.waitpid(child, os.WNOHANG)
    if not done:
        os.kill(child, signal.SIGSTOP)
        refused(site.resume())
        os.kill(child, signal.SIGCONT)
        ended = wait(child, site.folder / "begun.log")
        if ended.status:
            refused(ended, "never refused")
    site.check_same()
    return "same"


def disk_full(site: Site, rng: random.Random) -> str:
    """No file can be longer than a limit: what goes beyond is refused in the middle of a write, as
    where a disk is full; then there is room again.
    """
    most = int(10 ** rng.uniform(3.3, 5.3))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    ended = wait(site.begin(first=limit), site.folder / "begun.log")
    if ended.status:
        refused(ended)
    return brought_to_its_end(site, site.resume())


def without_a_page() -> None:
    evoprompt.jobs.evolve.loop.write_page = lambda *_: None  # type: ignore[assignment]


def fleet_fails(site: Site, rng: random.Random) -> str:
    """Simulated workers die, hang, are stopped, cut off and join."""
    with environment(FAULTY_FLEET_SEED=str(rng.randrange(2**31))):
        child = site.begin("--set", FAULTY, first=without_a_page)
        ended = wait(child, site.folder / "begun.log")
    if ended.status:
        refused(ended, "never refused")
    site.check_same()
    return "same"


def fleet_and_driver_fail(site: Site, rng: random.Random) -> str:
    """The same, and the process that has the workers is killed and gone on with."""
    with environment(FAULTY_FLEET_SEED=str(rng.randrange(2**31))):
        return killed(site, rng, "--set", FAULTY)


def ray_worker_fails(number: signal.Signals) -> Callable[..., str]:
    """Return a fault that sends a worker on Ray a signal."""

    def fault(site: Site, rng: random.Random) -> str:
        child = site.begin("--set", SLOW, "--set", "workers.count=2")
        wanted, lines = rng.randrange(1, 6), site.run / "generations.jsonl"
        deadline = time.monotonic() + PATIENCE_WITH_RAY
        while not (lines.exists() and lines.read_bytes().count(b"\n") >= wanted):
            if time.monotonic() > deadline or os.waitpid(child, os.WNOHANG) != (0, 0):
                raise WrongError("the run ended before its worker was hit")
            time.sleep(0.01)
        time.sleep(rng.random() * 0.3)
        below = psutil.Process(child).children(recursive=True)
        workers = [p for p in below if "SlowWorker" in " ".join(p.cmdline())]
        os.kill(rng.choice(workers).pid, number)
        ended = wait(child, site.folder / "begun.log", PATIENCE_WITH_RAY)
        if ended.status:
            refused(ended, "never refused")
        site.check_same()
        return "same"

    return fault


def ray_driver_killed(site: Site, rng: random.Random) -> str:
    child = site.begin("--set", SLOW, "--set", "workers.count=2")
    time.sleep(5 + rng.random() * 20)
    kill(child)
    return brought_to_its_end(site, site.resume(patience=PATIENCE_WITH_RAY))


def resumed_twice(site: Site, rng: random.Random) -> str:
    half(site, rng)
    logs = [site.folder / f"{n}.log" for n in range(2)]
    children = [fork(["resume", str(site.run)], log) for log in logs]
    first, second = (wait(child, log) for child, log in zip(children, logs, strict=True))
    for one, other in ((first, second), (second, first)):
        if one.status == 0:
            refused(other, str(site.run))
            site.check_same()
            return "same"
    raise WrongError(f"neither resumed: {first.said[-200:]!r}, {second.said[-200:]!r}")


def resumed_alive(site: Site, rng: random.Random) -> str:
    child = site.begin()
    deadline = time.monotonic() + PATIENCE
    while not (site.run / "generations.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(rng.random())
    other = site.resume()
    ended = wait(child, site.folder / "begun.log")
    if ended.status:
        raise WrongError(f"the run was ended: {ended.said.strip()[-200:]!r}")
    refused(other, str(site.run))
    site.check_same()
    return "same"


def begun_twice(site: Site, rng: random.Random) -> str:
    arguments = ["run", str(site.folder / "config.yaml"), "--out", str(site.run)]
    logs = [site.folder / f"{n}.log" for n in range(2)]
    first = fork(arguments, logs[0])
    time.sleep(rng.random() * rng.choice((0.0, 0.2, 2.0)))
    second = fork(arguments, logs[1])
    ends = [wait(first, logs[0]), wait(second, logs[1])]
    if sorted(end.status for end in ends) != [0, 2]:
        raise WrongError(f"ended with {[end.status for end in ends]}")
    refused(next(end for end in ends if end.status), str(site.run))  # in use, or being written
    site.check_same()
    return "same"


def damaged(change: Callable[[random.Random, bytes], bytes | None]) -> Callable[..., str]:
    """Return a fault that changes one file of a run that was killed."""

    def fault(site: Site, rng: random.Random) -> str:
        half(site, rng)
        files = sorted(f for f in site.run.rglob("*") if f.is_file() and f.stat().st_size)
        file = rng.choice(files)
        content = change(rng, file.read_bytes())
        file.unlink() if content is None else file.write_bytes(content)
        before = kept_of(site.run)
        try:
            return f"{file.name}: {same_or_refused(site, before, site.resume())}"
        except WrongError as error:
            raise WrongError(f"{file.name}: {error}") from None

    return fault


def cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def flip(rng: random.Random, content: bytes) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def other_digit(rng: random.Random, content: bytes) -> bytes:
    places = [i for i, byte in enumerate(content) if chr(byte).isdigit()]
    if not places:
        return flip(rng, content)
    place = rng.choice(places)
    digit = rng.choice([d for d in b"0123456789" if d != content[place]])
    return content[:place] + bytes([digit]) + content[place + 1 :]


def exchange(rng: random.Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        return content + content
    a, b = rng.sample(range(len(lines)), 2)
    lines[a], lines[b] = lines[b], lines[a]
    return b"".join(lines)


def drop_line(rng: random.Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def null(rng: random.Random, content: bytes) -> bytes:
    return rng.choice((b"null\n", b"{}\n", b"[]\n", b"", b"\0" * len(content)))


def gone(rng: random.Random, content: bytes) -> None:
    return None


def other_input(site: Site, rng: random.Random) -> str:
    """Change what the run was begun with: data, weights, configuration."""
    half(site, rng)
    before = kept_of(site.run)
    what = rng.choice(("data", "weights", "config"))
    if what == "data":
        file = site.folder / "data.jsonl"
        file.write_text(file.read_text().replace("film", "house"))
    elif what == "weights":
        file = site.folder / "model" / "model.safetensors"
        content = bytearray(file.read_bytes())
        content[-rng.randrange(1, 1000)] ^= 1
        file.write_bytes(content)
    else:
        file = site.run / "config.yaml"
        file.write_text(file.read_text().replace("max_demonstrations: 3", "max_demonstrations: 2"))
        before = kept_of(site.run)
    ended = site.resume()
    if ended.status == 0:
        raise WrongError(f"other {what}, and nothing was said")
    refused(ended)
    if before - kept_of(site.run):
        raise WrongError("refused, and what was there is lost")
    return f"{what}: refused"


def dead_store(site: Site, rng: random.Random) -> str:
    del rng
    with environment(MLFLOW_TRACKING_URI="http://127.0.0.1:9"):
        child = site.begin("--set", "tracking.enabled=true")
        ended = wait(child, site.folder / "begun.log", PATIENCE_WITH_STORE)
    if ended.status:
        refused(ended, "never refused")
    site.check_same()
    return "same"


def silent_store(site: Site, rng: random.Random) -> str:
    del rng
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with environment(MLFLOW_TRACKING_URI=address):
            child = site.begin("--set", "tracking.enabled=true")
            ended = wait(child, site.folder / "begun.log", PATIENCE_WITH_STORE)
    if ended.status:
        refused(ended, "never refused")
    site.check_same()
    return "same"


#: Simulated workers that fail, and workers on Ray that take their time.
FAULTY = "workers.backend=toys.faulty_fleet:FaultyBackend"
SLOW = "workers.backend=toys.slow_fleet:SlowBackend"
#: Each with how often it is drawn.
Faults = Mapping[str, tuple[Callable[..., str], int]]
FAULTS: Faults = {
    "killed": (killed, 8),
    "resumed twice at once": (resumed_twice, 3),
    "resumed while it goes on": (resumed_alive, 2),
    "begun twice at once": (begun_twice, 2),
    "a file cut": (damaged(cut), 4),
    "a bit of a file flipped": (damaged(flip), 4),
    "a digit of a file changed": (damaged(other_digit), 4),
    "two lines of a file exchanged": (damaged(exchange), 3),
    "a line of a file dropped": (damaged(drop_line), 2),
    "a file emptied": (damaged(null), 2),
    "a file gone": (damaged(gone), 3),
    "another input": (other_input, 5),
    "a dead store": (dead_store, 1),
    "a silent store": (silent_store, 1),
    "asked to end": (asked_to_end, 3),
    "stopped for a while": (stopped, 2),
    "a full disk": (disk_full, 4),
    "simulated workers fail": (fleet_fails, 8),
    "simulated workers fail, the driver is killed": (fleet_and_driver_fail, 4),
}
#: Those on Ray, which take half a minute: drawn with `--ray` alone.
RAY_FAULTS: Faults = {
    "a worker on Ray is killed": (ray_worker_fails(signal.SIGKILL), 3),
    "a worker on Ray is stopped": (ray_worker_fails(signal.SIGSTOP), 2),
    "the driver of workers on Ray is killed": (ray_driver_killed, 2),
}


@contextmanager
def environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def prepare(folder: Path, options: Sequence[str] = ()) -> Site:
    """Make a model, data and a configuration, and carry out the run without faults."""
    from toys.tiny_models import save_model

    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder / "model")
    rng = random.Random(7)
    rows = [
        {
            "input": " ".join(rng.choices(WORDS, k=4)) + f" {n}",
            "target": ("bad", "good")[n % 2],
            "choices": ["bad", "good"],
            "id": f"e{n}",
        }
        for n in range(120)
    ]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "config.yaml").write_text(CONFIG.format(folder=folder))
    site = Site(folder, {}, {})
    ended = wait(site.begin(*options), folder / "begun.log")
    if ended.status:
        raise SystemExit(f"the run without faults ended with {ended.status}: {ended.said}")
    summary = json.loads((site.run / "summary.json").read_text())
    record = {name: (site.run / name).read_bytes() for name in RECORD}
    shutil.rmtree(site.run)
    return Site(folder, record, {name: summary[name] for name in RESULT})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fault."""

    seed: int
    fault: str
    end: str
    is_right: bool
    seconds: float


def meet(site: Site, seed: int, scratch: Path, faults: Faults | None = None) -> Outcome:
    """Let the run of a site meet the fault of a seed; what went wrong is kept."""
    faults = FAULTS if faults is None else faults
    rng = random.Random(seed)
    names = list(faults)
    [name] = rng.choices(names, [faults[n][1] for n in names])
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(site.folder, scratch)
    own = Site(scratch, site.record, site.result)
    config = scratch / "config.yaml"
    config.write_text(config.read_text().replace(str(site.folder), str(scratch)))
    begun = time.monotonic()
    try:
        end, is_right = faults[name][0](own, rng), True
    except WrongError as error:
        end, is_right = str(error), False
    seconds = round(time.monotonic() - begun, 2)
    if is_right:
        shutil.rmtree(scratch, ignore_errors=True)
    return Outcome(seed, name, end, is_right, seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Meet the faults of as many seeds as are wanted; return 1 where something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path("faults.jsonl"))
    parser.add_argument("--ray", action="store_true", help="only faults of workers on Ray")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin none after")
    options = parser.parse_args(arguments)
    # workers on Ray are processes of their own, and need tests/ too
    places = str(Path(__file__).parent.parent / "tests"), os.getenv("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    begun = time.monotonic()
    done = []
    if options.results.exists():
        done = [Outcome(**json.loads(x)) for x in options.results.read_text().splitlines()]
    seeds = range(options.first_seed, options.first_seed + options.number)
    left = [seed for seed in seeds if seed not in {outcome.seed for outcome in done}]
    scratch = Path(tempfile.mkdtemp(prefix="faults-"))
    site = prepare(scratch / "site") if left else None
    for seed in left:
        assert site is not None
        if time.monotonic() - begun > options.seconds:
            break
        faults = RAY_FAULTS if options.ray else FAULTS
        outcome = meet(site, seed, scratch / f"seed-{seed}", faults)
        done.append(outcome)
        with options.results.open("a") as stream:
            stream.write(json.dumps(asdict(outcome)) + "\n")
        print(
            f"{seed:>4}  {outcome.fault:<30} {outcome.end}  ({outcome.seconds:.1f} s)", flush=True
        )
        if not outcome.is_right:
            print(f"      FAULT, kept in {scratch / f'seed-{seed}'}", flush=True)
    ends = Counter((o.fault, "right" if o.is_right else "WRONG") for o in done)
    for (fault, end), number in sorted(ends.items()):
        print(f"{fault:<32} {end:<6} {number}")
    return int(not all(outcome.is_right for outcome in done))


if __name__ == "__main__":
    sys.exit(main())
