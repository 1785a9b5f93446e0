"""A sweep's folder -> `sweep.csv`, `sweep.html` and the table in Markdown. No model, no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from evoprompt.jobs.base import SWEEP
from evoprompt.jobs.sweep.tables import (
    REPLICATES,
    RESULTS,
    Row,
    best_group,
    column,
    csv_text,
    done,
    groups,
    mean_interval,
    mean_of,
)
from evoprompt.report.markup import page, section

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
#: Pairs of factors that are drawn at most.
MOST_PAIRS = 6


def write_results(folder: Path) -> tuple[Path, Path]:
    """Write the table and the page of a sweep, finished or not; return their paths."""
    state = json.loads((folder / SWEEP).read_text(encoding="utf-8"))
    table, file = folder / TABLE, folder / PAGE
    table.write_text(csv_text(state["runs"], state["axes"]), encoding="utf-8")
    file.write_text(page_text(state, folder), encoding="utf-8")
    return table, file


def page_text(state: Mapping[str, Any], folder: Path) -> str:
    """Return the page; a run is linked where its report is."""
    rows, axes, objective = state["runs"], state["axes"], state["objective"]
    ended = done(rows)
    head = f"<h1>{escape(state['name'])}</h1>" + _muted(
        f"A {state['method']} sweep over {', '.join(axes)}: {len(ended)} of {len(rows)} runs done, "
        f"{sum(row['status'] == 'failed' for row in rows)} failed. Best by {objective}, averaged "
        f"over seeds."
    )
    sections = [head, _best(rows, objective), _replicates(rows), *_figures(state, ended)]
    sections.append(section("Runs", _runs_table(rows, axes, folder)))
    failures = "".join(
        f"<li>{escape(row['folder'])}: {escape(row['reason'])}</li>"
        for row in rows
        if row["status"] == "failed"
    )
    sections.append(section("Failed", f"<ul>{failures}</ul>") if failures else "")
    return page(state["name"], sections)


def cells(row: Row, axes: Sequence[str]) -> list[str]:
    """Return a run's settings and results as text, in the order of `axes` and `COLUMNS`; what is
    absent is empty.
    """
    result = row["result"] or {}
    texts = [
        format(value, form) if (value := result.get(name)) is not None else ""
        for name, _, form in COLUMNS
    ]
    return [*(_short(row["settings"].get(axis)) for axis in axes), *texts]


def markdown(state: Mapping[str, Any]) -> str:
    """Return the best settings and the table in Markdown."""
    rows, axes = state["runs"], state["axes"]
    heads = [
        "run",
        "status",
        *(axis.split(".")[-1] for axis in axes),
        *(head for _, head, _ in COLUMNS),
    ]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += [
        "| " + " | ".join([row["folder"], row["status"], *cells(row, axes)]) + " |" for row in rows
    ]
    best = best_group(rows)
    top = (
        f"Best by {state['objective']}: {_settings(best[0])}, mean {mean_of(best, 'objective')}\n\n"
        if best
        else ""
    )
    return top + "\n".join(lines) + "\n"


def _best(rows: Sequence[Row], objective: str) -> str:
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
    body = "".join(
        f'<tr><td>{escape(words)}</td><td class="n big">{mean}</td></tr>'
        for words, mean in lines
        if mean
    )
    settings = (
        f"<p>{escape(_settings(best[0]))} ({len(best)} run{'s' if len(best) > 1 else ''}; "
        f"as a config: best.yaml)</p>"
    )
    return section("Best settings", settings + f"<table>{body}</table>", note)


def _replicates(rows: Sequence[Row]) -> str:
    """Return the table of settings over their seeds."""
    found = [(group, ended) for group in groups(rows) if (ended := done(group))]
    if (
        not any(len(ended) > 1 for _, ended in found)
        or len({json.dumps(r["settings"].get(REPLICATES)) for r in rows}) < 2
    ):
        return ""
    found.sort(key=lambda pair: -mean_interval(column(pair[1], "objective")).value)
    names = ("objective", "fitness_best", "accuracy_before", "accuracy_after")
    head = "".join(f'<th class="n">{RESULTS[n][1] if n in RESULTS else n}</th>' for n in names)
    body = "".join(
        f"<tr><td>{escape(_settings(group[0])) or 'base'}</td><td "
        f'class="n">{len(ended)}/{len(group)}</td>'
        + "".join(f'<td class="n">{mean_of(ended, n) or ""}</td>' for n in names)
        + "</tr>"
        for group, ended in found
    )
    note = (
        "Means over seeds with Student's 95 % interval. The seeds share their examples, so the "
        "interval says how much the search varies, "
        "not how much another sample of examples would."
    )
    return section(
        "Over seeds",
        f'<table><tr><th>settings</th><th class="n">runs</th>{head}</tr>{body}</table>',
        note,
    )


def _figures(state: Mapping[str, Any], ended: Sequence[Row]) -> list[str]:
    if len(ended) < 2:
        return []
    from evoprompt.jobs.sweep.figures import (
        effect_figure,
        interaction_figures,
        is_continuous,
        parallel_figure,
    )

    objective, axes = (
        ("objective", state["objective"]),
        [a for a in state["axes"] if len({json.dumps(r["settings"][a]) for r in ended}) > 1],
    )
    measures = [objective] + (
        [("accuracy_after", "accuracy after, test examples")]
        if not state["objective"].startswith("test.champion")
        else []
    )
    effects = "".join(effect_figure(ended, axis, measures) for axis in axes)
    note = (
        "A grey point for each run; in blue the mean at each level with Student's 95 % "
        "interval over its runs, whatever their other settings."
    )
    sections = [section("Effect of each factor", effects, note)] if effects else []
    levels = [a for a in axes if a != REPLICATES and not is_continuous(ended, a)]
    maps = (
        interaction_figures(ended, levels, objective)[:MOST_PAIRS]
        if state["method"] == "grid"
        else []
    )
    if maps:
        sections.append(
            section(
                "Pairs of factors",
                f'<div class="row">{"".join(maps)}</div>',
                "Means over the runs of each cell.",
            )
        )
    if len(axes) > 1:
        sections.append(
            section(
                "All runs",
                parallel_figure(ended, axes, objective),
                "A line for each run; the best settings in colour.",
            )
        )
    return sections


def _runs_table(rows: Sequence[Row], axes: Sequence[str], folder: Path) -> str:
    heads = [*(axis.split(".")[-1] for axis in axes), *(head for _, head, _ in COLUMNS)]
    head = (
        "<tr><th>run</th><th>status</th>"
        + "".join(f'<th class="n">{escape(h)}</th>' for h in heads)
        + "</tr>"
    )
    body = ""
    for row in rows:
        name, page = escape(row["folder"]), folder / row["folder"] / "report.html"
        link = f'<a href="{name}/report.html">{name}</a>' if page.exists() else name
        texts = "".join(f'<td class="n">{escape(text)}</td>' for text in cells(row, axes))
        body += f"<tr><td>{link}</td><td>{row['status']}</td>{texts}</tr>"
    return f"<table>{head}{body}</table>"


def _settings(row: Row) -> str:
    return ", ".join(
        f"{key} {_short(value)}" for key, value in row["settings"].items() if key != REPLICATES
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
