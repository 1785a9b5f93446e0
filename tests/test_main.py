"""`python -m evoprompt` is the command line."""

from __future__ import annotations

import subprocess
import sys

from evoprompt.about import __version__


def test_the_package_is_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "evoprompt", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, __version__)
