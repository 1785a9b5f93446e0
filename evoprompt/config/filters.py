"""What is taken out of a written answer before it is graded: `filters` of a metric."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from evoprompt.config.values import NUMBER, Section


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(
            f"{text!r} is no regular expression: {error}; a backslash stands before a sign that is "
            "meant as itself"
        ) from None
    return text


#: A regular expression.
Expression = Annotated[str, AfterValidator(_expression)]


class FilterConfig(Section):
    """A filter of the LM Evaluation Harness, in its words."""

    #: regex takes a match, remove_whitespace the outer white space away, map gives other words
    function: Literal["regex", "remove_whitespace", "lowercase", "uppercase", "map"]
    regex_pattern: Expression = r"#### (\-?[0-9\.\,]+)"  #: of `regex`
    #: of `regex`: which of the matches, -1 is the last
    group_select: Annotated[int, NUMBER, Field(ge=-1000, le=1000)] = 0
    fallback: str = "[invalid]"  #: of `regex`: what the answer is where nothing matches
    mapping_dict: dict[str, str] = {}  #: of `map`: answers, each with what it becomes
    default_value: str = ""  #: of `map`: what all other answers become
