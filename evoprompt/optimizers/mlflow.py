"""The search as an optimizer of MLflow: `mlflow.genai.optimize_prompts(optimizer=...)`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.genai.optimize.optimizers import BasePromptOptimizer
from mlflow.genai.optimize.types import PromptOptimizerOutput

from evoprompt.api.task import Settings, Task, run_config
from evoprompt.errors import UserError
from evoprompt.jobs.evolve.build import check_task
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.session import conduct
from evoprompt.jobs.given import config_of
from evoprompt.optimizers.black_box import MARK, PROGRAM, TOKENS_A_CALL, BlackBox, Evaluate, grade
from evoprompt.optimizers.prompts import Form, form_of, is_taken
from evoprompt.optimizers.rows import Record, Rows, examples_of, rows_of
from evoprompt.plugins import name_of
from evoprompt.policy import Policy
from evoprompt.store.folder import SUMMARY
from evoprompt.tasks.base import Task as RunTask
from evoprompt.tracking.mlflow import SILENCED
from evoprompt.variation.catalog import OPERATORS

#: Calls of predict_fn where none are said.
CALLS = 300
#: What a text that somebody else reads has no room for.
FIXED_SLOTS = ("template", "label_words", "steps", "chat", "evaluator")
#: How often instructions are written, where somebody writes.
WRITTEN = {
    "instruction_paraphrase": 1.0,
    "instruction_mutate": 1.0,
    "instruction_crossover": 0.5,
    "instruction_from_history": 0.5,
}
STORE = "MLFLOW_TRACKING_URI"


@dataclass(frozen=True, slots=True)
class _Found:
    """What became of the prompts."""

    templates: dict[str, str]
    initial: tuple[float, dict[str, float]] | None = None  #: the mean score, and each scorer's
    final: tuple[float, dict[str, float]] | None = None


class EvoPromptOptimizer(BasePromptOptimizer):  # type: ignore[misc]  # MLflow is not typed
    """Evolves prompts of MLflow's registry. Several are evolved one after another, each with an
    equal part of the budget, while the others stay at the best that is known.

    Without a model predict_fn is a black box: fitness is the scorers' mean, and the scores that
    come back are of rows that nothing was chosen by. With a model the search goes by the likelihood
    of the right answers under it; predict_fn is called to compare the first prompt and the last,
    where there are scorers.

    Args:
        calls: of predict_fn at most, for a black box; 300 where none are said.
        model: an embedded model's name, a local folder or a hub id, whose likelihoods are searched
            by; None is the black box.
        tokens: that the model forwards in search and validation at most; None leaves the end to the
            generations.
        writer: who writes instructions: the address of a server with Chat Completions, or a model's
            name; None has none written. A black box is not charged for it.
        seed: of all random draws.
        backend: who scores with the model: a name, "module:name", a class or object of your own, or
            the address of a server that holds the model.
        out: a new folder for the runs, one for each prompt; None keeps them in MLflow alone.
        settings: dotted keys of a run's configuration, e.g. `{"evolution.children": 4}`.
        show: print what the command line prints.

    Raises:
        UserError: calls are given with a model, or tokens without one.

    Examples:
        >>> import evoprompt as ep
        >>> ep.EvoPromptOptimizer(calls=100).calls
        100
    """

    def __init__(
        self,
        *,
        calls: int | None = None,
        model: str | None = None,
        tokens: int | None = None,
        writer: str | None = None,
        seed: int = 0,
        backend: Any = "local",
        out: str | Path | None = None,
        settings: Settings | None = None,
        show: bool = False,
    ) -> None:
        if model is not None and calls is not None:
            raise UserError(
                f"calls={calls} is the budget of a black box, and model={model!r} is searched by "
                "its likelihoods; give tokens, or leave model out"
            )
        if model is None and tokens is not None:
            raise UserError(
                f"tokens={tokens} is the budget of a model, and none is given; give model, or "
                "calls for a black box"
            )
        self.calls = CALLS if calls is None else calls
        self.model, self.tokens, self.seed = model, tokens, seed
        self.writer = writer
        self.backend, self.out, self.show = backend, out, show
        self.settings = dict(settings or {})

    def optimize(
        self,
        eval_fn: Evaluate | None,
        train_data: list[Record],
        target_prompts: dict[str, str],
        enable_tracking: bool = True,
    ) -> PromptOptimizerOutput:
        """Return the prompts that were found, and their scores before and after on rows that
        nothing was chosen by; without scorers, no scores.

        Args:
            eval_fn: MLflow's: (templates by name, rows) -> a result with a score for each row.
            train_data: the rows, each with inputs and, where it is known, what is right.
            target_prompts: templates by name; chats as JSON.
            enable_tracking: whether MLflow is told of each run, below the active one.

        Raises:
            UserError: there are too few rows or calls, or a prompt of no form that is known.
        """
        if not train_data or eval_fn is None:
            raise UserError(
                "optimize_prompts was given no train_data; a prompt is evolved on rows with inputs "
                "and what is right"
            )
        forms = {name: form_of(name, text) for name, text in target_prompts.items()}
        with self._place() as place, _store():
            search = _Search(self, place, enable_tracking)
            if self.model is None:
                found = search.black_box(eval_fn, train_data, forms)
            else:
                found = search.likelihood(eval_fn, train_data, forms)
        return _output(found)

    @contextmanager
    def _place(self) -> Iterator[Path]:
        """Yield the folder of the runs."""
        if self.out is not None:
            yield Path(self.out)
            return
        with TemporaryDirectory(prefix="evoprompt-") as folder:
            yield Path(folder)


@dataclass(frozen=True, slots=True)
class _Search:
    """The runs of one optimization."""

    given: EvoPromptOptimizer
    place: Path
    is_tracked: bool

    def black_box(
        self, evaluate: Evaluate, records: Sequence[Record], forms: Mapping[str, Form]
    ) -> _Found:
        """Evolve by scores; all runs keep the same rows for the test, so that the scores before,
        which are the first run's, and those after, the last one's, are of rows that none chose by.
        """
        given = {name: form.text(form.policy) for name, form in forms.items()}
        found, left = _Found(given), self.given.calls
        share = left // len(forms)
        for number, (name, form) in enumerate(forms.items()):
            calls = left // (len(forms) - number)
            rows = rows_of(form, records, MARK, share, self.given.seed)
            box = BlackBox(evaluate, form, rows.records, found.templates)
            held_out = [example.input for example in rows.splits[-1]]
            config = _black_box_config(self, box, rows, calls)
            initial = found.initial or box.mean(given[name], held_out)
            policy, _ = self._evolve(name, config, ())
            template = box.template(policy)
            if not box.is_better(template, given[name], held_out):
                template = given[name]
            templates = found.templates | {name: template}
            found = _Found(templates, initial, box.mean(templates[name], held_out))
            left -= box.calls
        return found

    def likelihood(
        self, evaluate: Evaluate, records: Sequence[Record], forms: Mapping[str, Form]
    ) -> _Found:
        """Evolve each prompt by itself, its answers compared as they are: no calibration travels in
        a text. Where there are scorers, a prompt that scores no more than the given one on the rows
        that its run searched and chose by stays as it was; all together are compared on the rows
        that no run chose by.
        """
        before = {name: form.text(form.policy) for name, form in forms.items()}
        has_scores = evaluate(before, [dict(records[0])])[0].score is not None
        after, held_out = dict(before), set(range(len(records)))
        for name, form in forms.items():
            task = Task.from_examples(examples_of(form, records))
            config = _likelihood_config(self, form, task, len(forms))
            policy, run = self._evolve(name, config, task.examples)
            held_out &= {int(example.example_id) for example in run.test}
            found = after | {name: form.text(policy)}
            met = (*run.fitness, *run.validation)
            chosen_by = [dict(records[int(example.example_id)]) for example in met]
            if not has_scores or _is_better(evaluate, found, after, chosen_by):
                after = found
        asked = [dict(records[place]) for place in sorted(held_out)]
        if not asked or not has_scores:
            return _Found(after)
        return _Found(after, _mean(evaluate(before, asked)), _mean(evaluate(after, asked)))

    def _evolve(
        self, name: str, config: Config, examples: Sequence[Mapping[str, Any]]
    ) -> tuple[Policy, RunTask]:
        """Return the champion of a run, and its task."""
        active = mlflow.active_run() if self.is_tracked else None
        parent = None if active is None else active.info.run_id
        folder = conduct(
            config, self.place / name, examples=examples, show=self.given.show, parent=parent
        )
        task = check_task(EvolveFolder.open(folder.path).config())[0]
        summary: Mapping[str, Any] = folder.read(SUMMARY)
        return Policy.from_dict(summary["champion"]["policy"]), task

    def config(self, name: str, task: Task, model: str, backend: Any, sections: Any) -> Config:
        """Return the configuration of a run."""
        tracking: dict[str, Any] = {"enabled": False}
        active = mlflow.active_run() if self.is_tracked else None
        if active is not None:
            experiment = mlflow.get_experiment(active.info.experiment_id).name
            tracking = {"experiment": experiment, "register_champion": False}
        return run_config(
            task,
            model=model,
            seed=self.given.seed,
            backend=backend,
            sections={"name": name, "tracking": tracking, **sections},
            settings=self.given.settings,
        )


def _black_box_config(search: _Search, box: BlackBox, rows: Rows, calls: int) -> Config:
    shown, fitness, validation, test = rows.splits
    searched = calls - 2 * len(test)
    least = len(fitness) + 2 * len(validation)
    if searched < least:
        raise UserError(
            f"{calls} calls for the prompt '{rows.name}' are too few: {least} take the prompt as "
            f"it is and a choice, and {2 * len(test)} the test; give calls more, at least "
            f"{least + 2 * len(test)} a prompt, better some times as many, or fewer rows"
        )
    task = {
        "source": name_of("source", rows),
        "starting_policies": [config_of(box.policy()).model_dump()],
        "starting_demonstrations": ["auto"] if shown else [0],
        "starting_sets_bare": False,
        "demonstration_inputs": "all",
        **{"fitness_examples": len(fitness), "validation_examples": len(validation)},
        "test_examples": len(test),
    }
    metric = {"name": name_of("metric", grade), "max_tokens": TOKENS_A_CALL - 1}
    sections = {
        "fitness": {"kind": "metric", "calibration": "off", "metric": metric},
        "budget": {"logical_tokens": TOKENS_A_CALL * searched},
        "evolution": {"operators": _operators(bool(shown), search.given.writer)},
        **_writer(search.given.writer, charged=False),
    }
    return search.config(rows.name, Task(task), PROGRAM, box, sections)


def _likelihood_config(search: _Search, form: Form, task: Task, num_prompts: int) -> Config:
    given, tokens = replace(form.policy, chat="off"), search.given.tokens
    own: dict[str, Any] = {"starting_policies": [config_of(given).model_dump()]}
    if not form.has_place:
        own |= {"starting_demonstrations": [0]}
    model = str(search.given.model)
    sections = {
        "model": {"name": model, "chat": form.policy.chat},
        "fitness": {"calibration": "off"},
        "budget": {"prefill_tokens": None if tokens is None else tokens // num_prompts},
        "evolution": {"operators": _operators(form.has_place, search.given.writer)},
        **_writer(search.given.writer, charged=True),
    }
    settled = replace(task, config={**task.config, **own}, examples=_shown(task.examples))
    return search.config(form.name, settled, model, search.given.backend, sections)


def _shown(examples: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return the examples whose answers MLflow would take for texts."""
    taken = next((e for e in examples if is_taken(str(e["target"]))), None)
    if taken is not None:
        raise UserError(
            f"row {taken['id']} of train_data has the right answer {taken['target']!r}, which "
            "MLflow would take for a variable in a prompt; leave the row out"
        )
    return tuple(examples)


def _writer(name: str | None, *, charged: bool) -> dict[str, Any]:
    """Return the section of who writes, where anybody does."""
    if name is None:
        return {}
    is_server = name.startswith(("http://", "https://"))
    who = {"url": name, "chat": True} if is_server else {"model": name}
    return {"writer": {**who, "charged": charged}}


def _operators(shows: bool, writer: str | None) -> dict[str, float]:
    """Return the weights that differ from those by default: a template of MLflow has an instruction
    and, where there is a place for them, demonstrations; and who writes is asked to.
    """
    fixed = (*FIXED_SLOTS, *(() if shows else ("demonstrations",)))
    weights = {operator.name: 0.0 for operator, _ in OPERATORS if operator.slot in fixed}
    return weights | ({} if writer is None else dict(WRITTEN))


def _is_better(
    evaluate: Evaluate,
    found: Mapping[str, str],
    before: Mapping[str, str],
    rows: Sequence[Record],
) -> bool:
    """Return whether prompts score more than those before on rows, in the mean."""
    scored = [_mean(evaluate(dict(prompts), list(rows)))[0] for prompts in (found, before)]
    return scored[0] > scored[1]


def _mean(results: Sequence[Any]) -> tuple[float, dict[str, float]]:
    names = dict.fromkeys(n for result in results for n in result.individual_scores)
    scorers = {
        n: sum(float(r.individual_scores.get(n, 0.0)) for r in results) / len(results)
        for n in names
    }
    return sum(float(r.score) for r in results) / len(results), scorers


def _output(found: _Found) -> PromptOptimizerOutput:
    (initial, initial_by), (final, final_by) = (
        found.initial or (None, {}),
        found.final or (None, {}),
    )
    return PromptOptimizerOutput(found.templates, initial, final, initial_by, final_by)


@contextmanager
def _store() -> Iterator[None]:
    """Have the runs in the store that MLflow uses in this process; what the tracker silences is
    heard again afterwards.
    """
    before = os.environ.get(STORE)
    levels = {name: logging.getLogger(name).level for name in SILENCED}
    os.environ[STORE] = mlflow.get_tracking_uri()
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if before is None:
            del os.environ[STORE]
        else:
            os.environ[STORE] = before
