"""A headless Chromium, where one is installed: what a page shows a person."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def shown(address: str, profile: Path, seconds: int = 40) -> str:
    """The page at an address as HTML, after its programs have run for so many seconds of its own
    time. Skips, saying so, where there is no Chromium.
    """
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is installed here (none of {', '.join(CHROMIUM)})")
    command = [found, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={profile}", f"--virtual-time-budget={1000 * seconds}"]
    command += ["--window-size=1500,2400", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    return done.stdout
