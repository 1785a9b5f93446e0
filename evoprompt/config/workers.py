"""The section of a configuration that says who scores, and where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from evoprompt.config.values import Count, Few, Section, Share


class WorkersConfig(Section):
    """How the scoring is spread. On CPU the cores are divided among the workers."""

    backend: str = "ray"  #: who scores, a name of `backends.open.BACKENDS` or of a plug-in
    count: Few | None = None  #: default: one per GPU, or per `threads` cores
    threads: Few | None = 1  #: of each worker on CPU; None: all cores, in this process only
    #: 1, a fraction, or 0 for CPU; default: 1 where Ray has GPUs
    gpus_per_worker: Share | None = None
    #: of a running cluster; default: a local one that ends with the run
    ray_address: str | None = None
    #: of all workers together, before the run gives up
    max_restarts: Count = 3
    #: of `backend: server`: its address, like http://127.0.0.1:8000. `model.name` names the model
    #: it holds, for its tokenizer, and `count` says how many prompts it is sent at once; its key is
    #: read from the environment variable EVOPROMPT_API_KEY
    url: str | None = None
    #: of `backend: server`: what it is; `echo`: any that echoes log-probabilities of prompts
    dialect: Literal["auto", "vllm", "llama.cpp", "sglang", "echo"] = "auto"
    #: of `backend: server`: by which name it has the model; None: the only one, or `model.name`
    served_model: str | None = None


def workers_of(backend: str) -> Mapping[str, str]:
    """Return the keys of the section for a backend: a name, or the address of a server."""
    if backend.startswith(("http://", "https://")):
        return {"backend": "server", "url": backend}
    return {"backend": backend}
