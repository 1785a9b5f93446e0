"""A run's folder -> the section of its page that says what its champion does to other tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evoprompt.config.side_effects import SideEffectsConfig
from evoprompt.fitness.side_effects import Change, attainable, mean_change
from evoprompt.jobs.evolve.folder import SIDE_EFFECTS, EvolveFolder
from evoprompt.jobs.evolve.record import GenerationLine, SideEffectsLine
from evoprompt.jobs.evolve.side_effects import KEY, Measured, Reference, measured_of
from evoprompt.report.markup import section
from evoprompt.report.table import Table, new_table, to_html
from evoprompt.store.folder import PROVENANCE

NOTE = (
    "The examples of each auxiliary task are scored with a policy's instruction and demonstrations "
    "before them; a change is how much less or more likely their right answers are than with the "
    "first starting prompt. One half of the examples tells its direction, the other its size, so "
    "noise adds nothing in the mean, and a part may be below 0. The plain change has noise in it: "
    "where nothing changed it is expected to be its noise floor."
)
#: The row of all auxiliaries.
MEAN = "all"


def side_effects_sections(
    folder: EvolveFolder, lines: Sequence[GenerationLine], champion: str | None
) -> list[str]:
    """Return the section, with a table where there is a champion; none where the run does not
    look.
    """
    told = [line.side_effects for line in lines if line.side_effects is not None]
    if not told:
        return []
    known = folder.read(PROVENANCE)[KEY]
    reference = Reference(known["baseline"], known["scales"])
    measured = measured_of(folder.lines(SIDE_EFFECTS))
    table = "" if champion is None else to_html(effects_table(reference, measured, champion))
    config = folder.config().side_effects
    assert config is not None, "who wrote the lines looked"
    return [section("Side effects", table, f"{_course(told, config)} {NOTE}")]


def _course(told: Sequence[SideEffectsLine], config: SideEffectsConfig) -> str:
    off = f"{config.coefficient:g} times it" if config.coefficient else "nothing of it"
    course = (
        f"The penalty of the fittest is {told[0].best:.3f} among the starting prompts and "
        f"{told[-1].best:.3f} in the last generation; {off} is taken off the fitness."
    )
    if config.until is None:
        return course
    return (
        f"{course} Selection took {told[0].coefficient:g} times it off among the starting prompts "
        f"and {told[-1].coefficient:g} times it in the last generation."
    )


def effects_table(reference: Reference, measured: Mapping[str, Measured], policy_id: str) -> Table:
    """Return how each auxiliary changed under a policy, one a row, in scales, and in nats what an
    answer's log-likelihood is.
    """
    changes = reference.changes(measured, policy_id)
    first, last = measured[reference.baseline], measured[policy_id]
    rows = [
        (name, f"{attainable(first[name]):.3f}", f"{attainable(last[name]):.3f}", *_cells(found))
        for name, found in changes.items()
    ]
    rows.append((MEAN, "", "", *_cells(mean_change(list(changes.values())))))
    heads = ("auxiliary", "first prompt, nats", "champion, nats", "decrease", "increase")
    return new_table((*heads, "both", "plain", "noise floor"), rows, align="lrrrrrrr")


def _cells(found: Change) -> tuple[str, ...]:
    values = (found.decrease, found.increase, found.both, found.plain, found.noise_floor)
    return tuple(f"{value:.3f}" for value in values)
