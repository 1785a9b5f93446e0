"""A champion as a candidate of GEPA."""

from __future__ import annotations

import json

from evoprompt.conversation import Conversation
from evoprompt.jobs.export.exported import Exported
from evoprompt.tasks.render import render_prefix


def as_gepa(exported: Exported) -> str:
    """Return `seed_candidate` of `gepa.optimize` as JSON: its `system_prompt` is what stands before
    every input. GEPA's adapter gives the input as the user's turn.

    Raises:
        UserError: the policy has steps.
    """
    exported.refuse_steps("gepa")
    policy = exported.champion.policy
    prefix = render_prefix(policy)
    if isinstance(prefix, Conversation):
        parts = [
            t.content if t.role == "system" else f"[{t.role}] {t.content}" for t in prefix.turns
        ]
        prefix = "\n\n".join(part for part in parts if part != "[user] ")
    return json.dumps({"system_prompt": prefix.rstrip()}, indent=2, ensure_ascii=False) + "\n"
