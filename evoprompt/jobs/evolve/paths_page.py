"""A run's predictions -> the section of its page that says how likely each move of a path is."""

from __future__ import annotations

from collections.abc import Sequence

from evoprompt.jobs.evolve.predictions import Prediction
from evoprompt.jobs.evolve.record import Summary
from evoprompt.report.markup import section

#: Paths that are drawn, the first of the test.
DRAWN = 6


def paths_sections(summary: Summary, rows: Sequence[Prediction]) -> list[str]:
    """Return the section with a heat line for each of some paths of the test, under the baseline
    and under the champion; none where the examples are no paths.
    """
    tested = [r for r in rows if r.split == "test" and r.moves is not None]
    if not tested:
        return []
    from evoprompt.jobs.evolve.paths_figure import heat_lines

    finalists = (summary.baseline, summary.champion)
    before, after = ([r for r in tested if r.policy_id == f.policy_id] for f in finalists)
    lines = [
        (name, path.target.split("\n"), path.moves or ())
        for last in after[:DRAWN]
        for name, path in (("before", _same(before, last)), ("now", last))
        if path is not None
    ]
    return [section("Moves", heat_lines(lines), _note(before, after))]


def _same(rows: Sequence[Prediction], one: Prediction) -> Prediction | None:
    return next((r for r in rows if r.example_id == one.example_id), None)


def _note(before: Sequence[Prediction], after: Sequence[Prediction]) -> str:
    return (
        f"The expert's moves along the first {min(DRAWN, len(after))} paths of the test, under the "
        f"best starting prompt and under the champion: the darker, the less likely. A path's "
        f"log-likelihood is the sum of its moves'. The mean move of the test has "
        f"{_mean(before):.3f} nats before and {_mean(after):.3f} now."
    )


def _mean(rows: Sequence[Prediction]) -> float:
    values = [value for r in rows for value in r.moves or ()]
    return sum(values) / len(values) if values else float("nan")
