"""The filters and the metric of a task of the harness -> the metric of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from evoprompt.config.filters import FilterConfig
from evoprompt.config.metric import Ignored, MetricConfig
from evoprompt.tasks.harness.files import refuse, settings_of

#: What the harness writes at most where a task does not say.
MAX_TOKENS = 256
#: Filters that do nothing to a single answer.
IDLE = ("take_first",)
#: Keys of a metric that are of how it is told.
TOLD = ("metric", "aggregation", "higher_is_better", "hf_evaluate")


def own_metric(name: str) -> MetricConfig:
    """Return how a task grades what a model writes: its first list of filters, then exact_match.

    Raises:
        UserError: as `settings_of`; its answers are not written, or it has a filter or a metric
            that is not known here.
    """
    settings = settings_of(name)
    if settings.get("output_type", "generate_until") != "generate_until":
        refuse(name, "its answers are not written, and a metric is of written ones")
    drawn = settings.get("generation_kwargs") or {}
    until = drawn.get("until") or [settings.get("fewshot_delimiter", "\n\n")]
    return MetricConfig(
        name="exact_match",
        filters=_filters(settings, name),
        max_tokens=int(drawn.get("max_gen_toks", MAX_TOKENS)),
        stops=[text for text in ([until] if isinstance(until, str) else until) if text],
        **_options(settings, name),
    )


def _filters(settings: Mapping[str, Any], name: str) -> list[FilterConfig]:
    lists = settings.get("filter_list") or [{"filter": []}]
    known, found = get_args(FilterConfig.model_fields["function"].annotation), []
    for each in lists[0]["filter"]:
        if each["function"] not in (*known, *IDLE):
            refuse(name, f"its filter {each['function']} is not known here")
        if each["function"] not in IDLE:
            found.append(FilterConfig.model_validate(each))
    return found


def _options(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    metrics = settings.get("metric_list") or [{"metric": "exact_match"}]
    exact = next((m for m in metrics if m["metric"] == "exact_match"), None)
    if exact is None:
        told = ", ".join(str(m["metric"]) for m in metrics)
        refuse(name, f"it grades answers by {told}; exact_match is taken")
    ignored = [what for what in get_args(Ignored) if exact.get(f"ignore_{what}")]
    known = {*TOLD, "regexes_to_ignore", *(f"ignore_{what}" for what in get_args(Ignored))}
    if more := sorted(exact.keys() - known):
        refuse(name, f"its exact_match has {', '.join(more)}, which is not known here")
    return {"ignore": ignored, "regexes_to_ignore": exact.get("regexes_to_ignore") or []}
