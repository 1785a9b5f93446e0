"""A model behind Chat Completions: messages in, a text out. It writes; it scores nothing, and no
tokenizer is needed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from evoprompt.backends.base import Identity
from evoprompt.backends.server.client import Client
from evoprompt.errors import UserError, quoted

#: What is asked, and under which key the address stands in a configuration.
PATH, KEY = "/v1/chat/completions", "writer.url"


@dataclass(frozen=True, slots=True)
class Completed:
    """What was written."""

    text: str
    is_cut: bool  #: whether it would have gone on
    #: tokens as the server tells them, of what it read and what it wrote; where it does not, words
    num_read: int
    num_written: int


class ChatServer:
    """One model of a server with Chat Completions.

    Args:
        url: of the server.
        model: by which name it has it; None is the only one that it lists.

    Raises:
        UserError, MachineError: there is no server, or it lists no model or several.
    """

    def __init__(self, url: str, model: str | None) -> None:
        self._client = Client(url, KEY)
        try:
            self.model = _only_model(self._client) if model is None else model
        except BaseException:
            self._client.close()
            raise

    @property
    def identity(self) -> Identity:
        """Who writes: the name, since a server tells nothing of its weights."""
        told = hashlib.sha256(f"chat {self.model}".encode()).hexdigest()[:32]
        return Identity(self.model, self._client.url, told)

    def complete(
        self, system: str, prompt: str, *, max_tokens: int, temperature: float, seed: int
    ) -> Completed:
        """Return what is written after a message of the system and one of the user.

        Raises:
            UserError, MachineError: the server gives no answer, or one that is none.
        """
        messages = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
        how = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed % 2**31}
        answer = self._client.post(PATH, {"model": self.model, "messages": messages, **how})
        if answer is None:
            raise UserError(
                f"the server {self._client.url} has no {PATH}, or not the model "
                f"{quoted(self.model)}; look at {KEY} and writer.model, or set writer.chat=false"
            )
        try:
            choice = answer["choices"][0]
            text = str(choice["message"]["content"] or "")
            usage = answer.get("usage") or {}
            num_read = usage.get("prompt_tokens", len(f"{system} {prompt}".split()))
            num_written = usage.get("completion_tokens", len(text.split()))
            is_cut = choice.get("finish_reason") == "length"
            return Completed(text, is_cut, int(num_read), int(num_written))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            raise _no_chat(self._client.url, answer) from None

    def close(self) -> None:
        """End the connections."""
        self._client.close()


def _only_model(client: Client) -> str:
    answer = client.get("/v1/models")
    try:
        names = [str(row["id"]) for row in answer["data"]]
    except (KeyError, TypeError):
        raise _no_chat(client.url, answer) from None
    if len(names) != 1:
        raise UserError(
            f"the server {client.url} has the models {', '.join(map(quoted, names)) or 'none'}; "
            "set writer.model to one of them"
        )
    return names[0]


def _no_chat(url: str, answer: Any) -> UserError:
    return UserError(
        f"the server {url} answers {quoted(answer)}, which is no Chat Completion and no list of "
        f"models; set {KEY} to the address of a server with {PATH}"
    )
