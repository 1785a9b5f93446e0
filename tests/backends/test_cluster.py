"""How Ray is opened: on this machine alone, in a folder that holds its sockets, with the token that
a cluster asks for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evoprompt.backends.cluster import LONGEST_SOCKET, check_reachable, folder_for_sockets
from evoprompt.backends.placement import place
from evoprompt.config.sections import WorkersConfig
from evoprompt.errors import UserError

#: Opens Ray in a process that has not imported it, and prints the addresses that it listens at.
PORTS = """
import json, psutil
from evoprompt.backends.cluster import open_ray
from evoprompt.config.sections import WorkersConfig
ray, _ = open_ray(WorkersConfig())
mine = {p.pid for p in psutil.Process().children(recursive=True)} | {psutil.Process().pid}
sockets = [c for c in psutil.net_connections("inet") if c.status == "LISTEN"]
found = [c.laddr.ip.removeprefix("::ffff:") for c in sockets if c.pid in mine]
ray.shutdown()
print(json.dumps(found))
"""


def addresses(**environment: str) -> list[str]:
    hidden = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"}
    kept = {k: v for k, v in os.environ.items() if k not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", PORTS],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.cluster
@pytest.mark.slow
def test_ray_listens_on_this_machine_alone():
    found = addresses()
    assert len(found) > 3
    assert {ip for ip in found if ip not in ("127.0.0.1", "::1")} == set()


@pytest.mark.cluster
@pytest.mark.slow
def test_the_ports_are_those_that_others_could_reach():
    """Power twin: with the variable that opens Ray to the network, the same look finds it open."""
    found = addresses(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="1")
    assert {ip for ip in found if ip not in ("127.0.0.1", "::1")}


def test_a_long_folder_is_left_for_a_short_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp")
    assert folder_for_sockets() is None
    monkeypatch.setenv("TMPDIR", "/tmp/" + "a" * 60)
    folder = folder_for_sockets()
    assert folder is not None
    assert (
        len(f"{folder}/session_2026-01-01_00-00-00_000000_4194304/sockets/raylet") < LONGEST_SOCKET
    )
    monkeypatch.setattr("evoprompt.backends.cluster.SHORT_PLACES", (str(tmp_path / "none"),))
    with pytest.raises(UserError, match="set RAY_TMPDIR to a short folder"):
        folder_for_sockets()


TOKEN = """
import os, sys
from evoprompt.backends.cluster import import_ray
from evoprompt.config.sections import WorkersConfig
import_ray(WorkersConfig(ray_address=sys.argv[1] or None))
from ray._raylet import AuthenticationMode, get_authentication_mode
print(get_authentication_mode() == AuthenticationMode.TOKEN)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("token", "address", "sent"),
    [(True, "127.0.0.1:6379", True), (False, "127.0.0.1:6379", False), (True, "", False)],
)
def test_a_token_is_sent_to_a_cluster_where_the_user_has_one(
    tmp_path: Path, token: bool, address: str, sent: bool
):
    if token:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("t" * 32)
    kept = {k: v for k, v in os.environ.items() if k != "RAY_AUTH_MODE"}
    done = subprocess.run(
        [sys.executable, "-c", TOKEN, address],
        env=kept | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == [str(sent)]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "no-such-host.invalid:6379"])
def test_an_address_where_nobody_listens_is_told(address: str):
    with pytest.raises(UserError, match="no Ray cluster answers"):
        check_reachable(address)


@pytest.mark.parametrize(("share", "workers"), [(0.2, 5), (0.1, 10), (0.3, 3), (0.5, 2), (1.0, 1)])
def test_a_share_of_a_gpu_fits_as_often_as_it_says(share: float, workers: int):
    config = WorkersConfig(gpus_per_worker=share)
    assert place(config, cpus=64, gpus=1).count == workers
    with pytest.raises(UserError, match=f"at most {workers} do"):
        place(config.model_copy(update={"count": workers + 1}), cpus=64, gpus=1)
