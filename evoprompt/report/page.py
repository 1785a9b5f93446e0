"""A run folder -> `report.html`: one file that needs nothing else, no network and no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from evoprompt.records import SURVIVE
from evoprompt.report.tables import ancestry, interval, operator_effects
from evoprompt.runtime.checkpoint import GENERATIONS, LINEAGE, SUMMARY, RunFolder

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1a1a1a;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem} h2{font-size:1.15rem;margin:2.2rem 0 .4rem} .muted{color:#666}
pre{background:#f5f6f8;padding:.8rem 1rem;white-space:pre-wrap;border-radius:6px;font-size:13px}
table{border-collapse:collapse} td,th{text-align:left;padding:.25rem .9rem .25rem 0;border-bottom:1px solid #e3e5e8;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums} .row{display:flex;flex-wrap:wrap;gap:.5rem} svg{max-width:100%;height:auto}
.big{font-size:1.25rem;font-weight:600}
"""


def write_page(folder: RunFolder, summary: Mapping[str, Any] | None = None) -> Path:
    """Write the report of a run, finished or not, and return its path.

    Args:
        folder: of the run; at least one generation must have been committed.
        summary: what `summary.json` will have, where it is not written yet.
    """
    from evoprompt.report import figures

    summary = summary if summary is not None else folder.read(SUMMARY)
    generations, lineage = folder.lines(GENERATIONS), folder.lines(LINEAGE)
    kind = summary["fitness"]["kind"] if summary else folder.config().fitness.kind
    price_traits = list(generations[-1]["price"])
    sections = [
        _head(folder, summary, generations),
        _outcome(summary) if summary else "<p>This run has not ended; what follows is what it has committed.</p>",
        _section("Fitness", figures.fitness_figure(generations, lineage, kind)),
    ]
    if price_traits:
        note = "Every bar is a term of Price's equation; together they are the change, exactly. Transmission is over all births, survivors or not."
        sections.append(
            _section(
                "Why the population changed",
                "".join(figures.price_figure(generations, t) for t in ("fitness", "accuracy") if t in price_traits),
                note,
            )
        )
        effects = operator_effects(lineage)
        if effects:
            sections.append(
                _section(
                    "What each operator did to fitness", figures.operator_figure(effects), "Number of births in brackets; bars are 95 % intervals."
                )
            )
        sections.append(_section("Traits of the selected", figures.trait_figure(generations)))
    if summary:
        sections.append(_section("How the champion came about", _ancestry_table(ancestry(lineage, summary["champion"]["policy_id"]))))
        sections.append(_section("Champion", _pre(summary["champion"]["prompt"])))
        sections.append(_section("Best starting prompt", _pre(summary["baseline"]["prompt"])))
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>evoprompt: {escape(folder.path.name)}</title><style>{STYLE}</style>'
    path = folder.path / "report.html"
    path.write_text(page + "".join(sections) + "</html>\n", encoding="utf-8")
    return path


def _head(folder: RunFolder, summary: Mapping[str, Any] | None, generations: Sequence[Mapping[str, Any]]) -> str:
    config = folder.config()
    last = generations[-1]
    where = f"{config.model.name} on task {summary['task'] if summary else config.task.name or config.task.path}"
    scored = (
        f"generation {last['generation']}, {last['tokens']['total']:,} tokens forwarded so far"
        if not summary
        else (f"{summary['generations']} generations, {summary['policies_scored']} policies scored, {summary['tokens']['total']:,} tokens forwarded")
    )
    return f'<h1>{escape(folder.path.name)}</h1><p class="muted">{escape(where)}, seed {config.seed}; {scored}.</p>'


def _outcome(summary: Mapping[str, Any]) -> str:
    test = summary["test"]
    rows = [
        ("best starting prompt", interval(test["baseline"])),
        ("champion", interval(test["champion"])),
        ("difference (paired)", interval(test["difference"], signed=True)),
    ]
    body = "".join(f'<tr><td>{label}</td><td class="n big">{value}</td><td class="n muted">{bounds}</td></tr>' for label, (value, bounds) in rows)
    head = '<tr><th></th><th class="n">accuracy</th><th class="n">interval</th></tr>'
    note = f"On {test['num_examples']} test examples that the search never saw. Price's parts add up within {summary['price_residual_max']:.1g}."
    return _section("Held-out check", f"<table>{head}{body}</table>", note)


def _ancestry_table(steps: Sequence[Mapping[str, Any]]) -> str:
    head = '<tr><th class="n">generation</th><th>operator</th><th class="n">fitness</th><th class="n">gain</th><th class="n">demonstrations</th></tr>'
    body = "".join(
        f'<tr><td class="n">{s["generation"]}</td><td>{escape(s["operator"].replace("_", " "))}</td><td class="n">{s["fitness"]:.4f}</td>'
        f'<td class="n">{"" if s["gain"] is None else format(s["gain"], "+.4f")}</td><td class="n">{s["num_demonstrations"]}</td></tr>'
        for s in steps
        if s["operator"] != SURVIVE
    )
    return f"<table>{head}{body}</table>"


def _section(title: str, body: str, note: str = "") -> str:
    return f"<h2>{escape(title)}</h2>" + (f'<p class="muted">{escape(note)}</p>' if note else "") + body


def _pre(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"
