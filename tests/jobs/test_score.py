"""Files of requests: what is read of them, and what is said of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toys.chats import chat_model

from evoprompt.config.sections import JobConfig, ModelConfig, WorkersConfig
from evoprompt.conversation import Conversation, Turn
from evoprompt.errors import UserError
from evoprompt.jobs.score import read_requests, score_pairs
from evoprompt.scoring.tokenizer import Tokenizer

ROWS = [
    {"id": 1, "context": "a\u2028b\x85c", "continuation": "\x0b\x0cd"},
    {"id": "two", "context": "", "continuation": "\x00e", "source": "is passed over"},
]


@pytest.mark.parametrize(("mark", "end"), [("", "\n"), ("\ufeff", "\r\n"), ("", "\n\n \n")])
def test_lines_end_at_a_line_feed_alone(tmp_path: Path, mark: str, end: str):
    file = tmp_path / "r.jsonl"
    text = mark + "".join(json.dumps(row, ensure_ascii=False) + end for row in ROWS)
    file.write_bytes(text.encode())
    assert read_requests(file) == ROWS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the requests .* have no line"),
        (b'{"id": 1, "context": "a", "completion": "b"}', "line 1: .*did you mean 'continuation'"),
        (b'{"context": "a", "continuation": "b"}', "line 1: expected .*'id' is missing"),
        (b'{"id": 1, "context": "a", "continuation": true}', """in quotes: "true" """),
        (b'{"id": 1, "context": null, "continuation": "a"}', "'context' must be a text"),
        (b'{"id": 1, "context": "\\ud800", "continuation": "a"}', "half a surrogate pair"),
        (b"[1]", "line 1: expected an object of the form"),
        (b'{"id": 1, "messages": "a", "continuation": "b"}', "'messages' must be a list of"),
        (b'{"id": 1, "messages": [{"role": "tool"}], "continuation": "b"}', "system, user, assis"),
        (b'{"id": 1, "messages": [{"role": "user"}], "continuation": "b"}', "must be a text"),
        (
            b'{"id": 1, "messages": [{"role": "system", "content": "a"}], "continuation": "b"}',
            "a message of the user must stand before an answer",
        ),
        ('{"id": 1}'.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (b'\n{"id": 1, "context": "caf\xe9"}', "line 2: the byte 0xe9 is not UTF-8"),
    ],
)
def test_what_is_no_request_is_a_sentence(tmp_path: Path, content: bytes, message: str):
    file = tmp_path / "r.jsonl"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_requests(file)


def test_messages_are_scored_by_the_models_template(tiny_model: Path, tmp_path: Path):
    file, model = tmp_path / "r.jsonl", chat_model(tiny_model, tmp_path / "model")
    said = [{"role": "system", "content": "Be."}, {"role": "user", "content": "Is <s> it?"}]
    begun = [*said, {"role": "assistant", "content": "I say"}]
    rows = [{"id": i, "messages": m, "continuation": " yes"} for i, m in enumerate((said, begun))]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = read_requests(file)
    turns = (Turn("system", "Be."), Turn("user", "Is <s> it?"))
    assert [row["context"] for row in read] == [
        Conversation(turns),
        Conversation(turns, "I say"),
    ]
    config = JobConfig(
        name="x",
        model=ModelConfig(name=str(model), memo=False),
        workers=WorkersConfig(backend="local"),
    )
    requests, scores, _ = score_pairs(config, [(r["context"], r["continuation"]) for r in read])
    tokenizer = Tokenizer(model)
    texts = [tokenizer.decode(request.context) for request in requests]
    assert texts == [f"system\nBe.\nuser\nIs <s> it?\nassistant\n{more}" for more in ("", "I say")]
    assert [tokenizer.decode(request.continuation) for request in requests] == [" yes", " yes"]
    assert (scores.log_likelihood < 0).all()
    bare = config.model_copy(update={"model": ModelConfig(name=str(tiny_model), memo=False)})
    with pytest.raises(UserError, match="has no chat template"):
        score_pairs(bare, [(read[0]["context"], " yes")])


def test_scores_that_the_plain_forward_does_not_give_are_scored_again(tiny_model: Path, caplog):
    pairs = [("word " * n, "end") for n in range(1, 40)]

    def scored(backend: str, scoring: str):
        model = ModelConfig(name=str(tiny_model), memo=False, scoring=scoring)
        config = JobConfig(name="x", model=model, workers=WorkersConfig(backend=backend))
        return score_pairs(config, pairs)

    _, exact, about = scored("local", "plain")
    assert about["checked"]["requests"] == 16
    assert not caplog.messages
    _, wrong, about = scored("toys.inexact:InexactBackend", "auto")
    assert wrong.log_likelihood.tolist() == exact.log_likelihood.tolist()
    assert about["path"] == "plain"
    assert "scored again, each by itself" in caplog.text
