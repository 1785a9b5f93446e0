"""Every form that a champion can be had in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from evoprompt.errors import UserError, nearest
from evoprompt.jobs.base import job_of
from evoprompt.jobs.export.chat import as_chat
from evoprompt.jobs.export.dspy import as_dspy
from evoprompt.jobs.export.exported import Exported
from evoprompt.jobs.export.gepa import as_gepa
from evoprompt.jobs.export.lm_eval import as_lm_eval
from evoprompt.jobs.export.logit_bias import as_logit_bias
from evoprompt.jobs.export.mlflow import as_mlflow
from evoprompt.jobs.export.python import as_python
from evoprompt.jobs.export.record import as_json
from evoprompt.jobs.export.text import as_text

#: Every form. A new one is a file of this folder with a function, and a line here.
FORMS: Mapping[str, Callable[[Exported], str]] = {
    "text": as_text,
    "json": as_json,
    "python": as_python,
    "logit-bias": as_logit_bias,
    "chat": as_chat,
    "lm-eval": as_lm_eval,
    "dspy": as_dspy,
    "gepa": as_gepa,
    "mlflow": as_mlflow,
}


def export(folder: Path, form: str, *, baseline: bool = False) -> str:
    """Return the champion of a complete run or loop in a form of `FORMS`, as text, or the best
    starting prompt, calibrated as it was tested.

    Raises:
        UserError: there is no such form, no champion or no starting prompt, or it cannot be had in
            this form.
    """
    if form not in FORMS:
        raise UserError(f"there is no form '{form}'; {nearest(form, FORMS)}")
    found = job_of(folder).champion(folder)
    if baseline:
        if found.baseline is None:
            raise UserError(
                f"{folder} keeps no starting prompt of its own, so --baseline has nothing to give; "
                f"give the folder of a run of evoprompt run"
            )
        found = found.baseline
    return FORMS[form](Exported(folder, found))
