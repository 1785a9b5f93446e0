"""Configuration of a loop -> its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evoprompt.backends.base import Executor
from evoprompt.backends.open import open_model
from evoprompt.calibration import LabelCalibration
from evoprompt.choices import COMPARISONS
from evoprompt.errors import UserError
from evoprompt.jobs.base import champion_policy, job_of
from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.jobs.boost.judges import JUDGES
from evoprompt.jobs.boost.questions import Asked, asked_of
from evoprompt.jobs.boost.state import Judged
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.model import memo_opener
from evoprompt.measurement.units import Wanted
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Chat, Demonstration, Policy
from evoprompt.records import Example
from evoprompt.tasks.banks import default_policies
from evoprompt.tasks.base import Task, is_any_chat, rendered
from evoprompt.tasks.judge import evaluator_of
from evoprompt.tasks.load import policy_of
from evoprompt.tasks.render import render_prefix
from evoprompt.tracking.courier import Courier
from evoprompt.tracking.open import open_tracker, opener_of

#: Labelled contexts of each kind where a configuration does not say how many. With as many the
#: interval of the first round's error is about 0.25 wide, with 2 twice as wide.
NUM_CONTEXTS = 4


def can_spoil(questions: Sequence[Example]) -> bool:
    """Return whether questions have right answers that are known, and wrong ones beside them."""
    known = [e for e in questions if e.target]
    targets = {e.target for e in known}
    return bool(known) and all(len({*(e.choices or targets), e.target}) > 1 for e in known)


@dataclass(frozen=True, slots=True)
class BoostParts:
    """What a loop is made of."""

    config: BoostConfig
    task: Task | None  #: what measures; None where nothing is known
    questions: tuple[
        Example, ...
    ]  #: what the loop asks, in a fixed order; a target that is not known is empty
    policy: Policy  #: what answers, before any round
    evaluator: Policy  #: what judges
    measurer: Measurer
    writer: Writer
    executor: Executor
    tracker: Courier
    calibration: LabelCalibration | None = None  #: of the answers
    verdict_calibration: LabelCalibration | None = None  #: of the verdicts

    def pair_tokens(self, judged: Judged) -> int:
        """Return how many tokens a pair takes in the context."""
        pair = (Demonstration(judged.input, judged.answer),)
        bare = replace(self.policy, instruction="", demonstrations=())
        both = [render_prefix(replace(bare, demonstrations=shown)) for shown in ((), pair)]
        before, after = (len(tokens) for tokens in self.measurer.tokenizer.encode(both))
        return after - (before if self.policy.is_chat else 0)

    def question(self, judged: Judged) -> Example:
        """Return the question that was answered, with its label; that is for measuring alone."""
        return next(e for e in self.questions if e.example_id == judged.question_id)

    @property
    def num_contexts(self) -> int:
        """How many labelled contexts of each kind tell how far the model follows them."""
        wished = self.config.loop.measure_imitation
        if wished is not None:
            return wished
        return NUM_CONTEXTS if self.task is not None and can_spoil(self.questions) else 0

    @property
    def most_contexts(self) -> int:
        """How many there are at most, of both kinds together: where the number was not given, twice
        as many as at first.
        """
        return 2 * self.num_contexts * (2 if self.config.loop.measure_imitation is None else 1)

    def close(self) -> None:
        """Give the workers back."""
        self.measurer.close()


def build_boost(config: BoostConfig, runs: Path) -> BoostParts:
    """Return the parts of a self-evaluation loop. The model is being loaded when this returns; the
    first use waits for it.

    Raises:
        UserError: anything the user gave does not go together.
    """
    asked, policy, evaluator = check_boost(config)
    model = open_model(config)
    tracker = open_tracker(config, runs)
    writer, opener = Writer(model.tokenizer, model.executor), memo_opener(config, model.identity)
    measurer = Measurer(
        model.tokenizer,
        model.executor,
        Wanted(prior=COMPARISONS[config.loop.answers].beyond_prior),
        open_memo=opener,
        writer=writer,
    )
    return BoostParts(
        config,
        asked.task,
        asked.questions,
        policy,
        evaluator,
        measurer,
        writer,
        model.executor,
        tracker,
        # answers that go by something else than their likelihood have a calibration of their own
        calibration_of(config.policy_run) if config.loop.answers == "likelihood" else None,
        calibration_of(config.evaluator_run),
    )


def calibration_of(run: Path | None) -> LabelCalibration | None:
    """Return how a run's champion answers, by offsets alone, since a loop changes what stands
    before its questions; None where there is none or nothing is calibrated.
    """
    if run is None:
        return None
    champion = job_of(run).champion(run)
    return champion.offsets or champion.calibration


def check_boost(config: BoostConfig) -> tuple[Asked, Policy, Policy]:
    """Return the data, what answers and what judges; everything that can be wrong with them is
    found here.

    Raises:
        UserError: as `asked_of`; there is no such tracker; a run has no champion; there are fewer
            questions than a round asks, or no choices to judge an answer against.
    """
    opener_of(config)
    asked = asked_of(config)
    task, questions = asked.task, asked.questions
    if len(questions) < config.loop.batch:
        raise UserError(
            f"a round asks loop.batch={config.loop.batch} of {len(questions)} questions; give "
            f"more questions or a smaller batch"
        )
    examples = (*questions, *(task.test if task is not None else ()))
    judge = config.loop.judge
    if JUDGES[judge].among_choices and any(len(e.candidates) < 2 for e in examples):
        raise UserError(
            f"loop.judge={judge} compares an answer with the other choices, and there are examples "
            "without; take loop.judge=clause"
        )
    if config.loop.measure_imitation and not any(e.target for e in questions):
        raise UserError(
            "loop.measure_imitation shows questions with their right answers, and none of the "
            "questions has a target"
        )
    return asked, *_policies(config, asked)


def _evaluator_of(run: Path) -> Policy:
    """Return the champion of a run on a judging task.

    Raises:
        UserError: it has no champion, or was on another task.
    """
    champion = job_of(run).champion(run)
    task = champion.config.task
    if task is None or not task.judge:
        name = "several tasks" if task is None else f"the task '{task.title}'"
        raise UserError(
            f"evaluator_run takes a run on a judging task, and {run} is one on {name}; give one "
            f"that was made with task.judge=true, as evoprompt run evaluator makes it"
        )
    return champion.policy


def _policies(config: BoostConfig, asked: Asked) -> tuple[Policy, Policy]:
    """Return what answers and what judges; the champion of a run is rendered as it was there,
    another one as `model.chat` says, a text where that is auto.

    Raises:
        UserError: a run has no champion, or one that is a chat where `model.chat` is off.
    """
    mode = config.model.chat
    chats: tuple[Chat, ...] = ("off" if mode == "auto" else mode,)
    if config.policy_run is not None:
        policy = champion_policy(config.policy_run)
    elif config.policy is not None:
        [policy] = rendered(policy_of(config.policy), chats)
    else:
        task, questions = asked.task, asked.questions
        first = (
            task.starting_policies[0]
            if task is not None
            else default_policies(questions[0].choices)[0]
        )
        [policy] = rendered(first, chats)
    if config.evaluator_run is not None:
        evaluator = _evaluator_of(config.evaluator_run)
    elif config.evaluator is not None:
        [evaluator] = rendered(policy_of(config.evaluator), chats)
    else:
        evaluator = evaluator_of(policy)
    if mode == "off" and (is_any_chat(policy) or evaluator.is_chat):
        raise UserError(
            "what answers or judges is rendered by the model's chat template (`chat` of its "
            "policy), and model.chat is off; set model.chat=auto, turns or single"
        )
    return policy, evaluator
