"""A champion as JSON, with all that there is to say of it."""

from __future__ import annotations

import json

from evoprompt.jobs.export.exported import Exported


def as_json(exported: Exported) -> str:
    """Return the policy with its slots, its prompt, and how it answers, as JSON."""
    champion = exported.champion
    found = {
        "model": exported.identity.to_dict(),
        "policy": champion.policy.to_dict(),
        "prompt": champion.prompt,
        "words": exported.words,
        "compared_by": champion.answered_by,
        "calibration": champion.calibration.to_dict() if champion.calibration else None,
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"
