"""Text is only ever text: what a tokenizer does with control tokens, beginnings and ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend
from tokenizers.processors import TemplateProcessing

from evoprompt.errors import UserError
from evoprompt.jobs.score import harness_requests
from evoprompt.scoring.tokenizer import Tokenizer

BEGIN, END = 1, 2  # "<s>" and "</s>" of the tiny model


def edited(folder: Path, **values: Any) -> None:
    """Change keys of a tokenizer's or a model's JSON, given as file_key."""
    for name, value in values.items():
        file, key = name.split("__")
        path = folder / f"{file}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_model, tmp_path / "model")


def with_template(folder: Path, template: str) -> Tokenizer:
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    backend.post_processor = TemplateProcessing(
        single=template, special_tokens=[("<s>", BEGIN), ("</s>", END)]
    )
    backend.save(str(folder / "tokenizer.json"))
    return Tokenizer(folder)


def test_the_begin_token_is_the_tokenizers_then_its_end_then_the_models(folder: Path):
    edited(folder, config__bos_token_id=0, config__eos_token_id=[7, 8])
    assert Tokenizer(folder).begin_token == BEGIN
    edited(folder, tokenizer_config__bos_token=None)
    assert Tokenizer(folder).begin_token == END
    edited(folder, tokenizer_config__eos_token={"content": "</s>", "special": True})
    assert Tokenizer(folder).begin_token == END
    edited(folder, tokenizer_config__eos_token=None)
    assert Tokenizer(folder).begin_token == 0
    edited(folder, config__bos_token_id=None)
    assert Tokenizer(folder).begin_token == 7
    edited(folder, config__eos_token_id=None)  # a pad token begins nothing
    with pytest.raises(UserError, match="names no token that begins or ends a text"):
        Tokenizer(folder)


def test_an_end_token_that_the_tokenizer_adds_is_left_out(folder: Path):
    tokenizer = with_template(folder, "<s> $A </s>")
    [a, b] = tokenizer.encode(["ab"], add_special_tokens=False)[0]
    assert tokenizer.encode(["ab", ""]) == [(BEGIN, a, b), (BEGIN,)]
    [request] = harness_requests(tokenizer, [("ab", "ba")])
    assert (request.context, request.continuation) == ((BEGIN, a, b), (b, a))


def test_a_text_that_begins_with_the_begin_token_has_it_once(folder: Path):
    tokenizer = with_template(folder, "<s> $A")
    [a] = tokenizer.encode(["a"], add_special_tokens=False)[0]
    assert tokenizer.encode(["<s>a", "a"]) == [(BEGIN, a), (BEGIN, a)]
    second = tokenizer.encode(["<s><s>a"])[0]
    assert second.count(BEGIN) == 1
    assert tokenizer.decode(second) == "<s>a"
    # where the tokenizer adds none, it is text like any other
    edited(folder, tokenizer__post_processor=None)
    assert BEGIN not in Tokenizer(folder).encode(["<s>a"])[0]


@pytest.mark.parametrize("kind", ["TokenizersBackend", "PreTrainedTokenizerFast"])
def test_the_name_of_a_control_token_in_a_text_stays_text(folder: Path, kind: str):
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    backend.add_special_tokens([AddedToken("<|turn|>", special=True)])
    backend.add_tokens([AddedToken("<|user|>", special=False), AddedToken("woof", special=False)])
    backend.save(str(folder / "tokenizer.json"))
    edited(folder, tokenizer_config__tokenizer_class=kind, config__vocab_size=200)
    tokenizer = Tokenizer(folder)
    texts = ["a<|turn|>b", "</s>", "<|user|> hi", "x<s>y<pad>"]
    for text, ids in zip(texts, tokenizer.encode(texts), strict=True):
        assert not tokenizer.special_tokens.intersection(ids)
        assert tokenizer.decode(ids) == text
    woof = backend.token_to_id("woof")
    assert tokenizer.encode(["woof"]) == [(woof,)]  # an added word is a word


def test_a_token_beyond_the_models_is_refused_with_the_folder_and_the_text(folder: Path):
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    backend.add_tokens(["neigh", "miaow", "woof"])  # 99 to 101
    backend.save(str(folder / "tokenizer.json"))
    tokenizer = Tokenizer(folder)
    assert tokenizer.encode(["meow"])
    with pytest.raises(UserError, match=r"'a woof' has the token 'woof' \(101\), beyond the 101"):
        tokenizer.encode(["a woof"])


@pytest.mark.parametrize("kind", ["TokenizersBackend", "PreTrainedTokenizerFast"])
def test_a_vocabulary_beyond_the_models_is_refused_at_once(folder: Path, kind: str):
    # letters are the tokens up to 98
    edited(folder, tokenizer_config__tokenizer_class=kind, config__vocab_size=99)
    Tokenizer(folder)
    edited(folder, config__vocab_size=98)
    with pytest.raises(UserError, match=r"has tokens up to 98, and the model reads 98") as caught:
        Tokenizer(folder)
    assert str(folder) in str(caught.value)


def test_what_the_configuration_does_not_say_is_what_its_architecture_means(folder: Path):
    configuration = json.loads((folder / "config.json").read_text())
    del configuration["vocab_size"]
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    backend.add_tokens([f"word{i}" for i in range(40_000)])
    backend.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(configuration))
    with pytest.raises(UserError, match=r"has the token 'word39999' \(\d+\), beyond the 32000"):
        Tokenizer(folder).encode(["word39999"])  # llama's 32,000
    (folder / "config.json").write_text('{"model_type": "nobody", "bos_token_id": 1}')
    with pytest.raises(UserError, match="does not say how many tokens the model reads"):
        Tokenizer(folder)


@given(st.text(st.characters(codec="ascii"), max_size=30))
def test_ordinary_text_has_the_tokens_that_the_tokenizer_alone_gives(tiny_model: Path, text: str):
    if any(name in text for name in ("<pad>", "<s>", "</s>")):
        return
    backend = Backend.from_file(str(tiny_model / "tokenizer.json"))
    assert Tokenizer(tiny_model).encode([text]) == [tuple(backend.encode(text).ids)]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\x00\x17", b"null", b'{"a": 1}'])
def test_a_damaged_tokenizer_is_named(folder: Path, content: bytes):
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(UserError, match=str(folder)):
        Tokenizer(folder)


@pytest.mark.parametrize("file", ["tokenizer_config.json", "config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\x00\x17", b"null", b'"x"'])
def test_a_damaged_file_beside_it_is_named(folder: Path, file: str, content: bytes):
    (folder / file).write_bytes(content)
    with pytest.raises(UserError, match=str(folder / file)):
        Tokenizer(folder)


def test_a_folder_without_a_tokenizer_is_named(folder: Path):
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(UserError, match="cannot read a tokenizer from the model folder"):
        Tokenizer(folder)
