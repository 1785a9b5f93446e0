"""A champion as a prompt of MLflow's registry."""

from __future__ import annotations

import json

from evoprompt.jobs.export.exported import Exported
from evoprompt.tracking.prompts import registered


def as_mlflow(exported: Exported) -> str:
    """Return what `mlflow.genai.register_prompt(**values)` takes, as JSON.

    Raises:
        UserError: the policy has steps, or a text that MLflow would take for a variable.
    """
    exported.refuse_steps("mlflow")
    champion = exported.champion
    found = registered(champion.policy, champion.config.name, champion.config.model.name)
    return json.dumps(found.to_dict(), indent=2, ensure_ascii=False) + "\n"
