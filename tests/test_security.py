"""What a received folder, a received configuration or a text can not do: run code, write or send
elsewhere, act on the terminal, open this machine to others.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from toys.stores import free_port

from evoprompt import plugins
from evoprompt.cli import app
from evoprompt.errors import UserError
from evoprompt.exits import SafeFormatter, exit_status
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.sweep import loop as sweep
from evoprompt.jobs.sweep.record import SweepRow
from evoprompt.tracking.stores import beside, candidates

EVIL = "\x1b]0;owned\x07\x9b31m"


def one(policy, scores) -> float:
    """A trait of a user."""
    return 1.0


@pytest.fixture
def with_code(config_file: Path) -> Path:
    config_file.write_text(f"{config_file.read_text()}traits: {{extra: {{one: {__name__}:one}}}}\n")
    return config_file


def command(*arguments: str | Path) -> int:
    return exit_status(lambda: app([str(a) for a in arguments], standalone_mode=False))


@pytest.mark.slow
def test_a_configuration_that_imports_code_says_so_and_can_be_refused(
    with_code: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(plugins, "_told", set())
    monkeypatch.setenv(plugins.NO_CODE, "")
    for arguments in (["--no-code", "run", with_code], ["run", with_code, "--no-code"]):
        assert command(*arguments, "--out", tmp_path / "refused") == 2
        assert "traits.extra.one imports code" in capsys.readouterr().err
        monkeypatch.setenv(plugins.NO_CODE, "")
    assert not (tmp_path / "refused").exists()
    assert not caplog.records
    assert command("run", with_code, "--out", tmp_path / "run") == 0
    assert [r.getMessage() for r in caplog.records] == [
        f"traits.extra.one imports code: '{__name__}:one'"
    ]
    assert command("--no-code", "report", tmp_path / "run") == 0  # a page needs no code


def test_without_code_the_package_is_whole(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(plugins.NO_CODE, "1")
    start(load_config(config_file, ["evolution.generations=1"]), tmp_path / "run")


def test_a_file_of_the_harness_is_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("lm_eval", reason="the extra lm-eval is not installed")
    from evoprompt.tasks.harness.files import settings_of

    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef f(d): return d\n")
    file = tmp_path / "t.yaml"
    file.write_text(
        "task: t\noutput_type: multiple_choice\ndataset_path: json\n"
        "test_split: test\ndoc_to_text: !function evil.f\n"
    )
    monkeypatch.setenv(plugins.NO_CODE, "1")
    with pytest.raises(UserError, match="--no-code"):
        settings_of(str(file))
    assert not (tmp_path / "ran").exists()


def test_a_template_of_the_harness_sees_nothing_of_python(tmp_path: Path):
    pytest.importorskip("lm_eval", reason="the extra lm-eval is not installed")
    from jinja2.exceptions import SecurityError
    from lm_eval.utils import apply_template

    from evoprompt.tasks.harness.opened import _compiled_once

    program = "{{ cycler.__init__.__globals__.os.getpid() }}"
    assert apply_template(program, {}) == str(os.getpid())  # power twin: the harness by itself
    with _compiled_once():
        assert apply_template("{{ a|upper }}", {"a": "x"}) == "X"
        with pytest.raises(SecurityError):
            apply_template(program, {})


@pytest.mark.parametrize("folder", ["../x", "/tmp/x", "..", "", "a/b", ".hidden"])
def test_a_sweep_has_its_runs_in_its_own_folder(folder: str):
    with pytest.raises(UserError, match="not the name of one in the sweep's"):
        SweepRow.from_dict(SweepRow(1, folder, {}).to_dict())


@pytest.mark.slow
def test_a_sweep_does_not_write_through_links_of_its_runs(tmp_path: Path, config_file: Path):
    (tmp_path / "s.yaml").write_text(
        f"base: {config_file.name}\nset: {{evolution.generations: 1}}\naxes: {{seed: [0, 1]}}\n"
    )
    assert sweep.start(tmp_path / "s.yaml", tmp_path / "sweep", []) == 0
    first = sorted(f for f in (tmp_path / "sweep").iterdir() if f.is_dir())[0]
    state = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    state.pop("checksum", None)
    state["runs"][0]["status"] = "waiting"
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps(state))
    (first / "error.txt").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="is a link"):
        sweep.resume(tmp_path / "sweep")
    shutil.rmtree(first)
    (tmp_path / "elsewhere").mkdir()
    first.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link"):
        sweep.resume(tmp_path / "sweep")
    assert not list((tmp_path / "elsewhere").iterdir())
    assert not (tmp_path / "mine").exists()


def test_a_store_that_leads_elsewhere_is_refused(tmp_path: Path):
    (tmp_path / "mlflow.db").symlink_to(tmp_path / "mine.db")
    with pytest.raises(UserError, match="is a link"):
        beside(tmp_path)


def test_a_token_goes_to_no_server_that_only_a_folder_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    named = "http://elsewhere.invalid:5000"
    assert named in candidates(tmp_path, named)  # power twin: nothing is given away
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "a-long-token")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mine.invalid:5000")
    assert candidates(tmp_path, named) == ["http://mine.invalid:5000"]


def test_tracebacks_and_warnings_do_not_act_on_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("EVOPROMPT_API_KEY", "key-of-mine")

    def fail() -> None:
        raise KeyError(f"key-of-mine {EVIL}") from TypeError(f"key-of-mine {EVIL}")

    assert exit_status(fail) == 1
    record = logging.LogRecord("x", 30, "x", 1, f"key-of-mine {EVIL}", (), None)
    for said in (capsys.readouterr().err, SafeFormatter().format(record)):
        assert "***" in said
        assert "key-of-mine" not in said
        assert not any(c in said for c in EVIL if not c.isprintable())


def listeners(process: psutil.Process) -> set[tuple[str, int]]:
    """The addresses and ports at which a process and what it started listen."""
    pids = {process.pid, *(p.pid for p in process.children(recursive=True))}
    return {
        (c.laddr.ip.removeprefix("::ffff:"), c.laddr.port)
        for c in psutil.net_connections("inet")
        if c.status == "LISTEN" and c.pid in pids
    }


def outer_address() -> str:
    """This machine's address as others see it; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no outer address")
        return str(probe.getsockname()[0])


def answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("name", ["run", "sweep", "ui"])
def test_a_command_answers_nobody_outside(name: str, config_file: Path, tmp_path: Path):
    """In a process of its own, whose environment says nothing of Ray: the fixtures' does."""
    runs = tmp_path / "runs"
    config = ["--set", "workers.backend=ray", "--set", "workers.count=1"]
    if name == "ui":
        runs.mkdir()
        (runs / "mlflow.db").touch()
        arguments = ["ui", "--runs", str(runs), "--no-browser", "--port", str(free_port())]
        least = 1
    elif name == "sweep":
        (tmp_path / "s.yaml").write_text(
            f"base: {config_file.name}\naxes: {{seed: [0, 1]}}\nset: {{workers.backend: ray, "
            f"workers.count: 1, evolution.generations: 400}}\n"
        )
        arguments = ["sweep", str(tmp_path / "s.yaml"), "--out", str(runs)]
        least = 4
    else:
        more = ["--set", "evolution.generations=400", "--out", str(runs)]
        arguments, least = ["run", str(config_file), *config, *more], 4
    hidden = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "MLFLOW_TRACKING_URI"}
    process = subprocess.Popen(
        [sys.executable, "-m", "evoprompt.cli", *arguments],
        env={k: v for k, v in os.environ.items() if k not in hidden},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        watched, deadline = psutil.Process(process.pid), time.monotonic() + 120
        while len(found := listeners(watched)) < least and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.2)
        time.sleep(1)  # for those that come late
        found |= listeners(watched)
        assert len(found) >= least
        assert {ip for ip, _ in found} <= {"127.0.0.1", "::1"}
        outer = outer_address()
        assert any(answers(ip, port) for ip, port in found)  # power twin: they do listen
        assert not [port for _, port in found if answers(outer, port)]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
