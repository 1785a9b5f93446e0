"""A sweep's folder -> `sweep.csv`, `sweep.html` and the table in Markdown. No model, no network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from evoprompt.errors import UserError, clip
from evoprompt.jobs.base import SWEEP
from evoprompt.jobs.sweep.config import short_names
from evoprompt.jobs.sweep.record import Status, SweepRow, SweepState
from evoprompt.jobs.sweep.tables import (
    REPLICATES,
    RESULTS,
    best_group,
    column,
    csv_text,
    done,
    groups,
    mean_objective,
    mean_of,
    mean_text,
)
from evoprompt.report.markup import page, paragraph, section
from evoprompt.report.table import Cell, Emphasis, Table, new_table, to_html, to_markdown
from evoprompt.report.text import POINTS, thinned, thinned_note
from evoprompt.stats.significance import mean_interval
from evoprompt.store.folder import RunFolder
from evoprompt.store.names import refuse_links

TABLE, PAGE = "sweep.csv", "sweep.html"

#: Columns of the tables for people: (result, head, format).
COLUMNS = (
    *(
        ("fitness_best", "best fitness", ".4f"),
        ("accuracy_before", "before", ".3f"),
        ("accuracy_after", "after", ".3f"),
    ),
    *(("tokens", "tokens", ",.0f"), ("seconds", "seconds", ",.1f"), ("memo_share", "memo", ".0%")),
)
#: How the status of a run is shown; others are muted.
STATUS: Mapping[Status, Emphasis] = {
    "done": "good",
    "failed": "bad",
    "running": "strong",
    "interrupted": "warning",
    "stopped": "muted",
}
EFFECT_NOTE = (
    "A grey point for each run; in blue the mean at each level with Student's 95 % interval over "
    "its runs, of fewer than 4 their range, whatever their other settings."
)
#: Pairs of factors that are drawn at most.
MOST_PAIRS = 6


def read_state(folder: Path) -> SweepState:
    """Return the state of a sweep as its folder has it.

    Raises:
        UserError: it is not as it was written.
    """
    try:
        return SweepState.from_dict(RunFolder(folder).read(SWEEP))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / SWEEP} is damaged: {error!r} is not as expected") from None


def write_results(folder: Path) -> tuple[Path, Path]:
    """Write the table and the page of a sweep, finished or not; return their paths."""
    state = read_state(folder)
    refuse_links(folder.iterdir())
    table, file = folder / TABLE, folder / PAGE
    table.write_text(csv_text(state.rows, state.axes), encoding="utf-8")
    file.write_text(page_text(state, folder), encoding="utf-8")
    return table, file


def page_text(state: SweepState, folder: Path) -> str:
    """Return the page; a run is linked where its report is."""
    rows, axes, objective = state.rows, state.axes, state.objective
    ended = done(rows)
    num_stopped = sum(row.status == "stopped" for row in rows)
    stopped = f"{num_stopped} stopped early because others were better, " if num_stopped else ""
    head = f"<h1>{escape(state.name)}</h1>" + _muted(
        f"A {state.method} sweep over {', '.join(axes)}: {len(ended)} of {len(rows)} runs done, "
        f"{stopped}{sum(row.status == 'failed' for row in rows)} failed. Best by {objective}, "
        f"averaged over seeds."
    )
    sections = [head, _best(rows, objective), _replicates(rows), *_figures(state, ended)]
    shown = thinned(rows, POINTS)
    runs = runs_table(shown, axes, {row.number: _page_link(row, folder) for row in shown})
    note = thinned_note(len(rows), POINTS, f"runs; {TABLE} has all")
    sections.append(section("Runs", to_html(runs), note))
    failed = [row for row in rows if row.status == "failed"]
    failures = "".join(
        f"<li>{escape(row.folder)}: {escape(clip(row.reason or '', 1000))}</li>"
        for row in failed[:POINTS]
    )
    sections.append(section("Failed", f"<ul>{failures}</ul>") if failures else "")
    return page(state.name, sections)


def cells(row: SweepRow, axes: Sequence[str]) -> list[str]:
    """Return a run's settings and results as text, in the order of `axes` and `COLUMNS`; what is
    absent is empty.
    """
    texts = [
        "" if (value := row.value(name)) is None else format(value, form)
        for name, _, form in COLUMNS
    ]
    return [*(_short(row.settings.get(axis)) for axis in axes), *texts]


def runs_table(
    rows: Sequence[SweepRow],
    axes: Sequence[str],
    runs: Mapping[int, Cell | str],
    extra: Mapping[int, str] | None = None,
) -> Table:
    """Return a table of runs: what each is called, its status, settings and results.

    Args:
        rows: the runs.
        axes: the keys that vary.
        runs: what a run is called, by its number.
        extra: a forecast by the run's number, in the place of results.
    """
    names = short_names(axes)
    results = ["tokens, forecast"] if extra else [head for _, head, _ in COLUMNS]
    lines: list[list[Cell | str]] = []
    for row in rows:
        texts = cells(row, axes)
        shown = [*texts[: len(axes)], extra[row.number]] if extra else texts
        status = Cell(row.status, emphasis=STATUS.get(row.status, "muted"))
        lines.append([runs[row.number], status, *shown])
    heads = ["run", "status", *(names[axis] for axis in axes), *results]
    return new_table(heads, lines, align="ll" + "l" * len(axes))


def markdown(state: SweepState) -> str:
    """Return the best settings and the table in Markdown."""
    rows = state.rows
    table = runs_table(rows, state.axes, {row.number: row.folder for row in rows})
    best = best_group(rows)
    if best is None:
        return f"{to_markdown(table)}\n"
    reached = f"{_settings(best[0])}, mean {mean_text(mean_of(best, 'objective'))}"
    return f"Best by {state.objective}: {reached}\n\n{to_markdown(table)}\n"


def _best(rows: Sequence[SweepRow], objective: str) -> str:
    best = best_group(rows)
    if best is None:
        return "<p>No run has ended well yet.</p>"
    note = (
        "Chosen by the test examples, so its accuracy on them is no longer a held-out estimate."
        if objective.startswith("test.")
        else "Chosen without the test examples."
    )
    lines = [
        ("mean " + objective, mean_of(best, "objective")),
        ("mean accuracy after, test examples", mean_of(best, "accuracy_after")),
    ]
    unsure = "" if (text := _unsure(rows, best)) is None else paragraph(text)
    settings = (
        f"<p>{escape(_settings(best[0]))} ({len(best)} run{'s' if len(best) > 1 else ''}; "
        f"as a config: best.yaml)</p>"
    )
    pairs = [(words, Cell(mean_text(mean), emphasis="strong")) for words, mean in lines if mean]
    table = to_html(new_table(("", ""), pairs))
    return section("Best settings", settings + unsure + table, note)


def _unsure(rows: Sequence[SweepRow], best: Sequence[SweepRow]) -> str | None:
    """Return that the best settings are not told from the next best ones, where they are not: their
    intervals over seeds, of fewer than 4 their ranges, meet; None where they do not, or there are
    no others.
    """
    others = [
        ended
        for group in groups(rows)
        if (ended := done(group)) and ended[0].number != best[0].number
    ]
    if not others:
        return None
    from evoprompt.report.plots import reach

    second = max(others, key=mean_objective)
    ends = [
        reach(mean_interval(values), values) or (values[0], values[0])
        for values in (column(best, "objective"), column(second, "objective"))
    ]
    if min(len(best), len(second)) > 1 and ends[0][0] > ends[1][1]:
        return None
    why = (
        "one run is no measure of luck"
        if min(len(best), len(second)) == 1
        else "what their seeds reached overlaps"
    )
    return (
        f"It is not shown that they are better than {_settings(second[0]) or 'the base'} (mean "
        f"{mean_objective(second):.3f}): {why}."
    )


def _replicates(rows: Sequence[SweepRow]) -> str:
    """Return the table of settings over their seeds."""
    found = [(group, ended) for group in groups(rows) if (ended := done(group))]
    if (
        not any(len(ended) > 1 for _, ended in found)
        or len({json.dumps(r.settings.get(REPLICATES)) for r in rows}) < 2
    ):
        return ""
    found.sort(key=lambda pair: -mean_objective(pair[1]))
    names = ("objective", "fitness_best", "accuracy_before", "accuracy_after")
    heads = ["settings", "runs", *(RESULTS[n][1] if n in RESULTS else n for n in names)]
    lines = [
        [
            _settings(group[0]) or "base",
            f"{len(ended)}/{len(group)}",
            *(mean_text(mean_of(ended, n)) for n in names),
        ]
        for group, ended in found
    ]
    note = (
        "Means over seeds, from 4 seeds on with Student's 95 % interval. The seeds share "
        "their examples, so the interval says how much the search varies, "
        "not how much another sample of examples would."
    )
    return section("Over seeds", to_html(new_table(heads, lines)), note)


def _figures(state: SweepState, ended: Sequence[SweepRow]) -> Iterator[str]:
    """Yield the sections of the factors that were varied, where there is something to compare."""
    if len(ended) < 2:
        return
    from evoprompt.jobs.sweep.figures import (
        effect_figure,
        interaction_figures,
        is_continuous,
        parallel_figure,
    )

    objective = ("objective", state.objective)
    axes = [a for a in state.axes if len({json.dumps(r.settings[a]) for r in ended}) > 1]
    measures = [objective]
    if not state.objective.startswith("test.champion"):
        measures.append(("accuracy_after", "accuracy after, test examples"))
    effects = "".join(effect_figure(ended, axis, measures) for axis in axes if axis != REPLICATES)
    if effects:
        yield section("Effect of each factor", effects, EFFECT_NOTE)
    levels = [a for a in axes if a != REPLICATES and not is_continuous(ended, a)]
    if state.method == "grid":
        maps = "".join(interaction_figures(ended, levels, objective)[:MOST_PAIRS])
        note = "Means over the runs of each cell."
        yield section("Pairs of factors", f'<div class="row">{maps}</div>', note) if maps else ""
    if len(axes) > 1:
        note = "A line for each run; the best settings in colour."
        yield section("All runs", parallel_figure(thinned(ended, POINTS), axes, objective), note)


def _page_link(row: SweepRow, folder: Path) -> Cell:
    name = row.folder
    exists = (folder / name / "report.html").exists()
    return Cell(name, link=f"{name}/report.html" if exists else "")


def _settings(row: SweepRow) -> str:
    return ", ".join(
        f"{key} {_short(value)}" for key, value in row.settings.items() if key != REPLICATES
    )


def _short(value: Any) -> str:
    return (
        value
        if isinstance(value, str)
        else f"{value:g}"
        if isinstance(value, float)
        else json.dumps(value)
    )


def _muted(text: str) -> str:
    return f'<p class="muted">{escape(text)}</p>'
