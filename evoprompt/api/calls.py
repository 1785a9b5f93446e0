"""What the command line does, as functions."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evoprompt.api.result import Result
from evoprompt.api.task import Settings, Task, as_overrides, examples_of, run_config, sections_of
from evoprompt.plugins import name_of

if TYPE_CHECKING:
    from evoprompt.jobs.compare.comparison import Comparison


def evolve(
    task: Task | str | Path,
    *,
    model: str = "smollm2-135m",
    tokens: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    settings: Settings | None = None,
    operators: Mapping[Any, float] | Sequence[Any] | None = None,
    fitness: Any = "auto",
    metric: Any = None,
    traits: Mapping[str, Any] | None = None,
    backend: Any = "local",
    on_generation: Callable[[Mapping[str, Any]], bool | None] | None = None,
    show: bool = False,
) -> Result:
    """Evolve a prompt and return the run: the one that `evoprompt run` makes of the same
    configuration, to the byte of its lineage.

    Args:
        task: what the prompt is for. Instead the path of a config file: then it says everything,
            and of the arguments here only `out`, `settings`, `on_generation` and `show` count.
        model: an embedded model's name, a local folder or a hub id.
        tokens: forwarded by search and validation at most; None leaves the end to the generations.
        seed: of all random draws.
        out: the run's folder; None makes a temporary one, which goes with the result.
        settings: dotted keys, e.g. `{"evolution.generations": 5}`.
        operators: weights by operator, or a list of operators of weight 1: a name, "module:name",
            or a class or object of your own.
        fitness: a name, "module:name", or a class or object of your own.
        metric: of written answers: a name, "module:name", or a function of your own of (answer,
            example) that returns a number, or a number and a text. It is the fitness; where a
            fitness is given, it chooses among the finalists and tests them.
        traits: further traits by name: "module:name", or a function of (policy, scores).
        backend: who scores: a name, "module:name", a class or object of your own, or the address
            of a server that holds the model.
        on_generation: is given each generation's line; where it returns False the search ends.
        show: print what the command line prints.

    Raises:
        UserError: anything given does not go together.

    Examples:
        >>> import evoprompt as ep
        >>> result = ep.evolve(ep.Task.builtin("inbox"), tokens=20_000)
        >>> result.test["metric"]
        'accuracy'
    """
    from evoprompt.jobs.evolve.session import conduct

    given = operators if isinstance(operators, Mapping) else dict.fromkeys(operators or (), 1.0)
    weights = {name_of("operator", o): weight for o, weight in given.items()}
    sections: dict[str, dict[str, Any]] = {
        "fitness": {"kind": name_of("fitness", fitness)},
        "budget": {"prefill_tokens": tokens},
        "evolution": {"operators": weights},
        "traits": {"extra": {name: name_of("trait", t) for name, t in (traits or {}).items()}},
    }
    if metric is not None:
        graded = {"metric": {"name": name_of("metric", metric)}}
        written = {"fitness": {"kind": "metric", **graded}}
        sections |= written if fitness == "auto" else {"final": graded}
    config = run_config(
        task, model=model, seed=seed, backend=backend, sections=sections, settings=settings
    )
    place, temporary = _place(out, config.name)
    folder = conduct(
        config,
        place,
        examples=examples_of(task),
        on_generation=on_generation,
        show=show,
    )
    return Result(folder.path, _temporary=temporary)


def boost(
    config: str | Path, *, out: str | Path | None = None, settings: Settings | None = None
) -> Result:
    """Run the self-evaluation loop of a config file; return what it came to.

    Args:
        config: the file, as `evoprompt boost` takes it.
        out: the loop's folder; None makes a temporary one, which goes with the result.
        settings: dotted keys, e.g. `{"loop.rounds": 2}`.

    Raises:
        UserError: as for `evolve`.

    Examples:
        >>> import evoprompt as ep
        >>> short = {"loop.rounds": 1, "loop.batch": 8, "task.test_examples": 16}
        >>> loop = ep.boost("configs/boost/quick.yaml", settings=short)
        >>> loop.summary["rounds"]
        1
    """
    from evoprompt.jobs.boost.config import load_boost
    from evoprompt.jobs.boost.session import conduct

    loop = load_boost(Path(config), as_overrides(settings))
    place, temporary = _place(out, loop.name)
    return Result(conduct(loop, place, show=False).path, _temporary=temporary)


def sweep(
    config: str | Path,
    *,
    out: str | Path,
    settings: Settings | None = None,
    show: bool = False,
) -> list[Mapping[str, Any]]:
    """Run the sweep of a file; return a row for each run, as `sweep.json` has them.

    Args:
        config: the file, as `evoprompt sweep` takes it.
        out: the sweep's folder.
        settings: dotted keys for all runs.
        show: print what the command line prints.

    Raises:
        UserError: as for `evolve`.

    Examples:
        >>> import evoprompt as ep
        >>> short = {"evolution.generations": 1, "workers.backend": "local"}
        >>> short["budget.prefill_tokens"] = 10_000
        >>> rows = ep.sweep("configs/sweeps/quick.yaml", out="runs/quick", settings=short)
        >>> [row["status"] for row in rows]
        ['done', 'done', 'done', 'done']
    """
    from evoprompt.jobs.base import SWEEP
    from evoprompt.jobs.sweep.loop import start
    from evoprompt.terminal import new_console

    start(Path(config), Path(out), as_overrides(settings), new_console(quiet=not show))
    rows: list[Mapping[str, Any]] = json.loads((Path(out) / SWEEP).read_text("utf-8"))["runs"]
    return rows


def compare(runs: Sequence[str | Path], *, by: Sequence[str] = ()) -> Comparison:
    """Return the comparison of runs: curves, final values, tests over seeds.

    Args:
        runs: folders of runs, or folders around them.
        by: config keys that make the groups; none takes all in which the runs differ.

    Raises:
        UserError: there are no runs, or they cannot be compared.

    Examples:
        >>> import evoprompt as ep
        >>> found = ep.compare(["runs/quick"], by=["evolution.parent_selection.method"])
        >>> [result.group.name for result in found.groups]
        ['method=tournament', 'method=truncation']
    """
    from evoprompt.jobs.compare.comparison import Settings as CompareSettings
    from evoprompt.jobs.compare.comparison import compare_runs

    return compare_runs([Path(run) for run in runs], CompareSettings(tuple(by)))


@dataclass(frozen=True)
class Score:
    """How likely a continuation is after its context."""

    log_likelihood: float  #: nats, summed over the continuation's tokens
    num_tokens: int
    is_greedy: bool  #: every token is the model's first choice


def score(
    pairs: Sequence[tuple[str, str]],
    *,
    model: str = "smollm2-135m",
    backend: Any = "local",
    settings: Settings | None = None,
) -> list[Score]:
    """Return log p(continuation | context) of each pair, tokenized as the LM Evaluation Harness
    does.

    Args:
        pairs: (context, continuation).
        model: an embedded model's name, a local folder or a hub id.
        backend: who scores: a name, "module:name", a class or object of your own, or the address
            of a server that holds the model.
        settings: dotted keys of a job's configuration, e.g. `{"model.dtype": "bfloat16"}`.

    Raises:
        UserError: a continuation has no tokens, or a pair does not fit the model's window.

    Examples:
        >>> import evoprompt as ep
        >>> [likely, unlikely] = ep.score([("The sky is", " blue"), ("The sky is", " spoon")])
        >>> likely.log_likelihood > unlikely.log_likelihood
        True
    """
    from evoprompt.config.reader import check_section, put_value
    from evoprompt.config.sections import JobConfig
    from evoprompt.jobs.score import score_pairs

    values = sections_of(Task({}), model, 0, backend) | {"task": None}
    for key, value in (settings or {}).items():
        put_value(values, key, value, f"settings[{key!r}]")
    requests, scores, _ = score_pairs(check_section(JobConfig, values, "evoprompt.score"), pairs)
    return [
        Score(float(value), len(request.continuation), bool(greedy))
        for request, value, greedy in zip(
            requests, scores.log_likelihood, scores.is_greedy, strict=True
        )
    ]


def _place(out: str | Path | None, name: str) -> tuple[Path, Any]:
    """Return the folder of a job, and what takes it away again where it is a temporary one."""
    if out is not None:
        return Path(out), None
    temporary = tempfile.TemporaryDirectory(prefix="evoprompt-")
    return Path(temporary.name) / name, temporary
