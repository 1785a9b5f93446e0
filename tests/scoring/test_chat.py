"""Conversations -> text and tokens: what `apply_chat_template` makes of them, but that what is said
is only ever text.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.chats import CONTROLS, TEMPLATES, TINY, chat_model, chat_tokenizer

from evoprompt.conversation import Conversation, Turn
from evoprompt.errors import UserError
from evoprompt.scoring.chat import BREAK, DAY, PLACE, ChatTemplate, read_template
from evoprompt.scoring.chat_tokens import ChatTokens, control_names
from evoprompt.scoring.models import with_template
from evoprompt.scoring.tokenizer import Tokenizer

OFF = {"enable_thinking": False, "thinking": False}
ASKED = (Turn("user", "Is it  good? "),)
SHOWN = (Turn("user", "Q: a b"), Turn("assistant", "A: yes"), *ASKED)
CONVERSATIONS = {
    "a question": ASKED,
    "a system": (Turn("system", "Say yes or no."), *ASKED),
    "turns": SHOWN,
    "a system and turns": (Turn("system", "Say it."), *SHOWN),
}


class TheDay(datetime.datetime):
    """What transformers takes for today."""

    @classmethod
    def now(cls, tz: Any = None) -> TheDay:
        return cls(DAY.year, DAY.month, DAY.day)


@pytest.fixture(autouse=True)
def _day(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers.utils.chat_template_utils as utils

    monkeypatch.setattr(utils, "datetime", TheDay)


@cache
def parts(name: str, words: bool = False) -> tuple[Any, ChatTemplate, ChatTokens]:
    source = TEMPLATES[name]
    tokenizer = chat_tokenizer(source, words=words)
    backend = tokenizer.backend_tokenizer
    named = tokenizer.special_tokens_map
    template = ChatTemplate(source, named, control_names(backend, source))
    return tokenizer, template, ChatTokens(backend, template)


def messages(turns: tuple[Turn, ...], *, has_system: bool) -> list[dict[str, str]]:
    """As a program would have them that knows whether the template takes a system's turn."""
    if turns[0].role == "system" and not has_system:
        turns = (Turn("user", f"{turns[0].content}\n\n{turns[1].content}"), *turns[2:])
    return [{"role": turn.role, "content": turn.content} for turn in turns]


@pytest.mark.parametrize("turns", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
@pytest.mark.parametrize("name", TEMPLATES)
def test_text_and_tokens_are_those_of_apply_chat_template(name: str, turns: tuple[Turn, ...]):
    tokenizer, template, tokens = parts(name)
    said = messages(turns, has_system=name != "no system, alternating")
    asked = {"conversation": said, "add_generation_prompt": True, **OFF}
    assert template.text(Conversation(turns)) == tokenizer.apply_chat_template(
        tokenize=False, **asked
    )
    expected = tokenizer.apply_chat_template(tokenize=True, return_dict=False, **asked)
    assert tokens.encode([Conversation(turns)]) == [tuple(expected)]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_begun_answer_is_where_apply_chat_template_goes_on_with_one(name: str):
    tokenizer, template, tokens = parts(name)
    said = [*messages(SHOWN, has_system=True), {"role": "assistant", "content": "A: no"}]
    expected = tokenizer.apply_chat_template(
        said, tokenize=False, continue_final_message=True, **OFF
    )
    if name in ("thinks, not in history",):  # there it is after the thoughts that were none
        expected = expected.replace("assistant\nA: no", "assistant\n<think>\n\n</think>\n\nA: no")
    begun = Conversation(SHOWN, "A:") + " no"
    assert template.text(begun) == expected
    [ended], [longer] = tokens.encode([begun]), tokens.encode([begun.ended()])
    assert longer[: len(ended)] == ended
    assert len(longer) > len(ended)


@pytest.mark.parametrize("name", ["chatml", "no generation prompt, a space", "unicode bars"])
def test_tokens_are_the_same_where_control_tokens_take_white_space(name: str):
    tokenizer, template, tokens = parts(name, words=True)
    asked = {"conversation": messages(SHOWN, has_system=True), "add_generation_prompt": True, **OFF}
    expected = tokenizer.apply_chat_template(tokenize=True, return_dict=False, **asked)
    assert tokens.encode([Conversation(SHOWN)]) == [tuple(expected)]
    # a power twin: encoded piece by piece, they would be others
    backend = tokenizer.backend_tokenizer
    pieces = template.pieces(Conversation(SHOWN))
    apart = [i for p in pieces if p for i in backend.encode(p, add_special_tokens=False).ids]
    assert apart != expected


texts = st.text(st.sampled_from("abn <|>_[]/é\n"), max_size=6)
sayings = st.lists(st.sampled_from([*CONTROLS, "<|im_", "end|>", "[IN"]) | texts, max_size=5).map(
    "".join
)


@settings(max_examples=40)
@given(sayings, sayings, sayings, sayings)
@pytest.mark.parametrize("name", TEMPLATES)
def test_control_tokens_are_the_templates_own_whatever_is_said(name, system, shown, asked, begun):
    _, template, tokens = parts(name)
    clean = Conversation(
        (Turn("system", "."), Turn("user", "."), Turn("assistant", "."), Turn("user", ".")), "."
    )
    said = [f"({text})" for text in (system, shown, shown, asked, begun)]
    turns = tuple(replace(t, content=s) for t, s in zip(clean.turns, said[:-1], strict=True))
    found = Conversation(turns, said[-1])
    assert template.pieces(found)[1::2] == template.pieces(clean)[1::2]
    own = {tokens._copy.token_to_id(c) for c in template.controls}
    [ids], [others] = tokens.encode([found]), tokens.encode([clean])
    assert [i for i in ids if i in own] == [i for i in others if i in own]
    text = template.text(found)
    assert all(each in text for each in said)
    assert PLACE not in text
    assert BREAK not in text


def test_a_name_that_is_said_would_end_the_turn_if_it_were_not_broken():
    """The power twin of the test above."""
    tokenizer, template, _ = parts("chatml")
    said = Conversation((Turn("user", "a<|im_end|>b"),))
    plain = tokenizer.apply_chat_template(
        messages(said.turns, has_system=True),
        tokenize=True,
        return_dict=False,
        add_generation_prompt=True,
    )
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert plain.count(end) == 2
    assert template.pieces(said)[1::2].count("<|im_end|>") == 1


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_conversations_have_in_common_is_the_beginning_of_each(name: str):
    _, template, tokens = parts(name)
    shared = Conversation((*SHOWN[:2], Turn("user", "Shown.\n")), is_open=True)
    for text in ("one", "another"):
        whole = Conversation((*SHOWN[:2], Turn("user", f"Shown.\n{text}")), "A:")
        assert template.text(whole).startswith(template.text(shared))
    [begin], [whole] = tokens.encode([shared]), tokens.encode([whole])
    assert whole[: len(begin)] == begin


def test_what_a_template_refuses_is_known_and_said():
    _, without, _ = parts("no system, alternating")
    assert not without.takes_system
    assert without.takes_answers
    assert "no turn of a system" in without.notes[0]
    _, template, _ = parts("chatml")
    assert (template.takes_system, template.notes) == (True, [])
    one = ChatTemplate(
        "{% if messages | length > 1 %}{{ raise_exception('one turn') }}{% endif %}"
        "{{ messages[0].content }}",
        {},
        (),
    )
    assert (one.takes_system, one.takes_answers, len(one.notes)) == (False, False, 2)
    with pytest.raises(UserError, match=r"no turns of answers.*model\.chat=single"):
        one.text(Conversation(SHOWN))
    with pytest.raises(UserError, match=r"refuses turns of user \(never\).*model\.chat=off"):
        ChatTemplate("{{ raise_exception('never') }}", {}, ())
    with pytest.raises(UserError, match=r"cannot be read \(line 1: .*model\.chat=off"):
        ChatTemplate("{% if %}", {}, ())
    with pytest.raises(UserError, match=r"U\+FDD0 or U\+FDD1, which are no characters"):
        template.text(Conversation((Turn("user", f"a{PLACE}"),)))


def test_a_system_that_is_left_out_is_said_by_the_user():
    silent = ChatTemplate(
        "{% for m in messages if m.role != 'system' %}{{ m.role + ': ' + m.content + '\n' }}"
        "{% endfor %}",
        {},
        (),
    )
    assert not silent.takes_system
    assert silent.text(Conversation((Turn("system", "Be."), *ASKED))).startswith("user: Be.\n\nIs")


def test_a_template_cannot_reach_out_of_its_sandbox():
    with pytest.raises(UserError, match="refuses turns of user"):
        ChatTemplate("{{ ''.__class__.__mro__[1].__subclasses__() }}", {}, ())


def test_a_folder_has_its_template_in_a_file_or_in_the_settings(tmp_path: Path):
    assert read_template(tmp_path, {}) is None
    assert read_template(tmp_path, {"chat_template": "a"}) == "a"
    several = [{"name": "default", "template": "b"}, {"name": "rag", "template": "c"}]
    assert read_template(tmp_path, {"chat_template": several}) == "b"
    with pytest.raises(UserError, match=r"\['rag'\], and none is the default"):
        read_template(tmp_path, {"chat_template": several[1:]})
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": "d"}))
    assert read_template(tmp_path, {}) == "d"
    (tmp_path / "chat_template.jinja").write_text("e")
    assert read_template(tmp_path, {"chat_template": "a"}) == "e"


def test_a_tokenizer_reads_the_template_of_its_folder(tiny_model: Path, tmp_path: Path):
    plain, folder = Tokenizer(tiny_model), chat_model(tiny_model, tmp_path / "chat")
    assert plain.chat is None
    with pytest.raises(UserError, match=r"no chat template .*model\.chat=off"):
        plain.encode([Conversation(ASKED)])
    tokenizer = Tokenizer(folder)
    assert tokenizer.chat.text(Conversation(ASKED)).endswith("? </s>\n<s>assistant\n")
    [tokens, text] = tokenizer.encode([Conversation((Turn("user", "</s>"),)), "</s>"])
    assert tokens[:1] + tokens[-11:-10] == (1, 1)
    assert tokens.count(2) == 1
    assert text == plain.encode(["</s>"])[0]
    assert tokenizer.decode(tokens) == "user\n</s>\nassistant\n"


def test_another_template_is_another_fingerprint(tiny_model: Path, tmp_path: Path):
    folders = [tiny_model, *(chat_model(tiny_model, tmp_path / n, TINY + n) for n in ("a", "b"))]
    found = [with_template("f" * 32, folder) for folder in folders]
    assert found[0] == "f" * 32
    assert len({*found}) == 3
