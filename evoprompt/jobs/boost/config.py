"""The strict schema of a self-evaluation loop (`evoprompt boost`), and its reader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from evoprompt.choices import COMPARISONS
from evoprompt.config.reader import check_section, read_values
from evoprompt.config.sections import JobConfig, WorkersConfig, with_absolute_paths
from evoprompt.config.shipped import config_file, refuse_other_kind
from evoprompt.config.task import PolicyConfig
from evoprompt.config.values import (
    LARGEST,
    NUMBER,
    Count,
    FilePath,
    Level,
    Positive,
    Section,
    Tokens,
)
from evoprompt.errors import nearest
from evoprompt.jobs.boost.judges import JUDGES
from evoprompt.jobs.boost.state import BUFFERS, RULES
from evoprompt.jobs.evolve.config import with_absolute_model
from evoprompt.jobs.given import read_policy, with_given

Probability = Annotated[float, NUMBER, Field(ge=0, le=1)]
Number = Annotated[float, NUMBER, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]


def _name_of(table: Mapping[str, Any]) -> AfterValidator:
    """Return the check that a value is a name of a table."""

    def check(name: str) -> str:
        if name not in table:
            raise ValueError(f"there is no '{name}'; {nearest(name, table)}")
        return name

    return AfterValidator(check)


class LoopConfig(Section):
    """How the loop goes on. No key lets it see a right answer."""

    rounds: Positive = 6  #: at most
    batch: Positive = 48  #: questions answered in a round
    #: `replace`: the context comes from the newest round's accepted answers; `accumulate`: from all
    #: that were ever accepted
    buffer: Annotated[str, _name_of(BUFFERS)] = "replace"
    #: among choices the answer is the one of the greatest `likelihood`, or of the greatest
    #: likelihood beyond what it has after an input without content (`pmi`), or in the mean over all
    #: inputs asked with it (`batch`; of choices that not all inputs have, beyond their common
    #: mean). The latter two keep a label that the context favours from becoming every answer
    answers: Annotated[str, _name_of(COMPARISONS)] = "likelihood"
    #: who judges: the evaluator `clause`, asked whether the answer is TRUE or FALSE; the same asked
    #: of every choice (`rivals`: the log-odds that the answer is right and no other choice); or the
    #: `confidence` of the answer itself (log-odds of its probability)
    judge: Annotated[str, _name_of(JUDGES)] = "clause"
    share: Probability = (
        0.5  #: of each round's answers that are accepted: those with the greatest log-odds
    )
    threshold: Number | None = None  #: instead of a share: accept log-odds above this
    #: instead of both: the threshold that is best on the task's validation examples, before the
    #: first round; the one use of labels
    calibrate: bool = False
    abstain_below: Probability | None = (
        None  #: the probability of an answer under which the policy does not give it
    )
    context_pairs: Positive = 24  #: shown at most, after the policy's own demonstrations
    context_tokens: Positive = 1200  #: of all pairs together
    least_buffer: Positive = 4  #: pairs before the context is built again
    #: the order in which accepted pairs are offered to the context, see `state.choose`
    choose: Annotated[str, _name_of(RULES)] = "balanced"
    patience: Positive = 3  #: rounds without a lower believed error before the loop ends
    prefill_tokens: Tokens | None = None  #: the budget: no round begins beyond it
    #: contexts of labelled pairs that are all right, and as many all wrong, in which the test
    #: examples are answered before the first round: how far the model follows its context, and from
    #: 2 on how much contexts differ. Predictions go by it then, else by a model that is wrong as
    #: often as its context, and whether the loop can pay is told by it. None is 4 where there are a
    #: task and questions with labels, and 8 where the interval of the first round would be wider
    #: than 0.25; else 0. The loop sees nothing of it
    measure_imitation: Count | None = None
    #: go round even where what was measured before the first round does not let expect a lower
    #: error rate; else the loop ends there, and says why
    go_on: bool = False
    #: answer every example of the task without context before the first round, and write the
    #: answers to `own_answers.jsonl`: on them an evaluator can be evolved (`task.own_answers`)
    own_answers: bool = False
    answer_tokens: Positive = 16  #: written at most for an answer, where the task has no choices


class BoostConfig(JobConfig):
    """A whole loop.

    `task` gives the questions (its demonstrations and fitness examples without their labels) and
    measures (its test examples). With `questions`, a JSONL file of `{"input", "choices"}` lines,
    the loop asks those; without `task` nothing is measured.
    """

    name: str = "boost"  #: of the folder and of what is tracked; default: that of the file
    questions: FilePath | None = None  #: JSONL of unlabelled questions, asked beside the task's
    policy: PolicyConfig | None = None  #: what answers; by default the task's first starting policy
    policy_run: FilePath | None = None  #: instead: the folder of a run, whose champion answers
    evaluator: PolicyConfig | None = (
        None  #: what judges, a policy of the judging task; by default the policy's own clause
    )
    evaluator_run: FilePath | None = (
        None  #: instead: the folder of a run on a judging task, whose champion judges
    )
    loop: LoopConfig = LoopConfig()
    alpha: Level = 0.05  #: intervals cover 1 - alpha
    workers: WorkersConfig = WorkersConfig(
        backend="local"
    )  #: one policy is scored at a time, so a fleet has no work for more than one worker

    @model_validator(mode="after")
    def _has_questions(self) -> Self:
        if self.task is None and self.questions is None:
            raise ValueError(
                "give a task (name or path), or questions (a JSONL file of unlabelled ones), or "
                "both"
            )
        for one, other in (("policy", "policy_run"), ("evaluator", "evaluator_run")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"both {one} and {other} are given; keep one of them")
        if self.loop.calibrate and (self.task is None or self.loop.threshold is not None):
            raise ValueError(
                "loop.calibrate needs a task, whose validation examples have labels, and no "
                "loop.threshold"
            )
        if self.loop.own_answers and self.task is None:
            raise ValueError("loop.own_answers needs a task, whose examples are answered")
        if self.loop.measure_imitation and self.task is None:
            raise ValueError(
                "loop.measure_imitation needs a task, on whose test examples the error rate is "
                "measured"
            )
        if self.loop.least_buffer > self.loop.batch:
            raise ValueError(
                f"loop.least_buffer ({self.loop.least_buffer}) is more than a round's questions, "
                f"loop.batch ({self.loop.batch})"
            )
        return self


def load_boost(path: Path, overrides: Iterable[str] = ()) -> BoostConfig:
    """Return the checked configuration of a YAML file with `dotted.key=value` overrides applied;
    paths are read from the file's folder.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown, or a value is not valid.
    """
    path = config_file(path, "boost")
    values = read_values(path, overrides)
    refuse_other_kind(values, path, "boost")
    config = check_section(BoostConfig, values, str(path))
    folder = path.resolve().parent
    places: dict[str, Any] = {
        key: (folder / place).resolve()
        for key in ("questions", "policy_run", "evaluator_run")
        if (place := getattr(config, key)) is not None
    }
    places["model"] = with_absolute_model(config.model, folder)
    for key in ("policy", "evaluator"):
        if (policy := getattr(config, key)) is not None:
            places[key] = read_policy(policy, folder)
    task = (
        {"task": with_given(with_absolute_paths(config.task, folder), folder)}
        if config.task is not None
        else {}
    )
    return config.model_copy(update=places | task)
