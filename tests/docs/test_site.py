"""The documentation as a site, where the extra `docs` is installed: it is built without a warning,
and the examples that its pages include are in it.
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_site_is_built_and_has_the_examples(tmp_path: Path):
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(
        [*command, "--site-dir", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    text = html.unescape(re.sub("<[^>]+>", "", (tmp_path / "plugging.html").read_text("utf-8")))
    for example in (ROOT / "docs" / "examples").glob("my_*.py"):
        first = next(
            line
            for line in example.read_text("utf-8").splitlines()
            if "class " in line or "def " in line
        )
        assert first in text, example.name
