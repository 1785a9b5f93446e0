"""Who writes and reads for operators, with a model: what they are asked, and nothing of how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from evoprompt.policy import Demonstration, Policy


class Author(Protocol):
    """Writes inputs of its own and labels them, with the model that the prompts are for. Its work
    is counted by whoever made it.
    """

    def write_input(self, policy: Policy, shown: Sequence[str], seed: int) -> str | None:
        """Return an input like those shown, drawn by the seed, or None where nothing whole was
        written.
        """

    def label(self, policy: Policy, text: str) -> str:
        """Return the policy's own answer to an input."""

    def gain(self, before: Policy, after: Policy, held_out: Sequence[Demonstration]) -> float:
        """Return by how much the mean log-likelihood of the right answers, given the choices if
        any, rises from one policy to the other, nats.
        """


class TextWriter(Protocol):
    """Writes a line after a prompt. Its work is counted by whoever made it."""

    def write(self, prompt: str, seed: int) -> str | None:
        """Return the line that is written after the prompt, drawn by the seed, or None where
        nothing whole was written.
        """


class Reader(Protocol):
    """Reads what a model that is held in full says beside likelihoods. Its work is counted by
    whoever made it.
    """

    def words(self, policy: Policy) -> Mapping[str, Sequence[str]]:
        """Return for each choice the words that the model's next token separates it by, the best
        first; empty where none was read.
        """

    def exchanges(self, policy: Policy) -> Sequence[Policy]:
        """Return the policy with another word in its instruction, the likeliest gain to first order
        first; none where none can be told.
        """
