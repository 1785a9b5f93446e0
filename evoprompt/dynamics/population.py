"""A lineage as arrays: what the mathematics of evolution needs of each generation, and nothing
else.

    lineage lines --> Births, one for each generation --> terms

Knows traits, parentage, operators, islands. Does not know prompts or models. One generation is held
at a time with the one before it, so a lineage may be longer than memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Floats, Integers
from evoprompt.dynamics.lines import check_line, same
from evoprompt.dynamics.rungs import Rungs, common_number, read_rungs
from evoprompt.records import SURVIVE

#: How the parent slots of a generation are filled, before they are dealt to the children at random:
#: "independent" of each other; by equally "spaced" points with one offset for all (stochastic
#: universal sampling); by a "set", everybody as often as fits and then the best, of equals by
#: chance (truncation, NSGA-II).
Filling = Literal["independent", "spaced", "set"]

#: Parentage shares of a birth must sum to 1 within this; more is an error in the lineage, not
#: rounding.
SHARE_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Births:
    """All births of one generation on all islands, survivors included, in the lineage's order.

    Parentage is the sparse matrix A of shape (birth, birth of the generation before), as triples:
    `share[k]` of birth `child[k]` comes from birth `parent[k]`. A birth's shares sum to 1; a birth
    without parents is an immigrant or a founder.
    """

    generation: int
    birth_ids: tuple[str, ...]
    policy_ids: tuple[str, ...]
    island: Integers  #: shape (birth,)
    selected: NDArray[np.bool_]  #: shape (birth,)
    operator: Integers  #: index into `operator_names`, shape (birth,)
    operator_names: tuple[str, ...]
    trait_names: tuple[str, ...]
    traits: Floats  #: shape (birth, trait)
    child: Integers  #: shape (link,)
    parent: Integers  #: shape (link,)
    share: Floats  #: shape (link,)
    #: of filling a parent slot of the next generation, shape (birth,); sums to 1 over all islands;
    #: NaN where not selected
    selection_probability: Floats | None = None
    filling: Filling | None = "independent"  #: of those slots; None where it is not known
    num_slots: int | None = None  #: filled; None: as many as parents have a share in a child
    #: of being selected among all births, shape (birth,)
    survival_probability: Floats | None = None
    #: traits measured again as those of the next generation, shape (birth, trait); NaN where they
    #: were not
    remeasured: Floats | None = None
    examples: int | None = None  #: of the last measurement of the selected; None where not known
    #: None where all births were measured on one number of examples; else `traits` are each birth's
    #: on its last
    rungs: Rungs | None = None
    #: traits of the births of the generation before, measured as these were first, shape (parent,
    #: trait); NaN where they are not known
    parental: Floats | None = None

    def __len__(self) -> int:
        return len(self.selected)

    @property
    def has_parents(self) -> NDArray[np.bool_]:
        """Which births have parents, shape (birth,)."""
        return np.bincount(self.child, minlength=len(self)) > 0

    def with_chances(
        self,
        chances: Sequence[float] | None,
        filling: Filling | None = "independent",
        num_slots: int | None = None,
    ) -> Births:
        """Return these births with the selection probability of the selected ones, in order; None
        leaves them as they are.
        """
        if chances is None:
            return self
        probability = np.full(len(self), np.nan)
        probability[self.selected] = chances
        return replace(
            self, selection_probability=probability, filling=filling, num_slots=num_slots
        )

    @property
    def first(self) -> Births:
        """These births as all of them were measured first, on the fewest examples, with the traits
        that all of them have there.
        """
        if self.rungs is None:
            return self
        traits, number = self.rungs.traits[0], self.rungs.examples[0]
        return replace(self, traits=traits, examples=number, rungs=None).of_known_traits()

    @property
    def last(self) -> NDArray[np.bool_]:
        """Which births were measured on the greatest number of examples, shape (birth,)."""
        return np.ones(len(self), dtype=bool) if self.rungs is None else self.rungs.measured[-1]

    def of_known_traits(self, rows: NDArray[np.bool_] | None = None) -> Births:
        """Return these births with the traits alone that are known of all of them, or of some
        rows.
        """
        known = np.asarray(np.isfinite(self.traits if rows is None else self.traits[rows]))
        columns = np.flatnonzero(known.all(axis=0))
        parental = None if self.parental is None else self.parental[:, columns]
        again = None if self.remeasured is None else self.remeasured[:, columns]
        return replace(
            self,
            trait_names=tuple(self.trait_names[i] for i in columns),
            traits=self.traits[:, columns],
            parental=parental,
            remeasured=again,
        )

    def trait(self, name: str) -> Floats:
        """Return one trait, shape (birth,)."""
        return self.traits[:, self.trait_names.index(name)]

    def is_operator(self, name: str) -> NDArray[np.bool_]:
        """Return which births are by this operator, shape (birth,)."""
        found: NDArray[np.bool_] = self.operator == (
            self.operator_names.index(name) if name in self.operator_names else -1
        )
        return found

    def mid_parent(self, parental: Floats) -> Floats:
        """Return A z: the mean of each birth's parents by their shares, 0 for births without.

        Args:
            parental: z of the generation before, shape (parent,) or (parent, trait).
        """
        if parental.ndim == 1:
            return np.asarray(
                np.bincount(self.child, self.share * parental[self.parent], len(self)),
                dtype=np.float64,
            )
        columns = [
            np.bincount(self.child, self.share * parental[self.parent, t], len(self))
            for t in range(parental.shape[1])
        ]
        return np.stack(columns, axis=1) if columns else np.zeros((len(self), 0))

    def success(self, num_parents: int) -> Floats:
        """Return w: the shares that each birth of the generation before has in these, shape
        (parent,).
        """
        return np.asarray(np.bincount(self.parent, self.share, num_parents), dtype=np.float64)


def generations(
    lines: Iterable[Mapping[str, Any]],
    parents: Mapping[str, int] = MappingProxyType({}),
    *,
    checked: bool = False,
) -> Iterator[Births]:
    """Yield each generation of a lineage; `lines` are those of `lineage.jsonl`, generation after
    generation. `parents` has the place of each birth of the generation before the first, by birth
    id; `checked` says that all lines went through `check_line` already.

    Optional keys beside the documented ones: `selection_probability`, `survival_probability` and
    `remeasured` (a mapping as `traits`).

    Raises:
        ValueError: generations are out of order, a birth names a parent that is not among the
            births before, shares do not sum to 1, a birth id comes twice, a survivor has another
            fitness than it had on as many examples, or a line is as `check_line` or `read_rungs`
            refuses it. The message names the birth.
    """
    index = parents
    before: int | None = None
    known: dict[str, tuple[int | None, float]] = {}
    sound = lines if checked else map(_checked, lines)
    for generation, group in groupby(sound, key=itemgetter("generation")):
        if before is not None and generation <= before:
            raise ValueError(
                f"the lineage has generation {generation} after generation {before}; lines must "
                f"be in order of generation"
            )
        rows = list(group)
        births = _births_of(rows, index)
        _check_survivors(rows, known)
        yield births
        known = {
            row["birth_id"]: (row.get("examples"), _traits(row)["fitness"])
            for row in rows
            if "fitness" in _traits(row) and not row.get("remeasured")
        }
        index = {name: i for i, name in enumerate(births.birth_ids)}
        before = generation


def births_of(rows: Sequence[Mapping[str, Any]], parents: Mapping[str, int]) -> Births:
    """Return the births of one generation.

    Args:
        rows: lines of the lineage, all of one generation.
        parents: the index of each birth of the generation before, by birth id.

    Raises:
        ValueError: as `generations`.
    """
    for row in rows:
        check_line(row)
    return _births_of(rows, parents)


def _births_of(rows: Sequence[Mapping[str, Any]], parents: Mapping[str, int]) -> Births:
    traits = [_traits(row) for row in rows]
    names = tuple(name for name in traits[0] if all(name in of_birth for of_birth in traits))
    operators = {name: i for i, name in enumerate(dict.fromkeys(row["operator"] for row in rows))}
    ids = tuple(row["birth_id"] for row in rows)
    if len(set(ids)) < len(ids):
        twice = next(name for i, name in enumerate(ids) if name in ids[:i])
        raise ValueError(f"birth {twice} comes twice in generation {rows[0]['generation']}")
    links = [
        (i, _parent(row, name, parents), share)
        for i, row in enumerate(rows)
        for name, share in _shares(row)
    ]
    births = Births(
        generation=rows[0]["generation"],
        birth_ids=ids,
        policy_ids=tuple(row.get("policy_id", row["birth_id"]) for row in rows),
        island=np.array([row.get("island", 0) for row in rows], dtype=np.int64),
        selected=np.array([row["selected"] for row in rows], dtype=bool),
        operator=np.array([operators[row["operator"]] for row in rows], dtype=np.int64),
        operator_names=tuple(operators),
        trait_names=names,
        traits=np.array(
            [[of_birth[name] for name in names] for of_birth in traits], dtype=np.float64
        ).reshape(len(rows), len(names)),
        child=np.array([link[0] for link in links], dtype=np.int64),
        parent=np.array([link[1] for link in links], dtype=np.int64),
        share=np.array([link[2] for link in links], dtype=np.float64),
        selection_probability=_optional(rows, "selection_probability"),
        survival_probability=_optional(rows, "survival_probability"),
        remeasured=_remeasured(rows, names),
        examples=common_number(rows),
        rungs=read_rungs(rows, names),
    )
    check(births)
    return replace(births, parental=_parental(births, len(parents)))


def check(births: Births) -> None:
    """Refuse births whose parentage or traits are broken.

    Raises:
        ValueError: a trait is not finite, or the shares of a birth do not sum to 1.
    """
    broken = np.flatnonzero(~np.isfinite(births.traits).all(axis=1))
    if broken.size:
        raise ValueError(
            f"a trait of birth {births.birth_ids[broken[0]]} is NaN or infinite: leave failed "
            f"evaluations out of the lineage"
        )
    totals = np.bincount(births.child, births.share, len(births))
    off = np.flatnonzero(births.has_parents & (np.abs(totals - 1) > SHARE_TOLERANCE))
    if off.size:
        name = births.birth_ids[off[0]]
        raise ValueError(
            f"the shares of birth {name} sum to {totals[off[0]]:.12g}; a birth's shares sum to "
            f"1, an immigrant has none"
        )


def _traits(row: Mapping[str, Any]) -> Mapping[str, float]:
    """Return a birth's traits; its fitness is one of them, also where the lineage has it only
    beside them.
    """
    own: Mapping[str, float] = row["traits"]
    return own if "fitness" in own or "fitness" not in row else {"fitness": row["fitness"], **own}


def _checked(row: Mapping[str, Any]) -> Mapping[str, Any]:
    check_line(row)
    return row


def _check_survivors(
    rows: Sequence[Mapping[str, Any]], known: Mapping[str, tuple[int | None, float]]
) -> None:
    """Refuse survivors whose fitness is not that of the birth before on as many examples, where
    none was measured again.
    """
    for row in rows:
        if row["operator"] != SURVIVE or len(row["parent_ids"]) != 1:
            continue
        number, was = known.get(row["parent_ids"][0], (None, None))
        now = _fitness_on(row, number)
        if was is not None and now is not None and not same(was, now):
            raise ValueError(
                f"birth {row['birth_id']} survived from {row['parent_ids'][0]} with the fitness "
                f"{now!r}, which was {was!r}; give the birth before the new one as 'remeasured'"
            )


def _fitness_on(row: Mapping[str, Any], number: int | None) -> float | None:
    """Return a birth's fitness on a number of examples, or None where it is not known; None stands
    for a number that is not told.
    """
    told = {rung["examples"]: rung["traits"] for rung in row.get("rungs", ())}
    traits: Mapping[str, float] = (told | {row.get("examples"): _traits(row)}).get(number, {})
    return traits.get("fitness")


def _parental(births: Births, num_parents: int) -> Floats | None:
    """Return the traits of the generation before as the births that survived from it had them
    first, shape (parent, trait); None where it is not told on how many examples that was.
    """
    if births.examples is None or not num_parents:
        return None
    found = np.full((num_parents, len(births.trait_names)), np.nan)
    link = births.is_operator(SURVIVE)[births.child] & (births.share == 1)
    own = births.traits if births.rungs is None else births.rungs.traits[0]
    found[births.parent[link]] = own[births.child[link]]
    return found


def _shares(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    if len(row["parent_ids"]) != len(row["shares"]):
        raise ValueError(
            f"birth {row['birth_id']} has {len(row['parent_ids'])} parents and "
            f"{len(row['shares'])} shares; expected one share each"
        )
    return zip(row["parent_ids"], row["shares"], strict=True)


def _parent(row: Mapping[str, Any], name: str, parents: Mapping[str, int]) -> int:
    if name not in parents:
        raise ValueError(
            f"birth {row['birth_id']} names the parent {name}, which is not among the births of "
            f"the generation before"
        )
    return parents[name]


def _optional(rows: Sequence[Mapping[str, Any]], key: str) -> Floats | None:
    values = [row.get(key) for row in rows]
    if all(v is None for v in values):
        return None
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _remeasured(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Floats | None:
    if not any(row.get("remeasured") for row in rows):
        return None
    return np.array(
        [[(row.get("remeasured") or {}).get(name, np.nan) for name in names] for row in rows],
        dtype=np.float64,
    )
