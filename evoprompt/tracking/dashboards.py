"""The dashboards that MLflow shows without set-up: which charts stand in which, and what each is
for. Pure; `views.py` says it in MLflow's form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evoprompt.tracking.base import KIND


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of metrics: by generation or another metric, of the last values as bars, a point for
    each run, or a line for each run across axes.
    """

    title: str
    metrics: tuple[str, ...]  #: of a scatter two, x and y
    kind: Literal["line", "bar", "scatter", "parallel"] = "line"
    by: str | None = None  #: the metric along the x axis of lines; None is the generation
    parameters: tuple[str, ...] = ()  #: the first axes of parallel coordinates


@dataclass(frozen=True, slots=True)
class Section:
    """Charts below a heading."""

    title: str
    charts: tuple[Chart, ...]
    columns: int = 2  #: charts beside each other; of three MLflow cuts off the titles


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of charts beside the list of runs."""

    name: str  #: in addresses and commands
    title: str
    sections: tuple[Section, ...]
    #: what the table of runs shows, `metrics`, `params` or `tags` before the name
    columns: tuple[tuple[str, str], ...]
    search: str  #: the filter by which MLflow finds the runs
    num_runs: Literal[10, 20] = 10  #: that are drawn, the latest


RUNS, LOOPS = f"tags.`{KIND}` = 'run'", f"tags.`{KIND}` = 'loop'"
BOTH = f"tags.`{KIND}` != 'sweep'"


def _parts(trait: str) -> tuple[str, ...]:
    names = ("covariance_parents", "transmission", "covariance_race", "covariance_survival")
    return tuple(f"price_{trait}/{name}" for name in (*names, "remeasurement", "change"))


def _ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


#: Groups of metrics that no dashboard opens; they stand closed below its charts.
GROUPS = (
    *("accuracy", "archive", "check", "cost", "diversity", "error_rate", "feedback"),
    *("fitness", "gradients"),
    *("judge", "population", "price_accuracy", "price_fitness", "price_fitness_by_operator"),
    *(
        "reward",
        "shaping",
        "side_effects",
        "steering",
        "sweep",
        "test",
        "traits",
        "trust",
        "workers",
    ),
)
#: Operators whose transmission is drawn; others stand in their group below.
OPERATORS = (
    *("demonstration_add", "demonstration_balance", "demonstration_drop", "demonstration_set"),
    *("demonstration_swap", "demonstration_union", "instruction_insert", "label_word_change"),
    *("template_change", "uniform_crossover", "survive"),
)

RUN_COLUMNS = (
    ("metrics", "test/champion"),
    ("metrics", "test/baseline"),
    ("metrics", "test/difference"),
    ("metrics", "fitness/best"),
    ("metrics", "cost/tokens_in_all"),
    ("params", "seed"),
    ("tags", "evoprompt.task"),
    ("tags", "evoprompt.model"),
)

FITNESS = Dashboard(
    "fitness",
    "1 Fitness by generation",
    (
        Section(
            "How fit the policies are",
            (
                Chart(
                    "Fitness: best, mean of the selected, mean of births",
                    ("fitness/best", "fitness/mean", "fitness/mean_of_births"),
                ),
                Chart(
                    "Accuracy: of the fittest, mean of the selected",
                    ("accuracy/best", "accuracy/mean"),
                ),
            ),
        ),
        Section(
            "On the test",
            (
                Chart("Accuracy of the champion", ("test/champion",), "bar"),
                Chart("Over the best starting prompt", ("test/difference",), "bar"),
            ),
        ),
        Section(
            "Population",
            (
                Chart("Births and selected", ("population/births", "population/selected")),
                Chart("Examples that they are measured on", ("population/examples",)),
                Chart("Different policies among the selected", ("population/distinct_policies",)),
                Chart(
                    "Chance that two of the selected differ", ("population/chance_that_two_differ",)
                ),
                Chart("Effective population size", ("population/effective_size",)),
            ),
        ),
    ),
    RUN_COLUMNS,
    RUNS,
)

PRICE = Dashboard(
    "price",
    "2 Price's equation",
    (
        Section(
            "Change of mean fitness, in parts",
            (
                Chart("The parts, and the change as their sum", _parts("fitness")),
                Chart(
                    "Covariance of parents: realised, expected, drift",
                    (
                        "price_fitness/covariance_parents",
                        "price_fitness/covariance_parents_expected",
                        "price_fitness/covariance_parents_drift",
                    ),
                ),
            ),
        ),
        Section(
            "One part at a time",
            (
                Chart("Covariance of parents", ("price_fitness/covariance_parents",)),
                Chart("Transmission", ("price_fitness/transmission",)),
                Chart("Covariance of survival", ("price_fitness/covariance_survival",)),
            ),
        ),
        Section(
            "Transmission by operator",
            (
                Chart(
                    "Sum over births, of each operator",
                    tuple(f"price_fitness_by_operator/{name}" for name in OPERATORS),
                ),
            ),
            1,
        ),
        Section(
            "Change of mean accuracy, in parts",
            (Chart("The parts, and the change as their sum", _parts("accuracy")),),
            1,
        ),
    ),
    RUN_COLUMNS,
    RUNS,
)

RECURRENCE = Dashboard(
    "recurrence",
    "3 Learning from its own answers",
    (
        Section(
            "Error rate by round",
            (
                Chart(
                    "Measured and predicted, each with its interval",
                    (*_ends("error_rate/measured"), *_ends("error_rate/predicted")),
                ),
                Chart(
                    "Measured, believed by the model, of the answers kept",
                    (
                        "error_rate/measured",
                        "error_rate/believed_by_the_model",
                        "error_rate/of_answers_kept",
                    ),
                ),
            ),
        ),
        Section(
            "The judge",
            (
                Chart(
                    "Sensitivity, specificity, share accepted",
                    ("judge/sensitivity", "judge/specificity", "judge/acceptance"),
                ),
                Chart("Log-likelihood ratio (nats)", ("judge/log_likelihood_ratio",)),
                Chart("Off the prediction, in its sd", ("error_rate/deviation_in_sd",)),
            ),
        ),
    ),
    (
        ("metrics", "error_rate/measured"),
        ("metrics", "error_rate/predicted"),
        ("metrics", "judge/sensitivity"),
        ("metrics", "judge/specificity"),
        ("metrics", "cost/tokens"),
        ("params", "seed"),
        ("tags", "evoprompt.model"),
    ),
    LOOPS,
)

COST = Dashboard(
    "cost",
    "4 Cost",
    (
        Section(
            "Tokens",
            (
                Chart(
                    "Forwarded, and the floor of each policy by itself",
                    ("cost/tokens", "cost/tokens_floor"),
                ),
                Chart("Spared by the prefix store", ("cost/tokens_spared_by_store",)),
                Chart("Share of requests that the memo answered", ("cost/memo_share",)),
            ),
        ),
        Section(
            "Time",
            (
                Chart("Tokens a second, so far", ("cost/tokens_per_second",)),
                Chart("Seconds, so far", ("cost/seconds",)),
                Chart("Best fitness by seconds", ("fitness/best",), by="cost/seconds"),
            ),
        ),
    ),
    (
        ("metrics", "cost/tokens_in_all"),
        ("metrics", "cost/seconds_in_all"),
        ("metrics", "cost/tokens_per_second"),
        ("metrics", "cost/memo_share"),
        ("metrics", "test/champion"),
        ("tags", "evoprompt.model"),
    ),
    BOTH,
)

SETTINGS = ("evolution.parent_selection.method", "evolution.population", "seed")
SWEEP = Dashboard(
    "sweep",
    "5 Many runs",
    (
        Section(
            "All runs",
            (
                Chart("Best fitness by tokens", ("fitness/best",), by="cost/tokens"),
                Chart(
                    "Test accuracy by tokens", ("cost/tokens_in_all", "test/champion"), "scatter"
                ),
                Chart("Test accuracy over the best starting prompt", ("test/difference",), "bar"),
            ),
        ),
        Section(
            "Settings, and what came of them",
            (
                Chart(
                    "Settings, and what came of them",
                    ("cost/tokens_in_all", "fitness/best", "test/champion"),
                    "parallel",
                    parameters=SETTINGS,
                ),
            ),
            1,
        ),
    ),
    (
        *RUN_COLUMNS[:5],
        *(("params", name) for name in SETTINGS),
        ("tags", "evoprompt.model"),
    ),
    RUNS,
    20,
)

DASHBOARDS = (FITNESS, PRICE, RECURRENCE, COST, SWEEP)
#: The dashboard that shows what is of a kind.
OF_KIND = {"run": FITNESS, "loop": RECURRENCE, "sweep": SWEEP}
