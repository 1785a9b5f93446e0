"""Embedded models: what wheels carry is joined, held against its pin and kept; and where Qwen is in
the user's cache, it says what its reference says.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from evoprompt.conversation import Conversation, Turn
from evoprompt.errors import UserError
from evoprompt.scoring import models, weights
from evoprompt.scoring.embedded import EMBEDDED, EmbeddedModel, WheelFile
from evoprompt.scoring.models import fetch_embedded, fetching, is_fetched, resolve_model
from evoprompt.scoring.tokenizer import Tokenizer

QWEN = "qwen2.5-coder-0.5b"


@pytest.mark.parametrize("name", EMBEDDED)
def test_each_part_of_a_model_is_pinned_once_and_its_size_is_said(name: str):
    model = EMBEDDED[name]
    for part in model.parts:
        distribution = re.fullmatch(r"([a-z0-9-]+)==[\d.]+", part.requirement)
        assert distribution is not None
        assert part.path.split("/")[0] == distribution[1].replace("-", "_")
        assert re.fullmatch("[0-9a-f]{64}", part.wheel_sha256)
    assert len({p.wheel_sha256 for p in model.parts}) == len(model.parts)
    assert f"fetching {model.megabytes} MB" in fetching(name)
    assert f"{model.gigabytes} GB" in fetching(name)


def in_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sha256: str) -> None:
    """A model `toy` whose file is "ab" + "cd", in two wheels that are installed; its conversion
    copies the file.
    """
    parts = []
    for number, text in enumerate(("ab", "cd")):
        package = tmp_path / "site" / f"toy_part{number}"
        package.mkdir(parents=True)
        (package / "data.bin").write_text(text)
        parts.append(WheelFile(f"toy-part{number}==1.0", "0" * 64, f"toy_part{number}/data.bin"))

    def copied(gguf: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "config.json").write_bytes(gguf.read_bytes())

    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("EVOPROMPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "convert_gguf", copied)
    toy = EmbeddedModel("a toy", tuple(parts), sha256, megabytes=1, gigabytes=0.1)
    monkeypatch.setitem(models.EMBEDDED, "toy", toy)


def test_parts_are_joined_in_order_and_converted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    in_parts(monkeypatch, tmp_path, hashlib.sha256(b"abcd").hexdigest())
    assert not is_fetched("toy")
    folder = resolve_model("toy")
    assert (folder / "config.json").read_text() == "abcd"
    monkeypatch.setattr(weights, "convert_gguf", None)  # a second conversion would fail
    assert resolve_model("toy") == folder


def test_what_is_not_the_pinned_file_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    in_parts(monkeypatch, tmp_path, hashlib.sha256(b"cdab").hexdigest())
    with pytest.raises(UserError, match="together have SHA-256 .* expected"):
        fetch_embedded("toy")
    assert not is_fetched("toy")
    assert list((tmp_path / "cache" / "models").iterdir()) == []


@pytest.fixture(scope="module")
def qwen() -> Path:
    if not is_fetched(QWEN):
        pytest.skip(f"{QWEN} is not in the cache: evoprompt models --fetch {QWEN}")
    return resolve_model(QWEN)


def test_qwen_reads_text_as_its_reference_does(qwen: Path):
    # ids of Qwen2's vocabulary, in which each digit is a token
    pinned = {"Hello, world!": (9707, 11, 1879, 0), "12 + 3": (16, 17, 488, 220, 18)}
    tokenizer = Tokenizer(qwen)
    found = tokenizer.encode(list(pinned), add_special_tokens=False)
    assert [tuple(ids) for ids in found] == list(pinned.values())


def test_a_chat_with_qwen_is_the_text_of_chatml_to_the_byte(qwen: Path):
    chat = Tokenizer(qwen).chat
    assert chat is not None
    assert chat.takes_system
    assert chat.takes_answers
    asked = (Turn("system", "Sort it."), Turn("user", "Broken!"))
    shown = (asked[0], Turn("user", "Where is it?"), Turn("assistant", "question"), asked[1])
    system = "<|im_start|>system\nSort it.<|im_end|>\n"
    demonstration = (
        "<|im_start|>user\nWhere is it?<|im_end|>\n<|im_start|>assistant\nquestion<|im_end|>\n"
    )
    question = "<|im_start|>user\nBroken!<|im_end|>\n<|im_start|>assistant\n"
    assert chat.text(Conversation(asked)) == system + question
    assert chat.text(Conversation(shown)) == system + demonstration + question
    own = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    alone = chat.text(Conversation(asked[1:]))  # the template has a system of its own
    assert alone == f"<|im_start|>system\n{own}<|im_end|>\n{question}"
