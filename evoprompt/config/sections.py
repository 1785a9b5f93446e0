"""The strict schema of a run's configuration, and its reader.

Every key has a default except the task, so the shortest config is `task: {name: inbox}`. An unknown
key is an error that names the nearest valid one. Relative paths are read from the folder of the
config file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    create_model,
    model_validator,
)

from evoprompt.policy import SLOTS

#: The most of anything that is counted, the largest seed (the most that a store's integers hold),
#: and the largest weight or number of seconds.
MOST, LARGEST_SEED, LARGEST = 1_000_000, 2**63 - 1, 1e9


def _no_truth_value(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"expected a number, not {str(value).lower()}")
    return value


#: Said of every number: YAML's true and false are none.
NUMBER = BeforeValidator(_no_truth_value)
Positive = Annotated[int, NUMBER, Field(ge=1, le=MOST)]
Count = Annotated[int, NUMBER, Field(ge=0, le=MOST)]
Few = Annotated[int, NUMBER, Field(ge=1, le=10_000)]
Seed = Annotated[int, NUMBER, Field(ge=0, le=LARGEST_SEED)]
Tokens = Annotated[int, NUMBER, Field(ge=1, le=10**15)]
Share = Annotated[float, NUMBER, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Probability = Annotated[float, NUMBER, Field(ge=0, le=1)]
Level = Annotated[float, NUMBER, Field(ge=1e-9, le=1 - 1e-9)]
Extent = Annotated[float, NUMBER, Field(ge=1e-9, le=LARGEST, allow_inf_nan=False)]
Balance = Literal["balanced", "proportional"]
CalibrationConfig = Literal["auto", "labelled", "batch", "contextual", "off"]

#: What a number of demonstrations may be called: so many for each choice, and what suits a task.
TIMES, AUTO = {"C": 1, "2C": 2}, "auto"


def _number_of_demonstrations(value: object) -> object:
    named = isinstance(value, str) and value in (*TIMES, AUTO)
    counted = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST
    if not named and not counted:
        raise ValueError(
            f"expected a number from 0 to {MOST}, {', '.join(TIMES)} or {AUTO}, not {value!r}"
        )
    return value


def _in_a_list(value: object) -> object:
    return [value] if value == AUTO or type(value) is int else value


Demonstrations = Annotated[int | str, BeforeValidator(_number_of_demonstrations)]


def _possible(path: Path) -> Path:
    if "\0" in str(path) or str(path) in ("", "."):
        raise ValueError(f"{str(path)!r} is no path of a file or a folder")
    return path


FilePath = Annotated[Path, AfterValidator(_possible)]


class Section(BaseModel):
    """A part of the configuration: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelConfig(Section):
    """Which language model scores the prompts."""

    name: str = "smollm2-135m"  #: an embedded model's name, a local folder, or a hub id
    revision: str | None = None  #: of a hub id
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    #: `auto`: the fastest way that is exact on the model; `plain`: every sequence by itself
    scoring: Literal["auto", "plain"] = "auto"
    #: the most tokens in one forward pass; None is the device's own. Last bits depend on it
    chunk_tokens: Annotated[int, NUMBER, Field(ge=16, le=10_000_000)] | None = None
    #: of each worker, for what was computed for the beginnings of prompts
    prefix_store_mib: Count = 256
    memo: bool = True  #: answer from the memo of earlier runs what was scored before


def _policy_keys() -> dict[str, Any]:
    """Return the type and the default of each key of a starting prompt, in the order of the
    slots.
    """
    keys: dict[str, Any] = {}
    for slot in SLOTS:
        own = slot.keys or {slot.name: slot.plain_default}
        keys |= {name: (slot.plain, default) for name, default in own.items()}
    return keys


_PolicyKeys: Any = create_model("_PolicyKeys", __base__=Section, **_policy_keys())


class PolicyConfig(_PolicyKeys):
    """A starting prompt: a key for each slot of a policy (`policy.SLOTS`), at the slot's default.

    The template alone is four keys, `input_prefix`, `output_prefix`, `separator` and
    `answer_prefix`: people change one of the four, and a list of four texts does not say which is
    which.
    """

    def slots(self) -> dict[str, Any]:
        """Return the slots as `Policy.from_dict` reads them."""
        values = {k: v.slots() if isinstance(v, PolicyConfig) else v for k, v in self}
        return {s.name: [values[k] for k in s.keys] or values[s.name] for s in SLOTS}


class TaskConfig(Section):
    """Where the examples come from, how many of each split are used, and what the operators may
    draw from.

    `name` is a task of the package; `path` is JSONL that is split by the hash of each line's
    content, lines with one input together. With `test_path`, that file is the test split and the
    rest is split among the other three. The test is all of its split, or `test_examples` of it with
    labels in proportion. `difficulty` goes with the tasks that are made by rule. `source` is that
    of a plug-in, which reads `options`.

    With `judge`, it is the judging task of that task: is a proposed answer right? Starting
    policies, phrases, label words (of TRUE and FALSE) and steps that are given here are then those
    of evaluators.
    """

    name: str | None = None
    path: FilePath | None = None
    source: str | None = None
    options: dict[str, Any] = {}
    test_path: FilePath | None = None
    #: of arithmetic and scramble; None is 2
    difficulty: Annotated[int, NUMBER, Field(ge=1, le=5)] | None = None
    judge: bool = False
    fitness_examples: Positive = 48
    validation_examples: Positive = 64
    test_examples: Positive = 200
    demonstration_pool: Count = 200
    #: which examples may be demonstrations: all, or those that are no longer than half of the
    #: examples with their target, which take fewer tokens of every prompt that shows them
    demonstration_inputs: Literal["all", "shorter"] = "all"
    #: of the labels in all splits but the test: each as often as the others, or as in the data;
    #: None is balanced for a run, and proportional for the questions of a loop
    balance: Balance | None = None
    starting_policies: list[PolicyConfig] = []
    #: of the pool, added to each starting policy: the search starts from every policy with each of
    #: these numbers; C and 2C are one and two for each choice. auto is 0, n and 2n, with n as many
    #: of each choice as make four at least, where at most 8 choices are shared, else 0 and 4
    starting_demonstrations: Annotated[
        list[Demonstrations], BeforeValidator(_in_a_list), Field(min_length=1)
    ] = [0]
    starting_sets: Few = 1  #: how many different ones of each number, for each starting policy
    #: whether what is added stands without the instruction, so that more is compared for its tokens
    starting_sets_bare: bool = False
    phrases: list[str] = []  #: added to the task's bank of phrases for instruction edits
    label_words: dict[str, list[str]] = {}  #: further words for each choice
    #: added to the task's bank of steps, questions that the model answers in writing before it
    #: gives the answer
    steps: list[str] = []

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(given is not None for given in (self.name, self.path, self.source)) != 1:
            raise ValueError(
                "give either task.name (a task of the package) or task.path (a JSONL file), or "
                "task.source (of a plug-in)"
            )
        if self.options and self.source is None:
            raise ValueError("task.options goes with task.source")
        if self.test_path is not None and self.path is None:
            raise ValueError("task.test_path goes with task.path")
        return self

    @property
    def most_starts(self) -> int:
        """How many starting policies are made of each, at most."""
        counts = {"0": 1, AUTO: 1 + len(TIMES) * self.starting_sets}
        return sum(counts.get(str(n), self.starting_sets) for n in self.starting_demonstrations)

    @property
    def title(self) -> str:
        """What people call it: a name, a path, or a source."""
        return self.name or str(self.path or self.source)

    @property
    def origin(self) -> str:
        """Where its examples come from, for those who keep account of data."""
        return f"evoprompt:{self.name}" if self.name else self.title


class FitnessConfig(Section):
    """Which number selection uses; `auto` is label_normalized where there are choices and per_token
    where there are none.
    """

    kind: str = "auto"  #: a name of `fitness.catalog.KINDS` or of a plug-in, or "module:name"
    prompt_token_penalty: Share = 0.0  #: taken off the fitness for every token of the prompt
    #: weight of the mean log-likelihood of the right verdicts that the policy's evaluator gives to
    #: each example's right answer and to a wrong one
    self_evaluation: Share = 0.0
    #: whether choices that all examples share are compared freed of a policy's own favour for some
    #: of them: by offsets and a temperature fitted on labels (`labelled`), by offsets that make all
    #: choices as likely in the mean (`batch`) or after a content-free input (`contextual`); `auto`
    #: takes what makes the right answers of the starting policies likeliest
    calibration: CalibrationConfig = "labelled"


class TraitsConfig(Section):
    """Which traits are followed beside those that cost nothing."""

    #: the prompt's own nats per token (fluency); costs a head row for each of its tokens
    prompt_cross_entropy: bool = False
    #: further traits by name: "package.module:function", or the name of a plug-in; a function of
    #: (policy, scores) that returns a finite number
    extra: dict[str, str] = {}


class SelectionConfig(Section):
    """A selection scheme (`selection.schemes`)."""

    #: tournament, truncation, sus, epsilon_lexicase, nsga2, pareto_examples, for survival also
    #: incumbents, newcomers, one_to_one, or a scheme of a plug-in
    method: str = "tournament"
    tournament_size: Few = 2
    #: how `sus` turns fitness into weights: linear ranks, or exp(fitness / temperature)
    weights: Literal["rank", "boltzmann"] = "rank"
    temperature: Extent = 0.1


class RacingConfig(Section):
    """Whether births are measured on a few examples first, and who of them goes on to more.

    `off`: all are measured on all; `halving`: the better half goes on; `fast`: of it, who is not
    behind the last parent that would survive by more than z standard errors; `certified`: who is
    not shown to be behind it, at level alpha for the whole run.
    """

    method: Literal["off", "halving", "fast", "certified"] = "halving"
    first: Positive = 8  #: examples of the first measurement; each further one has twice as many
    z: Share = 1.64
    alpha: Level = 0.05


class ExamplesConfig(Section):
    """On how many of the fitness examples policies are measured."""

    first: Few | None = 16  #: the number at the beginning; None is all of them
    grow: list[Level] = [0.4, 0.7]  #: shares of the budget, or generations, at which it doubles


class StopConfig(Section):
    """When a search ends because it wins nothing more."""

    #: generations over which the best gains less, its paired 95 % interval too; 0 never stops
    patience: Count = 0
    smallest_gain: Share = 0.01  #: in units of the fitness
    headroom: bool = False  #: end after the founders where their sets show little to win


class EvolutionConfig(Section):
    """The evolution strategy. `plus`: survivors come from parents and children; `comma`: from the
    children alone.
    """

    scheme: Literal["plus", "comma"] = "plus"
    population: Few = 3  #: mu, the births selected in each generation
    children: Few = 8  #: lambda, the new births of each generation
    generations: Positive = 12
    max_demonstrations: Count = 16
    examples: ExamplesConfig = ExamplesConfig()
    parent_selection: SelectionConfig = SelectionConfig()
    survival_selection: SelectionConfig = SelectionConfig(method="truncation")
    #: how often each operator is drawn, relative to the others
    operators: dict[str, Share] = {}
    #: how often the operators are drawn that are not named: as by default, or never
    other_operators: Literal["default", "none"] = "default"
    #: `differential`: each member is in turn the first parent, and the others are two members and
    #: the best, without parent selection
    mating: Literal["drawn", "differential"] = "drawn"
    #: the probability that a child is edited once more after each edit, four times at most
    further_edits: Probability = 0.0
    #: what is not measured again: a policy that was (id), or one that differs from it only in the
    #: order of demonstrations, case and white space (set)
    novelty: Literal["id", "set"] = "set"
    racing: RacingConfig = RacingConfig()
    stop: StopConfig = StopConfig()

    @model_validator(mode="after")
    def _enough_children(self) -> Self:
        if self.scheme == "comma" and self.children < self.population:
            raise ValueError(
                f"the comma scheme selects {self.population} (population) of {self.children} "
                f"(children): it needs as many children"
            )
        return self


class WriterConfig(Section):
    """Who writes instructions, for the operators that have them written."""

    #: a name or a folder as in `model.name`, which runs in this process; None is the model that the
    #: prompts are for
    model: str | None = None
    temperature: Annotated[float, NUMBER, Field(ge=0, le=100)] = 0.8
    max_tokens: Annotated[int, NUMBER, Field(ge=4, le=2048)] = 64  #: of an instruction


class BudgetConfig(Section):
    """When the search stops before its last generation: at the first generation that would exceed a
    limit.
    """

    #: forwarded by the run, from the founders to the test, all checks and an author included
    prefill_tokens: Tokens | None = None
    #: of search and choice, as if nothing were shared: what optimizers are compared by
    logical_tokens: Tokens | None = None
    #: of the search; a run that stops by the clock is not reproducible
    seconds: Extent | None = None

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if self.prefill_tokens is not None and self.logical_tokens is not None:
            raise ValueError(
                "give either budget.prefill_tokens (what is forwarded) or budget.logical_tokens "
                "(what nothing shared would take)"
            )
        return self


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


class FinalConfig(Section):
    """The held-out check: the best policies of the search are compared on validation examples, one
    goes to the test.
    """

    candidates: Few = 3
    #: of the budget that validation takes at most, but for one example for each choice
    share: Level = 0.15
    alpha: Level = 0.05  #: intervals cover 1 - alpha


class TrackingConfig(Section):
    """MLflow. The store is MLFLOW_TRACKING_URI where that is set, else SQLite beside the runs."""

    enabled: bool = True
    tracker: str = "mlflow"  #: a name of `tracking.open.TRACKERS` or of a plug-in
    experiment: str = "evoprompt"


class JobConfig(Section):
    """What the configurations of all jobs have."""

    name: str = "run"
    seed: Seed = 0
    model: ModelConfig = ModelConfig()
    task: TaskConfig | None = None
    workers: WorkersConfig = WorkersConfig()
    tracking: TrackingConfig = TrackingConfig()


def with_absolute_paths(task: TaskConfig, folder: Path) -> TaskConfig:
    """Return the task with its paths as seen from a folder."""
    return task.model_copy(
        update={
            k: (folder / p).resolve()
            for k in ("path", "test_path")
            if (p := getattr(task, k)) is not None
        }
    )
