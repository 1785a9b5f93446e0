"""MLflow's own pages on the store of the runs, opened on the dashboard of what ran last."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Callable, Mapping
from pathlib import Path

from evoprompt.errors import UserError
from evoprompt.masking import without_secrets
from evoprompt.tracking.base import StoreDownError
from evoprompt.tracking.dashboards import DASHBOARDS, FITNESS, OF_KIND, Dashboard
from evoprompt.tracking.stores import ARTIFACTS, default_uri
from evoprompt.tracking.views import view_link

#: Seconds that a server has to answer for the first time.
START_SECONDS = 120.0


def serve(
    runs: Path,
    host: str,
    port: int,
    view: str | None = None,
    *,
    browser: bool = True,
    show: Callable[[str], None] = print,
) -> int:
    """Run the MLflow UI on the store of these runs until it is interrupted; return its exit
    status.

    Args:
        runs: their folder.
        host: the address to listen on.
        port: the port to listen on.
        view: name of the dashboard to open; None is that of what ran last.
        browser: whether to open it, where there is a screen.
        show: is given the lines for people.

    Raises:
        UserError: there is no such dashboard, the port is in use, or the store is a server, which
            has pages of its own.
    """
    wanted = None if view is None else _named(view)
    uri = default_uri(runs)
    if uri.startswith(("http://", "https://")):
        address = without_secrets(uri)
        links = dashboard_links(uri, address, wanted)
        raise UserError(
            f"MLFLOW_TRACKING_URI is a server, whose own pages show the runs: open "
            f"{next(iter(links.values()), address)} in a browser"
        )
    check_free(host, port)
    server = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    links = dashboard_links(uri, server, wanted)
    process = _start(runs, uri, host, port)
    try:
        _tell(links or {"runs": server}, process, browser=browser, show=show)
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _end(process)


def check_free(host: str, port: int) -> None:
    """Find out whether a server can listen there.

    Raises:
        UserError: it cannot; the message says why.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            # what a server that has just ended leaves for a minute is no hindrance to the next
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"MLflow's pages cannot be on {host}, port {port} ({reason}): perhaps another server "
            f"has it; give another with --port"
        ) from None


def dashboard_links(uri: str, server: str, wanted: Dashboard | None = None) -> dict[str, str]:
    """Have the dashboards in every experiment that has runs of this package; return, by name, their
    addresses for the experiment of the latest run, the one to open first; nothing where there are
    no runs, or the store does not answer now.

    Args:
        uri: of the store.
        server: where its pages are.
        wanted: the dashboard to open; None is that of the latest run.

    Raises:
        UserError: the store cannot be used.
    """
    from evoprompt.tracking.mlflow import latest_run

    try:
        found = latest_run(uri)
    except StoreDownError:  # a run that begins holds it, or a server is away
        found = None
    if found is None:
        return {}
    first = wanted or OF_KIND.get(found.kind, FITNESS)
    others = [dashboard for dashboard in DASHBOARDS if dashboard is not first]
    return {each.name: view_link(server, found.experiment_id, each) for each in (first, *others)}


def _named(view: str) -> Dashboard:
    for dashboard in DASHBOARDS:
        if dashboard.name == view:
            return dashboard
    names = ", ".join(dashboard.name for dashboard in DASHBOARDS)
    raise UserError(f"--view has no dashboard '{view}'; there are {names}")


def _start(runs: Path, uri: str, host: str, port: int) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        # not in the command, which everybody on the machine can read: it may have a password
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    hosts = dict.fromkeys(["localhost", "127.0.0.1", host])
    command += ["--workers", "1", "--allowed-hosts", ",".join(f"{each}:{port}" for each in hosts)]
    command += ["--default-artifact-root", (runs.resolve() / ARTIFACTS).as_uri()]
    return subprocess.Popen(command, env=environment)


def _tell(
    links: Mapping[str, str],
    process: subprocess.Popen[bytes],
    *,
    browser: bool,
    show: Callable[[str], None],
) -> None:
    """Say where the pages are; open the first when it answers."""
    first = next(iter(links.values()))
    show(f"MLflow on {first} (ready in about ten seconds; Ctrl-C ends it)")
    for name, link in links.items():
        show(f"  {name:<11}{link}")
    sys.stdout.flush()
    if browser and has_screen() and _answers(first.partition("/#")[0], process):
        webbrowser.open(first)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()


def has_screen() -> bool:
    """Return whether a browser would have a screen to show pages on."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _answers(server: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait until a server answers; return whether it does."""
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(f"{server}/health", timeout=5).close()
        except OSError:
            time.sleep(0.3)
        else:
            return True
    return False
