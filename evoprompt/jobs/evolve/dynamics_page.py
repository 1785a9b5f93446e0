"""A run's history -> the sections of its page that explain how the population evolved."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from evoprompt.dynamics.account import half_widths
from evoprompt.dynamics.history import History
from evoprompt.jobs.evolve import dynamics_figures as figures
from evoprompt.jobs.evolve.figures import price_figure, trait_figure
from evoprompt.jobs.evolve.glossary import TERMS
from evoprompt.report.markup import FIXED, section
from evoprompt.report.table import Table, new_table, to_html
from evoprompt.report.text import POINTS, thinned, thinned_note

#: Traits whose terms are drawn, where the run has them; the tables have all.
DRAWN = ("fitness", "accuracy")
#: Columns of the table of traits, by the terms that each is the sum of.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "change": ("change",),
    "selection in reproduction": ("reproduction/selection",),
    "transmission": ("transmission",),
    "selection in the race": ("racing/selection",),
    "selection in survival": ("survival/selection",),
    "measuring again": ("batch_shift", "noise_giveback", "racing/shift"),
    "immigration": ("immigration",),
}
#: Those that stand only where there is something in them.
RARE = ("selection in the race", "measuring again", "immigration")
#: Nodes of the genealogical tree that are drawn, at most.
MAX_NODES = 150
#: The most that a heritability can be and be told.
MOST_HERITABILITY = 1.5


def dynamics_sections(history: History, summary: Mapping[str, Any]) -> list[str]:
    """Return the sections of a history and its summary; one of founders alone has none."""
    steps = [line for line in history.lines if line.price]
    if not steps:
        return []
    drawn = [trait for trait in DRAWN if trait in steps[-1].price]
    shown, lines = thinned(steps, POINTS), thinned(history.lines, POINTS)
    note = thinned_note(history.num_generations - 1, POINTS, "generations")
    has_errors = any("standard_error" in summary["price"][trait] for trait in drawn)
    exact = (
        "Every bar is a term of Price's equation; together they are the change, exactly. "
        "Transmission is over all births, survivors or not."
    )
    return [
        section(
            "Why the population changed",
            "".join(price_figure(shown, trait) for trait in drawn),
            f"{exact} {note}".strip(),
        ),
        section(
            "The whole run",
            "".join(figures.totals_figure(summary["price"][t], t) for t in drawn),
            "Bars: 95 % intervals over the examples." if has_errors else "",
        ),
        section(
            "Every trait",
            to_html(_traits(summary), TERMS),
            "Sums over all generations, in the trait's own unit. Heritability is response over "
            "selection; it is not known where selection was too weak for that.",
        ),
        _drift(history, summary),
        section(
            "What each operator did to fitness",
            to_html(_operators(summary), TERMS),
            "Over all births, survivors or not, on the examples that all were measured on. Slope: "
            "of the child's fitness on its parents'; bias: where the operator moves fitness, "
            "whoever was selected. Intervals are 95 %.",
        ),
        _acts(summary),
        section("Traits of the selected", trait_figure(lines), note),
        _descent(history, summary),
    ]


def _traits(summary: Mapping[str, Any]) -> Table:
    totals = summary["price"]
    known = {name for total in totals.values() for name, value in total.items() if value}
    columns = {c: own for c, own in COLUMNS.items() if c not in RARE or known & set(own)}
    rows = []
    for name, total in totals.items():
        halves = half_widths(total)
        values = [_sum(total, own) for own in columns.values()]
        alone = [own[0] if len(own) == 1 else "" for own in columns.values()]
        rows.append(
            [
                _words(name),
                *(_with_half(v, halves.get(n)) for v, n in zip(values, alone, strict=True)),
                _heritability(summary["heritability"].get(name)),
            ]
        )
    return new_table(["trait", *columns, "heritability"], rows)


def _heritability(value: Any) -> str:
    """Return it where it can be one: a ratio far outside of what is inherited is one of two numbers
    that are about as small as their errors.
    """
    known = isinstance(value, (int, float)) and abs(value) <= MOST_HERITABILITY
    return _number(value) if known else "" if value is None else "not known"


def _sum(total: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    found = [total[name] for name in names if name in total]
    return sum(found) if found else None


def _drift(history: History, summary: Mapping[str, Any]) -> str:
    figure = figures.drift_figure(thinned(history.lines, POINTS))
    if figure is None:
        return ""
    note = (
        "Expected: what the scheme's probabilities give in the mean. What was realised "
        "differs by drift, whose band has a closed form."
    )
    test = summary["drift"]
    if test is not None and test["p_value"] is not None:
        note += (
            " Test of the scheme over the run: sum of drift squared over variance "
            f"{test['statistic']:.1f} on {test['degrees']} degrees of freedom, "
            f"p = {test['p_value']:.2g}."
        )
    elif test is None:
        stages = [line.price["fitness"].reproduction for line in history.lines if line.price]
        known = any(stage.drift_variance is not None for stage in stages)
        note += (
            " Here the scheme left nothing to chance."
            if known
            else " How the slots were filled is not known, so that it is not drawn here."
        )
    return section("Expected selection and drift", figure, note)


def _operators(summary: Mapping[str, Any]) -> Table:
    rows = []
    for name, found in sorted(
        summary["operators"].items(), key=lambda item: -item[1]["mean_effect"]
    ):
        slope, low_high = found["slopes"].get("fitness", {}), found["share_better_ci"]
        rows.append(
            [
                _words(name),
                str(found["num_children"]),
                _with_half(found["mean_effect"], _normal_half(found["standard_error"])),
                f"{found['share_better']:.2f} [{low_high[0]:.2f}, {low_high[1]:.2f}]",
                f"{slope['slope']:.2f} [{slope['ci'][0]:.2f}, {slope['ci'][1]:.2f}]"
                if slope.get("ci")
                else _number(slope.get("slope")),
                _number(found["bias"].get("fitness"), signed=True),
            ]
        )
    return new_table(
        ["operator", "births", "mean effect", "better than the best parent", "slope", "bias"], rows
    )


def _acts(summary: Mapping[str, Any]) -> str:
    parts = []
    gradients, reward = summary.get("gradients", {}), summary.get("reward", {})
    if "gradient" in gradients:
        label = "selection gradient (relative success per sd)"
        parts.append(
            figures.weights_figure(gradients["gradient"], gradients["standard_error"], label)
            + _warning(gradients)
        )
    if "weight" in reward:
        label = f"fitness per sd (traits explain {reward['r_squared']:.0%})"
        parts.append(figures.weights_figure(reward["weight"], None, label) + _warning(reward))
    note = (
        "All generations together, each individual from the mean of its own generation; every "
        "trait while the others stand still."
    )
    return (
        section("What selection acts on, and what makes fitness", "".join(parts), note)
        if parts
        else ""
    )


def _descent(history: History, summary: Mapping[str, Any]) -> str:
    found = summary["coalescence"]
    ancestor = found["common_ancestor"]
    text = (
        ancestor["undefined"]
        if isinstance(ancestor, Mapping)
        else f"their last common ancestor is {ancestor[1]} of generation {ancestor[0]}"
    )
    size = (
        f"; the effective population size is {history.effective_size:.1f} in the mean"
        if history.effective_size
        else ""
    )
    tree = history.genealogy.tree(MAX_NODES)
    note = (
        f"The last selected births: {text}{size}. Each line is a policy's life; the fittest "
        f"one's line is strong."
    )
    note += f" {tree.num_hidden} further ancestors are not drawn." if tree.num_hidden else ""
    return section("Diversity", figures.diversity_figure(thinned(history.lines, POINTS))) + section(
        "Descent", figures.tree_figure(tree), note
    )


def _warning(found: Mapping[str, Any]) -> str:
    if not found.get("warning"):
        return ""
    return f'<p class="muted">Take it with care: {escape(_words(found["warning"]))}.</p>'


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(value: Any, *, signed: bool = False) -> str:
    if isinstance(value, (int, float)):
        return format(value, "+.3g" if signed else ".3g")
    return "undefined" if isinstance(value, Mapping) else ""


def _with_half(value: float | None, half: float | None) -> str:
    if value is None:
        return ""
    if not value and not half:
        return "0"
    return f"{value:+.3g}" + (f"{FIXED}±{FIXED}{half:.2g}" if half is not None else "")


def _normal_half(error: float | None) -> float | None:
    return None if error is None else 1.96 * error
