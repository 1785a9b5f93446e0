"""The contract of a selection scheme. Each function raises `AssertionError` where it is broken.

    from evoprompt.testing.selection import check_scheme

    def test_my_scheme():
        check_scheme(MyScheme())

Draws have fixed seeds, so that a scheme that draws from what it is given always passes or never
does. For fresh seeds a sound scheme would fail in one of a million runs of the whole contract.
"""

from __future__ import annotations

import random
from dataclasses import replace
from math import inf, isinf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from evoprompt.config.evolution import SelectionConfig
from evoprompt.selection.base import Candidates, Expectation, Scheme, draw_parents, draw_survivors

#: Calls against which the stated chances are held: less than a second for epsilon-lexicase.
DRAWS = 400
#: Probability that a count is taken for wrong, at most; one check of a scheme looks at 14 of them.
FALSE_ALARM = 1e-8


def candidates_of(num: int = 7, cases: int = 5, seed: int = 0) -> Candidates:
    """Return candidates with different fitness, of which two are equal."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(num, cases)).round(3)
    values[1] = values[0]
    tokens, shown = rng.integers(5, 60, size=num), rng.integers(0, 7, size=num)
    traits = {"num_demonstrations": shown.astype(float)}
    return Candidates(values.mean(axis=1), values, tokens.astype(float), traits=traits)


def check_scheme(scheme: Scheme, settings: SelectionConfig | None = None) -> None:
    """Check the whole contract."""
    settings = settings or SelectionConfig()
    check_draws(scheme, settings)
    check_survivors(scheme, settings)
    check_global_generators(scheme, settings)
    check_refusals(scheme, settings)
    check_parent_chances(scheme, settings)
    check_survival_chances(scheme, settings)
    check_filling(scheme, settings)


def check_draws(scheme: Scheme, settings: SelectionConfig) -> None:
    """A draw gives as many valid indices as were asked for, the same for the same generator, and
    leaves its arguments as they were.
    """
    candidates, before = candidates_of(), candidates_of()
    for num in (1, 3, 10):
        drawn = draw_parents(scheme, candidates, num, settings, np.random.default_rng(1))
        assert len(drawn) == num, f"{len(drawn)} of {num} slots were filled"
        assert all(0 <= index < 7 for index in drawn), f"{drawn} are no indices of 7 candidates"
        again = draw_parents(scheme, candidates, num, settings, np.random.default_rng(1))
        assert drawn == again, "the same generator gave other parents"
    assert (candidates.fitness == before.fitness).all(), "the fitness was changed"
    assert (candidates.case_fitness == before.case_fitness).all(), "case fitness was changed"


def check_survivors(scheme: Scheme, settings: SelectionConfig) -> None:
    """Survivors are different, in ascending order, and all where all may survive."""
    candidates = candidates_of()
    for num in (1, 4, 7):
        kept = draw_survivors(scheme, candidates, num, settings, np.random.default_rng(2))
        assert kept == sorted(set(kept)), f"{kept} are not different and ascending"
        assert len(kept) == num, f"{len(kept)} of {num} survived"


def check_global_generators(scheme: Scheme, settings: SelectionConfig) -> None:
    """The generators of `random` and numpy are as they were before a call."""
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.random()
    random.seed(3)
    np.random.seed(3)
    draw_parents(scheme, candidates_of(), 4, settings, np.random.default_rng(0))
    draw_survivors(scheme, candidates_of(), 4, settings, np.random.default_rng(0))
    assert (random.random(), np.random.random()) == expected, "a global generator has moved"


def check_refusals(scheme: Scheme, settings: SelectionConfig) -> None:
    """Nobody is selected where a fitness is NaN, or where there is nobody."""
    sound = candidates_of()
    broken = Candidates(np.full(7, np.nan), sound.case_fitness, sound.prompt_tokens)
    for candidates in (broken, sound.take([])):
        try:
            draw_parents(scheme, candidates, 2, settings, np.random.default_rng(0))
        except ValueError:
            continue
        raise AssertionError("candidates that cannot be compared were selected")


def check_parent_chances(scheme: Scheme, settings: SelectionConfig) -> None:
    """The chances of parents sum to 1 and are those of drawing."""
    said, counts = _drawn(scheme, settings, num=4)
    assert abs(said.probability.sum() - 1) < 1e-9, f"chances sum to {said.probability.sum()}"
    if said.filling == "independent":
        _check_shares(counts.sum(axis=0), counts.sum(), said)
    else:  # slots of one call depend on each other, so each call counts as one draw
        _check_shares(counts.sum(axis=0) / 4, len(counts), said)


def check_survival_chances(scheme: Scheme, settings: SelectionConfig) -> None:
    """The chances of survivors sum to their number and are those of drawing."""
    candidates, num = candidates_of(), 4
    said = scheme.survival_chances(candidates, num, settings, np.random.default_rng(6))
    assert abs(said.probability.sum() - num) < 1e-9, f"chances sum to {said.probability.sum()}"
    rng = np.random.default_rng(7)
    kept = [draw_survivors(scheme, candidates, num, settings, rng) for _ in range(DRAWS)]
    _check_shares(np.bincount(np.concatenate(kept), minlength=7).astype(float), DRAWS, said)


def check_filling(scheme: Scheme, settings: SelectionConfig) -> None:
    """Slots are filled as the chances of parents say: drift is reckoned by it.

    Independent slots make multinomial counts, whose variance is n p (1 - p); its ratio to what is
    found has a standard error of about 0.03, and may be off by eight of them.
    """
    num = 10
    said, counts = _drawn(scheme, settings, num)
    expected = num * said.probability
    if said.filling == "spaced":
        assert (np.abs(counts - expected) < 1 + 1e-9).all(), "the slots are not spaced"
    elif said.filling == "set":
        assert np.isin(counts, (num // 7, num // 7 + 1)).all(), "the slots are not filled by a set"
    elif said.filling == "independent":
        found = counts.var(axis=0, ddof=1).sum()
        variance = (expected * (1 - said.probability)).sum()
        assert abs(found - variance) <= 0.25 * variance, (
            f"the slots are not independent: their counts vary by {found:.2f}, and independent "
            f"ones by {variance:.2f}"
        )


def check_order_alone(scheme: Scheme, settings: SelectionConfig) -> None:
    """Fitness with the same order gives the same draws and chances. For schemes that claim to look
    at ranks alone; not a part of `check_scheme`.
    """
    plain = candidates_of()
    bent = replace(plain, fitness=3 * np.exp(plain.fitness) - 7)
    for draw in (draw_parents, draw_survivors):
        one, other = (draw(scheme, c, 3, settings, np.random.default_rng(8)) for c in (plain, bent))
        assert one == other, "other fitness of the same order gave other draws"
    for chances in (scheme.parent_chances, scheme.survival_chances):
        said = [chances(c, 3, settings, np.random.default_rng(9)) for c in (plain, bent)]
        assert (said[0].probability == said[1].probability).all(), (
            "other fitness of the same order gave other chances"
        )


def _drawn(
    scheme: Scheme, settings: SelectionConfig, num: int
) -> tuple[Expectation, NDArray[np.float64]]:
    """Return the stated chances of parents, and how many slots each filled, shape (call,
    candidate).
    """
    candidates, rng = candidates_of(), np.random.default_rng(5)
    said = scheme.parent_chances(candidates, num, settings, np.random.default_rng(4))
    calls = [draw_parents(scheme, candidates, num, settings, rng) for _ in range(DRAWS)]
    return said, np.array([np.bincount(c, minlength=7) for c in calls], dtype=float)


def _check_shares(counts: NDArray[np.float64], draws: float, said: Expectation) -> None:
    """Hold counts of so many draws against what was said.

    With p the stated chance, or for a simulation the share in its draws and these together, a count
    of n draws is further than `off` from n p with a probability of at most `FALSE_ALARM`:

        off = L / 3 + sqrt(L^2 / 9 + 2 n p (1 - p) L), L = ln(2 / FALSE_ALARM)

    Source: Bernstein's inequality; for shares of all draws together Hoeffding 1963, section 6.
    """
    own = _own_draws(said)
    for index, (count, p) in enumerate(zip(counts, said.probability, strict=True)):
        middle = p if isinf(own) else (count + own * p) / (draws + own)
        middle = min(max(middle, 0.0), 1.0)
        level = log(2 / FALSE_ALARM)
        off = level / 3 + sqrt(level**2 / 9 + 2 * draws * middle * (1 - middle) * level)
        certain = isinf(own) and min(middle, 1 - middle) < 1e-12
        assert abs(count - draws * middle) <= (1e-6 if certain else off), (
            f"candidate {index} was selected with a share of {count / draws:.3f}, and its stated "
            f"chance is {p:.3f}"
        )


def _own_draws(said: Expectation) -> float:
    """Return how many draws a simulation had by its standard errors; infinite for what is exact."""
    assert (said.how == "closed form") == (said.standard_error is None), (
        "a closed form has no standard error, and a simulation has one"
    )
    if said.standard_error is None or not said.standard_error.any():
        return inf
    some = said.standard_error > 0
    p = said.probability[some]
    return float((p * (1 - p) / said.standard_error[some] ** 2).min())
