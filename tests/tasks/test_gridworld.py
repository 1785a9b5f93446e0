"""The gridworld: plans are the shortest by another search, levels are drawn the same again, and
goals that are tested alone are made of parts that are shown.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, product

import pytest

from evoprompt.config.task import TaskConfig
from evoprompt.tasks.gridworld import (
    ACTIONS,
    DIFFICULTIES,
    FORMS,
    MATERIALS,
    SEEN,
    SIZES,
    UNSEEN,
    Level,
    LevelSpec,
    State,
    level,
    paths,
)
from evoprompt.tasks.load import load_task

#: The material is two cells to the east behind a wall, and the bench where one starts.
#:     S # w
#:     . . .
CORNER = Level(
    3, ("wood", "block"), (0, 0), frozenset({(0, 1)}), (("bench", (0, 0)), ("wood", (0, 2))), 12
)


def run(world: Level, plan: tuple[str, ...]) -> State:
    state = State(world.start)
    for action in plan:
        state = world.after(state, action)
        assert state is not None, action
    return state


def test_a_plan_goes_around_a_wall_and_back():
    around = ("south", "east", "east", "north", "take")
    assert CORNER.plan() == (*around, "south", "west", "west", "north", "make")
    assert CORNER.told(State((1, 1), "wood")) == (
        "Goal: wood block. You have wood. Things: bench 1 west 1 north, wood 1 east 1 north. "
        "Walls: 1 north."
    )
    told = [move.instruction for move in CORNER.moves()]
    assert told == ["get wood"] * 5 + ["use bench"] * 5
    # ten actions are needed
    assert replace(CORNER, max_steps=10).plan() is not None
    assert replace(CORNER, max_steps=9).plan() is None
    # a wall all around the material
    assert replace(CORNER, walls=frozenset({(0, 1), (1, 2), (1, 1)})).moves() is None


def test_what_cannot_be_done_has_no_state_after_it():
    assert CORNER.after(State((0, 0)), "east") is None  # a wall
    assert CORNER.after(State((0, 0)), "north") is None  # the edge
    assert CORNER.after(State((0, 0)), "take") is None  # nothing lies there
    assert CORNER.after(State((0, 0)), "make") is None  # one has nothing
    assert CORNER.after(State((0, 0), "iron"), "make") == State((0, 0), "iron block")
    assert not CORNER.is_solved(State((0, 0), "iron block"))
    assert CORNER.after(State((0, 0), "iron block"), "make") is None  # a block is no material


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_plans_are_the_shortest_there_are(difficulty: int):
    """Against layers of states, which know nothing of plans."""
    spec = DIFFICULTIES[difficulty]
    for index in range(15):
        world = level(spec, index)
        layer, seen, steps = {State(world.start)}, {State(world.start)}, 0
        while layer and not any(map(world.is_solved, layer)):
            found = {world.after(s, a) for s, a in product(layer, ACTIONS)} - {None}
            layer, steps = found - seen, steps + 1
            seen |= layer
        plan = world.plan()
        assert (plan is not None) == (bool(layer) and steps <= spec.max_steps)
        if plan is not None:
            assert len(plan) == steps
            assert world.is_solved(run(world, plan))


def test_of_shortest_plans_the_first_in_the_order_of_actions_is_the_experts():
    spec = DIFFICULTIES[1]
    for index in range(30):
        world = level(spec, index)
        plan = world.plan()
        if len(plan) > 6:
            continue
        tried = (p for p in product(ACTIONS, repeat=len(plan)) if works(world, p))
        assert next(tried) == plan


def works(world: Level, plan: tuple[str, ...]) -> bool:
    state: State | None = State(world.start)
    for action in plan:
        state = world.after(state, action) if state is not None else None
    return state is not None and world.is_solved(state)


def test_levels_follow_from_their_specification_and_number():
    spec = LevelSpec()
    assert [level(spec, i) for i in range(5)] == [level(LevelSpec(), i) for i in range(5)]
    assert level(spec, 1) != level(spec, 2)
    assert len({level(replace(spec, walls=w), 0).walls for w in range(4)}) == 4


def test_some_specifications_are_trivial_and_some_cannot_be_solved():
    trivial = LevelSpec(size=2, walls=0, materials=1, stations=1)
    assert all(level(trivial, i).plan() is not None for i in range(100))
    walled = LevelSpec(size=5, walls=18)
    unsolved = [level(walled, i).plan() is None for i in range(100)]
    assert sum(unsolved) > 80
    with pytest.raises(ValueError, match="have no plan"):
        next(paths(LevelSpec(size=4, max_steps=1)))
    with pytest.raises(ValueError, match="do not fit"):
        LevelSpec(size=2, walls=1)
    with pytest.raises(ValueError, match="1 to 4 materials"):
        LevelSpec(materials=0)


def test_what_is_tested_unseen_is_made_of_what_is_seen():
    assert {m for m, _ in SEEN} == {m for m, _ in UNSEEN} == set(MATERIALS)
    assert {f for _, f in SEEN} == {f for _, f in UNSEEN} == set(FORMS)
    sizes = dict(zip(("fitness_examples", "validation_examples"), SIZES[1:3], strict=True))
    both = [load_task(TaskConfig(name=name, **sizes)) for name in ("gridworld", "gridworld_unseen")]
    goals = [{" ".join(g) for g in some} for some in (SEEN, UNSEEN)]
    for task, tested in zip(both, goals, strict=True):
        assert [len(s) for s in (task.fitness, task.validation, task.test)] == [200, 200, 200]
        for name, split in task.splits.items():
            shown = {e.input.split(".")[0].removeprefix("Goal: ") for e in split}
            assert shown == (tested if name == "test" else goals[0])
    assert both[0].fitness == both[1].fitness
    # nor is a world of one that was shown, with another goal
    worlds = [{e.input.partition(".")[2] for e in t.test} for t in both]
    assert not worlds[1] & {e.input.partition(".")[2] for e in both[1].fitness}


def test_fewer_levels_are_the_first_of_more():
    spec = DIFFICULTIES[2]
    assert list(islice(paths(spec), 5)) == list(islice(paths(spec), 9))[:5]
    assert [e.example_id for e in islice(paths(spec, first=3), 1)] == ["gridworld-3"]
