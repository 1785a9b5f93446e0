"""Configurations by name, and a sentence for one that is another command's."""

from __future__ import annotations

from pathlib import Path

import pytest

from evoprompt.config import shipped
from evoprompt.config.shipped import config_file, shipped_names
from evoprompt.errors import UserError
from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.sweep.config import load_sweep


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_package_has_configurations_by_name_from_any_folder():
    assert load_config(Path("quickstart")).task.name == "inbox"
    assert load_config(Path("capo")).name == "capo"
    assert load_sweep(Path("quick")).config.axes
    assert load_boost(Path("quick")).loop.rounds > 0
    assert "quickstart" in shipped_names("run")


def test_a_file_of_the_user_goes_before_a_name(tmp_path: Path):
    (tmp_path / "quickstart").write_text("task: {name: sense}")
    assert load_config(Path("quickstart")).task.name == "sense"
    assert config_file(Path("a/quickstart"), "run") == Path("a/quickstart")


def test_an_installed_package_has_them_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "evoprompt"
    (package / "configs").mkdir(parents=True)
    (package / "configs" / "mine.yaml").write_text("task: {name: inbox}")
    monkeypatch.setattr(shipped, "__file__", str(package / "config" / "shipped.py"))
    assert list(shipped_names("run")) == ["mine"]


@pytest.mark.parametrize(
    ("load", "name", "message"),
    [
        (load_config, "quikstart", "did you mean 'quickstart'"),
        (load_config, "study", "evoprompt boost study"),
        (load_sweep, "quickstart", "evoprompt run quickstart"),
    ],
)
def test_a_name_that_is_none_or_another_commands_is_told(load, name: str, message: str):
    with pytest.raises(UserError, match=message):
        load(Path(name))


@pytest.mark.parametrize(
    ("load", "text", "message"),
    [
        (load_config, "base: x.yaml\naxes: {seed: [0]}", "has the key 'axes'.*evoprompt sweep"),
        (load_config, "task: {name: inbox}\nloop: {rounds: 1}", "'loop'.*evoprompt boost"),
        (load_sweep, "task: {name: inbox}\nevolution: {}", "'evolution'.*evoprompt run"),
        (load_boost, "base: x.yaml\naxes: {seed: [0]}", "evoprompt sweep"),
        # of two kinds: the unknown key is told, as anywhere
        (load_config, "task: {name: inbox}\nfinal: {}\nloop: {}", "unknown key 'loop'"),
    ],
)
def test_a_configuration_of_another_command_is_told_by_its_own_key(
    tmp_path: Path, load, text: str, message: str
):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        load(Path("c.yaml"))
