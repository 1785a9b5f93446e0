"""`evoprompt score`: a file of requests -> a file of scores. Tokenization is that of the LM
Evaluation Harness, so numbers compare.

Trailing spaces of a context move to its continuation; an empty context is the model's
beginning-of-text token; and what follows the context's own tokens in the tokens of the whole text
is the continuation, as in the harness, also where the two do not join cleanly.

In the place of a context there may be the messages of a conversation, which the model's chat
template renders: what asks for an answer, or, where the last message is the assistant's, what goes
on with it. Its white space stays where it is.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from evoprompt.backends.base import Executor, TextTokenizer, WorkUnit
from evoprompt.backends.open import open_model
from evoprompt.config.sections import JobConfig
from evoprompt.conversation import Conversation, Prompt, Role, Turn
from evoprompt.errors import InexactScoringError, UserError
from evoprompt.jobs.base import plainly
from evoprompt.measurement.model import memo_opener
from evoprompt.measurement.standing import LEAST_REQUESTS, StandingCheck
from evoprompt.measurement.units import Asked, Unit, UnitKey
from evoprompt.records import Query, QueryKind
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.memo import Memo
from evoprompt.scoring.trie import TokenRequest
from evoprompt.store.ledger import Ledger
from evoprompt.text_files import check_keys, in_quotes, parse_json, read_lines, refuse

logger = logging.getLogger(__name__)

#: What a line of requests is, for errors; what is read of it, with what other programs call it.
FORM = '{"id", "context": text, "continuation": text}'
KEYS = {"id": (), "context": ("prompt", "input"), "continuation": ("completion", "target")}
ROLES = get_args(Role)
MESSAGE = '{"role", "content": text}'
CHAT_FORM = f'{{"id", "messages": [{MESSAGE}, ...], "continuation": text}}'
CHAT_KEYS = {"id": (), "messages": (), "continuation": KEYS["continuation"]}


def score_file(config: JobConfig, source: Path, target: Path, stats: Path | None) -> None:
    """Score every request of a JSONL file and write the scores, in order, and the counts of work.

    Args:
        config: says which model answers, and how.
        source: the file of requests.
        target: the file of scores to write.
        stats: the file of counts to write; None writes none.

    Raises:
        UserError: a file cannot be read or already exists, a line is malformed, or a request does
            not fit the model's window.
    """
    rows = read_requests(source)
    for file in (target, stats):
        if file is not None and file.exists():
            raise UserError(f"{file} exists, and nothing is overwritten; give another name")
    pairs = [(row["context"], row["continuation"]) for row in rows]
    requests, scores, about = score_pairs(config, pairs)
    with target.open("x", encoding="utf-8") as stream:
        for row, request, value, greedy in zip(
            rows, requests, scores.log_likelihood, scores.is_greedy, strict=True
        ):
            line = {
                "id": row["id"],
                "log_likelihood": float(value),
                "num_tokens": len(request.continuation),
                "is_greedy": bool(greedy),
            }
            stream.write(json.dumps(line) + "\n")
    if stats is not None:
        content = asdict(scores.count) | about
        stats.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def score_pairs(
    config: JobConfig, pairs: Sequence[tuple[Prompt, str]]
) -> tuple[list[TokenRequest], TokenScores, dict[str, object]]:
    """Return the requests of (context, continuation) pairs, their scores, and how they came about:
    seconds, the way of scoring, what answered, what the plain forward gave to a sample of them.
    Where that is something else, all are scored again plainly, and that is said.

    Raises:
        UserError: a continuation has no tokens, or a pair does not fit the model's window.
    """
    try:
        return _score_pairs(config, pairs)
    except InexactScoringError as found:
        if config.model.scoring == "plain":
            raise
        logger.warning("%s; so all requests are scored again, each by itself", found)
        return _score_pairs(plainly(config), pairs)


def _score_pairs(
    config: JobConfig, pairs: Sequence[tuple[Prompt, str]]
) -> tuple[list[TokenRequest], TokenScores, dict[str, object]]:
    begun = time.perf_counter()
    model = open_model(config)
    try:
        info = model.executor.info()
        loaded = time.perf_counter()
        requests = harness_requests(model.tokenizer, pairs)
        opener = memo_opener(config, model.identity)
        memo = opener(info) if opener is not None else None
        scores = score_with_memo(model.executor, requests, memo)
        ledger = Ledger()
        check = StandingCheck(model.executor, config.seed, ledger, opener, first=LEAST_REQUESTS)
        unit = _unit(requests)
        check.look([unit], {unit.key: scores})
    finally:
        model.executor.close()
    about: dict[str, object] = {
        "seconds": round(time.perf_counter() - loaded, 4),
        "load_seconds": round(loaded - begun, 4),
        "path": info.path,
        "path_reason": info.reason,
        "chunk_tokens": info.chunk_tokens,
        "model_path": model.identity.place,
        "checked": asdict(ledger.checked),
    }
    return requests, scores, about


def _unit(requests: Sequence[TokenRequest]) -> Unit:
    """Return requests of no policy and no example as a unit, each known by its place."""
    queries = (Query("", str(i), 0, QueryKind.CANDIDATE, "", "") for i in range(len(requests)))
    asked = tuple(Asked(query, request) for query, request in zip(queries, requests, strict=True))
    return Unit(UnitKey("requests"), asked, ())


def score_with_memo(
    executor: Executor, requests: Sequence[TokenRequest], memo: Memo | None
) -> TokenScores:
    """Return the scores of requests: those that the memo has from there, the others scored and kept
    in it.
    """

    def score(asked: Sequence[TokenRequest]) -> TokenScores:
        return executor.score([WorkUnit("requests", tuple(asked))], lambda *_: None)["requests"]

    return score(requests) if memo is None else memo.complete(requests, score)


def harness_requests(
    tokenizer: TextTokenizer, pairs: Sequence[tuple[Prompt, str]]
) -> list[TokenRequest]:
    """Return the token requests of (context, continuation) pairs as the LM Evaluation Harness 0.4
    encodes them.
    """
    moved: list[tuple[Prompt, str]] = []
    for context, continuation in pairs:
        if not isinstance(context, str):
            moved.append((context, continuation))
            continue
        stripped = context.rstrip()
        moved.append((stripped, context[len(stripped) :] + continuation))
    contexts = tokenizer.encode([context for context, _ in moved])
    wholes = tokenizer.encode([context + continuation for context, continuation in moved])
    bare = tokenizer.encode([continuation for _, continuation in moved], add_special_tokens=False)
    requests = []
    for number, ((context, _), ids, whole, alone) in enumerate(
        zip(moved, contexts, wholes, bare, strict=True), 1
    ):
        begin, predicted = (
            (ids, whole[len(ids) :]) if context else ((tokenizer.begin_token,), alone)
        )
        if not predicted:
            raise UserError(
                f"request {number}: the continuation {pairs[number - 1][1]!r} has no tokens of "
                f"its own, so it has no likelihood"
            )
        requests.append(TokenRequest(begin, predicted))
    return requests


def read_requests(source: Path) -> list[dict[str, Any]]:
    """Return the requests of a JSONL file; the context of one with messages is what they say.

    Raises:
        UserError: the file cannot be read, has no line, or a line is malformed; the message has the
            line's number.
    """
    rows = []
    for number, line in read_lines(source, "requests"):
        where = f"{source}, line {number}"
        row = parse_json(line, where)
        is_chat = isinstance(row, dict) and "messages" in row and "context" not in row
        form, keys = (CHAT_FORM, CHAT_KEYS) if is_chat else (FORM, KEYS)
        row = check_keys(row, where, form, keys, keys)
        for key in ("continuation",) if is_chat else ("context", "continuation"):
            if not isinstance(row[key], str):
                refuse(where, f"'{key}' must be a text{in_quotes(row[key])}", row[key])
        rows.append(row | ({"context": said_in(row["messages"], where)} if is_chat else {}))
    if not rows:
        raise UserError(f"the requests {source} have no line; give some, one a line")
    return rows


def said_in(messages: object, where: str) -> Conversation:
    """Return the conversation of messages as programs exchange them.

    Raises:
        UserError: they are none; the message begins with `where`.
    """
    expected = f"'messages' must be a list of {MESSAGE}, the role one of {', '.join(ROLES)}"
    if not isinstance(messages, list) or not messages:
        refuse(where, expected, messages)
    turns = []
    for each in messages:
        if not isinstance(each, dict) or each.get("role") not in ROLES:
            refuse(where, expected, each)
        if not isinstance(each.get("content"), str):
            refuse(where, f"the content of a message must be a text{in_quotes(each)}", each)
        turns.append(Turn(each["role"], each["content"]))
    begun = turns.pop().content if turns[-1].role == "assistant" else ""
    if not any(turn.role == "user" for turn in turns):
        refuse(where, "a message of the user must stand before an answer", messages)
    return Conversation(tuple(turns), begun)
