"""What is known of the weights of a linear model: a normal distribution, and what observations make
of it. Pure.

    w ~ N(m, S),  s = f w + e,  e ~ N(0, v)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from evoprompt.arrays import Floats


@dataclass(frozen=True, slots=True)
class LinearPosterior:
    """A normal distribution of weights."""

    mean: Floats  #: m, shape (feature,)
    covariance: Floats  #: S, shape (feature, feature)

    @classmethod
    def before(cls, num_features: int, variance: float) -> Self:
        """Return what is known before anything is observed: independent weights of mean 0."""
        return cls(np.zeros(num_features), variance * np.eye(num_features))

    @property
    def sd(self) -> Floats:
        """Standard deviation of each weight, shape (feature,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    def after(self, features: Floats, values: Floats, noise: float) -> LinearPosterior:
        """Return what is known after observations, in whatever order and parts they come.

            K = S F' (F S F' + v I)^-1,  m + K (s - F m),  S - K F S

        Args:
            features: F, shape (observation, feature); a row of zeros tells nothing.
            values: s, shape (observation,).
            noise: v, the variance of a value around what the weights make of its features.
        """
        spread = features @ self.covariance
        within = spread @ features.T + noise * np.eye(len(values))
        gain = np.linalg.solve(within, spread).T
        covariance = self.covariance - gain @ spread
        return LinearPosterior(
            self.mean + gain @ (values - features @ self.mean), (covariance + covariance.T) / 2
        )

    def draw(self, rng: np.random.Generator) -> Floats:
        """Return weights drawn from the distribution, shape (feature,)."""
        return np.asarray(rng.multivariate_normal(self.mean, self.covariance, method="eigh"))
