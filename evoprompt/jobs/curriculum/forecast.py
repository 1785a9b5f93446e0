"""About how many tokens a curriculum takes, before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evoprompt.backends.base import TextTokenizer
from evoprompt.jobs.curriculum.config import CurriculumConfig
from evoprompt.jobs.curriculum.regions import Regions
from evoprompt.measurement.requests import requests_of
from evoprompt.measurement.units import Asked, logical_tokens
from evoprompt.policy import Policy
from evoprompt.records import Example
from evoprompt.tasks.render import render_queries

#: Examples of each region by which the length of prompts is judged.
SAMPLE = 16


@dataclass(frozen=True, slots=True)
class Forecast:
    """Tokens where nothing is shared, with prompts as long as the starting policies in the mean:
    those of children with more demonstrations are longer.
    """

    founding: int  #: the founders' round
    a_round: int  #: after it
    search: int  #: all rounds
    choice: int  #: of the champion, on the validation examples
    test: int

    def told(self, config: CurriculumConfig) -> str:
        """Return it in words."""
        players = "two populations" if config.has_antagonist else "one population"
        limit = ""
        if config.tokens:
            # one brood of founders beside the rounds
            num = (config.tokens - self.choice - self.founding) // self.a_round
            limit = f"; search and choice end by {config.tokens:,} tokens, " + (
                f"after about {min(num, config.rounds)} rounds of {config.rounds}"
                if num >= 0
                else "which do not suffice for the founders and the choice"
            )
        return (
            f"{players}, {config.rounds} rounds: about {self.a_round:,} tokens a round, "
            f"{self.search:,} in all, {self.choice:,} to choose the champion and {self.test:,} to "
            f"test it, where nothing is shared and prompts stay as long as those they begin with"
            f"{limit}"
        )


def forecast(config: CurriculumConfig, regions: Regions, tokenizer: TextTokenizer) -> Forecast:
    """Return what a curriculum takes about."""
    founders, given = regions.union.starting_policies, regions.given

    def mean(policies: Sequence[Policy], splits: Sequence[Sequence[Example]]) -> float:
        """Return the mean tokens of a policy on an example."""
        examples = [e for split in splits for e in split[:SAMPLE]]
        total = sum(_tokens(tokenizer, policy, examples) for policy in policies)
        return total / len(policies) / len(examples)

    def size(splits: Sequence[Sequence[Example]]) -> int:
        return sum(map(len, splits))

    drawn, tests = ([getattr(t, n) for t in regions.tasks] for n in ("fitness", "test"))
    validation = [task.validation for task in regions.tasks]
    players = 2 if config.has_antagonist else 1
    born = players * (config.population + config.children)
    each, per = config.examples // config.drawn * config.drawn, mean(founders, drawn)
    a_round = round(per * each * born)
    choosers = players * config.population + len(given)
    finalists = 2 + (min(config.population, len(regions.names)) if config.has_antagonist else 0)
    founding = round(per * each * len(founders))
    return Forecast(
        founding,
        a_round,
        a_round * config.rounds + founding,
        round(mean(founders, validation) * size(validation) * choosers),
        round(mean(given, tests) * size(tests) * finalists),
    )


def _tokens(tokenizer: TextTokenizer, policy: Policy, examples: Sequence[Example]) -> int:
    asked = requests_of(tokenizer, render_queries(policy, examples))
    return logical_tokens([Asked(query, request) for query, request in asked])
