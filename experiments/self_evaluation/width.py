"""How wide is the interval of a loop's first round, by the number of labelled contexts before it?

    python experiments/self_evaluation/width.py runs/advice

For each loop that `advice.py` made, its answers without context as they are, and contexts as its
own estimates say they are: floor, ceiling, and by how much contexts of one kind differ. So many
error rates of each kind are drawn anew, and the first round is predicted from them. Prints the
width as it was measured, the mean of 12 draws for each number of contexts, and in how many of them
it is at most 0.25. Scores nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from evoprompt.jobs.boost.folder import BoostFolder
from evoprompt.jobs.boost.prediction import WIDE, judged_answers, rules_of
from evoprompt.recurrence.forecast import Calibration, Loop, predict
from evoprompt.recurrence.imitation import ImitationFit, fit_imitation

#: Contexts of each kind.
NUMBERS = (4, 8, 12, 24)
DRAWS = 12


def drawn(fit: ImitationFit, num: int, num_answers: int, rng: np.random.Generator) -> ImitationFit:
    """Return what so many contexts of each kind tell where the truth is this fit."""
    impurities = np.repeat([0.0, 1.0], num)
    rates = fit.imitation.error_rate(impurities)
    rates = rates + (fit.context_deviation or 0.0) * rng.normal(size=2 * num)
    counted = rng.binomial(num_answers, np.clip(rates, 0.0, 1.0)) / num_answers
    found = fit_imitation(impurities.tolist(), counted.tolist(), [num_answers] * (2 * num))
    assert found is not None
    return found


def widths_of(folder: BoostFolder) -> tuple[float, list[np.ndarray]]:
    """Return how wide the interval was, and for each of `NUMBERS` how wide it would be."""
    first, loop = folder.rounds()[0], folder.config().loop
    answers = [(j, r) for j, r in folder.answers() if j.round == 0]
    judged = judged_answers(
        [j for j, _ in answers], [r for _, r in answers], with_words=loop.choose == "diverse"
    )
    fit, rate, num = first.imitation, first.error_rate, len(answers)
    assert judged is not None
    assert fit is not None
    assert rate is not None
    calibration = Calibration(round(rate * num), num, judged)

    def width(imitation: ImitationFit) -> float:
        rules = rules_of(loop, first.threshold)
        size = min(loop.context_pairs, round(loop.share * loop.batch))
        ahead = Loop.alike(1, size, num, loop.batch, rules=rules, imitation=imitation)
        found = predict(calibration, ahead, np.random.default_rng(1))
        return float(found.high[0] - found.low[0])

    rng = np.random.default_rng(0)
    simulated = [
        np.array([width(drawn(fit, contexts, num, rng)) for _ in range(DRAWS)])
        for contexts in NUMBERS
    ]
    return width(fit), simulated


def main() -> None:
    """Print a row for each loop."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    heads = ["model", "task", "contexts differ by", "measured", *map(str, NUMBERS)]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for place in sorted(parser.parse_args().root.glob("*/*/*/recurrence.jsonl")):
        folder = BoostFolder.open(place.parent)
        measured, simulated = widths_of(folder)
        fit = folder.rounds()[0].imitation
        assert fit is not None
        told = [f"{w.mean():.3f} ({int((w <= WIDE).sum())} of {DRAWS})" for w in simulated]
        model, task = place.parts[-4:-2]
        differ = f"{fit.context_deviation or 0.0:.3f}"
        print("| " + " | ".join([model, task, differ, f"{measured:.3f}", *told]) + " |", flush=True)


if __name__ == "__main__":
    main()
