"""MLflow's registry of prompts: what is read from it, and what is told to it."""

from __future__ import annotations

import os
from pathlib import Path

from evoprompt.errors import UserError
from evoprompt.masking import without_secrets
from evoprompt.tracking.base import StoreDownError
from evoprompt.tracking.prompts import Template
from evoprompt.tracking.stores import candidates, explained, probe

#: The folder whose store is meant where MLFLOW_TRACKING_URI names none.
RUNS = Path("runs")
#: The alias of the version that ended its run best.
ALIAS = "champion"


def load_template(address: str) -> Template:
    """Return the template of `prompts:/name@alias` or `prompts:/name/version`, from the store of
    MLFLOW_TRACKING_URI, or of the folder `runs`.

    Raises:
        UserError: the store cannot be used, or has no such prompt.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    uri = candidates(RUNS, None)[0]
    try:
        probe(uri, may_be_new=False)
        with explained(uri):
            return _template(uri, address)
    except StoreDownError as error:
        raise UserError(f"{address} cannot be read: {error}") from None


def _template(uri: str, address: str) -> Template:
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    try:
        prompt = client.load_prompt(address)
    except MlflowException as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"the MLflow store {without_secrets(uri)} has no {address} ({reason}); expected "
            "prompts:/name@alias or prompts:/name/version (set MLFLOW_TRACKING_URI for another "
            "store)"
        ) from None
    if prompt is None:
        raise UserError(f"the MLflow store {without_secrets(uri)} has no {address}")
    found: Template = prompt.template
    return found
