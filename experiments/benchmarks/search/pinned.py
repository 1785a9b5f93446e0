"""Data sets at one commit, each file by its SHA-256, written as the benchmark's lines.

A file with another sum is refused. What is fetched lies in a folder and is not fetched again.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

MANIFEST = Path(__file__).with_name("pinned.json")
#: Seconds that an answer may take.
PATIENCE = 60
#: What stands for the task's own name in front of the tasks of the manifest.
PREFIX = "pinned/"


def manifest() -> dict[str, Any]:
    """Return the manifest."""
    found: dict[str, Any] = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return found


def fetch(folder: Path, tasks: list[str], pins: Mapping[str, Any] | None = None) -> list[str]:
    """Write these tasks of the manifest into a folder, as `tasks.load` reads it, with the text that
    EvoPrompt's DE is asked with; return the tasks' names there.
    """
    pins = pins or manifest()
    instructions: dict[str, Any] = {}
    (folder / PREFIX).mkdir(parents=True, exist_ok=True)
    for name in tasks:
        if name not in pins["tasks"]:
            raise SystemExit(f"no pinned task {name!r}; there are {', '.join(pins['tasks'])}")
        task = pins["tasks"][name]
        for split in ("train", "test"):
            text = pinned_text(folder, task[split], pins)
            lines = [_line(row, task["labels"]) for row in text.splitlines() if row]
            (folder / f"{PREFIX}{name}.{split}.jsonl").write_text("".join(lines), "utf-8")
        prompts = pinned_text(folder, task["prompts"], pins).splitlines()
        instructions[PREFIX + name] = {"prompts": [p.strip() for p in prompts if p.strip()]}
    (folder / "instructions.json").write_text(json.dumps(instructions, indent=1), "utf-8")
    code = pinned_text(folder, "data/template_de.py", pins)
    (folder / "de_template.txt").write_text(de_template(code), "utf-8")
    return [PREFIX + name for name in tasks]


def pinned_text(folder: Path, path: str, pins: Mapping[str, Any]) -> str:
    """Return a file of the manifest, from the folder where it is there already."""
    file, address = folder / "fetched" / path, pins["source"] + path
    if not file.exists():
        try:
            with urlopen(address, timeout=PATIENCE) as answer:
                content = answer.read()
        except (URLError, OSError) as error:
            raise SystemExit(f"cannot fetch {address} ({error}); put the file at {file}") from None
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    content = file.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != pins["files"][path]:
        raise SystemExit(
            f"{file} has the SHA-256 {found}, and {pins['files'][path]} is pinned; remove it to "
            f"fetch it again from {address}"
        )
    return content.decode("utf-8")


def de_template(code: str) -> str:
    """Return DE's text in four steps for classification, out of the file of templates."""
    values = {
        target.id: node.value
        for node in ast.parse(code).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found: str = ast.literal_eval(values["v1"])["cls"]["sst-5"]
    return found


def _line(row: str, labels: list[str]) -> str:
    text, _, number = row.rpartition("\t")
    example = {"input": text, "target": labels[int(number)], "choices": labels}
    return json.dumps(example, ensure_ascii=False) + "\n"
