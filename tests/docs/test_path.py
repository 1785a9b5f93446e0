"""The way of a new user: the commands of the pages, in their order, with a tiny model. A first
better prompt, one's own file, the champion used, many settings and their comparison, an operator
of one's own.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evoprompt import cli

ROOT = Path(__file__).parents[2]
#: In the order in which the pages lead to each other.
PAGES = ("index", "task", "search")
#: Commands that serve or talk, which have tests of their own, or only look at this machine.
OTHERS = ("ui", "serve", "play", "doctor")
SMALL = (
    *("task.demonstration_pool=8", "task.fitness_examples=4", "task.validation_examples=4"),
    *("task.test_examples=6", "task.starting_demonstrations=[0]", "evolution.generations=1"),
    *("evolution.children=2", "evolution.examples.first=null", "evolution.racing.method=off"),
    *("evolution.population=2", "fitness.calibration=off", "task.demonstration_inputs=all"),
    *("workers.backend=local", "tracking.enabled=false", "budget.prefill_tokens=null"),
    *("budget.logical_tokens=null", "evolution.max_demonstrations=1"),
)


def commands(page: str) -> Iterator[list[str]]:
    """The words of each command in a page's blocks of shell commands, without what they print."""
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    for block in re.findall(r"^```bash\n(.*?)^```$", text, re.M | re.S):
        for line in block.splitlines():
            words = shlex.split(line.partition(" > ")[0], comments=True)
            if words[:1] == ["evoprompt"] and words[1] not in OTHERS:
                yield words


def write_tickets(folder: Path) -> None:
    rng = np.random.default_rng(0)
    words = ("late", "broken", "kind", "fast", "again", "twice")
    texts = [" ".join(words[i] for i in rng.integers(0, 6, size=5)) for _ in range(150)]
    with (folder / "tickets.csv").open("w", newline="") as file:
        rows = [
            (text, ("complaint", "praise")[n % 2]) for n, text in enumerate(dict.fromkeys(texts))
        ]
        csv.writer(file).writerows([("text", "label"), *rows])
    (folder / "new.csv").write_text("text\nlate again\nkind and fast\n")
    (folder / "configs").symlink_to(ROOT / "configs")


def call(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> int:
    """The exit code of a command."""
    monkeypatch.setattr(sys, "argv", words)
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_commands_of_the_pages_work_one_after_the_other(
    tmp_path: Path,
    long_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    write_tickets(tmp_path)
    monkeypatch.chdir(tmp_path)
    small = [word for key in (*SMALL, f"model.name={long_model}") for word in ("--set", key)]
    done = []
    for words in (words for page in PAGES for words in commands(page)):
        made = words[1] in ("run", "sweep")
        code = call(monkeypatch, [*words, *(small if made else [])])
        said = capsys.readouterr()
        complete = words[1] == "resume" and "is complete" in said.err  # nothing killed it
        assert code == (2 if complete else 0), f"{shlex.join(words)}: {said.err}"
        done.append(words[1])
        if words[1] == "predict":
            lines = [json.loads(line) for line in said.out.splitlines()]
            assert not lines or len(lines) == 2
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    keys = ('operators={"my_operator:Shout": 9}', "other_operators=none", "novelty=id")
    own = [word for key in keys for word in ("--set", f"evolution.{key}")]
    words = ["evoprompt", "run", "tickets.yaml", "--out", "runs/own", *small, *own]
    assert call(monkeypatch, words) == 0
    assert '"shout"' in (tmp_path / "runs" / "own" / "lineage.jsonl").read_text()
    assert {"run", "resume", "init", "predict", "export", "sweep", "compare"} <= set(done)
    runs = tmp_path / "runs"
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 2
    for page in ("quickstart/report.html", "tickets/report.html", "quick/sweep.html"):
        assert (runs / page).exists()
    assert list(runs.glob("quick/comparisons/*/comparison.html"))
    told = (ROOT / "docs" / "files.md").read_text("utf-8")
    visible = [f.name for f in (runs / "tickets").iterdir() if not f.name.startswith(".")]
    assert [name for name in visible if f"`{name}`" not in told] == []
