"""What is shown of a run, however long it was: its generations and births, or, of very many, those
of evenly spread generations, and all births that led to the champion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evoprompt.jobs.evolve.folder import LINEAGE, EvolveFolder
from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.report.text import thinned

#: Generations of which a run is shown with all births and with errors over the examples; of a
#: longer one half as many, each with the one before it.
WHOLE = 2000

Birth = Mapping[str, Any]
#: A birth, its parents, and the way to the one that is followed; None without parents.
_Way = tuple[Birth, list[Birth], "_Way | None"]


@dataclass(frozen=True, slots=True)
class Shown:
    """Lines of a run's files."""

    num_generations: int  #: that the run had
    lines: Sequence[GenerationLine]  #: of generations, the first and the last among them
    #: in the order of the lineage; births of some generations are there for the ones after them
    lineage: Sequence[Birth]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self.num_generations <= WHOLE


def shown_of(folder: EvolveFolder, champion: str | None) -> Shown:
    """Return what is shown of a run.

    Args:
        folder: of the run; at least one generation must have been committed.
        champion: id of the policy whose descent is shown; None shows nobody's.
    """
    commit = folder.last_commit()
    number = 0 if commit is None else int(commit["generation"]) + 1
    if number <= WHOLE:
        return Shown(number, folder.generations(), folder.lines(LINEAGE))
    chosen = frozenset(thinned(range(number), WHOLE // 2))
    births = spread_births(folder.committed(LINEAGE), chosen, champion)
    return Shown(number, folder.generations(chosen), births)


def spread_births(
    lineage: Iterable[Birth], chosen: frozenset[int], champion: str | None
) -> list[Birth]:
    """Return the births of these generations and of the one before each, and those that led to a
    policy's first birth with their parents; of two parents the fitter is followed.

    No more of a lineage is in memory than that, and what led to the last two generations.
    """
    near = chosen | {number - 1 for number in chosen}
    kept: list[Birth] = []
    before: dict[str, _Way] = {}
    now: dict[str, _Way] = {}
    generation, found = 0, None
    for row in lineage:
        if row["generation"] != generation:
            before, now, generation = now, {}, row["generation"]
        if generation in near:
            kept.append(row)
        if found is None and champion is not None:
            ways = [before[name] for name in row["parent_ids"]]
            followed = max(ways, key=lambda way: way[0]["fitness"], default=None)
            now[row["birth_id"]] = way = (row, [parent for parent, _, _ in ways], followed)
            if row["policy_id"] == champion:
                found, before, now = way, {}, {}
    known = {birth["birth_id"] for birth in kept}
    way_there = {b["birth_id"]: b for b in _births_on(found) if b["birth_id"] not in known}
    return sorted([*kept, *way_there.values()], key=lambda birth: birth["generation"])


def _births_on(way: _Way | None) -> Iterator[Birth]:
    while way is not None:
        birth, parents, way = way
        yield birth
        yield from parents
