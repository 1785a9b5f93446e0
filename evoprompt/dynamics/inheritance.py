"""Selection and inheritance: what was selected, and how much of it came through each operator.

The parents are the selected births of one generation, the children all births of the next that have
parents. Regressions leave survivors out, for their slope is 1 by definition; they are never over
the children that survived, for those were selected by the result.

Traits are those that selection saw. With noisy scores a slope is then flattened as much as the
selection differential is inflated, so that the two belong together; for the honest pair give
`before` with its traits measured again, to both.

Knows traits, parentage and operators. Does not know prompts or models, nor why a parent was chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.clusters import (
    ClusterSums,
    OperatorSums,
    Pair,
    common_traits,
    root_variance,
    varied,
)
from evoprompt.dynamics.evolvability import Evolvability as Evolvability
from evoprompt.dynamics.evolvability import EvolvabilityCounts as EvolvabilityCounts
from evoprompt.dynamics.evolvability import evolvability as evolvability
from evoprompt.dynamics.population import Births
from evoprompt.stats.significance import t_quantile

#: Fewer children of an operator give no slope.
MIN_CHILDREN = 10
#: Differences below this part of the trait's size are rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Undefined:
    """A quantity that has no value, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Response:
    """Selection and what came of it in one generation, each of shape (trait,)."""

    trait_names: tuple[str, ...]
    #: S: the parents' mean weighted by their success, minus their plain mean
    selection_differential: Floats
    response: Floats  #: R: the children's mean minus the parents'
    rounding: Floats  #: a difference as small as this is none

    def __add__(self, other: Response) -> Response:
        """Return the sums over both, which have the same traits."""
        return Response(
            self.trait_names,
            self.selection_differential + other.selection_differential,
            self.response + other.response,
            self.rounding + other.rounding,
        )


@dataclass(frozen=True, slots=True)
class OperatorResponse:
    """The same for one operator's children, survivors' too. With pi = `share`: S = sum pi S_o and R
    = sum pi R_o.
    """

    trait_names: tuple[str, ...]
    share: float  #: of the children that have parents
    #: S_o: mean of the mid-parents minus the parents' mean, shape (trait,)
    selection_differential: Floats
    response: Floats  #: R_o: the children's mean minus the parents', shape (trait,)


@dataclass(frozen=True, slots=True)
class Slope:
    """The regression of children on their mid-parents for one operator and trait: z' = intercept +
    slope p.
    """

    slope: float  #: 1: the trait is passed on; 0: the parents do not matter; not bounded by them
    intercept: float
    num_children: int
    num_clusters: int  #: parents, or groups of them where there are more than `MAX_CLUSTERS`
    #: of the children's variance that the mid-parents leave open; None where the children do not
    #: vary
    residual_share: float | None
    standard_error: float | None  #: of the slope; None with fewer than `MIN_CLUSTERS` clusters

    def confidence_interval(self, alpha: float = 0.05) -> tuple[float, float] | None:
        """Return the slope's interval, by Student's t with one degree of freedom less than
        clusters; None without a standard error.
        """
        if self.standard_error is None:
            return None
        half = t_quantile(1 - alpha / 2, self.num_clusters - 1) * self.standard_error
        return self.slope - half, self.slope + half


@dataclass(frozen=True, slots=True)
class Breeder:
    """The breeder's equation of one operator and trait: actual = predicted + bias; it holds where
    the bias is 0.
    """

    selection_differential: float  #: S_o
    predicted: float  #: b_o S_o
    actual: float  #: R_o
    bias: float  #: c_o = R_o - b_o S_o: where the operator moves the trait, whoever was selected


def response(before: Births, births: Births, names: Sequence[str] | None = None) -> Response:
    """Return selection differential and response of every trait that both generations have, or of
    those named.

    With z the parents' trait, w their reproductive success and D the births that have parents: S =
    cov(w, z) / mean(w) (ddof = 0) and R = mean_D(z') - mean(z).

    Raises:
        ValueError: no birth has parents, a parent was not selected, or a named trait is missing.
    """
    names, z, after = common_traits(before, births, names)
    chosen = before.selected
    success = births.success(len(before))[chosen]
    center = z[chosen].mean(axis=0)
    differential = success / success.sum() @ (z[chosen] - center)
    return Response(
        names,
        differential,
        after[births.has_parents].mean(axis=0) - center,
        ROUNDING * np.abs(z[chosen]).max(axis=0),
    )


def realised_heritability(
    responses: Sequence[Response], standard_errors: Sequence[Floats] | None = None
) -> dict[str, float | Undefined]:
    """Return sum(R) / sum(S) of each trait over one generation or several.

    It may lie outside of [0, 1]: an operator that improves every child adds to R. Undefined where
    |sum S| is not above twice its standard error, or above rounding.

    Args:
        responses: one for each generation, all of the same traits.
        standard_errors: of each S, shape (trait,); the sum's is taken as if they were independent,
            which is too small where generations are scored on the same examples.
    """
    names = responses[0].trait_names
    if any(r.trait_names != names for r in responses):
        raise ValueError(
            "realised_heritability: the generations have different traits; name those that all "
            "have in `response`"
        )
    selected = np.sum([r.selection_differential for r in responses], axis=0)
    gained = np.sum([r.response for r in responses], axis=0)
    rounding = np.sum([r.rounding for r in responses], axis=0)
    error = (
        np.zeros(len(names))
        if standard_errors is None
        else np.sqrt(np.sum(np.square(standard_errors), axis=0))
    )
    result: dict[str, float | Undefined] = {}
    for i, name in enumerate(names):
        if abs(selected[i]) <= rounding[i]:
            result[name] = Undefined("there was no selection on the trait")
        elif abs(selected[i]) < 2 * error[i]:
            result[name] = Undefined(
                f"the selection differential {selected[i]:.3g} is below twice its standard error "
                f"{error[i]:.3g}"
            )
        else:
            result[name] = float(gained[i] / selected[i])
    return result


def parent_offspring(
    pairs: Iterable[Pair], names: Sequence[str] | None = None
) -> dict[tuple[str, str], Slope | Undefined]:
    """Return the regression of children on mid-parents by (operator, trait), pooled over the pairs,
    which may be a stream.

    Least squares over the operator's children, weight 1 each, survivors and immigrants left out.
    The standard error is the jackknife's that leaves out one parent's children at a time: see
    `OperatorSums.variance`; from groups of parents where there are more than `MAX_CLUSTERS`.

    Undefined where the mid-parents do not vary or there are fewer than `MIN_CHILDREN` children.

    Args:
        pairs: a generation and the next, in order; each pair begins with the generation that the
            pair before ended with.
        names: the traits; by default those that the first pair has in both generations.

    Raises:
        ValueError: as `response`.

    Source: Lynch and Walsh 1998, ch. 17.
    """
    regressions = Regressions(names)
    for before, births in pairs:
        regressions.add(before, births)
    return regressions.result()


class Regressions:
    """`parent_offspring`, pair by pair."""

    def __init__(self, names: Sequence[str] | None = None) -> None:
        self._names = names
        self._sums = ClusterSums()
        self._center = self._scale = np.zeros(0)

    def add(self, before: Births, births: Births) -> None:
        """Add the next pair."""
        names, z, after = common_traits(before, births, self._names)
        if not self._center.size:
            self._center, self._scale = z[before.selected].mean(axis=0), np.zeros(len(names))
        self._names, self._scale = (
            names,
            np.maximum(self._scale, np.abs(z[before.selected]).max(axis=0)),
        )
        children = varied(births)
        p, y = births.mid_parent(z)[children] - self._center, after[children] - self._center
        self._sums.add(
            before, births, children, np.stack([np.ones_like(p), p, y, p * p, p * y, y * y], axis=2)
        )

    def result(self) -> dict[tuple[str, str], Slope | Undefined]:
        """Return the regressions of all pairs so far."""
        names = self._names or ()
        return {
            (operator, n): s
            for operator, own in self._sums
            for n, s in zip(names, _slopes(own, self._scale, self._center), strict=True)
        }


def _slopes(sums: OperatorSums, scale: Floats, center: Floats) -> Iterator[Slope | Undefined]:
    """Solve each trait's regression from sums of (1, p, y, p^2, p y, y^2), p and y counted from
    `center`.
    """
    n, p, y, pp, _, yy = np.moveaxis(sums.total, 1, 0)
    spread, spread_y, rounding = pp - p * p / n, yy - y * y / n, n * (ROUNDING * scale) ** 2
    varies, varies_y = (
        spread > np.maximum(ROUNDING * pp, rounding),
        spread_y > np.maximum(ROUNDING * yy, rounding),
    )
    slope, variance = _least_squares(sums.total), sums.variance(_least_squares)
    intercept = (y - slope * p) / n + center - slope * center
    for i in range(len(center)):
        if n[i] < MIN_CHILDREN:
            yield Undefined(f"{n[i]:.0f} children; a slope needs {MIN_CHILDREN}")
        elif not varies[i]:
            yield Undefined("the parents do not vary in the trait")
        else:
            left = (
                max(0.0, 1 - float(slope[i] ** 2 * spread[i] / spread_y[i]))
                if varies_y[i]
                else None
            )
            yield Slope(
                float(slope[i]),
                float(intercept[i]),
                int(n[i]),
                sums.num_clusters,
                left,
                root_variance(variance[i], sums.num_clusters),
            )


def _least_squares(sums: Floats) -> Floats:
    n, p, y, pp, py, _ = np.moveaxis(sums, -1, 0)
    spread = n * pp - p * p
    varies = spread > ROUNDING * n * pp
    return np.where(varies, (n * py - p * y) / np.where(varies, spread, 1.0), np.nan)


def operator_responses(
    before: Births, births: Births, names: Sequence[str] | None = None
) -> dict[str, OperatorResponse]:
    """Return selection differential and response by operator, survivors as an operator of their
    own.

    Raises:
        ValueError: as `response`.
    """
    names, z, after = common_traits(before, births, names)
    center, mid, native = z[before.selected].mean(axis=0), births.mid_parent(z), births.has_parents
    parts = {}
    for i, operator in enumerate(births.operator_names):
        own = native & (births.operator == i)
        if own.any():
            parts[operator] = OperatorResponse(
                names,
                float(own.sum() / native.sum()),
                mid[own].mean(axis=0) - center,
                after[own].mean(axis=0) - center,
            )
    return parts


def breeders_equation(
    parts: Mapping[str, OperatorResponse], slopes: Mapping[tuple[str, str], Slope | Undefined]
) -> dict[tuple[str, str], Breeder | Undefined]:
    """Return predicted and actual response, and the bias between them, by (operator, trait).

    R_o = b_o S_o + c_o, and c_o = a_o + (b_o - 1) mean(z) where the slope is of the same
    generation. Undefined where the slope is, as for survivors.
    """
    result: dict[tuple[str, str], Breeder | Undefined] = {}
    for operator, part in parts.items():
        for i, name in enumerate(part.trait_names):
            slope = slopes.get((operator, name), Undefined("no regression: survivors have none"))
            if isinstance(slope, Undefined):
                result[operator, name] = slope
                continue
            differential, actual = float(part.selection_differential[i]), float(part.response[i])
            predicted = slope.slope * differential
            result[operator, name] = Breeder(differential, predicted, actual, actual - predicted)
    return result


def plain(value: Any) -> Any:
    """Return a value ready for JSON; what is undefined is a mapping with its reason."""
    if isinstance(value, Undefined):
        return {"undefined": value.reason}
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
