"""Queries -> token requests, and where an answer needs its end to be told from another.

Of answers of which one begins the other in tokens, as " 1" and " 12" where each digit is a token,
the longer can never be the likelier: log p(" 12") = log p(" 1") + log p("2" | " 1"). So wherever
that is so of an example's candidates, all of them are scored with their end, `render_end`:

    log p(answer + end | prompt)

Candidates that stand in the context are told apart there: what follows them is the same. Actions of
a path are compared after one instruction.
In a conversation the end is that of the answer's turn. It is decided by the tokens, since a text
that begins another may be another token. In free form any text is a candidate; there the likelihood
is that of the target alone, and it is the greedy answer if the model's first choice after it is an
end too: a line end or a token that is never text, as `Writer` ends what it writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise, zip_longest

from evoprompt.backends.base import TextTokenizer
from evoprompt.conversation import Conversation, Prompt
from evoprompt.errors import UserError
from evoprompt.records import Query, QueryKind
from evoprompt.scoring.chat import ChatTemplate
from evoprompt.scoring.trie import TokenRequest, Tokens

#: What a text may go on with after an answer, beside the end of its own prompt.
LINE_ENDS = ("\n", "\n\n")
#: A word of one token in any vocabulary.
ANY = "x"
#: Special tokens that are asked about, the first by number: some vocabularies reserve thousands.
MOST_SPECIAL = 128

#: What is compared: (policy, example, answer that is judged), or of a path (policy, example, move,
#: instruction).
_Group = tuple[str | int, ...]


def requests_of(
    tokenizer: TextTokenizer, queries: Sequence[Query]
) -> list[tuple[Query, TokenRequest]]:
    """Return each query with its tokens, in order, `is_ended` where it needs its end; after the
    only candidate of an example come those for its ends.

    Raises:
        UserError: as `tokenize`, or two answers of one example cannot be told apart.
    """
    requests = list(tokenize(tokenizer, queries))
    groups: dict[_Group, list[int]] = {}
    for i, query in enumerate(queries):
        if (group := _group(query)) is not None:
            groups.setdefault(group, []).append(i)
    unclear = [i for places in groups.values() if _clash(places, queries, requests) for i in places]
    ended = [replace(queries[i], is_ended=True) for i in unclear]
    asked = list(queries)
    for i, query, request in zip(unclear, ended, tokenize(tokenizer, ended), strict=True):
        asked[i], requests[i] = query, request
    for places in groups.values():
        if clash := _clash(places, asked, requests):
            a, b = (queries[i].continuation for i in clash)
            raise UserError(
                f"the answers {a!r} and {b!r} cannot be told apart by the model: with their ends "
                "the tokens of one still begin those of the other; give them other label words"
            )
    return _with_ends(tokenizer, asked, requests)


def _group(query: Query) -> _Group | None:
    """Return what a query is compared with the others of; None where it is with nothing."""
    if query.kind is QueryKind.MOVE and query.is_partial:
        return query.policy_id, query.example_id, query.step, query.candidate
    if query.kind in (QueryKind.PROMPT, QueryKind.MOVE) or query.is_partial:
        return None
    return query.policy_id, query.example_id, query.answer


def _clash(
    places: Iterable[int], queries: Sequence[Query], requests: Sequence[TokenRequest]
) -> tuple[int, int] | None:
    """Return two places of one kind of which the tokens of the first begin those of the second."""
    # in this order, all that one begins stand right after it
    order = sorted(places, key=lambda i: (queries[i].kind, requests[i].continuation))
    for a, b in pairwise(order):
        first, second = requests[a].continuation, requests[b].continuation
        if queries[a].kind is queries[b].kind and second[: len(first)] == first:
            return a, b
    return None


def _with_ends(
    tokenizer: TextTokenizer, queries: Sequence[Query], requests: Sequence[TokenRequest]
) -> list[tuple[Query, TokenRequest]]:
    asked: list[tuple[Query, TokenRequest]] = []
    ends: dict[str, list[int]] = {}
    for query, request in zip(queries, requests, strict=True):
        asked.append((query, request))
        if query.is_only and query.kind is QueryKind.CANDIDATE:
            if query.end not in ends:
                ends[query.end] = end_tokens(tokenizer, query.end)
            after = request.context + request.continuation
            of_end = replace(query, kind=QueryKind.END)
            asked += [(of_end, TokenRequest(after, (token,))) for token in ends[query.end]]
    return asked


def end_tokens(tokenizer: TextTokenizer, end: str) -> list[int]:
    """Return the tokens by which an answer ends: those that begin a line end or the prompt's own
    end, and the special ones.
    """
    # after a letter, since some tokenizers put a space before a text
    letter, *wholes = tokenizer.encode(["x", *("x" + text for text in (*LINE_ENDS, end))])
    size = len(letter)
    begun = {tokens[size] for tokens in wholes if tokens[:size] == letter and len(tokens) > size}
    return sorted(begun | set(sorted(tokenizer.special_tokens)[:MOST_SPECIAL]))


def encode_prompts(
    tokenizer: TextTokenizer, prompts: Sequence[Prompt], answers: Sequence[str] = ()
) -> list[Tokens]:
    """Return the token ids of each prompt, those that it has where a word follows after the spaces
    that begin its answer.

    They are others than by itself only where it ends in white space: two line ends at the end of a
    text may be one token, and before a word two, or a tab belong to the word's token.
    """
    words = [
        answer[: len(answer) - len(answer.lstrip(" "))] + ANY if _is_open(tokenizer, prompt) else ""
        for prompt, answer in zip_longest(prompts, answers, fillvalue="")
    ]
    wholes = tokenizer.encode([p + word for p, word in zip(prompts, words, strict=True)])
    begun, *after = tokenizer.encode(["\n", *("\n" + word for word in words)])
    return [
        whole[: len(whole) + len(begun) - len(tail)]
        for whole, tail in zip(wholes, after, strict=True)
    ]


def _is_open(tokenizer: TextTokenizer, prompt: Prompt) -> bool:
    """Return whether a prompt ends in white space other than a space."""
    begun = prompt if isinstance(prompt, str) else prompt.begun
    text = begun or text_of(tokenizer, prompt)
    return text[-1:].isspace() and not text.endswith(" ")


def text_of(tokenizer: TextTokenizer, prompt: Prompt) -> str:
    """Return a prompt as the model reads it.

    Raises:
        UserError: it is a conversation, and there is no chat template or it refuses it.
    """
    return prompt if isinstance(prompt, str) else chat_template(tokenizer).text(prompt)


def chat_template(tokenizer: TextTokenizer) -> ChatTemplate:
    """Return the model's chat template.

    Raises:
        UserError: there is none, or one that cannot be used.
    """
    found: ChatTemplate | None = getattr(tokenizer, "chat", None)
    if found is None:
        raise UserError(
            "a policy is rendered by the chat template of the model, and this model has none; set "
            "model.chat=off, or give a model with chat_template.jinja in its folder"
        )
    return found


def tokenize(tokenizer: TextTokenizer, queries: Sequence[Query]) -> tuple[TokenRequest, ...]:
    """Return the token request of each query, in order.

    Raises:
        UserError: the tokens of a context are not a prefix of the tokens of context and
            continuation.
    """
    answers = [q.continuation for q in queries]
    contexts = encode_prompts(tokenizer, [q.context for q in queries], answers)
    wholes = tokenizer.encode([_whole(q) for q in queries])
    requests = []
    for query, context, whole in zip(queries, contexts, wholes, strict=True):
        if query.kind is QueryKind.PROMPT:
            requests.append(TokenRequest(whole[:1], whole[1:]))  # nothing predicts the first token
            continue
        if whole[: len(context)] != context or len(whole) == len(context):
            at = next(
                (i for i, (a, b) in enumerate(zip(context, whole, strict=False)) if a != b),
                min(len(context), len(whole)),
            )
            raise UserError(
                "the tokens of the prompt are not a prefix of the tokens of prompt and answer: "
                f"prompt ...{text_of(tokenizer, query.context)[-40:]!r} has "
                f"{list(context[at:])} where prompt and {query.continuation!r} has "
                f"{list(whole[at : at + 6])}; "
                "end the template's output_prefix with a letter or a punctuation mark, put other "
                "white space between it and the answer (answer_prefix), and check the label words"
            )
        begin = context or (tokenizer.begin_token,)
        requests.append(TokenRequest(begin, whole[len(context) :]))
    return tuple(requests)


def _whole(query: Query) -> Prompt:
    """Return what a query forwards: prompt and answer, and its end where that is scored."""
    whole = query.context + query.continuation
    if not query.is_ended:
        return whole
    return whole.ended() if isinstance(whole, Conversation) else whole + query.end
