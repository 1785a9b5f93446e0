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

if TYPE_CHECKING:
    from evoprompt.api import Champion as Champion
    from evoprompt.api import Result as Result
    from evoprompt.api import Score as Score
    from evoprompt.api import Task as Task
    from evoprompt.api import boost as boost
    from evoprompt.api import compare as compare
    from evoprompt.api import evolve as evolve
    from evoprompt.api import load as load
    from evoprompt.api import score as score
    from evoprompt.api import sweep as sweep
    from evoprompt.ask_tell import Evolution as Evolution
    from evoprompt.errors import UserError as UserError
    from evoprompt.policy import Demonstration as Demonstration
    from evoprompt.policy import Policy as Policy
    from evoprompt.policy import Template as Template
    from evoprompt.records import LabelScores as LabelScores

__version__ = "0.1.0"

#: Where each public name is; it is imported when it is asked for.
_PLACES = {
    **dict.fromkeys(
        (
            *("Champion", "Result", "Score", "Task", "boost", "compare"),
            *("evolve", "load", "score", "sweep"),
        ),
        "evoprompt.api",
    ),
    "UserError": "evoprompt.errors",
    "Evolution": "evoprompt.ask_tell",
    "Demonstration": "evoprompt.policy",
    "Policy": "evoprompt.policy",
    "Template": "evoprompt.policy",
    "LabelScores": "evoprompt.records",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'evoprompt' has no attribute '{name}'")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PLACES])
