"""Where examples come from: the section `task`, and a starting prompt in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, create_model, model_validator

from evoprompt.config.values import (
    MOST,
    NUMBER,
    Count,
    Few,
    FilePath,
    Positive,
    Section,
    possible,
)
from evoprompt.errors import UserError
from evoprompt.policy import SLOTS

Balance = Literal["balanced", "proportional"]

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


#: What each key of a starting prompt is.
POLICY_KEYS: Mapping[str, str] = {
    "instruction": "what the model is told to do, before everything else",
    "demonstrations": "worked examples that are shown, each a list of input and answer",
    "input_prefix": "what stands before an input",
    "output_prefix": "what stands between an input and its answer",
    "separator": "what stands after each example",
    "answer_prefix": "white space before an answer, where it is none of output_prefix",
    "label_words": "choice and word: what is written for each choice, where it is another text",
    "steps": "questions that the model answers in writing before it gives the answer",
    "chat": "a text of its own (off), or the model's chat template, with demonstrations as turns "
    "(turns) or all in one (single)",
    "evaluator": "the prompt by which the policy judges answers, with keys as here",
}


#: What the key `from` of a starting prompt is.
FROM = (
    "where the prompt is: a text file with {input}, JSON (of evoprompt export, DSPy or GEPA), or "
    "prompts:/name@alias of MLflow; what is said beside it goes before what is there"
)


def _policy_keys() -> dict[str, Any]:
    """Return the type and the default of each key of a starting prompt, in the order of the
    slots.
    """
    keys: dict[str, Any] = {}
    for slot in SLOTS:
        for name, default in (slot.keys or {slot.name: slot.plain_default}).items():
            keys[name] = (slot.plain, Field(default, description=POLICY_KEYS.get(name)))
    return keys


_PolicyKeys: Any = create_model("_PolicyKeys", __base__=Section, **_policy_keys())


class PolicyConfig(_PolicyKeys):
    """A starting prompt: a key for each slot of a policy (`policy.SLOTS`), at the slot's default.

    The template alone is four keys, `input_prefix`, `output_prefix`, `separator` and
    `answer_prefix`: people change one of the four, and a list of four texts does not say which is
    which. `from` is read when the configuration is (`jobs.given`): no other key of it stays.
    """

    from_: str | None = Field(None, alias="from", exclude=True, description=FROM)

    def slots(self) -> dict[str, Any]:
        """Return the slots as `Policy.from_dict` reads them.

        Raises:
            UserError: it is to be read from elsewhere, and was not.
        """
        if self.from_ is not None:
            raise UserError(f"from: {self.from_} is not read here; write the prompt out")
        values = {k: v.slots() if isinstance(v, PolicyConfig) else v for k, v in self}
        return {s.name: [values[k] for k in s.keys] or values[s.name] for s in SLOTS}


@dataclass(frozen=True, slots=True)
class HubAddress:
    """A data set of the Hugging Face hub; what is empty was not said."""

    repository: str  #: owner/name
    revision: str = ""
    config: str = ""
    split: str = ""


#: What an address of the hub looks like, for errors.
HUB_FORM = "hf://owner/name/config/split, with @revision after the name where it is another one"

_HUB = re.compile(
    r"hf://(?:datasets/)?(?P<repository>[\w.-]+/[\w.-]+)"
    r"(?:@(?P<revision>refs/convert/parquet|refs/pr/\d+|[\w.-]+))?"
    r"(?:/(?P<config>[^/@]+))?(?:/(?P<split>[^/@]+))?/?"
)


def is_hub_address(path: object) -> bool:
    """Return whether a path is an address of the hub."""
    return isinstance(path, str) and path.startswith("hf://")


def hub_address(text: str) -> HubAddress:
    """Return the parts of an address of the hub.

    Raises:
        ValueError: it is none.
    """
    found = _HUB.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no data set of the hub; expected {HUB_FORM}")
    return HubAddress(**{name: part or "" for name, part in found.groupdict().items()})


def _path_or_address(value: object) -> object:
    if is_hub_address(value):
        hub_address(str(value))
        return value
    if not isinstance(value, (str, Path)):
        raise ValueError("expected the path of a file, or an address hf://...")
    return possible(Path(value))


#: Where examples are: a file, or a data set of the hub.
DataPath = Annotated[Path | str, PlainValidator(_path_or_address, json_schema_input_type=str)]


def _as_text(value: object) -> object:
    return str(value).lower() if isinstance(value, (bool, int)) else value


Text = Annotated[str, BeforeValidator(_as_text)]


class FieldsConfig(Section):
    """Which column of a file is what. Each is the name of a column, `a.b` for what is inside one,
    or a text with columns in braces, e.g. "{premise} Hypothesis: {hypothesis}"; braces that are
    meant stand twice.
    """

    input: str | None = None  #: None is guessed from the names of the columns, and said
    target: str | None = None  #: likewise
    #: what every example is offered: a list of labels, a list of texts with columns in braces, or
    #: a column with a list; `auto` takes the different targets where few of them repeat, `none` has
    #: answers in free text
    choices: str | list[Text] = "auto"
    id: str | None = None  #: None is made of the content
    split: str | None = None  #: a column that says train, validation or test


class TaskConfig(Section):
    """Where the examples come from, how many of each split are used, and what the operators may
    draw from.

    `name` is a task of the package; `path` is JSONL, JSON, CSV, TSV or Parquet, also packed by
    gzip, or `hf://owner/name/config/split`. It is split by the hash of each example's content,
    examples with one input together; splits of its own are kept. With `test_path`, that
    file is the test split and the rest is split among the other three. The test is all of its
    split, or `test_examples` of it with labels in proportion. `difficulty` goes with the tasks that
    are made by rule. `lm_eval` is a task of the LM Evaluation Harness, whose own prompt the search
    starts from. `source` is that of a plug-in, which reads `options`.

    With `judge`, it is the judging task of that task: is a proposed answer right? Starting
    policies, phrases, label words (of TRUE and FALSE) and steps that are given here are then those
    of evaluators.
    """

    name: str | None = None  #: of a task of the package (evoprompt tasks)
    path: DataPath | None = None  #: of a file of examples, or an address hf://...
    #: None reads lines {"input", "target", "choices"}, and guesses the columns of all else
    fields: FieldsConfig | None = None
    #: what labels of the file are called here, e.g. {0: negative, 1: positive}
    labels: dict[Text, Text] | None = None
    #: of a task of the LM Evaluation Harness, or the path of its YAML file
    lm_eval: Annotated[str, Field(min_length=1)] | None = None
    #: a local file for each split of that task, e.g. {train: a.jsonl, test: b.jsonl}; by default
    #: its own data set is fetched
    data_files: dict[str, FilePath] | None = None
    num_fewshot: Few | None = None  #: examples that its prompt shows; None leaves it to the task
    source: str | None = None  #: of a plug-in, that reads the examples
    options: dict[str, Any] = {}  #: for that source
    test_path: DataPath | None = None  #: of the test examples, where they have a file of their own
    #: of arithmetic, scramble, word_problems, worked_problems and the gridworld; None is 2
    difficulty: Annotated[int, NUMBER, Field(ge=1, le=5)] | None = None
    #: leave the choices out, so that answers are free text, as a metric of written answers takes;
    #: of paths, so that actions and instructions are likely among all texts
    written: bool = False
    #: a mark in each input, such as _, in whose place each choice is put: what follows it is scored
    #: (partial evaluation), and not the choice
    blank: Annotated[str, Field(min_length=1)] | None = None
    judge: bool = False  #: the judging task of that task: is a proposed answer right?
    #: of the judging task: a JSONL file of `{"input", "answer"}` lines, what a model answered
    #: itself. All that it got wrong are judged and as many that it got right, in place of the right
    #: answer and another choice to each input. `evoprompt boost` writes one (`loop.own_answers`)
    own_answers: FilePath | None = None
    #: that the search measures prompts on
    fitness_examples: Positive = 48
    #: that the champion is chosen by, of the finalists
    validation_examples: Positive = 64
    #: that the champion is reported on, at most
    test_examples: Positive = 200
    #: examples that demonstrations are drawn from, at most
    demonstration_pool: Count = 200
    #: which examples may be demonstrations: all, or those that are no longer than half of the
    #: examples with their target, which take fewer tokens of every prompt that shows them
    demonstration_inputs: Literal["all", "shorter"] = "all"
    #: of paths whose steps have instructions: leave them out (off), score each with the action
    #: after it (joint), score the action whichever is said (marginal), or after the one that the
    #: policy writes itself (written)
    instructions: Literal["off", "joint", "marginal", "written"] = "off"
    #: of marginal: so many instructions of each step, drawn evenly, give an estimate that is too
    #: low in the mean; None takes all, which is exact
    instruction_draws: Few | None = None
    #: of paths whose steps have instructions: the search measures prompts on stages, each the steps
    #: with one instruction after those before them; validation and test are of whole paths
    stages: bool = False
    #: of the labels in all splits but the test: each as often as the others, or as in the data;
    #: None is balanced for a run, and proportional for the questions of a loop
    balance: Balance | None = None
    #: prompts that the search begins with; default: those of the task
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
        origins = (self.name, self.path, self.lm_eval, self.source)
        if sum(given is not None for given in origins) != 1:
            raise ValueError(
                "give either task.name (a task of the package) or task.path (a file of examples), "
                "task.lm_eval (a task of the LM Evaluation Harness) or task.source (of a plug-in)"
            )
        if self.options and self.source is None:
            raise ValueError("task.options goes with task.source")
        for key in ("test_path", "fields", "labels"):
            if getattr(self, key) is not None and self.path is None:
                raise ValueError(f"task.{key} goes with task.path")
        if self.blank is not None and (self.judge or self.written):
            raise ValueError("task.blank scores what follows a choice: leave judge and written out")
        if self.own_answers is not None and not self.judge:
            raise ValueError("task.own_answers goes with task.judge=true")
        if self.instruction_draws is not None and self.instructions != "marginal":
            raise ValueError("task.instruction_draws goes with task.instructions=marginal")
        for key in ("data_files", "num_fewshot"):
            if getattr(self, key) is not None and self.lm_eval is None:
                raise ValueError(f"task.{key} goes with task.lm_eval")
        return self

    @property
    def most_starts(self) -> int:
        """How many starting policies are made of each, at most."""
        counts = {"0": 1, AUTO: 1 + len(TIMES) * self.starting_sets}
        return sum(counts.get(str(n), self.starting_sets) for n in self.starting_demonstrations)

    @property
    def title(self) -> str:
        """What people call it: a name, a path, or a source."""
        return self.name or self.lm_eval or str(self.path or self.source)

    @property
    def origin(self) -> str:
        """Where its examples come from, for those who keep account of data."""
        by = {"evoprompt": self.name, "lm_eval": self.lm_eval}
        return next((f"{of}:{name}" for of, name in by.items() if name), self.title)
