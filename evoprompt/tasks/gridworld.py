"""A small gridworld in words: something is got, and made into something at a station. Pure.

    LevelSpec, index --level--> Level --plan--> the first of the shortest plans, or None

A goal is a material and a form, as "iron ingot": the material is taken where it lies, and the form
is made where its station stands. So a goal that was never shown is made of parts that were. Nothing
is ever drawn from a run's seed: level 7 of a specification is the same for all.

| difficulty | size | walls | materials | stations | steps at most |
|---|---|---|---|---|---|
| 1 | 3 | 0 | 1 | 1 | 12 |
| 2 | 4 | 2 | 2 | 2 | 16 |
| 3 | 4 | 3 | 3 | 3 | 16 |
| 4 | 5 | 6 | 3 | 3 | 20 |
| 5 | 6 | 10 | 4 | 3 | 24 |
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, islice

from evoprompt.examples import Example, Move
from evoprompt.seeding import Stream, generator
from evoprompt.tasks.generators import SEED
from evoprompt.tasks.paths import path_of

MATERIALS = ("wood", "stone", "iron", "gold")
#: What is made, and at which station.
FORMS: Mapping[str, str] = {"block": "bench", "ingot": "furnace", "tool": "anvil"}
#: Where a step leads: rows down and columns to the right.
STEPS: Mapping[str, tuple[int, int]] = {
    "east": (0, 1),
    "west": (0, -1),
    "north": (-1, 0),
    "south": (1, 0),
}
TAKE, MAKE = "take", "make"
#: All that can be done; of plans of one length the first in this order is the expert's.
ACTIONS = (TAKE, MAKE, *STEPS)

Cell = tuple[int, int]
Goal = tuple[str, str]

#: Goals that are shown nowhere but in the test of `gridworld_unseen`. Each of their materials and
#: each of their forms is in goals that are shown.
UNSEEN: tuple[Goal, ...] = (
    ("wood", "tool"),
    ("stone", "block"),
    ("iron", "ingot"),
    ("gold", "tool"),
)
SEEN: tuple[Goal, ...] = tuple((m, f) for m in MATERIALS for f in FORMS if (m, f) not in UNSEEN)

#: How many paths each split has: demonstrations, fitness, validation and test.
SIZES = (100, 200, 200, 200)

#: The first level of the goals that are tested alone: no world of another split is among them.
FIRST_UNSEEN = 100_000

#: Levels that are looked at, of a specification that has too few that can be solved.
MOST_TRIED = 2000


@dataclass(frozen=True, slots=True)
class LevelSpec:
    """What levels are drawn from. Many walls, or few steps, leave levels without a plan; without
    walls and with one material and one station every level has one.
    """

    size: int = 4  #: rows, and columns
    walls: int = 2
    materials: int = 2  #: that lie about, that of the goal among them
    stations: int = 2  #: likewise
    max_steps: int = 16  #: a longer plan is none
    goals: tuple[Goal, ...] = SEEN

    def __post_init__(self) -> None:
        needed = 1 + self.walls + self.materials + self.stations
        if not 1 <= self.materials <= len(MATERIALS) or not 1 <= self.stations <= len(FORMS):
            raise ValueError(
                f"a level has 1 to {len(MATERIALS)} materials and 1 to {len(FORMS)} stations; "
                f"given {self.materials} and {self.stations}"
            )
        if self.walls < 0 or needed > self.size**2:
            raise ValueError(
                f"{self.walls} walls, {self.materials} materials, {self.stations} stations and a "
                f"start do not fit into {self.size} times {self.size} cells"
            )


#: What each difficulty is drawn from.
DIFFICULTIES: Mapping[int, LevelSpec] = {
    1: LevelSpec(3, 0, 1, 1, 12),
    2: LevelSpec(4, 2, 2, 2, 16),
    3: LevelSpec(4, 3, 3, 3, 16),
    4: LevelSpec(5, 6, 3, 3, 20),
    5: LevelSpec(6, 10, 4, 3, 24),
}


@dataclass(frozen=True, slots=True)
class State:
    """Where one stands, and what one has: nothing, a material, or what was made of one."""

    cell: Cell
    has: str = ""


@dataclass(frozen=True, slots=True)
class Level:
    """A world and a goal in it."""

    size: int
    goal: Goal
    start: Cell
    walls: frozenset[Cell]
    things: tuple[tuple[str, Cell], ...]  #: materials and stations, in the order they are told
    max_steps: int

    @property
    def instructions(self) -> tuple[str, ...]:
        """All that may be said to be done next."""
        return tuple(f"{_verb(name)} {name}" for name, _ in self.things)

    def is_solved(self, state: State) -> bool:
        """Return whether one has what is the goal."""
        return state.has == " ".join(self.goal)

    def after(self, state: State, action: str) -> State | None:
        """Return the state after an action; None where it cannot be done."""
        here = next((name for name, cell in self.things if cell == state.cell), "")
        if action == TAKE:
            return State(state.cell, here) if here in MATERIALS else None
        if action == MAKE:
            form = next((form for form, station in FORMS.items() if station == here), "")
            made = f"{state.has} {form}"
            return State(state.cell, made) if form and state.has in MATERIALS else None
        down, right = STEPS[action]
        cell = (state.cell[0] + down, state.cell[1] + right)
        inside = all(0 <= at < self.size for at in cell)
        return State(cell, state.has) if inside and cell not in self.walls else None

    def plan(self) -> tuple[str, ...] | None:
        """Return the first of the shortest plans, in the order of `ACTIONS`; None where there is
        none of `max_steps` actions or fewer.
        """
        begin = State(self.start)
        plans: dict[State, tuple[str, ...]] = {begin: ()}
        waiting = deque([begin])
        while waiting:
            state = waiting.popleft()
            if self.is_solved(state):
                return plans[state]
            if len(plans[state]) == self.max_steps:
                continue
            for action in ACTIONS:
                new = self.after(state, action)
                if new is not None and new not in plans:
                    plans[new] = (*plans[state], action)
                    waiting.append(new)
        return None

    def told(self, state: State) -> str:
        """Return a state in words: all that the rest depends on but where the edges are."""
        things = ", ".join(f"{name} {_way(state.cell, cell)}" for name, cell in self.things)
        walls = ", ".join(_way(state.cell, cell) for cell in sorted(self.walls)) or "none"
        return (
            f"Goal: {' '.join(self.goal)}. You have {state.has or 'nothing'}. "
            f"Things: {things}. Walls: {walls}."
        )

    def moves(self) -> tuple[Move, ...] | None:
        """Return the expert's moves, each after every instruction and among all actions; None where
        there is no plan.
        """
        plan = self.plan()
        if plan is None:
            return None
        state, moves = State(self.start), []
        for action in plan:
            material, form = self.goal
            aim = FORMS[form] if state.has == material else material
            others = tuple(other for other in ACTIONS if other != action)
            said = f"{_verb(aim)} {aim}"
            moves.append(Move(self.told(state), action, said, self.instructions, others))
            after = self.after(state, action)
            assert after is not None, "a plan has only what can be done"
            state = after
        return tuple(moves)


def _verb(name: str) -> str:
    return "get" if name in MATERIALS else "use"


def _way(start: Cell, end: Cell) -> str:
    """Return how to get from a cell to another one, as "2 east 1 north"; "here" if it is one."""
    down, right = end[0] - start[0], end[1] - start[1]
    parts = [f"{abs(right)} {'east' if right > 0 else 'west'}"] if right else []
    parts += [f"{abs(down)} {'south' if down > 0 else 'north'}"] if down else []
    return " ".join(parts) or "here"


def level(spec: LevelSpec, index: int) -> Level:
    """Return a level of a specification, the same in every run."""
    given = (spec.size, spec.walls, spec.materials, spec.stations, spec.max_steps, index)
    draw = generator(SEED, Stream.GENERATION, 3, *given)
    goal = spec.goals[draw.integers(len(spec.goals))]
    others = [str(m) for m in draw.permutation(MATERIALS) if m != goal[0]]
    stations = [str(s) for s in draw.permutation(list(FORMS.values())) if s != FORMS[goal[1]]]
    names = [goal[0], *others[: spec.materials - 1]]
    names += [FORMS[goal[1]], *stations[: spec.stations - 1]]
    places = draw.permutation(spec.size**2)[: 1 + len(names) + spec.walls]
    start, *cells = [divmod(int(place), spec.size) for place in places]
    things = sorted(zip(names, cells, strict=False), key=lambda thing: thing[0])
    walls = frozenset(cells[len(names) :])
    return Level(spec.size, goal, start, walls, tuple(things), spec.max_steps)


def splits(difficulty: int, *, unseen: bool) -> list[tuple[Example, ...]]:
    """Return the paths of each split at a difficulty from 1 to 5; of the test on request with
    goals that are in no other split.
    """
    spec = DIFFICULTIES[difficulty]
    own = paths(spec, f"gridworld-{difficulty}")
    found = [tuple(islice(own, size)) for size in SIZES[: 3 if unseen else 4]]
    if unseen:
        tested = replace(spec, goals=UNSEEN)
        others = paths(tested, f"gridworld_unseen-{difficulty}", FIRST_UNSEEN)
        found.append(tuple(islice(others, SIZES[3])))
    return found


def paths(spec: LevelSpec, name: str = "gridworld", first: int = 0) -> Iterator[Example]:
    """Yield the expert's paths through the levels of a specification that have a plan, in their
    order from the first, each first state once. Ids are "<name>-<index>".

    Raises:
        ValueError: many levels in a row have no plan, or none that is new.
    """
    known: set[str] = set()
    last = first
    for index in count(first):
        moves = level(spec, index).moves()
        if moves is not None and moves[0].state not in known:
            known.add(moves[0].state)
            last = index
            yield path_of(f"{name}-{index}", moves)
        elif index - last > MOST_TRIED:
            raise ValueError(f"the next {MOST_TRIED} levels of {spec} have no plan, or no new one")
