"""A champion as the saved state of DSPy's `Predict("input -> answer")`."""

from __future__ import annotations

import json
import platform

from evoprompt.jobs.export.exported import Exported

#: The version whose files these are.
DSPY = "3.4.1"


def as_dspy(exported: Exported) -> str:
    """Return what `dspy.Predict("input -> answer").load(FILE)` reads: the instruction, the words
    that are answers, and the demonstrations. DSPy's adapter renders them, so the words around an
    input are its own.

    Raises:
        UserError: the policy has steps.
    """
    exported.refuse_steps("dspy")
    policy = exported.champion.policy
    template, words = policy.template, list(exported.words.values())
    answer = f"one of: {', '.join(words)}" if words else "${answer}"
    found = {
        "traces": [],
        "train": [],
        "demos": [
            {"input": d.input, "answer": policy.word(d.target)} for d in policy.demonstrations
        ],
        "signature": {
            "instructions": policy.instruction,
            "fields": [
                {"prefix": template.input_prefix.strip() or "Input:", "description": "${input}"},
                {"prefix": template.output_prefix.strip() or "Answer:", "description": answer},
            ],
        },
        "lm": None,
        "metadata": {"dependency_versions": {"python": _python(), "dspy": DSPY}},
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])
