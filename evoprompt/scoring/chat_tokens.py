"""Conversations -> token ids: the template's control tokens are tokens, their names in what is said
are text.

The whole text is encoded at once, as `apply_chat_template` does, since a piece by itself may have
other tokens: some tokenizers put a space before a text, some take the white space beside a control
token away. To tell the two apart, a copy of the tokenizer reads control tokens under other names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evoprompt.conversation import Conversation
from evoprompt.errors import UserError
from evoprompt.scoring.chat import BREAK, PLACE, ChatTemplate


class ChatTokens:
    """Encodes conversations.

    Args:
        backend: a tokenizer of the library tokenizers, which stays as it is.
        template: of its model.
    """

    def __init__(self, backend: Any, template: ChatTemplate) -> None:
        self._template = template
        self._copy = type(backend).from_str(backend.to_str())
        added = self._copy.get_added_tokens_decoder()
        named = {
            token.content: i for i, token in added.items() if token.content in template.controls
        }
        self._copy.add_special_tokens([_with(added[i], special=True) for i in named.values()])
        self._copy.encode_special_tokens = True  # their names are text
        self._copy.add_tokens(
            [_with(added[i], content=_alias(name), special=False) for name, i in named.items()]
        )
        #: the id of each control token by that of its other name
        self._ids = {self._copy.token_to_id(_alias(name)): i for name, i in named.items()}
        self._names = {i: name for name, i in named.items()}

    def encode(self, conversations: Sequence[Conversation]) -> list[tuple[int, ...]]:
        """Return the token ids of each conversation.

        Raises:
            UserError: as `ChatTemplate.pieces`; or the name of a control token is said, and this
                tokenizer cannot write it as text.
        """
        said = [self._template.pieces(conversation) for conversation in conversations]
        texts = [
            "".join(_alias(piece) if i % 2 else piece for i, piece in enumerate(pieces))
            for pieces in said
        ]
        encoded = self._copy.encode_batch_fast(texts, add_special_tokens=False)
        for pieces, found in zip(said, encoded, strict=True):
            written = [self._names[i] for i in found.ids if i in self._names]
            if wrong := [name for name in written if any(name in text for text in pieces[::2])]:
                raise UserError(
                    f"what is said in a chat has the control token {wrong[0]!r}, which this "
                    "tokenizer cannot write as text; take it out"
                )
        return [tuple(self._ids.get(i, i) for i in found.ids) for found in encoded]


def control_names(backend: Any, source: str) -> tuple[str, ...]:
    """Return the names of the tokens that are control tokens where a template writes them: those
    that are never text, and those that the template names, white space aside.
    """
    return tuple(
        token.content
        for token in backend.get_added_tokens_decoder().values()
        if (token.special or token.content in source) and token.content.strip()
    )


def _alias(name: str) -> str:
    return PLACE + name + BREAK


def _with(token: Any, *, content: str | None = None, special: bool) -> Any:
    from tokenizers import AddedToken

    return AddedToken(
        token.content if content is None else content,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized if content is None else False,
        special=special,
    )
