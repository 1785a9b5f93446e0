"""MLflow's registry of prompts: what is read from it, and what is told to it."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from evoprompt.errors import UserError
from evoprompt.masking import without_secrets
from evoprompt.tracking.base import StoreDownError
from evoprompt.tracking.names import store_value
from evoprompt.tracking.prompts import RegisteredPrompt, Template
from evoprompt.tracking.stores import candidates, explained, probe

logger = logging.getLogger(__name__)

#: The folder whose store is meant where MLFLOW_TRACKING_URI names none.
RUNS = Path("runs")
#: The alias of the version that the last run of its name made.
ALIAS = "champion"
#: The tag that says which run a version is the champion of.
RUN = "evoprompt.run_id"
#: The tag by which a run's page shows its prompts.
LINKED = "mlflow.linkedPrompts"
#: What a store answers that will not take the prompt, whenever it is asked.
UNABLE = (
    *("FEATURE_DISABLED", "NOT_IMPLEMENTED", "ENDPOINT_NOT_FOUND", "NOT_FOUND"),
    *("PERMISSION_DENIED", "INVALID_PARAMETER_VALUE", "BAD_REQUEST"),
)
#: What MLflow's own clients give as the source of a prompt, which has none.
SOURCE = "dummy-source"


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


def register(client: Any, run_id: str | None, prompt: RegisteredPrompt) -> None:
    """Make a prompt a version of its name with the alias `champion`, linked to a run and to its
    experiment; where the run's champion is that version, nothing is added. A store without a
    registry is said, and nothing else is lost.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

    try:
        _register(client, run_id, prompt)
    except (MlflowException, NotImplementedError) as error:
        unable = isinstance(error, NotImplementedError | UnsupportedModelRegistryStoreURIException)
        if not unable and getattr(error, "error_code", None) not in UNABLE:
            raise
        reason = without_secrets(str(error)).partition("\n")[0]
        logger.warning("the champion is not in MLflow's registry of prompts: %s", reason)


def _register(client: Any, run_id: str | None, prompt: RegisteredPrompt) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.prompt import constants

    # MLflow's own calls for this link what is active in this process, in its store
    registry = client._get_registry_client()
    experiment_id = client.get_run(run_id).info.experiment_id
    try:
        model = registry.get_registered_model(prompt.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        marks = {constants.IS_PROMPT_TAG_KEY: "true"}
        model = registry.create_registered_model(prompt.name, tags=marks)
    if constants.IS_PROMPT_TAG_KEY not in model._tags:
        raise MlflowException.invalid_parameter_value(
            f"a model has the name '{prompt.name}'; give the run another (name)"
        )
    if ALIAS in model.aliases:
        version = registry.get_model_version_by_alias(prompt.name, ALIAS)
        if version.tags.get(RUN) == run_id:
            return
    chat = isinstance(prompt.template, list)
    version = registry.create_model_version(
        prompt.name,
        source=SOURCE,
        description=prompt.commit_message,
        tags={
            **{k: store_value(v) for k, v in prompt.tags.items()},
            RUN: run_id,
            constants.PROMPT_ASSOCIATED_RUN_IDS_TAG_KEY: run_id,
            constants.IS_PROMPT_TAG_KEY: "true",
            constants.PROMPT_TYPE_TAG_KEY: "chat" if chat else "text",
            constants.PROMPT_TEXT_TAG_KEY: json.dumps(prompt.template) if chat else prompt.template,
            constants.PROMPT_MODEL_CONFIG_TAG_KEY: json.dumps(dict(prompt.model_config)),
        },
    )
    registry.set_registered_model_alias(prompt.name, ALIAS, version.version)
    key = constants.PROMPT_EXPERIMENT_IDS_TAG_KEY
    known = [each for each in model._tags.get(key, "").split(",") if each]
    linked = ",".join(dict.fromkeys([*known, experiment_id]))
    registry.set_registered_model_tag(prompt.name, key, f",{linked},")
    client.set_tag(run_id, LINKED, json.dumps([{"name": prompt.name, "version": version.version}]))
