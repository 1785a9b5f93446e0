"""What the command line does, from Python: the same engine, the same files, the same lineages.

    import evoprompt as ep

    task = ep.Task.from_examples([("I was charged twice", "complaint"), ...])
    result = ep.evolve(task, tokens=60_000)
    print(result.champion.prompt, result.test)
    result.predict(["Where is my parcel?"])

Everything here is reached as a name of `evoprompt`; heavy packages are imported when they are
needed. Mistakes are `ep.UserError`s that say how to mend them.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from evoprompt.errors import UserError
from evoprompt.plugins import name_of

if TYPE_CHECKING:
    from evoprompt.jobs.base import Champion as JobChampion
    from evoprompt.jobs.compare.comparison import Comparison
    from evoprompt.jobs.evolve.config import Config
    from evoprompt.measurement.asker import Asker
    from evoprompt.policy import Policy

#: Among at most so many different targets a task is taken to be a choice among them.
MOST_CHOICES = 20

#: Values of dotted keys of the configuration, as `--set` takes them.
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """Where the examples come from. Make one by `from_examples`, `from_file` or `builtin`."""

    config: Mapping[str, Any]  #: keys of the section `task` of a configuration
    examples: tuple[Mapping[str, Any], ...] = ()  #: given in memory: lines of a task's file

    @classmethod
    def from_examples(
        cls,
        examples: Sequence[tuple[str, str] | Mapping[str, Any]],
        *,
        choices: Sequence[str] | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Return a task of pairs (input, target), or of mappings with the keys `input`, `target`
        and, as they like, `choices` and `id`.

        Args:
            examples: they are split by content into demonstrations, fitness, validation and test.
            choices: what every input is offered. None takes the different targets where there are
                at most 20 and each comes twice in the mean; else answers are free text.
            settings: further keys of the section `task`, e.g. `{"fitness_examples": 24}`.

        Raises:
            UserError: an example is neither a pair nor a mapping.

        >>> import evoprompt as ep
        >>> pairs = [("I was charged twice", "complaint"), ("Where is my parcel?", "question")]
        >>> ep.Task.from_examples(2 * pairs).examples[0]["choices"]
        ['complaint', 'question']
        """
        rows = [_row(example) for example in examples]
        targets = Counter(str(row.get("target")) for row in rows)
        if choices is None and len(targets) <= min(MOST_CHOICES, len(rows) // 2):
            choices = sorted(targets)
        offered = list(choices) if choices is not None and len(choices) > 1 else None
        lines = tuple({"choices": offered, **row} for row in rows)
        return cls(dict(settings or {}), lines)

    @classmethod
    def from_file(cls, path: str | Path, *, settings: Settings | None = None) -> Self:
        """Return the task of a JSONL file, a line each: `{"input", "target", "choices"}`.

        >>> import evoprompt as ep
        >>> task = ep.Task.from_file("mine.jsonl", settings={"test_examples": 100})
        """
        return cls({"path": str(Path(path).resolve()), **(settings or {})})

    @classmethod
    def builtin(cls, name: str, *, settings: Settings | None = None) -> Self:
        """Return a task of the package.

        >>> import evoprompt as ep
        >>> ep.Task.builtin("inbox").config
        {'name': 'inbox'}
        """
        return cls({"name": name, **(settings or {})})


@dataclass(frozen=True)
class Champion:
    """The policy that a run ended with."""

    policy: Policy
    prompt: str  #: the whole prompt, with a placeholder for the input
    label_words: Mapping[str, str]  #: the word that stands for each choice, where it is another


@dataclass(frozen=True)
class Picture:
    """A figure as SVG text; notebooks show it."""

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> Path:
        """Write the figure to a file; return its path."""
        file = Path(path)
        file.write_text(self.svg, encoding="utf-8")
        return file


@dataclass
class Result:
    """A complete run or loop, read from its folder alone.

    >>> import evoprompt as ep
    >>> result = ep.load("runs/quickstart")
    >>> result.summary["seed"]
    0
    """

    folder: Path
    _asker: Asker | None = field(default=None, repr=False)
    _temporary: Any = field(default=None, repr=False)  #: takes the folder away with this object

    @property
    def summary(self) -> dict[str, Any]:
        """What `summary.json` has."""
        found: dict[str, Any] = json.loads((self.folder / "summary.json").read_text("utf-8"))
        return found

    @property
    def test(self) -> dict[str, Any]:
        """The held-out check: baseline, champion and their difference, with intervals."""
        found: dict[str, Any] = self.summary["test"]
        return found

    @property
    def champion(self) -> Champion:
        """The policy that the run ended with."""
        summary, policy = self.summary, self._job_champion.policy
        return Champion(policy, summary["champion"]["prompt"], dict(policy.label_words))

    @property
    def _job_champion(self) -> JobChampion:
        from evoprompt.jobs.base import job_of

        return job_of(self.folder).champion(self.folder)

    def predict(self, inputs: Sequence[str]) -> list[str]:
        """Return the champion's answer to each input: the likeliest choice, or what the model
        writes where the task has none. The model is loaded once.

        Raises:
            UserError: a prompt does not fit the model's window.
        """
        return [max(shares, key=lambda a: shares[a]) for shares in self.probabilities(inputs)]

    def probabilities(self, inputs: Sequence[str]) -> list[dict[str, float]]:
        """Return the probability of each choice for each input; in free form that of the answer
        alone, per token.
        """
        from evoprompt.measurement.model import build_asker
        from evoprompt.records import Example
        from evoprompt.tasks.load import load_task

        champion = self._job_champion
        if self._asker is None:
            self._asker = build_asker(
                champion.config,
                answer_tokens=champion.answer_tokens,
                with_prior=champion.with_prior,
            )
        task = load_task(champion.config.task) if champion.config.task is not None else None
        choices = task.choices if task is not None else None
        target = choices[0] if choices else "?"
        asked = [Example(str(i), text, target, choices) for i, text in enumerate(inputs)]
        answers = self._asker.answers(champion.policy, asked, "predict")
        if choices is None:
            return [{a.text: a.probability} for a in answers]
        return [dict(zip(choices, a.probabilities, strict=True)) for a in answers]

    def plot(self) -> Picture:
        """Return the fitness by generation."""
        from evoprompt.jobs.evolve.figures import fitness_figure
        from evoprompt.jobs.evolve.folder import GENERATIONS, LINEAGE, EvolveFolder

        folder = EvolveFolder.open(self.folder)
        kind = self.summary["fitness"]["kind"]
        return Picture(fitness_figure(folder.lines(GENERATIONS), folder.lines(LINEAGE), kind))

    def report(self) -> Path:
        """Write the page again; return its path."""
        from evoprompt.jobs.base import job_of

        return job_of(self.folder).report(self.folder)

    def save(self, path: str | Path) -> Result:
        """Copy the folder, e.g. out of a temporary one; return the result there.

        Raises:
            UserError: the path is in use.
        """
        target = Path(path)
        if target.exists():
            raise UserError(f"{target} exists, and nothing is overwritten; give another path")
        shutil.copytree(self.folder, target)
        return load(target)

    def close(self) -> None:
        """Give the model back, and take a temporary folder away."""
        if self._asker is not None:
            self._asker.measurer.close()
            self._asker = None
        if self._temporary is not None:
            self._temporary.cleanup()


def load(path: str | Path) -> Result:
    """Return the result in a folder.

    Raises:
        UserError: no job made the folder, or it is not complete.
    """
    from evoprompt.jobs.base import job_of

    folder = Path(path).resolve()
    job_of(folder).champion(folder)
    return Result(folder)


def evolve(
    task: Task | str | Path,
    *,
    model: str = "smollm2-135m",
    tokens: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    settings: Settings | None = None,
    operators: Mapping[Any, float] | None = None,
    fitness: Any = "auto",
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
        operators: weights by operator: a name, "module:name", or a class or object of your own.
        fitness: a name, "module:name", or a class or object of your own.
        traits: further traits by name: "module:name", or a function of (policy, scores).
        backend: who scores: a name, "module:name", or a class or object of your own.
        on_generation: is given each generation's line; where it returns False the search ends.
        show: print what the command line prints.

    Raises:
        UserError: anything given does not go together.

    >>> import evoprompt as ep
    >>> result = ep.evolve(ep.Task.builtin("inbox"), tokens=6_000)
    >>> result.summary["tokens"]["prefill"] < 15_000
    True
    """
    from evoprompt.jobs.evolve.session import conduct

    weights = {name_of("operator", o): weight for o, weight in (operators or {}).items()}
    sections = {
        "fitness": {"kind": name_of("fitness", fitness)},
        "budget": {"prefill_tokens": tokens},
        "evolution": {"operators": weights},
        "traits": {"extra": {name: name_of("trait", t) for name, t in (traits or {}).items()}},
    }
    config = run_config(
        task, model=model, seed=seed, backend=backend, sections=sections, settings=settings
    )
    place, temporary = _place(out, config.name)
    folder = conduct(
        config,
        place,
        examples=task.examples if isinstance(task, Task) else (),
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

    >>> import evoprompt as ep
    >>> ep.boost("configs/boost/quick.yaml", settings={"loop.rounds": 1}).summary["rounds"]
    1
    """
    from evoprompt.jobs.boost.config import load_boost
    from evoprompt.jobs.boost.session import conduct

    loop = load_boost(Path(config), _overrides(settings))
    place, temporary = _place(out, loop.name)
    return Result(conduct(loop, place, show=False).path, _temporary=temporary)


def sweep(
    config: str | Path, *, out: str | Path, settings: Settings | None = None
) -> list[dict[str, Any]]:
    """Run the sweep of a file; return a row for each run, as `sweep.json` has them.

    Args:
        config: the file, as `evoprompt sweep` takes it.
        out: the sweep's folder.
        settings: dotted keys for all runs.

    Raises:
        UserError: as for `evolve`.

    >>> import evoprompt as ep
    >>> rows = ep.sweep("configs/sweeps/quick.yaml", out="runs/quick")
    >>> [row["status"] for row in rows]
    ['done', 'done', 'done', 'done']
    """
    from evoprompt.jobs.base import SWEEP
    from evoprompt.jobs.sweep.loop import start

    start(Path(config), Path(out), _overrides(settings))
    rows: list[dict[str, Any]] = json.loads((Path(out) / SWEEP).read_text("utf-8"))["runs"]
    return rows


def compare(runs: Sequence[str | Path], *, by: Sequence[str] = ()) -> Comparison:
    """Return the comparison of runs: curves, final values, tests over seeds.

    Args:
        runs: folders of runs, or folders around them.
        by: config keys that make the groups; none takes all in which the runs differ.

    Raises:
        UserError: there are no runs, or they cannot be compared.

    >>> import evoprompt as ep
    >>> found = ep.compare(["runs/quick"], by=["evolution.parent_selection.method"])
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
        backend: who scores: a name, "module:name", or a class or object of your own.
        settings: dotted keys of a job's configuration, e.g. `{"model.dtype": "bfloat16"}`.

    Raises:
        UserError: a continuation has no tokens, or a pair does not fit the model's window.

    >>> import evoprompt as ep
    >>> [likely, unlikely] = ep.score([("The sky is", " blue"), ("The sky is", " spoon")])
    >>> likely.log_likelihood > unlikely.log_likelihood
    True
    """
    from evoprompt.config.reader import check_section
    from evoprompt.config.sections import JobConfig
    from evoprompt.jobs.score import score_pairs

    values = _sections(Task({}), model, 0, backend) | {"task": None}
    for key, value in (settings or {}).items():
        _put(values, key, value)
    requests, scores, _ = score_pairs(check_section(JobConfig, values, "evoprompt.score"), pairs)
    return [
        Score(float(value), len(request.continuation), bool(greedy))
        for request, value, greedy in zip(
            requests, scores.log_likelihood, scores.is_greedy, strict=True
        )
    ]


def run_config(
    task: Task | str | Path,
    *,
    model: str = "smollm2-135m",
    seed: int = 0,
    backend: Any = "local",
    sections: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
) -> Config:
    """Return the configuration of a run as `evolve` makes it; that of a file as it is, but for the
    settings.
    """
    from evoprompt.jobs.evolve.config import check_config, load_config

    if not isinstance(task, Task):
        return load_config(Path(task), _overrides(settings))
    values = _sections(task, model, seed, backend) | dict(sections or {})
    for key, value in (settings or {}).items():
        _put(values, key, value)
    return check_config(values, "evoprompt")


def _row(example: tuple[str, str] | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(example, Mapping):
        return dict(example)
    if isinstance(example, str) or len(example) != 2:
        raise UserError(
            f"the example {example!r} is neither a pair (input, target) nor a mapping with these "
            "keys"
        )
    return {"input": str(example[0]), "target": str(example[1])}


def _sections(task: Task, model: str, seed: int, backend: Any) -> dict[str, Any]:
    from evoprompt.jobs.evolve.folder import EXAMPLES

    source = {"path": EXAMPLES} if task.examples else {}
    return {
        "name": str(task.config.get("name", "run")),
        "seed": seed,
        "model": {"name": model},
        "task": {**source, **task.config},
        "workers": {"backend": name_of("backend", backend), "threads": None},
        "tracking": {"enabled": False},
    }


def _overrides(settings: Settings | None) -> list[str]:
    """Return settings as `--set` takes them; JSON is YAML too."""
    return [f"{key}={json.dumps(value)}" for key, value in (settings or {}).items()]


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for name in sections:
        values = values.setdefault(name, {})
    values[last] = value


def _place(out: str | Path | None, name: str) -> tuple[Path, Any]:
    """Return the folder of a job, and what takes it away again where it is a temporary one."""
    if out is not None:
        return Path(out), None
    temporary = tempfile.TemporaryDirectory(prefix="evoprompt-")
    return Path(temporary.name) / name, temporary
