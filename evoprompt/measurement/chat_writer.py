"""Writes instructions with a model that takes messages. Implements `authors.TextWriter`; knows
nothing of policies.
"""

from __future__ import annotations

from evoprompt.backends.server.chat import ChatServer
from evoprompt.measurement.allowance import Allowance
from evoprompt.measurement.text_writer import kept
from evoprompt.records import TokenCount

#: What is asked: the prompts of operators are texts that a base model goes on with.
TASK = (
    "The user gives a text that breaks off. Write the line that comes next in it, as its worked "
    "examples have it: that line alone, without its label, quotes or comment."
)


class ChatTextWriter:
    """Writes with one model of a server; what it wrote once it knows. Servers may write otherwise
    for the same seed.

    Args:
        server: asked.
        temperature: of the draws.
        max_tokens: that are written at most.
        allowance: counts its work, tokens as the server tells them; nothing is asked for that it
            has no room for, by words.
    """

    def __init__(
        self, server: ChatServer, temperature: float, max_tokens: int, allowance: Allowance
    ) -> None:
        self._server = server
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._allowance = allowance
        self._known: dict[tuple[str, int], str | None] = {}

    def write(self, prompt: str, seed: int) -> str | None:
        """Return the first line that the model writes, drawn by the seed; of one that does not end
        in time its whole sentences. None where that is nothing, and where there is no room.

        Raises:
            UserError, MachineError: the server gives no answer.
        """
        if (prompt, seed) not in self._known:
            if not self._allowance.has_room(len(f"{TASK} {prompt}".split()) + self._max_tokens):
                return None
            self._known[prompt, seed] = self._written(prompt, seed)
        return self._known[prompt, seed]

    def _written(self, prompt: str, seed: int) -> str | None:
        found = self._server.complete(
            TASK, prompt, max_tokens=self._max_tokens, temperature=self._temperature, seed=seed
        )
        taken = found.num_read + found.num_written
        self._allowance.add(
            TokenCount(
                body_tokens=found.num_read,
                floor_body_tokens=taken,
                forwards=1,
                requests=1,
                generated_tokens=found.num_written,
                logical_tokens=taken,
            )
        )
        line, more, _ = found.text.strip().partition("\n")
        return kept(line, is_cut=found.is_cut and not more)
