"""What selection acts on: its strength on fitness, the traits that it acts on directly, and the
traits that make fitness.

Selection on one trait drags others along that vary with it. The differential s is what happened to
a trait, the gradient beta what selection did to it while the others stood still.

Knows traits, fitness and weights of individuals. Does not know what they inherit, prompts or
models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.inheritance import Undefined
from evoprompt.dynamics.population import Births

#: Largest condition number of the traits' correlation matrix for least squares. Source: Belsley,
#: Kuh and Welsch 1980 (30, of the root).
MAX_CONDITION = 900.0
#: Added to the correlation matrix's diagonal in a ridge fit.
RIDGE = 0.01
#: Resamples of the bootstrap for the ridge fit's spread; its own relative error is about 1 / sqrt(2
#: * 200) = 5 %.
NUM_RESAMPLES = 200
#: A standard deviation below this part of the trait's size is rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Gradients:
    """Selection on standardised traits: the traits are in units of their standard deviation (ddof =
    0), weights relative to their mean.
    """

    trait_names: tuple[str, ...]  #: those that vary
    #: each trait's standard deviation, shape (trait,); a gradient by it is that per unit of the
    #: trait
    scale: Floats
    differential: Floats  #: s, what selection did to the trait's mean, shape (trait,)
    gradient: Floats  #: beta, what it did directly, shape (trait,)
    #: HC3 with least squares; with ridge the bootstrap's spread, which does not see the ridge's own
    #: bias
    standard_error: Floats | None
    condition: float  #: of the correlation matrix; infinite where a trait is a sum of others
    ridge: float  #: what was added to the diagonal; 0 with least squares
    dropped: tuple[str, ...]  #: traits that do not vary
    warning: str | None

    @property
    def indirect(self) -> Floats:
        """The part of the differential that came by way of other traits: s - beta, for standardised
        traits have variance 1.
        """
        return self.differential - self.gradient


@dataclass(frozen=True, slots=True)
class RewardFeatures:
    """A linear reading of fitness in standardised traits: fitness = mean + sum of weight times
    trait.
    """

    trait_names: tuple[str, ...]  #: those that vary
    scale: Floats  #: each trait's standard deviation, shape (trait,)
    weight: Floats  #: of fitness for one standard deviation of the trait, shape (trait,)
    r_squared: float  #: share of the variance of fitness that the traits explain in this population
    condition: float
    dropped: tuple[str, ...]
    warning: str | None


def lande_arnold(
    before: Births,
    births: Births,
    names: Sequence[str] | None = None,
    weight: Floats | None = None,
    rng: np.random.Generator | None = None,
) -> Gradients | Undefined:
    """Return the gradients of selection on the selected births of a generation, by their success in
    the next.

    Args:
        before: the generation of the parents.
        births: the next.
        names: the traits; by default all but `fitness`, beside which no other trait could matter.
        weight: in place of the realised success, as its expectation, which is free of drift; shape
            (birth of `before`,).
        rng: as `selection_gradients`.
    """
    names = (
        tuple(name for name in before.trait_names if name != "fitness")
        if names is None
        else tuple(names)
    )
    weight = births.success(len(before)) if weight is None else weight
    columns = (
        np.stack([before.trait(name)[before.selected] for name in names], axis=1)
        if names
        else np.zeros((int(before.selected.sum()), 0))
    )
    return selection_gradients(columns, names, weight[before.selected], rng=rng)


def selection_gradients(
    traits: Floats,
    names: Sequence[str],
    weight: Floats,
    *,
    max_condition: float = MAX_CONDITION,
    rng: np.random.Generator | None = None,
) -> Gradients | Undefined:
    """Return differentials s = cov(w / mean w, x) and gradients beta = R^-1 s of standardised
    traits x with correlations R (ddof = 0).

    Those are the slopes of relative fitness on all traits at once. Where R's condition number is
    above `max_condition` they are (R + `RIDGE` I)^-1 s, and a warning names the traits that are
    nearly sums of each other.

    The HC3 error is the root of the diagonal of (x'x)^-1 x' diag(e^2 / (1 - h)^2) x (x'x)^-1 with
    residuals e and leverages h; absent where an individual has leverage 1. The ridge's spread is
    the standard deviation over `NUM_RESAMPLES` draws of as many individuals with replacement.

    Undefined where no trait varies, all weights are 0, or there are not more individuals than
    traits and one.

    Args:
        traits: shape (individual, trait).
        names: of the traits.
        weight: reproductive success or any other, not negative, shape (individual,).
        max_condition: as above.
        rng: for the bootstrap; without it a ridge fit has no spread.

    Source: Lande and Arnold 1983, eq. 4; Robertson 1966 (s); MacKinnon and White 1985 (HC3).
    """
    scaled = _standardised(traits, names)
    if isinstance(scaled, Undefined):
        return scaled
    if weight.sum() <= 0:
        return Undefined("nobody left offspring")
    x = scaled.x
    relative = weight / weight.mean()
    differential = x.T @ (relative - 1) / len(x)
    correlation, condition, warning = _correlation(x, scaled.names, max_condition)
    if warning is None:
        gradient = np.asarray(np.linalg.solve(correlation, differential), dtype=np.float64)
        error, ridge = _hc3(x, relative - 1 - x @ gradient, correlation), 0.0
        if error is None:
            warning = (
                "an individual alone decides a gradient (leverage 1), so there is no standard error"
            )
    else:
        gradient = _ridge_solve(correlation, differential)
        error, ridge = None if rng is None else _bootstrap_spread(x, weight, rng), RIDGE
        warning += "; the gradients are by ridge, drawn towards 0 and towards each other"
    return Gradients(
        scaled.names,
        scaled.scale,
        differential,
        gradient,
        error,
        condition,
        ridge,
        scaled.dropped,
        warning,
    )


def reward_features(
    traits: Floats, names: Sequence[str], fitness: Floats, *, max_condition: float = MAX_CONDITION
) -> RewardFeatures | Undefined:
    """Return the ridge fit of fitness on standardised traits: weight = (R + `RIDGE` I)^-1 cov(x,
    f).

    It reads fitness as a reward linear in features. Where that holds, softmax selection at a high
    temperature T moves the traits by R weight / T. Above `max_condition` a warning names the traits
    between which the weights cannot be told apart.

    Undefined where fitness or every trait is constant, or there are not more individuals than
    traits and one.

    Args:
        traits: shape (individual, trait), fitness not among them.
        names: of the traits.
        fitness: shape (individual,).
        max_condition: as above.

    Source: Abbeel and Ng 2004 (reward linear in features); Ziebart et al. 2008 (maximum entropy).
    """
    scaled = _standardised(traits, names)
    if isinstance(scaled, Undefined):
        return scaled
    deviation = fitness - fitness.mean()
    if deviation.std() <= ROUNDING * np.abs(fitness).max():
        return Undefined("fitness does not vary")
    x = scaled.x
    correlation, condition, warning = _correlation(x, scaled.names, max_condition)
    weight = _ridge_solve(correlation, x.T @ deviation / len(x))
    explained = 1 - float(((deviation - x @ weight) ** 2).sum() / (deviation**2).sum())
    if warning is not None:
        warning += "; their weights are shared out between them"
    return RewardFeatures(
        scaled.names, scaled.scale, weight, explained, condition, scaled.dropped, warning
    )


def reward_weights(
    generations: Iterable[Births], names: Sequence[str] | None = None
) -> list[tuple[int, RewardFeatures | Undefined]]:
    """Return generation and reward features of each generation's births, the unselected included.

    Args:
        generations: may be a stream.
        names: the traits; by default all but `fitness`.
    """
    result: list[tuple[int, RewardFeatures | Undefined]] = []
    for births in generations:
        own = (
            tuple(name for name in births.trait_names if name != "fitness")
            if names is None
            else tuple(names)
        )
        traits = (
            np.stack([births.trait(name) for name in own], axis=1)
            if own
            else np.zeros((len(births), 0))
        )
        result.append((births.generation, reward_features(traits, own, births.trait("fitness"))))
    return result


@dataclass(frozen=True, slots=True)
class _Standardised:
    names: tuple[str, ...]
    x: Floats  # (individual, trait)
    scale: Floats
    dropped: tuple[str, ...]


def _standardised(traits: Floats, names: Sequence[str]) -> _Standardised | Undefined:
    if traits.shape[1] != len(names):
        raise ValueError(
            f"traits has {traits.shape[1]} columns and {len(names)} names; expected one name for "
            f"each column"
        )
    if not len(traits):
        return Undefined("there are no individuals")
    deviation = traits - traits.mean(axis=0)
    scale = deviation.std(axis=0)
    varies = scale > ROUNDING * np.abs(traits).max(axis=0)
    kept = tuple(name for name, v in zip(names, varies, strict=True) if v)
    if not kept:
        return Undefined("no trait varies")
    if len(traits) <= len(kept) + 1:
        return Undefined(
            f"{len(traits)} individuals cannot tell {len(kept)} traits apart; expected at least "
            f"{len(kept) + 2}"
        )
    dropped = tuple(name for name, v in zip(names, varies, strict=True) if not v)
    return _Standardised(kept, deviation[:, varies] / scale[varies], scale[varies], dropped)


def _correlation(
    x: Floats, names: tuple[str, ...], max_condition: float
) -> tuple[Floats, float, str | None]:
    """Return the correlation matrix, its condition number and, where that is too high, a sentence
    naming the collinear traits.

    They are those of whose gradients' variance more than half comes from the small eigenvalues
    (Belsley, Kuh and Welsch 1980).
    """
    correlation = x.T @ x / len(x)
    values, vectors = np.linalg.eigh(correlation)
    floor = np.finfo(np.float64).eps * len(values) * values[-1]
    condition = float(values[-1] / values[0]) if values[0] > floor else float("inf")
    if condition <= max_condition:
        return correlation, condition, None
    parts = vectors**2 / np.maximum(values, floor)
    small = values * max_condition < values[-1]
    blamed = parts[:, small].sum(axis=1) > parts.sum(axis=1) / 2
    culprits = ", ".join(name for name, b in zip(names, blamed, strict=True) if b)
    return (
        correlation,
        condition,
        f"the traits {culprits} are collinear (condition number {condition:.3g}, at most "
        f"{max_condition:g} is taken)",
    )


def _hc3(x: Floats, residual: Floats, correlation: Floats) -> Floats | None:
    spread = np.linalg.solve(correlation, x.T).T / len(x)  # x (x'x)^-1
    room = 1 - 1 / len(x) - (spread * x).sum(axis=1)
    if room.min() < 1e-9:
        return None
    return np.asarray(
        np.sqrt((spread**2 * ((residual / room) ** 2)[:, None]).sum(axis=0)), dtype=np.float64
    )


def _ridge_solve(correlation: Floats, covariance: Floats) -> Floats:
    return np.asarray(
        np.linalg.solve(correlation + RIDGE * np.eye(len(correlation)), covariance),
        dtype=np.float64,
    )


def _bootstrap_spread(x: Floats, weight: Floats, rng: np.random.Generator) -> Floats | None:
    n, draws = len(x), []
    for counts in rng.multinomial(n, np.full(n, 1 / n), size=NUM_RESAMPLES):
        total = float(counts @ weight)
        if total <= 0:
            continue  # a draw of the childless alone has no relative fitness
        mean = counts @ x / n
        moments = np.asarray(
            (x * counts[:, None]).T @ x / n - np.outer(mean, mean), dtype=np.float64
        )
        draws.append(_ridge_solve(moments, (counts * weight) @ x / total - mean))
    return np.asarray(np.std(draws, axis=0, ddof=1), dtype=np.float64) if len(draws) > 1 else None
