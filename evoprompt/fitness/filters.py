"""A written answer -> what is graded of it, by filters as the LM Evaluation Harness has them. Pure.

Source: `lm_eval.filters` (version 0.4.13).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from evoprompt.config.filters import FilterConfig


def filtered(text: str, filters: Sequence[FilterConfig]) -> str:
    """Return what is left of an answer after these filters, in order."""
    for each in filters:
        text = _one(text, each)
    return text


def _one(text: str, config: FilterConfig) -> str:
    if config.function == "regex":
        return _matched(text, config)
    if config.function == "remove_whitespace":
        return text.strip()
    if config.function == "map":
        return config.mapping_dict.get(text, config.default_value)
    return text.lower() if config.function == "lowercase" else text.upper()


def _matched(text: str, config: FilterConfig) -> str:
    """Return the match that is asked for, of several groups the first that is not empty."""
    matches = re.findall(config.regex_pattern, text)
    try:
        found = matches[config.group_select]
    except IndexError:
        return config.fallback
    groups = [found] if isinstance(found, str) else [group for group in found if group]
    return groups[0].strip() if groups else config.fallback.strip()
