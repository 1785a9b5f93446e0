"""A headless Chromium, where one is installed: what a page shows a person."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def installed() -> str:
    """The browser's program; skips, saying so, where there is none."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is installed here (none of {', '.join(CHROMIUM)})")
    return found


def shown(address: str, profile: Path, seconds: int = 40) -> str:
    """The page at an address as HTML, after its programs have run for so many seconds of its own
    time. Skips, saying so, where there is no Chromium.
    """
    command = [installed(), "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={profile}", f"--virtual-time-budget={1000 * seconds}"]
    command += ["--window-size=1500,2400", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    return done.stdout


#: How pages are looked at: at a desk by day, on a telephone at night.
VIEWS = ((1400, "light"), (420, "dark"))


class Viewer:
    """A browser that looks at pages as people do."""

    def __init__(self, browser: Any, axe: str) -> None:
        self._browser, self._axe = browser, axe

    def faults(self, address: str) -> list[str]:
        """What is wrong with a page: what reaches out of the window, and each rule of axe-core
        that it breaks, with the first element that does.
        """
        found = []
        for width, scheme in VIEWS:
            view = {"width": width, "height": 900}
            page = self._browser.new_page(viewport=view, color_scheme=scheme)
            page.goto(address)
            told = f"{width} pixels, {scheme}"
            if (reach := page.evaluate("document.documentElement.scrollWidth")) > width:
                found.append(f"{told}: the page is {reach} pixels wide")
            page.evaluate(self._axe)
            for broken in page.evaluate("axe.run()")["violations"]:
                found.append(f"{told}: {broken['id']}: {broken['nodes'][0]['html'][:100]}")
            page.close()
        return found


@contextmanager
def viewer() -> Iterator[Viewer]:
    """A Chromium of this machine, driven by Playwright. Skips, saying so, where either is not."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    axe = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=installed(), args=["--no-sandbox"])
        yield Viewer(browser, (Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))
        browser.close()
