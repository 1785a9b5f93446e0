"""Lines of a run's files -> charts to point at and zoom in, a page each; see
`report.interactive`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.account import GenerationAccount
from evoprompt.jobs.evolve.ancestry import Step, ancestry, operator_effects
from evoprompt.jobs.evolve.figures import price_parts
from evoprompt.policy import Policy
from evoprompt.records import SURVIVE
from evoprompt.report.interactive import Chart, axes, bar, interactive_page, line
from evoprompt.report.plots import BLUE, ORANGE
from evoprompt.report.text import Line, thinned
from evoprompt.report.word_diff import diff_hover, diff_html
from evoprompt.tasks.render import render_prompt

#: What the parts of a change are called here, as in MLflow's charts.
NAMES = {
    "selection in reproduction": "covariance of parents",
    "selection in survival": "covariance of survival",
    "selection in the race": "covariance of the race",
}
#: Policies on the map, births of an operator, and steps of a descent that are shown at most.
PLACES, BIRTHS, STEPS = 300, 400, 60
#: Characters of a prompt that a label shows, and those of a change.
SHOWN, CHANGE = 400, 90


def run_pages(
    generations: Sequence[GenerationAccount], lineage: Sequence[Line], champion: str
) -> dict[str, Callable[[], str]]:
    """Return what makes the pages of a run, by file name.

    Args:
        generations: all of the run.
        lineage: all births.
        champion: id of the policy that the run ended with.
    """
    return {
        "price.html": partial(price_page, generations),
        "descent.html": partial(descent_page, lineage, champion),
        "operators.html": partial(operators_page, lineage),
        "pareto.html": partial(pareto_page, lineage),
        "map.html": partial(map_page, lineage, champion),
    }


def population_columns(lineage: Sequence[Line]) -> dict[str, list[Any]]:
    """Return the population of every generation as columns of a table, a row for each birth, the
    selected and fittest first.
    """
    rows = sorted(lineage, key=lambda b: (b["generation"], not b["selected"], -b["fitness"]))
    return {
        "generation": [b["generation"] for b in rows],
        "selected": [b["selected"] for b in rows],
        "fitness": [b["fitness"] for b in rows],
        "accuracy": [b["traits"].get("accuracy") for b in rows],
        "examples": [b.get("examples") for b in rows],
        "operator": [b["operator"] for b in rows],
        "prompt": [_prompt(b) for b in rows],
        "label_words": [_label_words(b) for b in rows],
        "birth": [b["birth_id"] for b in rows],
        "parents": [" ".join(b["parent_ids"]) for b in rows],
        "policy": [b["policy_id"] for b in rows],
    }


def price_page(generations: Sequence[GenerationAccount]) -> str:
    """Return the parts of the change of mean fitness by generation, stacked, with their sum."""
    rows = [g for g in generations if "fitness" in g.price]
    accounts, x = [g.price["fitness"] for g in rows], [g.generation for g in rows]
    parts = price_parts(accounts).items()
    traces = [bar(NAMES.get(name, name), x, y, color) for name, (color, y) in parts]
    total = line("change (their sum)", x, [a.change for a in accounts], "black")
    errors = [(a.standard_error or {}).get("change") for a in accounts]
    if all(error is not None for error in errors):
        total["error_y"] = {"type": "data", "array": [1.96 * (error or 0.0) for error in errors]}
    layout = axes("generation", "change of mean fitness (nats)", barmode="relative")
    note = (
        "Price's equation: the parts add up to the change of the mean. Covariances are of success "
        "with fitness; the bars at the sum are 95 % intervals over examples."
    )
    return interactive_page("Why the mean fitness changed", note, _chart([*traces, total], layout))


def descent_page(lineage: Sequence[Line], champion: str) -> str:
    """Return the fitness of the champion's forebears, founder first, with what changed in each word
    by word.
    """
    whole = [s for s in ancestry(lineage, champion) if s.operator != SURVIVE]
    steps = thinned(whole, STEPS)
    prompts = [_prompt(step.birth) for step in steps]
    befores = ["", *prompts[:-1]]
    changes = [
        diff_hover(before, after, CHANGE) if before else escape(after[:SHOWN])
        for before, after in zip(befores, prompts, strict=True)
    ]
    trace = line("fitness", list(range(len(steps))), [s.fitness for s in steps], BLUE)
    trace["customdata"] = [
        [s.generation, _words(s.operator), change, _gained(s), escape(s.change)]
        for s, change in zip(steps, changes, strict=True)
    ]
    trace["hovertemplate"] = (
        "generation %{customdata[0]}, %{customdata[1]}<br>fitness %{customdata[3]}<br>"
        "%{customdata[4]}<br>%{customdata[2]}<extra></extra>"
    )
    layout = axes("step of descent", "fitness (nats)")
    layout["xaxis"]["dtick"] = max(1, len(steps) // 12)
    below = "".join(
        f"<h2>{n}. {escape(_words(s.operator))}, generation {s.generation}: {_gained(s)}</h2>"
        f'<p class="muted">{escape(s.change)}</p>'
        f"<pre>{diff_html(before, after) if before else escape(after)}</pre>"
        for n, (s, before, after) in enumerate(zip(steps, befores, prompts, strict=True))
    )
    note = (
        "Each birth on the way to the champion; of two parents the fitter is followed. Fitness is "
        "on the examples that a birth was measured on, the gain over its parents on the same ones."
    )
    if len(steps) < len(whole):
        note += f" Shown are {len(steps)} of {len(whole)}, evenly spread."
    return interactive_page("How the champion came about", note, _chart([trace], layout), below)


def operators_page(lineage: Sequence[Line]) -> str:
    """Return each operator's births by what they gained over their parents, the best median
    first.
    """
    effects = operator_effects(lineage)
    ranked = sorted(effects.items(), key=lambda each: -float(np.median(each[1])))
    traces = []
    for name, gains in ranked:
        better = sum(gain > 0 for gain in gains)
        traces.append(
            {
                "type": "box",
                "name": f"{_words(name)}<br>{better} of {len(gains)} gained",
                "x": list(thinned(gains, BIRTHS)),
                "boxpoints": "all",
                "orientation": "h",
                "jitter": 0.4,
                "pointpos": 0,
                "marker": {"size": 4, "opacity": 0.5},
                "boxmean": True,
                "hovertemplate": "gain %{x:.4f}<extra></extra>",
            }
        )
    layout = axes("fitness less that of its parents (nats)", "", showlegend=False)
    layout["yaxis"] |= {"autorange": "reversed", "automargin": True}
    layout["height"] = 140 + 55 * max(1, len(ranked))
    note = (
        "A birth's fitness less the mean of its parents by their shares, on the examples that all "
        "met; also of births that died. The dashed line is the mean."
    )
    return interactive_page("What each operator is worth", note, _chart(traces, layout))


def pareto_page(lineage: Sequence[Line]) -> str:
    """Return fitness against prompt length of all policies, with the front of those that met the
    most examples.
    """
    policies = _policies(lineage)
    most = max(birth.get("examples") or 0 for birth in policies)
    last = [b for b in policies if (b.get("examples") or 0) == most]
    front = pareto_front([(b["traits"]["prompt_tokens"], b["fitness"]) for b in last])
    points = _points(
        "policies",
        [b["traits"]["prompt_tokens"] for b in policies],
        [b["fitness"] for b in policies],
        policies,
        {"size": 7, "color": [b.get("examples") or 0 for b in policies], "colorscale": "Viridis",
         "showscale": True, "colorbar": {"title": {"text": "examples"}}, "opacity": 0.75},
    )  # fmt: skip
    best = [last[place] for place in front]
    edge = line(
        "front",
        [b["traits"]["prompt_tokens"] for b in best],
        [b["fitness"] for b in best],
        ORANGE,
    )
    edge["line"] = {"color": ORANGE, "shape": "hv"}
    note = (
        f"No policy that met {most} examples is both shorter and fitter than one on the front. "
        "Fitness on fewer examples is less certain."
    )
    layout = axes("tokens of the prompt", "fitness (nats)")
    return interactive_page("Fitness and length", note, _chart([points, edge], layout))


def map_page(lineage: Sequence[Line], champion: str) -> str:
    """Return a map of the policies: the nearer, the more words their prompts share."""
    kept = list(thinned(_policies(lineage), PLACES))
    descent = [s.birth for s in ancestry(lineage, champion) if s.operator != SURVIVE]
    known = {b["policy_id"] for b in kept}
    kept += [b for b in descent if b["policy_id"] not in known]
    places = embedded([frozenset(_prompt(b).split()) for b in kept])
    at = {b["policy_id"]: place for b, place in zip(kept, places.tolist(), strict=True)}
    points = _points(
        "policies",
        places[:, 0].tolist(),
        places[:, 1].tolist(),
        kept,
        {"size": 9, "color": [b["fitness"] for b in kept], "colorscale": "Viridis",
         "showscale": True, "colorbar": {"title": {"text": "fitness"}}},
    )  # fmt: skip
    way = [at[b["policy_id"]] for b in descent]
    path = line("descent of the champion", [x for x, _ in way], [y for _, y in way], ORANGE)
    end = line("champion", [way[-1][0]], [way[-1][1]], ORANGE)
    end |= {"mode": "markers", "marker": {"symbol": "star", "size": 18, "color": ORANGE}}
    layout = axes("", "", hovermode="closest")
    for side in ("xaxis", "yaxis"):
        layout[side] |= {"showticklabels": False, "zeroline": False}
    note = (
        "Policies whose prompts share many words are near each other (classical scaling of the "
        "Jaccard distance of their sets of words; the axes have no meaning of their own)."
    )
    return interactive_page("Where the search went", note, _chart([path, points, end], layout))


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the points that none is better than: of less length and at least the
    fitness, or of more fitness and at most the length; by length, ascending. Of equal ones the
    first.

    Args:
        points: length and fitness of each.
    """
    front: list[int] = []
    for place in sorted(range(len(points)), key=lambda p: (points[p][0], -points[p][1])):
        if not front or points[place][1] > points[front[-1]][1]:
            front.append(place)
    return front


def embedded(words: Sequence[frozenset[str]]) -> Floats:
    """Return places in the plane whose distances are near the Jaccard distances of sets of words,
    shape (set, 2).

    Source: Torgerson 1952.
    """
    index = {word: place for place, word in enumerate(sorted(frozenset().union(*words)))}
    has = np.zeros((len(words), max(1, len(index))))
    for row, found in enumerate(words):
        has[row, [index[word] for word in found]] = 1.0
    both = has @ has.T
    size = has.sum(axis=1)
    either = size[:, None] + size[None, :] - both
    distance = np.where(either > 0, 1.0 - both / np.maximum(either, 1.0), 0.0)
    inner = -0.5 * distance**2
    inner -= inner.mean(axis=0)
    inner -= inner.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(inner)
    places = vectors[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0.0))
    if places.shape[1] < 2:
        places = np.column_stack([places, np.zeros(len(words))])
    return np.asarray(places, dtype=np.float64)


def _points(
    name: str, x: list[float], y: list[float], births: Sequence[Line], marker: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a point for each birth, whose label shows its prompt."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": x,
        "y": y,
        "marker": dict(marker),
        "customdata": [
            [
                b["generation"],
                _words(b["operator"]),
                b["fitness"],
                b.get("examples", ""),
                escape(_prompt(b)[:SHOWN]).replace("\n", "<br>"),
            ]
            for b in births
        ],
        "hovertemplate": "generation %{customdata[0]}, %{customdata[1]}<br>fitness "
        "%{customdata[2]:.4f} on %{customdata[3]} examples<br><br>%{customdata[4]}<extra></extra>",
    }


def _policies(lineage: Sequence[Line]) -> list[Line]:
    """Return each policy's birth with the most examples, in the order of first births."""
    best: dict[str, Line] = {}
    for birth in lineage:
        known = best.get(birth["policy_id"])
        if known is None or (birth.get("examples") or 0) > (known.get("examples") or 0):
            best[birth["policy_id"]] = birth
    return list(best.values())


def _chart(traces: list[dict[str, Any]], layout: Mapping[str, Any]) -> Chart:
    return {"data": traces, "layout": layout}


def _prompt(birth: Line) -> str:
    return str(render_prompt(Policy.from_dict(birth["policy"])))


def _label_words(birth: Line) -> str:
    words = birth["policy"].get("label_words", {})
    return ", ".join(f"{label}: {word}" for label, word in dict(words).items())


def _gained(step: Step) -> str:
    """Return a birth's fitness, on how many examples, and its gain, in words."""
    on = f" on {step.birth['examples']} examples" if "examples" in step.birth else ""
    gain = "" if step.gain is None else f", {step.gain:+.4f} over its parents"
    return f"{step.fitness:.4f}{on}{gain}"


def _words(operator: str) -> str:
    return operator.replace("_", " ")
