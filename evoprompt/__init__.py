"""evoprompt evolves prompts for open-weight language models and explains every generation.

    import evoprompt as ep

    result = ep.evolve(ep.Task.builtin("inbox"), tokens=60_000)
    print(result.champion.prompt)

Importing the package loads none of torch, transformers, ray, mlflow or deap: the parts that need
them import them when they run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from evoprompt.about import __version__ as __version__

if TYPE_CHECKING:
    from evoprompt.api.ask_tell import Evolution as Evolution
    from evoprompt.api.calls import Score as Score
    from evoprompt.api.calls import boost as boost
    from evoprompt.api.calls import compare as compare
    from evoprompt.api.calls import evolve as evolve
    from evoprompt.api.calls import score as score
    from evoprompt.api.calls import sweep as sweep
    from evoprompt.api.result import Result as Result
    from evoprompt.api.result import load as load
    from evoprompt.api.task import Task as Task
    from evoprompt.errors import UserError as UserError
    from evoprompt.jobs.base import Champion as Champion
    from evoprompt.optimizers.mlflow import EvoPromptOptimizer as EvoPromptOptimizer
    from evoprompt.policy import Demonstration as Demonstration
    from evoprompt.policy import Policy as Policy
    from evoprompt.policy import Template as Template
    from evoprompt.records import LabelScores as LabelScores

#: Where each public name is; it is imported when it is asked for.
_PLACES = {
    **dict.fromkeys(("Score", "boost", "compare", "evolve", "score", "sweep"), "api.calls"),
    **dict.fromkeys(("Result", "load"), "api.result"),
    **dict.fromkeys(("Demonstration", "Policy", "Template"), "policy"),
    "Champion": "jobs.base",
    "EvoPromptOptimizer": "optimizers.mlflow",
    "Evolution": "api.ask_tell",
    "LabelScores": "records",
    "Task": "api.task",
    "UserError": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'evoprompt' has no attribute '{name}'")
    return getattr(import_module(f"evoprompt.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
