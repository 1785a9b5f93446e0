"""How strong selection is: Fisher's theorem for any scheme, and softmax selection as a flow in
time.

Selecting by weights e^(f/T) is the replicator equation run for the time 1/T: to each moment b
belongs the population with weights e^(b f). So the change of any trait is the integral of its
covariance with fitness along the way, and for high temperatures that covariance over T.

Knows fitness, a trait and weights of individuals; nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.inheritance import ROUNDING, Undefined


@dataclass(frozen=True, slots=True)
class Intensity:
    """How far selection moved the mean of fitness, and in which units."""

    variance: float  #: var(f), ddof = 0: what there was to select from
    differential: float  #: S_f, in units of fitness
    intensity: float  #: i = S_f / sd(f), in standard deviations; comparable between schemes
    #: S_f / var(f): the slope of relative success on fitness, to be compared with 1/T of softmax
    #: selection
    beta_eff: float


def intensity(fitness: Floats, weight: Floats) -> Intensity | Undefined:
    """Return how strongly weights select on fitness; undefined where fitness does not vary or all
    weights are 0.

    For reproduction give the parents' fitness and their success, for survival all births' fitness
    and whether they were selected. Normal fitness, tournaments of 2, 3 and 5: i = 0.564, 0.846,
    1.163; the best half, quarter and tenth: 0.798, 1.271, 1.755.

    Args:
        fitness: f, shape (individual,).
        weight: not negative, shape (individual,).

    Source: Fisher 1930; Blickle and Thiele 1996 (intensity of schemes).
    """
    if weight.sum() <= 0:
        return Undefined("nobody was selected")
    deviation = fitness - fitness.mean()
    spread = float(np.sqrt(np.mean(deviation**2)))
    if spread <= ROUNDING * np.abs(fitness).max():
        return Undefined("fitness does not vary")
    differential = float(weight @ deviation / weight.sum())
    return Intensity(spread**2, differential, differential / spread, differential / spread**2)


def log_mean_exp(fitness: Floats, inverse_temperature: float) -> float:
    """Return K(b) = log mean e^(b f), whose slope is mean fitness at time b: softmax selection
    gains S_f = K'(1/T) - K'(0).
    """
    peak = float((inverse_temperature * fitness).max())
    return peak + float(np.log(np.mean(np.exp(inverse_temperature * fitness - peak))))


def softmax_differential(trait: Floats, fitness: Floats, temperature: float) -> float:
    """Return S = E_b z - mean z, the change of a trait's mean under weights e^(b f) with b = 1 /
    temperature.

    Args:
        trait: z, shape (individual,).
        fitness: f, shape (individual,).
        temperature: T > 0, in units of fitness.
    """
    return float(_tilted(fitness, 1 / _positive(temperature)) @ (trait - trait.mean()))


def softmax_flow(trait: Floats, fitness: Floats, temperature: float, num_nodes: int = 64) -> float:
    """Return the integral from 0 to 1/T of cov_b(z, f) db, which is `softmax_differential`; by
    Gauss and Legendre's rule.

    cov_b is the covariance under weights e^(b f). With 64 nodes the two agree to rounding while the
    range of f is at most about 50 T. Source: Price 1972; Page and Nowak 2002 (replicator equation
    and Price's).
    """
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    half = 0.5 / _positive(temperature)
    return float(
        half
        * sum(
            w * _covariance(trait, fitness, half * (node + 1))
            for node, w in zip(nodes, weights, strict=True)
        )
    )


def softmax_orders(trait: Floats, fitness: Floats, temperature: float) -> tuple[float, float]:
    """Return S to the first and to the second order in 1/T: cov(z, f) / T, and the same + k / (2
    T^2), k = mean of dz df df.

    Doubling T divides their errors by 4 and 8. ddof = 0.
    """
    dz, df = trait - trait.mean(), fitness - fitness.mean()
    first = float(np.mean(dz * df)) / _positive(temperature)
    return first, first + float(np.mean(dz * df * df)) / (2 * temperature**2)


def _tilted(fitness: Floats, b: float) -> Floats:
    raw = np.exp(b * fitness - (b * fitness).max())
    share: Floats = raw / raw.sum()
    return share


def _covariance(trait: Floats, fitness: Floats, b: float) -> float:
    p = _tilted(fitness, b)
    return float(p @ ((trait - p @ trait) * (fitness - p @ fitness)))


def _positive(temperature: float) -> float:
    if temperature <= 0:
        raise ValueError(
            f"temperature is {temperature:g}; expected a number above 0 (at 0 only the fittest "
            f"are selected)"
        )
    return temperature
