"""A champion as text, for people."""

from __future__ import annotations

from evoprompt.jobs.export.exported import Exported
from evoprompt.report.text import calibration_text


def as_text(exported: Exported) -> str:
    """Return the prompt whole, then the answers, each with its word, and how they are compared."""
    champion = exported.champion
    lines = [champion.prompt, ""]
    lines += [
        f"# answer: {choice}" if word == choice else f"# answer: {choice}, written {word!r}"
        for choice, word in exported.words.items()
    ]
    if exported.alone is not None:
        lines.append(f"# {calibration_text(exported.alone)}")
    if champion.offsets is not None:
        lines.append("# the run itself read other words too: --to python and --to json have them")
    return "\n".join(lines) + "\n"
