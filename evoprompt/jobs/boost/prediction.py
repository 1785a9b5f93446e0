"""What a round of a loop should measure, told from round 0 alone, and the verdict on it. Pure.

The prediction is for what the loop does with its answers: how it accepts, keeps and shows them, and
which it withholds. Labels are used for it as they are for measuring; no round sees them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.jobs.boost.config import BoostConfig, LoopConfig
from evoprompt.jobs.boost.record import Measured, RoundLine, RoundVerdict, round_line
from evoprompt.jobs.boost.state import BUFFERS, Judged, LoopState, batch_of, word_distance
from evoprompt.recurrence.advice import Advice, advise
from evoprompt.recurrence.answers import UNIQUE, JudgedAnswers
from evoprompt.recurrence.context import ORDERS, Rules
from evoprompt.recurrence.forecast import Calibration, Loop, predict
from evoprompt.recurrence.imitation import ImitationFit
from evoprompt.recurrence.verdict import RoundCounts, failed_assumptions, verdict
from evoprompt.seeding import Stream, generator

#: Wider intervals of the first round's error rate are not left to the first contexts.
WIDE = 0.25


def rules_of(loop: LoopConfig, threshold: float | None) -> Rules:
    """Return what a loop does with judged answers; `threshold` None accepts a share."""
    return Rules(threshold, loop.share, loop.buffer, loop.choose, loop.least_buffer)


def predicted_for(loop: LoopConfig, threshold: float | None) -> str:
    """Return in words for which contexts a loop is predicted: a sentence's end."""
    accepted = (
        f"the surest {loop.share:.0%} of a round"
        if threshold is None
        else f"log-odds above {threshold:.2f}"
    )
    withheld = (
        ""
        if loop.abstain_below is None
        else f", answers of probability below {loop.abstain_below:g} withheld"
    )
    return (
        f"contexts of {ORDERS[loop.choose].words} among {BUFFERS[loop.buffer].words} "
        f"({accepted}{withheld})"
    )


def judged_answers(
    judged: Sequence[Judged], right: Sequence[bool | None], *, with_words: bool
) -> JudgedAnswers | None:
    """Return a calibration's answers as numbers, None without labels.

    Args:
        judged: of round 0.
        right: by answer.
        with_words: whether the distances of the questions' words are needed.
    """
    if not judged or any(r is None for r in right):
        return None
    met = Counter(j.answer for j in judged)
    labels = {answer: i for i, answer in enumerate(a for a, num in met.items() if num > 1)}
    return JudgedAnswers(
        np.array(right, dtype=bool),
        np.array([j.log_odds for j in judged], dtype=np.float64),
        np.array([labels.get(j.answer, UNIQUE) for j in judged], dtype=np.int64),
        np.array([j.abstained for j in judged], dtype=bool),
        np.ones(len(judged)),
        _distances(judged) if with_words else None,
    )


def advice_of(
    config: BoostConfig, line: RoundLine, measured: Measured, num_questions: int
) -> Advice | None:
    """Return what round 0 lets expect of the rounds to come, or None where its imitation was not
    measured.

    Args:
        config: of the loop.
        line: of round 0.
        measured: in it.
        num_questions: that the loop may ask.
    """
    found = _ahead(config, line, measured, num_questions)
    if found is None:
        return None
    rng = generator(config.seed, Stream.PREDICTION, 0)
    return advise(*found, rng, alpha=config.alpha)


def wideness(
    config: BoostConfig,
    state: LoopState,
    measured: Measured,
    threshold: float | None,
    num_questions: int,
) -> Callable[[ImitationFit], bool]:
    """Return what says of an imitation measured in round 0 whether the interval of the first
    round's error rate would be wide with it.
    """

    def is_wide(fit: ImitationFit) -> bool:
        found = replace(measured, imitation=fit)
        line = round_line(config, state, found, threshold)
        width = first_width(config, line, found, num_questions)
        return width is not None and width > WIDE

    return is_wide


def first_width(
    config: BoostConfig, line: RoundLine, measured: Measured, num_questions: int
) -> float | None:
    """Return how wide the interval of the first round's error rate will be; None and arguments as
    of `advice_of`.
    """
    found = _ahead(config, line, measured, num_questions)
    if found is None:
        return None
    calibration, loop = found
    first = replace(loop, sizes=loop.sizes[:1], asked=loop.asked[:1])
    rng = generator(config.seed, Stream.PREDICTION, 0, 1)
    forecast = predict(calibration, first, rng, alpha=config.alpha)
    return float(forecast.high[0] - forecast.low[0])


def _ahead(
    config: BoostConfig, line: RoundLine, measured: Measured, num_questions: int
) -> tuple[Calibration, Loop] | None:
    """Return what was measured in round 0, and the loop that is to come."""
    loop, tested = config.loop, measured.tested
    judged = judged_answers(measured.judged, measured.right, with_words=loop.choose == "diverse")
    if line.imitation is None or tested is None or judged is None:
        return None
    rounds = range(1, loop.rounds + 1)
    asked = [tuple(batch_of(num_questions, loop.batch, config.seed, r)) for r in rounds]
    accepted = loop.batch if line.threshold is not None else round(loop.share * loop.batch)
    kept = [accepted * (r if loop.buffer == "accumulate" else 1) for r in rounds]
    ahead = Loop(
        tuple(min(loop.context_pairs, num) for num in kept),
        len(tested.right),
        tuple(asked),
        rules_of(loop, line.threshold),
        line.imitation,
    )
    wrong = int((~tested.right).sum())
    return Calibration(wrong, len(tested.right), judged), ahead


def is_begun(loop: LoopConfig, first: RoundLine) -> bool:
    """Return whether there are rounds after what was measured before them: `loop.go_on`, or nothing
    speaks against it.
    """
    return loop.go_on or first.advice is None or first.advice.pays


def against_prediction(
    config: BoostConfig, before: Sequence[RoundLine], line: RoundLine, measured: Measured
) -> RoundLine:
    """Return a round with its prediction and the verdict on it; as it is in round 0, without test
    examples, without the answers of round 0, and before there is a context.
    """
    if not before or measured.tested is None or not line.context_size:
        return line
    loop, alpha = config.loop, config.alpha
    first = [(j, r) for j, r in measured.earlier if j.round == 0]
    judged = judged_answers(
        [j for j, _ in first], [r for _, r in first], with_words=loop.choose == "diverse"
    )
    if judged is None:
        return line
    assert before[0].error_rate is not None
    test = measured.tested.right
    calibration = Calibration(round(before[0].error_rate * len(test)), len(test), judged)
    imitation = 1.0 if before[0].imitation is None else before[0].imitation
    sizes = tuple(known.context_size for known in (*before[1:], line))
    rules = rules_of(loop, line.threshold)
    predicted = Loop(sizes, len(test), _asked(measured, line.round), rules, imitation)
    rng = generator(config.seed, Stream.PREDICTION, line.round)
    forecast = predict(calibration, predicted, rng, alpha=alpha)
    counts = _counts(before[-1], line, measured)
    found = verdict(counts, calibration, predicted, forecast, rng, alpha)
    # Inside too: a wide interval refutes little, the counts may refute more.
    failed = failed_assumptions(counts, calibration, predicted, rng, alpha)
    return replace(
        line,
        predicted=float(forecast.mean[-1]),
        predicted_ci=(float(forecast.low[-1]), float(forecast.high[-1])),
        predicted_for=predicted_for(loop, line.threshold),
        verdict=RoundVerdict(found.inside, failed, found.surprise_z),
    )


def _counts(before: RoundLine, line: RoundLine, measured: Measured) -> RoundCounts:
    """Return what a round measured."""
    assert measured.tested is not None
    known = [r for r in measured.context_right if r is not None]
    return RoundCounts(
        round=line.round,
        num_wrong=int((~measured.tested.right).sum()),
        num_answers=len(measured.tested.right),
        context_wrong=known.count(False),
        context_size=len(known),
        evaluator=line.evaluator_counts,
        num_accepted=line.accepted,
        context_changed=set(line.context_ids) != set(before.context_ids),
    )


def _asked(measured: Measured, num_rounds: int) -> tuple[tuple[int, ...], ...]:
    """Return the numbers of the questions that each round asked."""
    answers = (*(j for j, _ in measured.earlier if j.round > 0), *measured.judged)
    number = {name: i for i, name in enumerate(dict.fromkeys(j.question_id for j in answers))}
    return tuple(
        tuple(number[j.question_id] for j in answers if j.round == step)
        for step in range(1, num_rounds + 1)
    )


def _distances(judged: Sequence[Judged]) -> Floats:
    """Return how far the questions' words are from each other, shape (answer, answer)."""
    words = [j.words for j in judged]
    return np.array([[word_distance(a, b) for b in words] for a in words])
