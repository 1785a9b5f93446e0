"""The configuration of a job -> its model, opened: what answers, its tokenizer, and who scores with
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evoprompt.backends.base import Backend, Executor, Identity, TextTokenizer
from evoprompt.config.sections import JobConfig, WorkersConfig
from evoprompt.plugins import find

#: Every backend of the package. A new one is a file of this folder and a line here.
BACKENDS: Mapping[str, str] = {
    "ray": "evoprompt.backends.ray:RayBackend",
    "local": "evoprompt.backends.local:LocalBackend",
    "server": "evoprompt.backends.server.backend:ServerBackend",
}

#: What a backend has.
PARTS = ("identify", "tokenizer", "open")


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model that answers."""

    identity: Identity
    tokenizer: TextTokenizer
    executor: Executor


def backend_of(config: JobConfig) -> Backend:
    """Return the backend of a configuration; one that has to know of the workers before anything is
    opened is told of them (`at`).

    Raises:
        UserError: there is none of that name, or it does not go with these workers.
    """
    backend: Backend = find("backend", config.workers.backend, BACKENDS, "workers.backend", PARTS)
    at = getattr(backend, "at", None)
    return backend if at is None else at(config.workers)


def open_model(config: JobConfig) -> OpenModel:
    """Return the model of a configuration; it may still be loading.

    Raises:
        UserError: as `Backend.identify` and `Backend.open`.
    """
    backend = backend_of(config)
    identity = backend.identify(config.model)
    executor = backend.open(config.model, config.workers)
    return OpenModel(identity, backend.tokenizer(identity), executor)


def in_this_process(config: JobConfig) -> JobConfig:
    """Return the configuration with the model in this process, on all of its cores, where a fleet
    would have it.

    Who asks one thing at a time has no use for a fleet. Other backends stay as they are.
    """
    if config.workers.backend != "ray":
        return config
    return config.model_copy(update={"workers": WorkersConfig(backend="local", threads=None)})
