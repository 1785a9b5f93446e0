"""Performance against loss: curves through the mean of the benchmarks, through each category and
each benchmark; which of them do not follow; what a better model would cost. Pure.

    rows --series--> performance by model --fit--> curves --reach--> loss, compute, parameters,
    tokens, money
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log10

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import f as fisher
from scipy.stats import kendalltau

from evoprompt.arrays import Floats
from evoprompt.jobs.scaling.table import Row, by_benchmark
from evoprompt.stats.curves import Curve, Form, Law, fit, fit_law, held_out_error
from evoprompt.stats.significance import holm

#: FLOP of a petaflop/s-day, and per parameter and token of training (Kaplan et al. 2020).
PFDAY, FLOP_PER_TOKEN = 8.64e19, 6.0
#: Dollars per FLOP: a hundred thousand times the training of GPT-3, 3.14e23 FLOP, for a hundred
#: billion (Alignment Newsletter 136).
DOLLARS_PER_FLOP = 1e11 / (1e5 * 3.14e23)
#: The law of Brown et al. 2020, of PF-days beside embeddings.
PUBLISHED = Law(0.0, 2.57, 0.048)
#: Draws of benchmarks for the interval of where a level is reached.
DRAWS = 1000
ALL = "all"
#: Of the verdicts, together.
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a table, the worst first."""

    names: tuple[str, ...]
    loss: Floats  #: shape (model,)
    parameters: Floats | None  #: same shape; None where not all are known
    pfdays: Floats | None  #: likewise


@dataclass(frozen=True, slots=True)
class Series:
    """Performance by model: of a benchmark, or the mean of several."""

    name: str
    members: int  #: benchmarks, or of all categories
    performance: Floats  #: shape (model,)
    linear: Curve
    logistic: Curve
    linear_held_out: float  #: the best model's predicted performance less its own, without it
    logistic_held_out: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a benchmark follows what most do."""

    name: str
    tau: float  #: Kendall's rank correlation of performance with the negative loss
    p_trend: float  #: of no trend, two-sided, by Holm over the benchmarks
    steepness: float  #: k of its own curve
    p_steepness: float  #: of the common steepness, by Holm over the benchmarks
    text: str  #: follows, no trend, steeper, shallower


@dataclass(frozen=True, slots=True)
class Reach:
    """What it takes to reach a level, by one curve and one law."""

    form: Form
    law: str
    loss: float
    loss_interval: tuple[float, float]  #: 95 %, by drawing categories again
    flop: float  #: infinite where the law never gets there
    orders: float  #: of magnitude beyond the best model of the table
    parameters: float | None  #: by the law of parameters; None where the table has none
    tokens: float | None  #: flop / 6 / parameters
    dollars: float


@dataclass(frozen=True, slots=True)
class Scaling:
    """All that is found of a table."""

    models: Models
    mean: Series  #: over the categories
    categories: tuple[Series, ...]
    benchmarks: tuple[Series, ...]
    verdicts: tuple[Verdict, ...]
    laws: Mapping[str, Law]  #: of compute, by name
    parameter_law: Law | None
    reaches: tuple[Reach, ...]
    target: float


def analyse(
    rows: Sequence[Row], target: float, dollars_per_flop: float = DOLLARS_PER_FLOP, seed: int = 0
) -> Scaling:
    """Return all that is found of rows: at least three models, each in all benchmarks.

    Args:
        rows: of one setting.
        target: the performance whose cost is asked for, between 0 and 1.
        dollars_per_flop: the price.
        seed: of the draws for intervals.

    Raises:
        ValueError: there are fewer than three models.
    """
    table = by_benchmark(rows)
    models = models_of(rows)
    whole = {name: r for name, r in table.items() if set(r) == set(models.names)}
    if not whole:
        raise ValueError("no benchmark has a score of every model")
    benchmarks = [
        _series(name, 1, _performance(r, models), models.loss, _weights(r, models))
        for name, r in whole.items()
    ]
    grouped: dict[str, list[Floats]] = {}
    for own in whole.values():
        first = next(iter(own.values()))
        grouped.setdefault(first.category, []).append(_performance(own, models))
    means = {name: np.mean(values, axis=0) for name, values in grouped.items()}
    categories = [
        _series(name, len(grouped[name]), y, models.loss, None) for name, y in means.items()
    ]
    stacked = np.array(list(means.values()))
    mean = _series(ALL, len(means), stacked.mean(axis=0), models.loss, None)
    prices = _Prices(models, *_laws(models), dollars_per_flop)
    reaches = _reaches(mean, stacked, prices, target, seed)
    verdicts = tuple(_verdicts(benchmarks, models.loss))
    return Scaling(
        models,
        mean,
        tuple(categories),
        tuple(benchmarks),
        verdicts,
        prices.laws,
        prices.parameter_law,
        tuple(reaches),
        target,
    )


def loss_at(curve: Curve, level: float) -> float:
    """Return the loss at which a curve reaches a level; 0, which no model has, where it never does,
    as where performance does not rise with a lower loss.
    """
    return max(curve.where(level).value, 0.0) if curve.falls else 0.0


def models_of(rows: Sequence[Row]) -> Models:
    """Return the models of rows, the greatest loss first."""
    known = {row.model: row for row in rows}
    ordered = sorted(known.values(), key=lambda row: -row.loss)

    def all_of(values: Sequence[float | None]) -> Floats | None:
        found = [v for v in values if v is not None]
        return np.array(found) if len(found) == len(values) else None

    return Models(
        tuple(row.model for row in ordered),
        np.array([row.loss for row in ordered]),
        all_of([row.parameters for row in ordered]),
        all_of([row.pfdays for row in ordered]),
    )


def _performance(rows: Mapping[str, Row], models: Models) -> Floats:
    return np.array([rows[name].performance for name in models.names])


def _weights(rows: Mapping[str, Row], models: Models) -> Floats | None:
    """Return one over the variance of each performance, where all errors are known."""
    found = []
    for name in models.names:
        row = rows[name]
        if not row.error:
            return None
        found.append(((row.best - row.chance) / row.error) ** 2)
    return np.array(found)


def _series(name: str, members: int, y: Floats, loss: Floats, weights: Floats | None) -> Series:
    return Series(
        name,
        members,
        y,
        fit("linear", loss, y, weights),
        fit("logistic", loss, y, weights),
        held_out_error("linear", loss, y, weights),
        held_out_error("logistic", loss, y, weights),
    )


def _laws(models: Models) -> tuple[dict[str, Law], Law | None]:
    """Return the laws of compute that the models carry, and that of parameters."""
    laws: dict[str, Law] = {}
    if models.pfdays is not None:
        laws["published"] = PUBLISHED
        laws["own"] = fit_law(models.pfdays, models.loss)
        if len(models.names) > 3:
            laws["with offset"] = fit_law(models.pfdays, models.loss, offset=True)
    if models.parameters is None:
        return laws, None
    return laws, fit_law(models.parameters, models.loss)


@dataclass(frozen=True, slots=True)
class _Prices:
    """What a loss costs."""

    models: Models
    laws: Mapping[str, Law]
    parameter_law: Law | None
    dollars_per_flop: float

    def reach(self, form: Form, name: str, loss: float, interval: tuple[float, float]) -> Reach:
        """Return what a loss takes by one of the laws; a loss below 0 is never reached."""
        assert self.models.pfdays is not None  # or there are no laws
        pfdays = self.laws[name].cost(loss)
        flop, law = pfdays * PFDAY, self.parameter_law
        parameters = None if law is None else law.cost(loss)
        tokens = None
        if parameters is not None and max(flop, parameters) < inf:
            tokens = flop / FLOP_PER_TOKEN / parameters
        orders = log10(pfdays / float(self.models.pfdays.max())) if pfdays < inf else inf
        dollars = flop * self.dollars_per_flop
        return Reach(form, name, loss, interval, flop, orders, parameters, tokens, dollars)


def _reaches(
    mean: Series, categories: Floats, prices: _Prices, target: float, seed: int
) -> list[Reach]:
    """Return what the target takes by each curve through the mean and each law."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(categories), size=(DRAWS, len(categories)))
    reaches = []
    for curve in (mean.linear, mean.logistic):
        form, near = curve.form, curve.parameters
        means = (categories[own].mean(axis=0) for own in drawn)
        again = [loss_at(fit(form, prices.models.loss, y, near=near), target) for y in means]
        low, high = np.quantile(again, [0.025, 0.975]).tolist()
        loss = loss_at(curve, target)
        reaches += [prices.reach(form, name, loss, (low, high)) for name in prices.laws]
    return reaches


def _verdicts(series: Sequence[Series], loss: Floats) -> list[Verdict]:
    """Return for each benchmark whether it has a trend at all, and one as steep as the others.

    The trend is Kendall's. The steepness is tested by F: how much more of its residuals a curve
    with the median steepness of all leaves than its own, at 1 and n - 2 degrees of freedom.
    """
    common = float(np.median([s.logistic.parameters[0] for s in series]))
    trends = [kendalltau(-loss, s.performance) for s in series]
    steep = [_p_steepness(s, loss, common) for s in series]
    p_trend = holm([float(t.pvalue) if np.isfinite(t.pvalue) else 1.0 for t in trends])
    p_steep = holm(steep)
    return [
        Verdict(
            s.name,
            float(t.statistic),
            trend,
            s.logistic.parameters[0],
            p,
            _words(s, trend, p, common),
        )
        for s, t, trend, p in zip(series, trends, p_trend, p_steep, strict=True)
    ]


def _p_steepness(series: Series, loss: Floats, common: float) -> float:
    """Return the p-value of a curve with the common steepness and a middle of its own."""
    y, own = series.performance, series.logistic

    def residual(middle: Floats) -> Floats:
        found: Floats = 1 / (1 + np.exp(np.clip(common * (loss - middle[0]), -700, 700))) - y
        return found

    begins = [own.parameters[1], *np.quantile(loss, [0.0, 0.5, 1.0])]
    rest = min(2 * float(least_squares(residual, [b], method="lm").cost) for b in begins)
    left = own.rmse**2 * len(loss)
    if left <= 0 or rest <= left:
        return 1.0 if rest <= left else 0.0
    return float(fisher.sf((rest - left) / (left / own.freedom), 1, own.freedom))


def _words(series: Series, p_trend: float, p_steepness: float, common: float) -> str:
    if p_trend >= ALPHA:
        return "no trend shown"
    if p_steepness >= ALPHA:
        return "follows"
    return "steeper" if series.logistic.parameters[0] > common else "shallower"
