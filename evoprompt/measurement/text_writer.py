"""Writes instructions with a model. Implements `authors.TextWriter`; knows nothing of policies."""

from __future__ import annotations

import re
from dataclasses import replace

from evoprompt.measurement.allowance import Allowance
from evoprompt.measurement.writer import Writer

#: Where a sentence ends; what is broken off is kept up to the last one.
SENTENCE = re.compile(r".*(?:[.!?](?=\s|$)|\u3002)", re.DOTALL)


class ModelTextWriter:
    """Writes with one model; what it wrote once it knows.

    Args:
        writer: of the model.
        temperature: of the draws.
        max_tokens: that are written at most.
        allowance: counts its work; nothing is written that it has no room for.
    """

    def __init__(
        self, writer: Writer, temperature: float, max_tokens: int, allowance: Allowance
    ) -> None:
        self._writer = writer
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._allowance = allowance
        self._known: dict[tuple[str, int], str | None] = {}

    def write(self, prompt: str, seed: int) -> str | None:
        """Return the line that the model writes after the prompt, drawn by the seed; of one that
        does not end in time its whole sentences.

        None where there is no whole sentence or nothing, and where the prompt does not fit the
        model's window or what may still be taken.
        """
        if (prompt, seed) not in self._known:
            [tokens] = self._writer.tokenizer.encode([prompt])
            most = len(tokens) + self._max_tokens
            if most > self._writer.executor.info().window or not self._allowance.has_room(most):
                return None
            self._known[prompt, seed] = self._written(prompt, seed)
        return self._known[prompt, seed]

    def _written(self, prompt: str, seed: int) -> str | None:
        [written] = self._writer.write(
            [prompt],
            max_tokens=self._max_tokens,
            temperature=self._temperature,
            seeds=[seed],
            stops=("\n",),
        )
        # a token that is written is forwarded as one of a prompt is
        taken = written.count.floor_body_tokens + written.count.generated_tokens
        self._allowance.add(replace(written.count, floor_body_tokens=taken))
        return kept(written.text, is_cut=written.num_tokens >= self._max_tokens)


def kept(text: str, *, is_cut: bool) -> str | None:
    """Return what is kept of a line that was written: of one that was cut off its whole sentences;
    None where that is nothing.
    """
    if is_cut:
        whole = SENTENCE.match(text)
        text = whole[0] if whole else ""
    return text.strip() or None
