"""A Ray cluster of several nodes on one machine, each with processes of its own, as `ray start`
starts them; they are lost, stopped and added as machines are.

Each node has a folder of its own (`--temp-dir`): nodes that begin at once in one folder take the
same names for their sockets, and one of them dies. With `apart`, each node has a network and a host
name of its own, for which the program must be root in a network namespace (`unshare --net`); a
node's cable can then be pulled.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

RAY = Path(sys.executable).parent / "ray"
#: Where workers find the package and the toys.
PLACES = (str(Path(__file__).parents[2]), str(Path(__file__).parents[1]))
#: Seconds that a node may take to begin, on a busy machine.
PATIENCE = 120.0
#: The address of the head where nodes are apart; the nodes' follow.
NETWORK = "10.9.8"

#: Prints the number of nodes that are alive, and the CPUs that they have.
ASK = """
import json, logging, sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
cpus = ray.cluster_resources().get("CPU", 0)
print("alive", json.dumps([sum(n["Alive"] for n in ray.nodes()), cpus]))
"""


@dataclass(slots=True)
class Node:
    """A node: `ray start --block`, and what it has started."""

    number: int
    process: subprocess.Popen[bytes]
    folder: Path

    def processes(self) -> list[psutil.Process]:
        """Return all processes of the node, workers too."""
        try:
            own = psutil.Process(self.process.pid)
            return [own, *own.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def send(self, number: signal.Signals) -> None:
        """Send all of them a signal."""
        for process in self.processes():
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def kill(self) -> None:
        """Lose the node as with its power."""
        self.send(signal.SIGSTOP)  # so that none starts another meanwhile
        self.send(signal.SIGKILL)
        self.process.wait()


@dataclass(slots=True)
class RayNodes:
    """A cluster with a head, to which nodes come and go. Use it as a context."""

    apart: bool = False
    system: Mapping[str, Any] = field(default_factory=dict)  #: Ray's own settings, of the head
    address: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    _folder: Path = Path()

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="nodes-", dir="/tmp"))  # sockets: a short path
        self.environment = {
            k: v for k, v in os.environ.items() if k != "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
        } | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": os.pathsep.join(x for x in (*PLACES, os.environ.get("PYTHONPATH")) if x),
        }
        host = f"{NETWORK}.1" if self.apart else "127.0.0.1"
        if self.apart:
            for command in ("link set lo up", "link add br0 type bridge"):
                _ip(command)
            _ip(f"addr add {host}/24 dev br0")
            _ip("link set br0 up")
        with socket.create_server((host, 0)) as free:
            port = free.getsockname()[1]
        self.address = f"{host}:{port}"
        settings = [f"--system-config={json.dumps(dict(self.system))}"] if self.system else []
        head = ["--head", f"--port={port}", f"--node-ip-address={host}"]
        self._start([*head, "--include-dashboard=false", *settings])
        deadline = time.monotonic() + PATIENCE
        while not _listens(host, port):
            self._look(deadline)
        return self

    def add(self, count: int = 1) -> list[Node]:
        """Add nodes of one CPU each, which join in their own time."""
        return [self._start([f"--address={self.address}"]) for _ in range(count)]

    def wait_for(self, count: int) -> None:
        """Wait until so many nodes are there, the head too."""
        deadline = time.monotonic() + PATIENCE
        while self.alive()[0] != count:
            self._look(deadline)

    def alive(self) -> tuple[int, int]:
        """Return how many nodes the cluster takes to be alive, and their CPUs."""
        done = subprocess.run(
            [sys.executable, "-c", ASK, self.address],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        [line] = [x for x in done.stdout.splitlines() if x.startswith("alive ")]
        nodes, cpus = json.loads(line.removeprefix("alive "))
        return int(nodes), int(cpus)

    def pull(self, node: Node) -> None:
        """Pull a node's cable."""
        _ip(f"link set v{node.number} down")

    def plug(self, node: Node) -> None:
        """Put it back."""
        _ip(f"link set v{node.number} up")

    def _start(self, options: Sequence[str]) -> Node:
        number = len(self.nodes)
        folder = self._folder / str(number)
        folder.mkdir()
        command = [
            *(str(RAY), "start", "--block", "--num-cpus=1", "--num-gpus=0"),
            *("--object-store-memory=80000000", "--disable-usage-stats"),
            *(f"--temp-dir={folder}", *options),
        ]
        is_apart = self.apart and number > 0
        if is_apart:
            own = f"{NETWORK}.{10 + number}"
            script = (
                f"hostname node{number}; until ip addr add {own}/24 dev e{number} 2>&-; do "
                f'sleep 0.05; done; ip link set lo up; ip link set e{number} up; exec "$@"'
            )
            command = ["unshare", "--net", "--uts", "sh", "-c", script, "sh", *command]
            command.append(f"--node-ip-address={own}")
        if with_parent := shutil.which("setpriv"):  # whoever kills this process ends them too
            command = [with_parent, "--pdeathsig", "TERM", *command]
        with (folder / "said.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        if is_apart:
            time.sleep(0.3)  # until it has its network
            _ip(f"link add v{number} type veth peer name e{number} netns {process.pid}")
            _ip(f"link set v{number} master br0 up")
        self.nodes.append(Node(number, process, folder))
        return self.nodes[-1]

    def _look(self, deadline: float) -> None:
        """Wait a moment for a node, as long as there is hope."""
        for node in self.nodes:
            if node.process.poll() is not None and node.process.returncode > 0:
                raise RuntimeError((node.folder / "said.log").read_text()[-2000:])
        if time.monotonic() > deadline:
            raise TimeoutError(f"a node of Ray did not begin within {PATIENCE:.0f} s")
        time.sleep(0.1)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for node in reversed(self.nodes):
            node.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True, capture_output=True)
