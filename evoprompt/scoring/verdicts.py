"""Verdicts of probes on disk, a file each beside the memo: a model is probed once.

A file that is damaged, or of another form, is no verdict: the model is probed again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from evoprompt.scoring.models import memo_file
from evoprompt.scoring.probe import Verdict

logger = logging.getLogger(__name__)


def verdict_file(signature: Sequence[str]) -> Path:
    """Return where the verdict is kept that depends on this signature and on the package's code."""
    text = "\n".join((*signature, _code()))
    return (
        memo_file().parent / "verdicts" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    )


def read_verdict(file: Path) -> Verdict | None:
    """Return what is kept, or None where there is nothing or it cannot be read."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["digest"] != _digest(kept["verdict"]):
            return None
        return TypeAdapter(Verdict).validate_python(kept["verdict"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return None


def keep_verdict(file: Path, verdict: Verdict) -> None:
    """Keep a verdict: whole or not at all. A cache that cannot be written costs another probe."""
    content = {"verdict": asdict(verdict), "digest": _digest(asdict(verdict))}
    scratch = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        scratch.replace(file)
    except OSError as error:
        logger.info("the verdict of the probe is not kept (%s)", error)
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def _digest(verdict: object) -> str:
    return hashlib.sha256(json.dumps(verdict, sort_keys=True).encode()).hexdigest()[:16]


@cache
def _code() -> str:
    """Return a digest of what scores: after a change of it everything is probed anew."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
