"""Ray, started on this machine alone or joined at an address. The only file that imports ray.

Ray reads some of its environment once, when it is imported, so what is set here is set before.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

from evoprompt.config.sections import WorkersConfig
from evoprompt.errors import UserError

#: Bytes for objects in shared memory; units and scores are small, and Ray's own choice is 30 % of
#: the memory.
OBJECT_STORE_BYTES = 128 * 2**20
#: What Ray appends to its folder for the longest of its sockets, and what a socket's path may have.
SOCKET = "session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
LONGEST_SOCKET = 107
#: Where Ray's folder may be if the one of the user is too long for its sockets.
SHORT_PLACES = ("/tmp", "/var/tmp", "/dev/shm")


def open_ray(workers: WorkersConfig) -> tuple[Any, bool]:
    """Return ray, started or joined, and whether it was opened here: what is open stays as it is.

    Raises:
        UserError: no cluster answers at the address, or there is no folder for Ray's sockets.
    """
    ray = import_ray(workers)
    if ray.is_initialized():
        if workers.ray_address:
            check_reachable(workers.ray_address)
        return ray, False
    # Ray takes SIGTERM for itself, and its handler would end the process in the middle of a write
    polite = signal.getsignal(signal.SIGTERM)
    try:
        _join(ray, workers.ray_address) if workers.ray_address else _start(ray)
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, polite)
    return ray, True


def import_ray(workers: WorkersConfig) -> Any:
    """Return ray, imported with the environment that it is to be opened with."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if not workers.ray_address:
        # without this Ray listens on every interface of the machine, even for a run of one process
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    elif (Path.home() / ".ray" / "auth_token").exists():
        # a cluster started where a token exists asks for it; Ray alone would not send it
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray

    if not workers.ray_address:
        # who imported it before may have had another environment; it reads the variable once
        alone = os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"].lower() in ("0", "false")
        ray._private.ray_constants.ENABLE_RAY_CLUSTER = not alone
    return ray


def _join(ray: Any, address: str) -> None:
    check_reachable(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:150] if str(error) else type(error).__name__
        raise UserError(
            f"no Ray cluster answers at {address} ({reason}); a cluster that asks for a token "
            "needs RAY_AUTH_TOKEN, or the token in ~/.ray/auth_token"
        ) from None


def _start(ray: Any) -> None:
    # `local`, or Ray would join any cluster that it finds running on this machine
    ray.init(
        address="local",
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=folder_for_sockets(),
    )


def folder_for_sockets() -> str | None:
    """Return where Ray is to have its folder, None for where it would have it by itself: a long
    TMPDIR, as batch systems set, leaves no room for the paths of its sockets.

    Raises:
        UserError: no short place can be written to.
    """
    own = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    if _holds_sockets(Path(own) / "ray"):
        return None
    for place in SHORT_PLACES:
        folder = Path(place) / f"ray-{os.getuid()}"
        if os.access(place, os.W_OK) and _holds_sockets(folder):
            return str(folder)
    raise UserError(
        f"the folder {own} is too long for Ray's sockets (a path may have {LONGEST_SOCKET} bytes), "
        f"and none of {', '.join(SHORT_PLACES)} can be written to; set RAY_TMPDIR to a short "
        f"folder, or workers.backend=local"
    )


def _holds_sockets(folder: Path) -> bool:
    return len(os.fsencode(folder / SOCKET)) <= LONGEST_SOCKET


def check_reachable(address: str) -> None:
    """Raise UserError where nobody listens at a host:port address; Ray itself takes more than a
    minute to say so.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # `auto` and the like are Ray's to resolve
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"no Ray cluster answers at {address} ({reason}); start one with: ray start --head"
        ) from None
