"""The self-evaluation loop: the model answers, judges its own answers, and learns from those it
accepts. Readable in one sitting.

    questions --answer--> answers --judge--> verdicts --accept--> buffer --choose--> context of the
    next round
                                                                                        |
                                          test examples with labels --measure--> error rate beside
                                          the recurrence's prediction

The upper line sees no label (`runtime.asker` puts them away before anything is scored); the lower
one only measures.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import isnan
from typing import Any, Protocol

import numpy as np

from evoprompt.backends.base import ModelInfo
from evoprompt.calibration import LabelCalibration
from evoprompt.choices import COMPARISONS
from evoprompt.errors import UserError
from evoprompt.interrupt import raise_if_interrupted
from evoprompt.jobs.boost.build import BoostParts
from evoprompt.jobs.boost.conclude import summarize
from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.jobs.boost.folder import ACCEPTED, ANSWERS, OWN, RECURRENCE, BoostFolder
from evoprompt.jobs.boost.judges import JUDGES
from evoprompt.jobs.boost.measure import measure_imitation, outcomes, own_answers
from evoprompt.jobs.boost.page import write_boost_page
from evoprompt.jobs.boost.prediction import advice_of, against_prediction, is_begun, wideness
from evoprompt.jobs.boost.questions import Asked
from evoprompt.jobs.boost.record import Measured, Outcomes, RoundLine, round_line
from evoprompt.jobs.boost.state import (
    Judged,
    LoopState,
    abstain,
    accept,
    batch_of,
    believed_error,
    choose,
    fill_buffer,
    goes_on,
    in_context,
)
from evoprompt.jobs.boost.tracked import open_tracking, point_of
from evoprompt.jobs.held_out import compare
from evoprompt.jobs.provenance import check_scoring
from evoprompt.measurement.asker import Asker, Prior, is_right
from evoprompt.policy import Policy
from evoprompt.records import Example, TokenCount
from evoprompt.recurrence.threshold import best_threshold
from evoprompt.seeding import Stream, generator
from evoprompt.store.folder import SUMMARY, TRACKING
from evoprompt.store.form import in_form
from evoprompt.store.ledger import Ledger


class BoostObserver(Protocol):
    """Who watches a loop."""

    def loaded(self, info: ModelInfo, config: BoostConfig) -> None:
        """The model is ready."""

    def phase(self, name: str) -> None:
        """A round begins."""

    def scored(self, count: TokenCount) -> None:
        """A part of it is scored."""

    def round(self, line: RoundLine) -> None:
        """A round is committed; the line is that of `recurrence.jsonl`."""


def boost(
    parts: BoostParts, folder: BoostFolder, observer: BoostObserver, *, startup_seconds: float = 0.0
) -> Mapping[str, Any]:
    """Begin a loop or go on with it, to its end; return its summary, which is also written.

    Raises:
        UserError: a prompt does not fit the model.
        InexactScoringError: the standing check found a wrong score, so all are in doubt.
    """
    loop = parts.config.loop
    state, ledger = restore(folder)
    ledger.add_seconds("startup", startup_seconds)
    asker = _asker(parts, ledger, observer)
    with ledger.timed("tracking"):
        open_tracking(parts.tracker, folder, parts.config, Asked(parts.task, parts.questions))
    with ledger.timed("model_load"):
        info = parts.executor.info()
    check_scoring(folder, info, parts.config.workers.threads)
    parts.measurer.watch(parts.config.seed, ledger)
    with ledger.timed("tracking"):
        parts.tracker.ready()
    observer.loaded(info, parts.config)
    if state is None:
        state = _begin(parts, folder, asker, observer)
    first = folder.rounds()[0]
    threshold = first.threshold
    while is_begun(loop, first) and goes_on(
        state, rounds=loop.rounds, patience=loop.patience, max_tokens=loop.prefill_tokens
    ):
        raise_if_interrupted()
        number = state.round + 1
        observer.phase(f"round {number}")
        asked = [
            parts.questions[i]
            for i in batch_of(len(parts.questions), loop.batch, state.seed, number)
        ]
        policy = in_context(parts.policy, state.context)
        judged = answer_and_judge(parts, asker, policy, asked, number)
        judged = accept(abstain(judged, loop.abstain_below), threshold=threshold, share=loop.share)
        state = _commit(
            parts, folder, asker, observer, tell(parts, state, judged), judged, asked, threshold
        )
    return _conclude(parts, folder, asker, state, info)


def _begin(
    parts: BoostParts, folder: BoostFolder, asker: Asker, observer: BoostObserver
) -> LoopState:
    """Measure what is told before the first round; return the loop's beginning, committed."""
    observer.phase("before the first round")
    if parts.config.loop.own_answers:
        folder.write_lines(OWN, own_answers(parts, asker))
    threshold = _threshold(parts, asker)
    judged, asked = _calibrate(parts, asker, threshold)
    state = LoopState(parts.config.seed)
    return _commit(parts, folder, asker, observer, state, judged, asked, threshold)


def answer_and_judge(
    parts: BoostParts, asker: Asker, policy: Policy, asked: Sequence[Example], number: int
) -> tuple[Judged, ...]:
    """Return each question with the policy's answer, the answer's probability, and the log-odds
    that it is right, by whoever judges.
    """
    answers = asker.answers(policy, asked, "answers")
    judge = JUDGES[parts.config.loop.judge]
    log_odds = judge.log_odds(asker, parts.evaluator, asked, answers)
    return tuple(
        Judged(number, e.example_id, e.input, a.text, a.probability, float(odds))
        for e, a, odds in zip(asked, answers, log_odds, strict=True)
    )


def tell(parts: BoostParts, state: LoopState, judged: Sequence[Judged]) -> LoopState:
    """Return the loop after a round: the accepted answers in the buffer, and what the next context
    shows of it.
    """
    loop = parts.config.loop
    buffer = fill_buffer(state.buffer, judged, loop.buffer, loop.least_buffer)
    context, believed = state.context, believed_error(judged)
    if len(buffer) >= loop.least_buffer:
        rng = generator(state.seed, Stream.CONTEXT, state.round + 1)
        context = choose(
            buffer, loop.choose, loop.context_pairs, loop.context_tokens, parts.pair_tokens, rng
        )
    return replace(
        state,
        round=state.round + 1,
        buffer=buffer,
        context=context,
        believed=(*state.believed, *([] if isnan(believed) else [believed])),
    )


def restore(folder: BoostFolder) -> tuple[LoopState | None, Ledger]:
    """Return what an earlier part of this loop committed, or no state and an empty ledger."""
    content = folder.restore_lines((RECURRENCE, ANSWERS))
    if content is None:
        return None, Ledger()
    with in_form(folder.path):
        pairs = {
            name: tuple(Judged(**row) for row in content[name]) for name in ("buffer", "context")
        }
        state = LoopState(
            content["seed"],
            content["round"],
            pairs["buffer"],
            pairs["context"],
            tuple(content["believed"]),
            content["tokens"],
        )
        return state, Ledger.from_dict(content["ledger"])


def _commit(
    parts: BoostParts,
    folder: BoostFolder,
    asker: Asker,
    observer: BoostObserver,
    state: LoopState,
    judged: Sequence[Judged],
    asked: Sequence[Example],
    threshold: float | None,
) -> LoopState:
    """Measure what a round led to, and write it down: from here on it counts. Return the state with
    its cost.
    """
    right = tuple(is_right(j.answer, e.target) for j, e in zip(judged, asked, strict=True))
    buffer_right, context_right = (
        tuple(is_right(j.answer, parts.question(j).target) for j in group)
        for group in (state.buffer, state.context)
    )
    measured = Measured(
        _test(parts, asker, state),
        tuple(judged),
        right,
        buffer_right,
        context_right,
        earlier=folder.answers(),
    )
    if state.round == 0:
        is_wide = wideness(parts.config, state, measured, threshold, len(parts.questions))
        measured = replace(measured, imitation=measure_imitation(parts, asker, is_wide))
    ledger = asker.ledger
    with ledger.timed("dynamics"):
        line = round_line(parts.config, state, measured, threshold)
        if state.round == 0:
            advice = advice_of(parts.config, line, measured, len(parts.questions))
            line = replace(line, advice=advice)
        line = against_prediction(parts.config, folder.rounds(), line, measured)
    state = replace(state, tokens=ledger.total.floor_body_tokens + ledger.total.generated_tokens)
    line = replace(
        line,
        tokens=state.tokens,
        time_ms=int(time.time() * 1000),
        seconds=round(sum(ledger.seconds.values()), 3),
    )
    content = {
        "version": 1,
        **{name: getattr(state, name) for name in ("seed", "round", "believed", "tokens")},
        **{name: [asdict(j) for j in getattr(state, name)] for name in ("buffer", "context")},
        "ledger": ledger.to_dict(),
    }
    answers = [{**asdict(j), "is_right": r} for j, r in zip(judged, right, strict=True)]
    folder.commit_lines({RECURRENCE: [line.to_dict()], ANSWERS: answers}, content)
    parts.tracker.log(point_of(line))
    observer.round(line)
    return state


def _test(parts: BoostParts, asker: Asker, state: LoopState) -> Outcomes | None:
    """Return how the policy with this context does on the test examples, None without a task."""
    return outcomes(parts, asker, parts.task, state.context) if parts.task is not None else None


def _calibrate(
    parts: BoostParts, asker: Asker, threshold: float | None
) -> tuple[tuple[Judged, ...], tuple[Example, ...]]:
    """Return the answers to the test questions before the first round, judged and accepted as any
    round's, and the questions.

    They serve to measure; the loop does not learn from them.
    """
    if parts.task is None:
        return (), ()
    loop = parts.config.loop
    judged = answer_and_judge(parts, asker, parts.policy, parts.task.test, 0)
    return accept(
        abstain(judged, loop.abstain_below), threshold=threshold, share=loop.share
    ), parts.task.test


def _threshold(parts: BoostParts, asker: Asker) -> float | None:
    """Return the log-odds above which answers are accepted, or None where a share is."""
    loop = parts.config.loop
    if not loop.calibrate:
        return loop.threshold
    assert parts.task is not None
    judged = answer_and_judge(parts, asker, parts.policy, parts.task.validation, 0)
    right = np.array(
        [
            bool(is_right(j.answer, e.target))
            for j, e in zip(judged, parts.task.validation, strict=True)
        ]
    )
    best = best_threshold(np.array([j.log_odds for j in judged]), right)
    if best is None:
        raise UserError(
            "loop.calibrate: all or none of the validation answers are right, so no threshold "
            "tells them apart; give loop.threshold"
        )
    return best.threshold


def _asker(parts: BoostParts, ledger: Ledger, observer: BoostObserver) -> Asker:
    loop = parts.config.loop
    return Asker(
        parts.measurer,
        parts.writer,
        ledger,
        observer.scored,
        loop.answer_tokens,
        loop.answers,
        parts.calibration,
        parts.verdict_calibration,
    )


def _known(calibration: LabelCalibration | None) -> dict[str, object]:
    """Return a calibration as a summary has it; nothing where there is none."""
    return {} if calibration is None else {"calibration": calibration.to_dict()}


def _conclude(
    parts: BoostParts, folder: BoostFolder, asker: Asker, state: LoopState, info: ModelInfo
) -> Mapping[str, Any]:
    """Write what is left of the loop: the pairs it accepted as a task's examples, the page, the
    summary.
    """
    policy = in_context(parts.policy, state.context)
    folder.write_lines(ACCEPTED, [_accepted_line(parts, j) for j in state.buffer])
    before, tested = _test(parts, asker, LoopState(state.seed)), _test(parts, asker, state)
    answer_prior, verdict_prior = _priors(parts, asker, policy)
    checked = asker.ledger.checked
    summary = summarize(parts.config, folder.rounds(), tested, checked) | {
        "name": folder.path.name,
        "test": _compare(parts.config, before, tested) if before and tested else None,
        "champion": {
            "policy_id": policy.policy_id,
            "policy": policy.to_dict(),
            "prompt": parts.measurer.shown(policy),
            "prior": answer_prior,
        }
        | _known(parts.calibration),
        "evaluator": {
            "policy": parts.evaluator.to_dict(),
            "prompt": parts.measurer.shown(parts.evaluator),
            "prior": verdict_prior,
        }
        | _known(parts.verdict_calibration),
        "model": {
            "name": parts.config.model.name,
            "dtype": info.dtype,
            "path": info.path,
            "reason": info.reason,
        },
        "tokens": asdict(asker.ledger.token_summary()),
        "checked": asdict(checked),
        "mlflow_run_id": (folder.read(TRACKING) or {}).get("run_id"),
    }
    with asker.ledger.timed("report"):
        write_boost_page(folder, summary)
    summary["seconds"] = asker.ledger.rounded_seconds()
    folder.write(SUMMARY, summary)
    return summary


def _priors(parts: BoostParts, asker: Asker, policy: Policy) -> tuple[Prior | None, Prior | None]:
    """Return what frees an answer to one input alone, and a verdict on it, of the choices' means
    over a batch; None where the loop does not.

    The batch is the test inputs, on which the last error was measured, or without them the first
    questions.
    """
    loop = parts.config.loop
    batch = parts.task.test if parts.task is not None else parts.questions[: loop.batch]
    if not COMPARISONS[loop.answers].over_batch or batch[0].choices is None:
        return None, None
    judged = (
        asker.verdict_prior(parts.evaluator, batch, "measuring")
        if JUDGES[loop.judge].among_choices
        else None
    )
    return asker.answer_prior(policy, batch, "measuring"), judged


def _compare(config: BoostConfig, before: Outcomes, after: Outcomes) -> dict[str, object]:
    """Return both error rates with intervals, and their paired difference."""
    found = compare(~before.right, ~after.right, config.seed, config.alpha)
    return replace(found, metric="error_rate").to_dict()


def _accepted_line(parts: BoostParts, judged: Judged) -> dict[str, object]:
    """Return an accepted pair as a line of a task's file: a run on it learns from what the model
    itself holds for right.
    """
    choices = parts.question(judged).choices
    return {
        "input": judged.input,
        "target": judged.answer,
        "choices": list(choices) if choices else None,
        "id": judged.question_id,
    }
