"""How many samples models of different sizes need for the same performance, and which size is best
for a compute. Pure.

    curves --needed--> samples by model and target --power--> exponent of size
    curves --best_sizes--> size by compute --power--> exponent of compute
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.stats.significance import t_quantile

#: Computes at which sizes are compared, and models that it takes.
NUM_COMPUTES, LEAST_MODELS = 12, 3
Verdict = Literal["fewer", "more", "not shown"]


@dataclass(frozen=True, slots=True)
class SampleCurve:
    """A model's performance by samples."""

    model: str
    parameters: float | None
    samples: Floats  #: ascending, shape (point,)
    loss: Floats  #: lower is better, same shape: a loss, or the negative of a score
    flop: Floats | None = None  #: same shape; None where it is not known

    @property
    def best(self) -> Floats:
        """The best loss up to each point, same shape."""
        found: Floats = np.minimum.accumulate(self.loss)
        return found


@dataclass(frozen=True, slots=True)
class Power:
    """y = factor x^exponent, by least squares of the logarithms."""

    exponent: float
    ci: tuple[float, float] | None  #: 95 %; None of two points, which leave no error
    factor: float
    num: int  #: points


@dataclass(frozen=True, slots=True)
class Needed:
    """What a target takes."""

    target: float
    samples: dict[str, float | None]  #: by model; None where it is never reached
    power: Power | None  #: of samples in parameters; None of fewer than two models that reach it

    @property
    def verdict(self) -> Verdict:
        """Whether larger models need fewer samples, by the 95 % interval."""
        if self.power is None or self.power.ci is None:
            return "not shown"
        low, high = self.power.ci
        return "fewer" if high < 0 else "more" if low > 0 else "not shown"


@dataclass(frozen=True, slots=True)
class BestSize:
    """The size of least loss at a compute."""

    flop: float
    parameters: float  #: of the model that is best of those there are
    loss: float
    #: where a parabola of the loss in ln parameters is least; None where that is at an end of the
    #: sizes, or no minimum, or a model was not trained with so much
    between: float | None


def needed_samples(curve: SampleCurve, target: float) -> float | None:
    """Return after how many samples a curve is at a target first, straight in ln(1 + samples)
    between points; None where it never is. One that begins there takes its first number.
    """
    reached = np.flatnonzero(curve.best <= target)
    if not len(reached):
        return None
    place = int(reached[0])
    if place == 0:
        return float(curve.samples[0])
    before, after = curve.best[place - 1], curve.best[place]
    share = (before - target) / (before - after)
    low, high = np.log1p(curve.samples[place - 1 : place + 1])
    return float(np.expm1(low + share * (high - low)))


def power(x: Sequence[float], y: Sequence[float]) -> Power | None:
    """Return the power law of positive values; None of fewer than two different x."""
    if len(set(x)) < 2:
        return None
    a, b = np.log(np.array(x)), np.log(np.array(y))
    centred = a - a.mean()
    exponent = float(centred @ b / (centred @ centred))
    constant = float(b.mean() - exponent * a.mean())
    ci = None
    if (degrees := len(a) - 2) > 0:
        rest = b - constant - exponent * a
        error = float(np.sqrt(rest @ rest / degrees / (centred @ centred)))
        half = t_quantile(0.975, degrees) * error
        ci = exponent - half, exponent + half
    return Power(exponent, ci, float(np.exp(constant)), len(a))


def needed(curves: Sequence[SampleCurve], target: float) -> Needed:
    """Return what a target takes of each model, and how it depends on the size."""
    found = {curve.model: needed_samples(curve, target) for curve in curves}
    known = [(c.parameters, s) for c in curves if (s := found[c.model]) and c.parameters]
    return Needed(target, found, power([p for p, _ in known], [s for _, s in known]))


def common_targets(curves: Sequence[SampleCurve], num: int = 4) -> list[float]:
    """Return losses that every model reaches and none begins with, the worst first; none where
    there are no such.
    """
    easiest = min(float(curve.loss[0]) for curve in curves)
    hardest = max(float(curve.best[-1]) for curve in curves)
    if hardest >= easiest:
        return []
    return [float(t) for t in np.linspace(easiest, hardest, num + 1)[1:]]


def best_sizes(curves: Sequence[SampleCurve]) -> list[BestSize]:
    """Return the best size at each of several computes at which three models or more were measured;
    none where compute or sizes are not known. A model that was trained with less counts with its
    last loss, which more would only have lowered.
    """
    known = [(c, c.flop, c.parameters) for c in curves if c.flop is not None and c.parameters]
    if len({p for _, _, p in known}) < LEAST_MODELS:
        return []
    ends = sorted(float(flop[0]) for _, flop, _ in known), sorted(float(f[-1]) for _, f, _ in known)
    low, high = ends[0][LEAST_MODELS - 1], ends[1][-LEAST_MODELS]
    found = []
    for flop in np.geomspace(low, high, NUM_COMPUTES) if low < high else ():
        begun = [(c, f, p) for c, f, p in known if f[0] <= flop * (1 + 1e-9)]
        # a curve that ended before keeps its last loss
        here = [(float(p), float(np.interp(np.log(flop), np.log(f), c.best))) for c, f, p in begun]
        has_ended = any(f[-1] < flop * (1 - 1e-9) for _, f, _ in begun)
        if len(here) >= LEAST_MODELS:
            size, loss = min(here, key=lambda pair: pair[1])
            found.append(BestSize(float(flop), size, loss, None if has_ended else _between(here)))
    return found


def _between(here: Sequence[tuple[float, float]]) -> float | None:
    x = np.log([p for p, _ in here])
    bend, slope, _ = np.polyfit(x - x.mean(), [loss for _, loss in here], 2)
    if bend <= 0:
        return None
    least = -slope / (2 * bend) + x.mean()
    return float(np.exp(least)) if x.min() < least < x.max() else None


def frontier(sizes: Sequence[BestSize]) -> Power | None:
    """Return how the best size grows with compute, by the minima between sizes."""
    inner = [(s.flop, s.between) for s in sizes if s.between is not None]
    return power([f for f, _ in inner], [p for _, p in inner])
