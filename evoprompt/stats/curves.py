"""Curves through few points: a line, a logistic curve between 0 and 1, and power laws, each with
the errors of what was fitted. Pure.

    x, losses of models, and y, their performance --fit--> Curve
    x, what models cost, and their losses --fit_law--> Law
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, nan, sqrt
from typing import Literal, TypeAlias

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import t as student

from evoprompt.arrays import Floats

Form = Literal["linear", "logistic"]
Pair: TypeAlias = tuple[float, float]

#: Points that a curve of two parameters takes at least, so that it has an error.
LEAST_POINTS = 3
#: Where the search for a logistic curve begins: steepness, and quantiles of x for its middle.
STEEPNESSES, MIDDLES = (1.0, 4.0, 12.0, 30.0), (0.0, 0.5, 1.0)
#: Relative change of the parameters, and of the squares, at which a search ends.
LEAST_MOVE = 1e-14


@dataclass(frozen=True, slots=True)
class Where:
    """Where a curve reaches a level, with its standard error by the delta method."""

    value: float
    error: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A fitted curve, y of x.

    linear: y = a + b x. logistic: y = 1 / (1 + exp(k (x - m))), so that y falls with x where k > 0.
    """

    form: Form
    parameters: Pair  #: (a, b), or (k, m)
    covariance: tuple[Pair, Pair]  #: of the parameters
    rmse: float  #: root of the mean squared residual, in units of y
    freedom: int  #: points less parameters

    @property
    def errors(self) -> Pair:
        """Standard errors of the parameters."""
        return sqrt(self.covariance[0][0]), sqrt(self.covariance[1][1])

    @property
    def falls(self) -> bool:
        """Whether y is less where x is greater."""
        return self.parameters[1] < 0 if self.form == "linear" else self.parameters[0] > 0

    def at(self, x: Floats) -> Floats:
        """Return y at x, same shape."""
        return _value(self.form, np.array(self.parameters), x)

    def where(self, level: float) -> Where:
        """Return the x at which y is `level`; infinite where the line is flat.

        Args:
            level: of a logistic curve, between 0 and 1, exclusive.
        """
        first, second = self.parameters
        if self.form == "linear":
            if second == 0:
                return Where(inf, nan)
            value = (level - first) / second
            gradient = np.array([-1 / second, -value / second])
        else:
            if first == 0:
                return Where(inf, nan)
            odds = log(level / (1 - level))
            value, gradient = second - odds / first, np.array([odds / first**2, 1.0])
        return Where(value, sqrt(gradient @ np.array(self.covariance) @ gradient))

    def interval(self, parameter: int, alpha: float = 0.05) -> Pair:
        """Return the ends of a parameter's interval, by Student's t."""
        reach = float(student.ppf(1 - alpha / 2, self.freedom)) * self.errors[parameter]
        return self.parameters[parameter] - reach, self.parameters[parameter] + reach

    def band(self, x: Floats, alpha: float = 0.05) -> tuple[Floats, Floats]:
        """Return the ends of the curve's own interval at each x, by Student's t and the delta
        method.
        """
        jacobian = _slopes(self.form, np.array(self.parameters), x)
        spread = np.sqrt(np.einsum("ij,jk,ik->i", jacobian, np.array(self.covariance), jacobian))
        reach = float(student.ppf(1 - alpha / 2, self.freedom)) * spread
        return self.at(x) - reach, self.at(x) + reach


def fit(
    form: Form, x: Floats, y: Floats, weights: Floats | None = None, near: Pair | None = None
) -> Curve:
    """Return the curve with the least weighted squared residuals.

    Errors follow from the curve's slopes J at the fit: s^2 (J' W J)^-1, with s^2 the weighted
    squared residuals over points less 2.

    Args:
        form: of the curve.
        x: shape (point,), not all equal.
        y: same shape.
        weights: one over the variance of each y, in any unit; equal where there are none.
        near: k and m from which a logistic curve is searched for; from several where not given.

    Raises:
        ValueError: there are fewer than three points, or all x are equal.
    """
    if len(x) < LEAST_POINTS or np.ptp(x) == 0:
        raise ValueError(f"a curve takes {LEAST_POINTS} points with different x")
    roots = np.ones_like(y) if weights is None else np.sqrt(weights / weights.mean())
    if form == "linear":
        columns = np.stack([np.ones_like(x), x], axis=1)
        found = np.linalg.lstsq(columns * roots[:, None], y * roots, rcond=None)[0]
    else:
        found = _logistic(x, y, roots, near)
    residual = _value(form, found, x) - y
    slopes = _slopes(form, found, x) * roots[:, None]
    variance = float((roots * residual) @ (roots * residual)) / (len(x) - 2)
    first, second = (variance * np.linalg.pinv(slopes.T @ slopes)).tolist()
    return Curve(
        form,
        (float(found[0]), float(found[1])),
        ((first[0], first[1]), (second[0], second[1])),
        float(np.sqrt(np.mean(residual**2))),
        len(x) - 2,
    )


def held_out_error(form: Form, x: Floats, y: Floats, weights: Floats | None = None) -> float:
    """Return what a curve through all other points predicts for the one of least x, less its y; NaN
    where the others are too few.
    """
    last = int(np.argmin(x))
    rest = np.arange(len(x)) != last
    if rest.sum() < LEAST_POINTS or np.ptp(x[rest]) == 0:
        return nan
    curve = fit(form, x[rest], y[rest], None if weights is None else weights[rest])
    return float(curve.at(x[last : last + 1])[0] - y[last])


@dataclass(frozen=True, slots=True)
class Law:
    """A power law of the loss: L = E + A c^-b."""

    least: float  #: E, nats: the loss that no cost gets below; 0 without an offset
    factor: float  #: A
    exponent: float  #: b
    rms: float | None = None  #: root of the mean squared residual of ln L; None where published

    def at(self, cost: Floats) -> Floats:
        """Return the loss at a cost, same shape."""
        found: Floats = self.least + self.factor * cost**-self.exponent
        return found

    def cost(self, loss: float) -> float:
        """Return what a loss costs; infinite where no cost reaches it."""
        if loss <= max(self.least, 0.0):
            return inf
        logs = log((loss - self.least) / self.factor) / -self.exponent
        return exp(logs) if logs < 700 else inf


def fit_law(cost: Floats, loss: Floats, *, offset: bool = False) -> Law:
    """Return the power law with the least squared residuals of ln L.

    Args:
        cost: positive, shape (model,).
        loss: positive, same shape.
        offset: whether E is fitted, which takes four models; otherwise it is 0.

    Raises:
        ValueError: there are too few models.
    """
    least = LEAST_POINTS + offset
    if len(cost) < least or np.ptp(cost) == 0:
        raise ValueError(f"a power law takes {least} models of different cost")
    slope, start = np.polyfit(np.log(cost), np.log(loss), 1)
    if not offset:
        law = Law(0.0, exp(start), float(-slope))
        return Law(law.least, law.factor, law.exponent, _rms(law, cost, loss))

    def residual(p: Floats) -> Floats:
        found: Floats = np.log(np.exp(p[0]) + np.exp(p[1] - p[2] * np.log(cost))) - np.log(loss)
        return found

    begin = [log(0.5 * loss.min()), start + log(0.5), max(2 * -slope, 0.01)]
    solved = least_squares(residual, begin, xtol=LEAST_MOVE, ftol=LEAST_MOVE, max_nfev=20_000)
    law = Law(exp(solved.x[0]), exp(solved.x[1]), float(solved.x[2]))
    return Law(law.least, law.factor, law.exponent, _rms(law, cost, loss))


def _rms(law: Law, cost: Floats, loss: Floats) -> float:
    return float(np.sqrt(np.mean((np.log(law.at(cost)) - np.log(loss)) ** 2)))


def _logistic(x: Floats, y: Floats, roots: Floats, near: Pair | None) -> Floats:
    """Return k and m, the best of several beginnings."""

    def residual(p: Floats) -> Floats:
        found: Floats = roots * (_value("logistic", p, x) - y)
        return found

    def slopes(p: Floats) -> Floats:
        return _slopes("logistic", p, x) * roots[:, None]

    begins = [(k, float(np.quantile(x, q))) for k in STEEPNESSES for q in MIDDLES]
    begins = begins if near is None else [near]
    solved = [
        least_squares(residual, begin, slopes, method="lm", xtol=LEAST_MOVE, ftol=LEAST_MOVE)
        for begin in begins
    ]
    return np.asarray(min(solved, key=lambda each: float(each.cost)).x)


def _value(form: Form, p: Floats, x: Floats) -> Floats:
    if form == "linear":
        line: Floats = p[0] + p[1] * x
        return line
    curve: Floats = 1 / (1 + np.exp(np.clip(p[0] * (x - p[1]), -700, 700)))
    return curve


def _slopes(form: Form, p: Floats, x: Floats) -> Floats:
    """Return the derivatives of y by the parameters, shape (point, 2)."""
    if form == "linear":
        return np.stack([np.ones_like(x), x], axis=1)
    y = _value(form, p, x)
    inner = y * (1 - y)
    return np.stack([-inner * (x - p[1]), inner * p[0]], axis=1)
