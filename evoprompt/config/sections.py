"""The strict schema of a run's configuration, and its reader.

Every key has a default except the task, so the shortest config is `task: {name: inbox}`. An unknown
key is an error that names the nearest valid one. Relative paths are read from the folder of the
config file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from evoprompt.config.metric import MetricConfig
from evoprompt.config.task import TaskConfig, is_hub_address
from evoprompt.config.values import (
    NUMBER,
    Count,
    Extent,
    Few,
    FilePath,
    Level,
    Section,
    Seed,
    Share,
    Tokens,
)
from evoprompt.config.workers import WorkersConfig as WorkersConfig
from evoprompt.config.writer import WriterConfig as WriterConfig

CalibrationConfig = Literal["auto", "head", "labelled", "batch", "contextual", "off"]


class ModelConfig(Section):
    """Which language model scores the prompts."""

    #: an embedded model's name, a local folder or GGUF file, or a hub id
    name: str = "smollm2-135m"
    revision: str | None = None  #: of a hub id
    #: a PEFT adapter (LoRA and its like) that is merged into the weights when they are loaded: a
    #: folder or a hub id. Needs the extra `peft`
    adapter: str | None = None
    #: numbers of the weights; `auto`: what the device computes fast, float32 on CPUs without bf16
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    #: where the model is; `auto`: a GPU where there is one
    device: Literal["auto", "cpu", "cuda"] = "auto"
    #: whether starting prompts are rendered by the model's chat template: `off`, as texts of their
    #: own; `turns`, demonstrations as turns; `single`, all in one turn; `auto`, the search starts
    #: from each prompt both ways, where there is a template
    chat: Literal["auto", "off", "turns", "single"] = "off"
    #: `auto`: the fastest way that is exact on the model; `plain`: every sequence by itself
    scoring: Literal["auto", "plain"] = "auto"
    #: the most tokens in one forward pass; None is the device's own. Last bits depend on it
    chunk_tokens: Annotated[int, NUMBER, Field(ge=16, le=10_000_000)] | None = None
    #: of each worker, for what was computed for the beginnings of prompts
    prefix_store_mib: Count = 256
    memo: bool = True  #: answer from the memo of earlier runs what was scored before


class FitnessConfig(Section):
    """Which number selection uses; `auto` is label_normalized where there are choices and per_token
    where there are none.
    """

    kind: str = "auto"  #: a name of `fitness.catalog.KINDS` or of a plug-in, or "module:name"
    prompt_token_penalty: Share = 0.0  #: taken off the fitness for every token of the prompt
    #: weight of the mean log-likelihood of the right verdicts that the policy's evaluator gives to
    #: each example's right answer and to a wrong one
    self_evaluation: Share = 0.0
    #: whether shared choices are compared freed of a policy's own favour for some: by offsets and a
    #: temperature fitted on labels (`labelled`), beside them by what other words tell (`head`), by
    #: offsets that make all as likely in the mean (`batch`) or after a content-free input
    #: (`contextual`); `auto` takes what makes the founders' right answers likeliest
    calibration: CalibrationConfig = "head"
    metric: MetricConfig | None = None  #: of `kind: metric`; exact where it is left out
    #: nats against prompts that do not show each label, spread over the examples that they are
    #: measured on: what is known of such prompts beforehand. Only where answers are calibrated
    demonstrations_prior: Share = 6.0


class FeedbackConfig(Section):
    """What was said of prompts, as a prior in the fitness (`fitness.preference`)."""

    path: FilePath  #: of remarks, as `evoprompt feedback` writes them
    #: units of the fitness that a weight of 1 adds for a unit of its feature, such as a doubling of
    #: the prompt's tokens; 0 is as if there were no remarks
    strength: Share = 0.05
    #: whether the weights are the posterior's mean, or one draw from it for the run, by its seed
    use: Literal["mean", "draw"] = "mean"
    #: whether what a demand or a description leaves out counts as not wanted
    pragmatic: bool = False


class TraitsConfig(Section):
    """Which traits are followed beside those that cost nothing."""

    #: the prompt's own nats per token (fluency); costs a head row for each of its tokens
    prompt_cross_entropy: bool = False
    #: further traits by name: "package.module:function", or the name of a plug-in; a function of
    #: (policy, scores) that returns a finite number
    extra: dict[str, str] = {}
    #: where `fitness.kind` is metric, the likelihood of the right answers too; costs each prompt
    #: once more
    likelihood: bool = False


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


class FinalConfig(Section):
    """The held-out check: the best policies of the search are compared on validation examples, one
    goes to the test.
    """

    candidates: Few = 3  #: of the search, that are compared on the validation examples
    #: of the budget that is kept for validation at most, but for one example for each choice; where
    #: it does not suffice for all candidates, fewer of them are asked
    share: Level = 0.5
    #: that calibrations of the champion and the baseline are fitted on at most: what the budget
    #: leaves buys those of fitness examples, of examples of no split, and of the demonstrations'
    labels: Count = 256
    #: by which finalists are compared and tested after a search by likelihood, on written answers
    metric: MetricConfig | None = None
    alpha: Level = 0.05  #: intervals cover 1 - alpha


class TrackingConfig(Section):
    """MLflow. The store is MLFLOW_TRACKING_URI where that is set, else SQLite beside the runs."""

    enabled: bool = True  #: whether anybody is told
    tracker: str = "mlflow"  #: a name of `tracking.open.TRACKERS` or of a plug-in
    experiment: str = "evoprompt"  #: in which the runs stand
    detail: Literal["brief", "full"] = "brief"  #: what the dashboards show, or all there is
    #: whether a complete run's champion becomes a version of the prompt with the run's name, alias
    #: `champion`
    register_champion: bool = True


class JobConfig(Section):
    """What the configurations of all jobs have."""

    name: str = "run"  #: of the folder and of what is tracked; default: that of the file
    seed: Seed = 0  #: of every draw: one seed gives one lineage
    model: ModelConfig = ModelConfig()
    task: TaskConfig | None = None
    workers: WorkersConfig = WorkersConfig()
    tracking: TrackingConfig = TrackingConfig()


def with_absolute_paths(task: TaskConfig, folder: Path) -> TaskConfig:
    """Return the task with its paths as seen from a folder."""
    paths: dict[str, Any] = {
        k: (folder / p).resolve()
        for k in ("path", "test_path", "own_answers")
        if (p := getattr(task, k)) is not None and not is_hub_address(p)
    }
    if task.data_files is not None:
        paths["data_files"] = {k: (folder / p).resolve() for k, p in task.data_files.items()}
    if task.lm_eval is not None and task.lm_eval.endswith((".yaml", ".yml")):
        paths["lm_eval"] = str((folder / task.lm_eval).resolve())
    return task.model_copy(update=paths)
