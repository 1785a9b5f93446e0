"""Who descends from whom: the chain of births that made a policy, when lines meet, how many are
left, and how fast diversity drifts away.

    for births in generations(lines):
        genealogy.add(births)

One line is followed back: of a birth's parents the one with the larger share, of equal shares the
fitter, of equal fitness the first. So every picture of one lineage shows the same tree. About 35
bytes are kept of each birth, and the parents of those that have several.

Knows parentage, fitness, operators and policies' ids. Does not know prompts, models, or how a tree
is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoprompt.arrays import Floats, Integers
from evoprompt.dynamics.diversity import Descent, Diversity, Indices, followed
from evoprompt.dynamics.inheritance import Undefined
from evoprompt.dynamics.population import Births
from evoprompt.dynamics.remeasured import gains
from evoprompt.records import SURVIVE


@dataclass(frozen=True, slots=True)
class Step:
    """One birth on the way from a founder to a policy."""

    birth_id: str
    generation: int
    operator: str
    fitness: float
    #: fitness minus the mean of the parents' by their shares, on the most examples on which both
    #: are known; None for a founder, and where there are none
    gain: float | None
    #: birth id and share; the first is the one that is followed
    parents: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Coalescence:
    """Where the lines of a generation's selected births meet, looking back; each array of shape
    (generation,), oldest first.
    """

    generation: Integers
    num_lineages: Integers  #: distinct ancestors that lived in the generation
    num_rooted: Integers  #: lines that began later, with an immigrant
    #: probability that two distinct births have no common ancestor since; None where fewer than two
    #: were selected
    apart: Floats | None
    common_ancestor: tuple[int, str] | Undefined  #: generation and birth id of the most recent one
    #: generations back until two distinct births meet, mean over all pairs
    mean_pair_time: float | Undefined


@dataclass(frozen=True, slots=True)
class Tree:
    """Ancestors of one generation's selected births, a node for each policy's life; arrays of shape
    (node,), parents before children.
    """

    birth_ids: tuple[str, ...]
    generation: Integers  #: of birth
    last_generation: Integers  #: that it lived to
    fitness: Floats
    operator: tuple[str, ...]
    parent: Integers  #: the node that is followed back, -1 for roots
    num_descendants: Integers  #: selected births at the end that descend from it, itself included
    on_best_line: NDArray[np.bool_]  #: leads to the fittest at the end
    num_hidden: int  #: ancestors left out, those with the fewest descendants


@dataclass(frozen=True, slots=True)
class _Generation:
    number: int
    ids: NDArray[np.bytes_]
    fitness: Floats
    gain: Floats  # NaN where it is not known
    operator: NDArray[np.int16]
    selected: NDArray[np.bool_]
    parent: Indices  # the one that is followed; -1: founder or immigrant
    crossed: tuple[Indices, Indices, Floats]  # child, parent, share of births with several parents


class Genealogy:
    """A lineage's parentage, built generation by generation."""

    def __init__(self, fitness: str = "fitness") -> None:
        self._fitness = fitness
        self._operators: list[str] = []
        self._generations: list[_Generation] = []
        self._last: Births | None = None
        self._descent = Descent()
        self._diversity: list[Diversity] = []

    def add(self, births: Births) -> Diversity:
        """Add the next generation; return its diversity.

        Raises:
            ValueError: it is not after the one before, it names parents that are not among those,
                or it has no fitness.
        """
        before = self._generations[-1] if self._generations else None
        if before is not None and births.generation <= before.number:
            raise ValueError(
                f"generation {births.generation} was added after {before.number}; add them in order"
            )
        if births.parent.size and (before is None or births.parent.max() >= len(before.parent)):
            raise ValueError(
                f"generation {births.generation} names parents that are not in the generation "
                f"before; add all from the founders on"
            )
        if self._fitness not in births.trait_names:
            raise ValueError(
                f"generation {births.generation} has no trait {self._fitness!r}; its traits are: "
                f"{', '.join(births.trait_names)}"
            )
        fitness = births.trait(self._fitness)
        parental = np.zeros(1) if before is None else before.fitness
        parent, crossed = followed(births, parental)
        codes = np.array([self._code(name) for name in births.operator_names], dtype=np.int16)
        ids = np.array([name.encode() for name in births.birth_ids])
        gain = np.full(len(births), np.nan)
        if self._last is not None:
            gain = gains(self._last, births, self._fitness)
        self._last = births
        self._generations.append(
            _Generation(
                births.generation,
                ids,
                fitness.copy(),
                gain,
                codes[births.operator],
                births.selected.copy(),
                parent,
                crossed,
            )
        )
        self._diversity.append(self._descent.add(births, parent))
        return self._diversity[-1]

    def diversity(self) -> tuple[Diversity, ...]:
        """Return diversity and effective size by generation: see `Diversity`."""
        return tuple(self._diversity)

    def ancestry(self, birth_id: str) -> tuple[Step, ...]:
        """Return the births that led to this one, from its founder on; survivals are left out.

        Where every step has one parent and all were measured on as many examples, the founder's
        fitness and the gains add up to the last step's fitness.

        Raises:
            KeyError: there is no such birth.
        """
        place: tuple[int, int] | None = self._find(birth_id)
        steps: list[Step] = []
        while place is not None:
            g, i = self._born(*place)
            here = self._generations[g]
            parents = tuple(
                (self._id(*self._born(g - 1, p)), share) for p, share in _parents(here, i)
            )
            gain = None if np.isnan(here.gain[i]) else float(here.gain[i])
            steps.append(
                Step(
                    self._id(g, i),
                    here.number,
                    self._operators[here.operator[i]],
                    float(here.fitness[i]),
                    gain,
                    parents,
                )
            )
            place = (g - 1, int(here.parent[i])) if parents else None
        return tuple(reversed(steps))

    def coalescence(self, generation: int | None = None) -> Coalescence:
        """Return where the lines of the selected births of a generation meet; by default of the
        last.

        The common ancestor is undefined while more than one line is left, or where lines began with
        different immigrants.
        """
        levels = list(self._back(self._index(generation)))
        n = int(levels[0][2].sum())
        # (level, 2): lines, and pairs within them
        rooted = np.cumsum([(0.0, 0.0), *(self._rooted(*level) for level in levels[:-1])], axis=0)
        lineages = np.array([len(index) for _, index, _ in levels])
        numbers = np.array([self._generations[g].number for g, _, _ in levels])
        met = [k for k in range(len(levels)) if lineages[k] == 1 and rooted[k, 0] == 0]
        ancestor: tuple[int, str] | Undefined
        if met:
            ancestor = int(numbers[met[0]]), self._id(levels[met[0]][0], int(levels[met[0]][1][0]))
        else:
            ancestor = Undefined(
                f"{lineages[-1] + rooted[-1, 0]:.0f} lines are left that never meet"
            )
        apart: Floats | None = None
        time: float | Undefined = Undefined("fewer than two births are selected")
        if n > 1:
            together = (
                np.array([float((count * (count - 1)).sum()) for _, _, count in levels])
                + rooted[:, 1]
            )
            apart = 1 - together / (n * (n - 1))
            time = (
                float(apart[:-1] @ -np.diff(numbers)) if met else Undefined("some pairs never meet")
            )
            apart = apart[::-1]
        return Coalescence(
            numbers[::-1], lineages[::-1], rooted[::-1, 0].astype(np.int64), apart, ancestor, time
        )

    def tree(self, max_nodes: int = 500, generation: int | None = None) -> Tree:
        """Return the ancestors of the selected births of a generation, by default of the last; at
        most so many.

        Survivals are part of a node's life. Kept first are the line of the fittest, then nodes by
        the number of their descendants, the older first: since an ancestor has as many as any of
        its children, what is kept is a tree.
        """
        if max_nodes < 1:
            raise ValueError(f"tree(max_nodes={max_nodes}): expected at least 1")
        last = self._index(generation)
        chosen = np.flatnonzero(self._generations[last].selected)
        best = int(chosen[np.argmax(self._generations[last].fitness[chosen])])
        # (node, column): level, index, last level, parent, descendants, on the best line
        rows = self._nodes(last, best)
        order = np.lexsort((rows[:, 0], -rows[:, 4], -rows[:, 5]))
        kept = np.sort(order[:max_nodes])
        place = np.full(len(rows) + 1, -1)
        place[kept] = np.arange(len(kept))
        nodes = rows[kept]
        where = [(int(g), int(i)) for g, i in nodes[:, :2]]
        numbers = np.array([g.number for g in self._generations])
        return Tree(
            birth_ids=tuple(self._id(g, i) for g, i in where),
            generation=numbers[nodes[:, 0]],
            last_generation=numbers[nodes[:, 2]],
            fitness=np.array([self._generations[g].fitness[i] for g, i in where]),
            operator=tuple(self._operators[self._generations[g].operator[i]] for g, i in where),
            parent=place[nodes[:, 3]],
            num_descendants=nodes[:, 4],
            on_best_line=nodes[:, 5] > 0,
            num_hidden=len(rows) - len(kept),
        )

    def _nodes(self, last: int, best: int) -> Integers:
        """Return every ancestor's life as a row, parents before children; a root's parent is -1."""
        line = {last: best}
        for g in range(last, 0, -1):
            if self._generations[g].parent[line[g]] < 0:
                break
            line[g - 1] = int(self._generations[g].parent[line[g]])
        rows, num_rows = [], 0
        above = node = np.zeros(0, dtype=np.int64)
        ends: list[tuple[Integers, int]] = []
        on_line: list[Integers] = []
        for g, index, count in reversed(list(self._back(last))):
            here = self._generations[g]
            parent = here.parent[index]
            survived = (here.operator[index] == self._code(SURVIVE)) & (parent >= 0)
            up = np.full(len(index), -1)
            up[parent >= 0] = node[np.searchsorted(above, parent[parent >= 0])]
            own = np.where(survived, up, num_rows + np.cumsum(~survived) - 1)
            born = ~survived
            columns = (
                np.full(len(index), g),
                index,
                np.full(len(index), g),
                up,
                count,
                np.zeros(len(index), dtype=np.int64),
            )
            rows.append(np.stack(columns, axis=1)[born])
            ends.append((own[survived], g))
            on_line.append(own[index == line.get(g, -1)])
            above, node, num_rows = index, own, num_rows + int(born.sum())
        table = np.concatenate(rows)
        for own, g in ends:
            table[own, 2] = g
        # a survivor's life is on the line if any part of it is
        table[np.concatenate(on_line), 5] = 1
        return table

    def _back(self, last: int) -> Iterator[tuple[int, Integers, Integers]]:
        """Yield each generation from `last` back: its place, the ancestors that lived in it, and
        how many of the end descend from each.
        """
        index = np.flatnonzero(self._generations[last].selected)
        count = np.ones(len(index), dtype=np.int64)
        for g in range(last, -1, -1):
            yield g, index, count
            up = self._generations[g].parent[index]
            index, inverse = np.unique(up[up >= 0].astype(np.int64), return_inverse=True)
            count = np.bincount(inverse, count[up >= 0], len(index)).astype(np.int64)

    def _rooted(self, g: int, index: Integers, count: Integers) -> tuple[float, float]:
        """Return how many of these lines began in the generation, and the ordered pairs of distinct
        births within each.
        """
        own = count[self._generations[g].parent[index] < 0]
        return float(len(own)), float((own * (own - 1)).sum())

    def _born(self, g: int, i: int) -> tuple[int, int]:
        while (
            self._generations[g].operator[i] == self._code(SURVIVE)
            and self._generations[g].parent[i] >= 0
        ):
            g, i = g - 1, int(self._generations[g].parent[i])
        return g, i

    def _find(self, birth_id: str) -> tuple[int, int]:
        for g in range(len(self._generations) - 1, -1, -1):
            found = np.flatnonzero(self._generations[g].ids == birth_id.encode())
            if found.size:
                return g, int(found[0])
        raise KeyError(f"the lineage has no birth {birth_id}")

    def _index(self, generation: int | None) -> int:
        numbers = [g.number for g in self._generations]
        if not numbers or (generation is not None and generation not in numbers):
            raise ValueError(
                f"the genealogy has no generation {generation}; it has {len(numbers)}, up to "
                f"{numbers[-1] if numbers else 'none'}"
            )
        place = len(numbers) - 1 if generation is None else numbers.index(generation)
        if not self._generations[place].selected.any():
            raise ValueError(f"no birth of generation {numbers[place]} is selected")
        return place

    def _id(self, g: int, i: int) -> str:
        return bytes(self._generations[g].ids[i]).decode()

    def _code(self, name: str) -> int:
        if name not in self._operators:
            self._operators.append(name)
        return self._operators.index(name)


def _parents(here: _Generation, i: int) -> list[tuple[int, float]]:
    child, parent, share = here.crossed
    found = np.flatnonzero(child == i)
    if found.size:
        return list(zip(parent[found].tolist(), share[found].tolist(), strict=True))
    return [(int(here.parent[i]), 1.0)] if here.parent[i] >= 0 else []
