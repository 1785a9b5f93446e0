"""What would have been advised before the loops of the study, from its stored table alone?

    python experiments/self_evaluation/retrospect.py [experiments/self_evaluation/table.md]

For each model, task and judge the advice (`recurrence/advice.py`) is given from the error before,
the judge's sensitivity and specificity on the 80 test examples, and the floor and ceiling with
their standard errors; how much single contexts differ is not in the table and taken for 0. It is
right where it says yes and the interval of the measured change lies below 0, and where it does not
and it does not.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from evoprompt.recurrence.advice import Advice, advise
from evoprompt.recurrence.answers import JudgedAnswers
from evoprompt.recurrence.context import Rules
from evoprompt.recurrence.evaluator import EvaluatorCounts
from evoprompt.recurrence.forecast import Calibration, Loop
from evoprompt.recurrence.imitation import ImitationFit

#: Of the study: test examples, rounds, pairs of a context, questions of a round, contexts measured.
TESTED, ROUNDS, PAIRS, BATCH, CONTEXTS = 80, 4, 24, 48, 9
LIMITS = re.compile(r"\| (\S+) \| (\w+) \| ([\d.]+) \+- ([\d.]+) \| ([\d.]+) \+- ([\d.]+) \|")
LOOP = re.compile(
    r"\| (\S+) \| (\w+) \| (naive|shown|evolved) \| ([\d.]+) \+ ([\d.]+) = [\d.]+ "
    r"\| ([\d.]+) \| [\d.]+ \| (\S+) \[(\S+), (\S+)\]"
)


def advice_of(rates: tuple[float, ...], limits: ImitationFit) -> Advice:
    """Return the advice by sensitivity, specificity and error before."""
    s, c, before = rates
    wrong = round(TESTED * before)
    right = TESTED - wrong
    counts = EvaluatorCounts(round(s * right), right, round((1 - c) * wrong), wrong)
    judged = JudgedAnswers.of_counts(counts)
    rules = Rules(0.0, least=4)
    loop = Loop.alike(ROUNDS, PAIRS, TESTED, BATCH, rules=rules, imitation=limits)
    return advise(Calibration(wrong, TESTED, judged), loop, np.random.default_rng(0))


def main() -> None:
    """Print the table, and how many are right by judge."""
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("table.md")
    text = place.read_text(encoding="utf-8")
    limits = {}
    for model, task, *ends in (m.groups() for m in LIMITS.finditer(text)):
        floor, floor_error, ceiling, ceiling_error = map(float, ends)
        fit = ImitationFit(floor, ceiling, floor_error, ceiling_error, CONTEXTS, 0.0)
        limits[model, task] = fit
    print("| model | task | judge | chance | expected | advice | measured | right |")
    print("|---|---|---|---|---|---|---|---|")
    right: Counter[str] = Counter()
    for model, task, judge, *numbers in (m.groups() for m in LOOP.finditer(text)):
        s, c, before, change, low, high = map(float, numbers)
        advice = advice_of((s, c, before), limits[model, task])
        is_right = advice.pays == (high < 0)
        right[judge] += is_right
        print(
            f"| {model} | {task} | {judge} | {advice.chance:.2f} | {advice.change:+.3f} | "
            f"{advice.answer.value} | {change:+.3f} [{low:+.3f}, {high:+.3f}] | "
            f"{'yes' if is_right else 'no'} |"
        )
    print(f"\nRight: {dict(right)}")


if __name__ == "__main__":
    main()
