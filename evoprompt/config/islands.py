"""The section of a configuration that has populations apart."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evoprompt.config.values import NUMBER, Few, Positive, Section


class IslandsConfig(Section):
    """Populations apart, and who goes from one to the next (`evolution.islands`). Not shown to pay
    at 20,000 tokens, where a search has three generations at most.
    """

    #: islands, each with a population and children of its own; founders are dealt out to them
    count: Annotated[int, NUMBER, Field(ge=1, le=100)] = 1
    every: Positive = 4  #: generations from one migration to the next
    migrants: Few = 1  #: the best of each island, that are born on the next one too
