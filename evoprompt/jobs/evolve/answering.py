"""Configuration -> how a run's answers are written and graded, in the search and in the end."""

from __future__ import annotations

from collections.abc import Callable

from evoprompt.backends.base import TextTokenizer
from evoprompt.config.metric import MetricConfig
from evoprompt.errors import UserError
from evoprompt.fitness.base import Fitness
from evoprompt.fitness.grading import Grader
from evoprompt.jobs.evolve.config import Config
from evoprompt.measurement.answers import Answering
from evoprompt.tasks.base import Task
from evoprompt.tasks.judge import DEFAULT_EVALUATOR, VERDICTS
from evoprompt.tasks.load import policy_of

#: Where a metric stands in a configuration.
SEARCH, FINAL = "fitness.metric", "final.metric"


def metric_of(config: Config, fitness: Fitness) -> tuple[MetricConfig, str] | None:
    """Return the metric that validation and test go by, and its key; None where answers are chosen
    or compared by likelihood.

    Raises:
        UserError: a metric is given that nothing would use.
    """
    if fitness.needs_answers:
        if config.final.metric is not None:
            raise UserError(
                f"with fitness.kind={fitness.name} validation and test go by {SEARCH} already; "
                f"leave {FINAL} out, or fitness.kind for a search by likelihood"
            )
        return config.fitness.metric or MetricConfig(), SEARCH
    if config.fitness.metric is not None:
        raise UserError(
            f"{SEARCH} goes with fitness.kind=metric, and this is '{fitness.name}'; set that, or "
            f"give {FINAL} to choose and test by it after a search by likelihood"
        )
    return None if config.final.metric is None else (config.final.metric, FINAL)


def check_metric(config: Config, task: Task, fitness: Fitness) -> None:
    """Find out whether a run's metric goes with its task.

    Raises:
        UserError: it does not, or there is no such metric.
    """
    if (found := metric_of(config, fitness)) is None:
        return
    metric, key = found
    grader = Grader(metric, key)
    if config.task.judge:
        raise UserError(
            f"with task.judge the answers are the verdicts TRUE and FALSE, and none is written; "
            f"leave {key} out"
        )
    if task.has_choices:
        raise UserError(
            f"{key} grades answers in free text, and task '{task.name}' has choices; leave the "
            f"metric out for a fitness of choices, or set task.written=true for answers in free "
            f"text"
        )
    if task.has_paths:
        raise UserError(
            f"{key} grades one written answer, and the examples of task '{task.name}' are paths of "
            f"several moves; leave it out for the likelihood of the moves"
        )
    splits = (task.validation, task.test) if key == FINAL else task.splits.values()
    for split in splits:
        grader.check(split)


def cut_short(
    config: Config, task: Task, fitness: Fitness, tokenizer: Callable[[], TextTokenizer]
) -> list[str]:
    """Return a sentence where right answers are longer than what the model may write; the tokenizer
    is opened where answers are written.
    """
    if (found := metric_of(config, fitness)) is None:
        return []
    metric, key = found
    answers = {e.target for split in task.splits.values() for e in split}
    encoded = tokenizer().encode([f" {a}" for a in sorted(answers)], add_special_tokens=False)
    longer = sum(len(tokens) > metric.max_tokens for tokens in encoded)
    if not longer:
        return []
    return [
        f"{longer} of {len(encoded)} right answers have more than the {metric.max_tokens} tokens "
        f"that a model may write, the longest {max(map(len, encoded))}; what it writes is cut "
        f"there, set {key}.max_tokens to let it end"
    ]


def answering_of(config: Config, fitness: Fitness) -> Answering | None:
    """Return how answers are written and graded at validation and test, and in the search where
    its fitness needs them; None where they are not.
    """
    if (found := metric_of(config, fitness)) is None:
        return None
    metric, key = found
    judge = DEFAULT_EVALUATOR if metric.judge is None else policy_of(metric.judge)
    if mistake := judge.mistake_in_words(VERDICTS):
        raise UserError(f"{key}.judge: {mistake}; give TRUE and FALSE a word each")
    return Answering(
        Grader(metric, key),
        judge,
        metric.max_tokens,
        metric.temperature,
        config.seed,
        None if metric.stops is None else tuple(metric.stops),
    )
