"""A champion as a Python file that needs nothing of this package."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from evoprompt.jobs.base import complete_summary
from evoprompt.jobs.export.exported import Exported
from evoprompt.jobs.export.rendering import rendering
from evoprompt.store.folder import RunFolder
from evoprompt.tasks.render import CONTENT_FREE


def as_python(exported: Exported) -> str:
    """Return a Python file that answers as the champion does.

    Raises:
        UserError: as `Exported.refuse_without_choices`.
    """
    exported.refuse_without_choices("python")
    champion, requests = exported.champion, exported.requests
    calibration, read = exported.alone, champion.calibration
    dtype = complete_summary(RunFolder(exported.folder))["model"]["dtype"]
    found: dict[str, Any] = {
        "model": exported.identity.place,
        "dtype": "float32" if dtype == "server" else dtype,  # a server does not tell its own
        **rendering(exported.tokenizer, champion.policy, [q for q, _ in requests.values()]),
        "content_free": CONTENT_FREE,
        "continuations": {
            c: query.continuation + query.end * query.is_ended for c, (query, _) in requests.items()
        },
        "compared_by": champion.answered_by,
        "temperature": calibration.temperature if calibration else 1.0,
        "offsets": dict(calibration.offsets) if calibration else {},
        "with_words": read.to_dict() if read and read.head else None,
    }
    snippet = (resources.files("evoprompt") / "jobs/export/snippet.txt").read_text("utf-8")
    return snippet.replace("@CHAMPION@", json.dumps(found, indent=2))
