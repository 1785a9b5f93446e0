"""A prompt in pieces that a program without this package can put together: what stands before an
input and after it, and which of it are control tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evoprompt.backends.base import TextTokenizer
from evoprompt.conversation import Conversation, Prompt
from evoprompt.errors import UserError
from evoprompt.measurement.requests import chat_template
from evoprompt.policy import Policy
from evoprompt.records import Query
from evoprompt.tasks.render import render_prompt

#: Stands for the input; no character of any language.
INPUT = "\ufdef"


def rendering(tokenizer: TextTokenizer, policy: Policy, queries: Sequence[Query]) -> dict[str, Any]:
    """Return `before_input` and `after_input`, each texts with names of control tokens between them
    in turns; `end`, what ends a continuation after its text, alike; whether white space around an
    input is taken away, before and after it; and whether it is a chat.

    Args:
        tokenizer: of the model.
        policy: without steps.
        queries: of the policy, one for each continuation.

    Raises:
        UserError: the pieces by themselves have other tokens than the whole.
    """
    pieces = _pieces(tokenizer, render_prompt(policy, INPUT))
    place = next(i for i, piece in enumerate(pieces) if INPUT in piece)
    before, _, after = pieces[place].partition(INPUT)
    wide = "".join(_pieces(tokenizer, render_prompt(policy, f" {INPUT} ")))
    if policy.is_chat:
        _check_pieces(tokenizer, queries)
    return {
        "before_input": [*pieces[:place], before],
        "after_input": [after, *pieces[place + 1 :]],
        "end": _end(tokenizer, queries[0]),
        "strips": [f" {INPUT}" not in wide, f"{INPUT} " not in wide],
        "is_chat": policy.is_chat,
    }


def _pieces(tokenizer: TextTokenizer, prompt: Prompt) -> tuple[str, ...]:
    return (prompt,) if isinstance(prompt, str) else chat_template(tokenizer).pieces(prompt)


def _end(tokenizer: TextTokenizer, query: Query) -> list[str]:
    if not query.is_ended or isinstance(query.context, str):
        return [""]
    whole = query.context + query.continuation
    shorter, longer = (_pieces(tokenizer, c) for c in (whole, whole.ended()))
    return [longer[len(shorter) - 1].removeprefix(shorter[-1]), *longer[len(shorter) :]]


def _check_pieces(tokenizer: TextTokenizer, queries: Sequence[Query]) -> None:
    for query in queries:
        whole = query.context + query.continuation
        whole = whole.ended() if query.is_ended and isinstance(whole, Conversation) else whole
        apart: list[int | None] = []
        for i, piece in enumerate(_pieces(tokenizer, whole)):
            alone = tokenizer.encode([piece], add_special_tokens=False)[0] if piece else ()
            apart += [None] if i % 2 else alone
        together = tokenizer.encode([whole])[0]
        if len(apart) != len(together) or any(
            a not in (None, b) for a, b in zip(apart, together, strict=True)
        ):
            raise UserError(
                "this tokenizer gives the parts of a chat other tokens than the whole, which "
                "--to python cannot do; take --to json or --to text"
            )
