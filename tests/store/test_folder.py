"""The folder of a job: one owner, whole commits, and what becomes of damaged files."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest

from evoprompt.errors import UserError
from evoprompt.store.folder import CHECKPOINT, CONFIG, RunFolder
from evoprompt.store.lock import LOCK, OWNER

NAMES, TURNS = ("answers.jsonl", "sums.jsonl"), 6


def go_on(path: Path, turns: int = TURNS) -> None:
    """A job that adds numbers up: each turn's line follows from what the last commit has."""
    folder = RunFolder(path)
    state = folder.restore_lines(NAMES) or {"turn": 0, "sum": 0}
    for turn in range(state["turn"] + 1, turns + 1):
        total = state["sum"] + turn * turn
        state = {"turn": turn, "sum": total}
        rows = [[{"number": turn}, {"number": -turn}], [{"turn": turn, "sum": total}]]
        folder.commit_lines(dict(zip(NAMES, rows, strict=True)), state)


def content(path: Path) -> list[bytes]:
    return [(path / name).read_bytes() for name in NAMES]


@pytest.fixture
def half(tmp_path: Path) -> Path:
    folder = RunFolder(tmp_path / "half")
    folder.path.mkdir()
    (folder.path / CONFIG).write_text("name: x\n")
    go_on(folder.path, TURNS // 2)
    return folder.path


@pytest.fixture
def whole(half: Path, tmp_path: Path) -> list[bytes]:
    shutil.copytree(half, tmp_path / "whole")
    go_on(tmp_path / "whole")
    return content(tmp_path / "whole")


def damage(path: Path, rng: random.Random) -> str:
    """Damage one file in one way; return what was done."""
    files = [f for f in sorted(path.iterdir()) if f.name != CONFIG]
    file, kind = rng.choice(files), rng.choice(["flip", "cut", "swap", "delete", "null", "zeros"])
    old = file.read_bytes()
    place = rng.randrange(len(old))
    if kind == "flip":
        new = old[:place] + bytes([old[place] ^ (1 << rng.randrange(8))]) + old[place + 1 :]
    elif kind == "cut":
        new = old[:place]
    elif kind == "swap":
        lines = old.splitlines(keepends=True)
        first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines[first], lines[second] = lines[second], lines[first]
        new = b"".join(lines)
    else:
        new = {"delete": b"", "null": b"null", "zeros": b"\0" * len(old)}[kind]
    file.write_bytes(new)
    if kind == "delete":
        file.unlink()
    return f"{kind} {file.name} at {place}"


def check_damages(half: Path, whole: list[bytes], seeds: range) -> tuple[int, int]:
    """Damage and go on; return how often it went on, and how often it was refused."""
    went, refused = 0, 0
    for seed in seeds:
        path = half.parent / f"d{seed}"
        shutil.copytree(half, path)
        done = damage(path, random.Random(seed))
        before = content(path) if all((path / n).exists() for n in NAMES) else None
        sentence = None
        try:
            go_on(path)
        except UserError as error:
            sentence = str(error)
        if sentence is None:
            went += 1
            assert content(path) == whole, done
        else:
            refused += 1
            assert str(path) in sentence, done
            assert before is None or content(path) == before, done
        shutil.rmtree(path)
    return went, refused


def test_a_damaged_folder_goes_on_to_the_same_end_or_is_refused(half: Path, whole: list[bytes]):
    went, refused = check_damages(half, whole, range(60))
    assert went > 20
    assert refused > 2


@pytest.mark.slow
def test_no_damage_leads_to_another_end(half: Path, whole: list[bytes]):
    went, refused = check_damages(half, whole, range(1000, 2500))
    assert went + refused == 1500


def test_without_checksums_a_flipped_digit_would_lead_elsewhere(half: Path, whole: list[bytes]):
    """The power twin: the same damage in a folder that knows sizes alone."""
    commit = json.loads((half / CHECKPOINT).read_text())
    for key in ("digests", "checksum"):
        del commit[key]
    (half / CHECKPOINT).write_text(json.dumps(commit))
    (half / "commits.jsonl").unlink()
    file = half / NAMES[0]
    file.write_bytes(file.read_bytes().replace(b"-2", b"-7"))
    go_on(half)
    assert content(half) != whole


def test_a_flipped_line_costs_the_turns_from_it_on_and_is_kept(
    half: Path, whole: list[bytes], caplog: pytest.LogCaptureFixture
):
    """Turn 3 wrote lines 5 and 6 of the numbers; with line 6 wrong, turns 1 and 2 are whole."""
    file = half / NAMES[0]
    damaged = file.read_bytes().replace(b"-3", b"-7")
    file.write_bytes(damaged)
    with pytest.raises(UserError, match=r"answers\.jsonl is damaged: from line 5 on"):
        RunFolder(half).lines(NAMES[0])
    go_on(half)
    assert content(half) == whole
    assert (half / "damaged" / NAMES[0]).read_bytes() == damaged
    assert "answers.jsonl is damaged: from line 5 on" in caplog.text


@pytest.mark.parametrize("lost", [None, "null", "", "{}"])
def test_a_lost_checkpoint_costs_nothing(half: Path, whole: list[bytes], lost: str | None):
    if lost is None:
        (half / CHECKPOINT).unlink()
    else:
        (half / CHECKPOINT).write_text(lost)
    state = RunFolder(half).restore_lines(NAMES)
    assert state is not None
    assert (state["turn"], state["sum"]) == (3, 14)  # 1 + 4 + 9
    go_on(half)
    assert content(half) == whole


def test_without_any_commit_lines_are_moved_and_not_erased(half: Path):
    before = content(half)
    (half / CHECKPOINT).unlink()
    (half / "commits.jsonl").unlink()
    assert RunFolder(half).restore_lines(NAMES) is None
    assert content(half / "damaged") == before


@pytest.mark.parametrize("file", ["config.yaml", "summary.json"])
def test_json_that_was_changed_is_refused_by_its_name(tmp_path: Path, file: str):
    folder = RunFolder(tmp_path)
    folder.write(file, {"best": 0.5, "of": [1, 2]})
    assert folder.read(file) == {"best": 0.5, "of": [1, 2]}
    text = (tmp_path / file).read_text()
    for wrong in (text.replace("0.5", "0.7"), text[:-9], "null", "[]", "\ud800", ""):
        (tmp_path / file).write_bytes(wrong.encode(errors="surrogatepass"))
        with pytest.raises(UserError, match=file):
            folder.read(file)


def test_a_second_process_is_told_who_has_the_folder_and_readers_are_not_hindered(half: Path):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path;"
            "from evoprompt.store.folder import RunFolder;"
            "f = RunFolder(Path(sys.argv[1])); f.ownership.take(); print('held', flush=True);"
            "time.sleep(60)",
            str(half),
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(UserError, match=f"process {holder.pid} on .*, since 2"):
        RunFolder(half).ownership.take()
    assert len(RunFolder(half).lines(NAMES[0])) == 6
    holder.kill()
    holder.wait()
    with RunFolder(half).owned():
        assert (half / OWNER).exists()
    assert not (half / LOCK).exists()
    assert not (half / OWNER).exists()


def _number(runs: Path, count: int) -> list[str]:
    return [RunFolder.create(None, "x", runs).path.name for _ in range(count)]


@pytest.mark.slow
def test_processes_that_begin_at_once_get_folders_of_their_own(tmp_path: Path):
    with get_context("spawn").Pool(3) as pool:
        given = pool.starmap(_number, [(tmp_path, 20)] * 3)
    assert len({name for names in given for name in names}) == 60


def test_a_folder_is_given_once(tmp_path: Path):
    first = RunFolder.create(tmp_path / "out", "x")
    with pytest.raises(UserError, match="process"):
        RunFolder.create(tmp_path / "out", "x")
    first.ownership.leave()


@pytest.mark.parametrize("moved", range(6))
def test_a_kill_while_all_is_set_aside_leaves_a_folder_that_is_gone_on_with(
    half: Path, whole: list[bytes], moved: int, monkeypatch: pytest.MonkeyPatch
):
    """It has five files: two that make the others count, two of lines, and the configuration."""
    left, rename = iter(range(moved)), Path.rename

    def killed(self: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        if moved < 4:
            with pytest.raises(KeyboardInterrupt):
                RunFolder(half).set_aside(CONFIG)
        else:
            RunFolder(half).set_aside(CONFIG)
    go_on(half)
    assert content(half) == whole


def test_a_folder_in_which_a_kill_left_half_a_file_is_unused(tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".config.yaml.123.new").write_text("name: x")
    folder = RunFolder.create(out, "x")
    folder.ownership.leave()
    (out / "config.yaml").write_text("name: x")
    with pytest.raises(UserError, match=r"in use.*evoprompt resume"):
        RunFolder.create(out, "x")
