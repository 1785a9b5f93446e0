"""Lose, add and cut off machines of a Ray cluster while a run goes on, and compare what it writes.

    unshare --net python experiments/clusters.py --results FILE

Each node is a `ray start` with a network and a host name of its own, on this machine; needs root
and Linux. A tiny run with slow workers is carried out in this process alone, then on the cluster
for each of `EVENTS`, which happens in mid-generation. Every lineage and every score has to be the
same to the byte. Results are appended to FILE; exits with 1 where something differs.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

TESTS = Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS))

import fault_campaign  # noqa: E402
from toys.ray_nodes import RayNodes  # noqa: E402

#: Seconds after which a run hangs: Ray may take 50 to give up a machine, and we 120 for a call.
PATIENCE = 400.0
#: After so many generations something happens.
AFTER = 2
#: Ray's own settings: it looks every second whether a node is there, and gives it up after 12.
QUICK = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 3000,
    "health_check_failure_threshold": 4,
}
KEYS = (
    *("model.chunk_tokens=64", "evolution.population=6", "evolution.children=12"),
    *("evolution.generations=8", "evolution.racing.method=off", "evolution.examples.first=null"),
)


def nothing(nodes: RayNodes) -> None:
    pass


def removed(nodes: RayNodes) -> None:
    nodes.nodes[-1].kill()


def drained(nodes: RayNodes) -> None:
    """As clouds take a machine away: a polite signal first."""
    nodes.nodes[-1].process.send_signal(signal.SIGTERM)


def added(nodes: RayNodes) -> None:
    nodes.add()


def exchanged(nodes: RayNodes) -> None:
    removed(nodes)
    added(nodes)


def cut_off(nodes: RayNodes) -> None:
    nodes.pull(nodes.nodes[-1])


def cut_off_shortly(nodes: RayNodes) -> None:
    nodes.pull(nodes.nodes[-1])
    time.sleep(5)
    nodes.plug(nodes.nodes[-1])


def stopped(nodes: RayNodes) -> None:
    nodes.nodes[-1].send(signal.SIGSTOP)


#: What happens; each begins with three nodes.
EVENTS: Mapping[str, Callable[[RayNodes], None]] = {
    "nothing": nothing,
    "a node is lost": removed,
    "a node is drained": drained,
    "a node joins": added,
    "a node is lost and another joins": exchanged,
    "a node's network is cut for 5 s": cut_off_shortly,
    "a node's network is cut": cut_off,
    "a node's processes are stopped": stopped,
}


def begin(
    config: Path, out: Path, nodes: RayNodes, log: Path, keys: Sequence[str]
) -> subprocess.Popen[bytes]:
    """Begin the run on the cluster in a process of its own."""
    command = [sys.executable, "-m", "evoprompt.cli", "run", str(config), "--out", str(out)]
    command += ["--ray-address", nodes.address]
    for key in ("workers.backend=toys.slow_fleet:SlowBackend", *keys):
        command += ["--set", key]
    with log.open("wb") as stream:
        return subprocess.Popen(command, env=nodes.environment, stdout=stream, stderr=stream)


def wait_for_generation(out: Path, run: subprocess.Popen[bytes], number: int) -> None:
    """Wait until so many generations are committed, and a moment of the next has passed."""
    deadline = time.monotonic() + PATIENCE
    lines = out / "generations.jsonl"
    while not lines.exists() or lines.read_bytes().count(b"\n") < number:
        if run.poll() is not None or time.monotonic() > deadline:
            return
        time.sleep(0.02)
    time.sleep(0.3)


def meet(
    event: str, site: fault_campaign.Site, nodes: RayNodes, scratch: Path
) -> dict[str, object]:
    """Carry out the run while something happens; return what became of it."""
    out, log = scratch / "run", scratch / "said.log"
    scratch.mkdir(parents=True)
    run = begin(site.folder / "config.yaml", out, nodes, log, KEYS)
    begun = time.monotonic()
    try:
        wait_for_generation(out, run, AFTER)
        happened = time.monotonic()
        EVENTS[event](nodes)
        status: int | str = run.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        status = f"hangs for {PATIENCE:.0f} s"
    finally:
        run.kill()
    said = [line for line in log.read_text(errors="replace").splitlines() if "worker" in line]
    is_same = status == 0 and all(
        (out / name).read_bytes() == content for name, content in site.record.items()
    )
    return {
        "event": event,
        "status": status,
        "same": is_same,
        "seconds": round(time.monotonic() - begun, 1),
        "seconds_after": round(time.monotonic() - happened, 1),
        "said": said[-8:],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the events; return 1 where one changed something."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("clusters.jsonl"))
    parser.add_argument("--events", nargs="*", choices=EVENTS, default=list(EVENTS))
    parser.add_argument("--patient", action="store_true", help="give nodes up as Ray does: late")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the nodes are ended
    scratch = Path(tempfile.mkdtemp(prefix="clusters-"))
    keys = [part for key in KEYS for part in ("--set", key)]
    site = fault_campaign.prepare(scratch / "site", keys)
    all_same = True
    with RayNodes(apart=True, system={} if options.patient else QUICK) as nodes:
        for number, event in enumerate(options.events):
            nodes.add(2)
            nodes.wait_for(3)
            found = meet(event, site, nodes, scratch / str(number))
            all_same &= bool(found["same"])
            with options.results.open("a") as stream:
                stream.write(json.dumps(found) + "\n")
            print(json.dumps(found), flush=True)
            for node in nodes.nodes[1:]:
                node.kill()
            if event != options.events[-1]:
                nodes.wait_for(1)
    return int(not all_same)


if __name__ == "__main__":
    sys.exit(main())
