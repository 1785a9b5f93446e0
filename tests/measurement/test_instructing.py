"""Instructions that a policy writes itself before each action of a path."""

from __future__ import annotations

from collections.abc import Sequence

from evoprompt.examples import Move
from evoprompt.measurement.instructing import instructed_by
from evoprompt.measurement.writer import Written
from evoprompt.policy import Policy, Template
from evoprompt.records import TokenCount
from evoprompt.tasks.paths import path_of
from evoprompt.tasks.render import render_queries

POLICY = Policy("Act.", template=Template("", "\n>"))
LONG = path_of(
    "a", [Move("here", "up", "get", ("get", "use"), ("down",), 0.5), Move("there", "down", "use")]
)
SHORT = path_of("b", [Move("far", "up", "get", ("get", "use"))])


class Scripted:
    """Writes what a test says, and keeps what it was asked."""

    def __init__(self, *texts: str) -> None:
        self.texts, self.asked = list(texts), []

    def write(self, prompts: Sequence[str], *, max_tokens: int, stops: Sequence[str]):
        self.asked.append(list(prompts))
        assert ":" in stops
        return [Written(self.texts.pop(0), -1.0, 1, TokenCount()) for _ in prompts]


def test_an_action_is_scored_after_what_was_written_and_so_are_those_after_it():
    writer = Scripted(" find it", " wait", " go on")
    first, second = instructed_by(POLICY, [LONG, SHORT], writer)  # type: ignore[arg-type]
    assert [move.instruction for move in first.path] == ["find it", "go on"]
    assert second.path[0].scored == second.path[0].offered == ("wait",)
    assert first.path[0].shift == 0
    assert first.path[0].others == ("down",)
    # all first moves at once, then those that are left, after what was written and the expert's act
    assert [len(prompts) for prompts in writer.asked] == [2, 1]
    assert writer.asked[1][0].endswith("here\n> find it: up\n\nthere\n>")
    assert "get" not in writer.asked[1][0]
    queries = [q for q in render_queries(POLICY, [first]) if q.step == 1 and q.is_partial]
    assert queries[0].context.endswith("there\n> go on:")
    assert queries[0].continuation == " down"


def test_where_nothing_is_written_the_action_is_scored_as_without():
    [told] = instructed_by(POLICY, [SHORT], Scripted("  "))  # type: ignore[arg-type]
    assert told.path[0].scored == ()
    assert told.path[0].answer == "up"
