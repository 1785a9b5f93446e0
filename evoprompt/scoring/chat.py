"""Conversations -> text, by the chat template of a model: the text that transformers'
`apply_chat_template` makes, to the byte, with thinking switched off.

A template is a program of Jinja's language that came with the weights; it runs in Jinja's sandbox.
What a template cannot say is found when it is read: a system's turn is then said at the head of the
user's first, and turns of answers are refused. Names of control tokens in what is said are text:
they are broken while the template runs, so only the template's own are control tokens. A template
that asks for the date is told `DAY`, so that prompts are the same each day.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from evoprompt.conversation import Conversation, Turn
from evoprompt.errors import UserError

#: What a template is told of the date.
DAY = date(2024, 7, 26)
#: Names of the switches that templates have for thinking.
THINKING = ("enable_thinking", "thinking")
#: Between a system's turn and the user's where a template has no system.
BETWEEN = "\n\n"
#: Stands for a place in a rendered text, and after a letter of a control token's name that is text.
#: Neither is a character of any language.
PLACE, BREAK = "\ufdd0", "\ufdd1"
#: Rendered beginnings that are remembered.
REMEMBERED = 2048

#: Files of a model folder that have a template, the first before the second.
TEMPLATES = ("chat_template.jinja", "chat_template.json")


class ChatTemplate:
    """A model's chat template.

    Args:
        source: of the template.
        names: what the template may read of the tokenizer, as `bos_token`.
        controls: the names of the tokens that are control tokens where the template writes them.

    Raises:
        UserError: it cannot be read, or refuses a turn of the user.
    """

    def __init__(self, source: str, names: Mapping[str, Any], controls: Collection[str]) -> None:
        self._template = _compiled(source)
        self._names = dict(names)
        self.controls = frozenset(controls)
        longest_first = sorted(self.controls, key=lambda name: (-len(name), name))
        pattern = "|".join(map(re.escape, longest_first)) or "(?!)"
        self._controls = re.compile(f"({pattern})(?!{BREAK})")
        self._split = lru_cache(REMEMBERED)(self._rendered)
        question = Turn("user", "?")
        #: whether it has turns of a system, and of answers that others follow
        self.takes_system = True
        self.takes_system = self._says(Turn("system", PLACE), question)
        self.takes_answers = self._says(question, Turn("assistant", PLACE), question)
        asked = self._apply([question], asking=True)
        self._head, self._gap, self._end = self._around_answers(asked)

    @property
    def notes(self) -> list[str]:
        """What it refuses, a sentence each."""
        notes = []
        if not self.takes_system:
            notes.append(
                "the model's chat template has no turn of a system: the instruction stands at the "
                "head of the user's first turn"
            )
        if not self.takes_answers:
            notes.append(
                "the model's chat template has no turns of answers: demonstrations stand in the "
                "user's turn"
            )
        return notes

    def text(self, conversation: Conversation) -> str:
        """Return the text of a conversation."""
        return "".join(self.pieces(conversation))

    def pieces(self, conversation: Conversation) -> tuple[str, ...]:
        """Return the text of a conversation in pieces, the names of the template's control tokens
        between those that are text: first a text, which may be empty, then in turns.

        Raises:
            UserError: the template refuses it, or something said has one of the two characters
                that are none (`PLACE`, `BREAK`).
        """
        if not self.takes_answers and any(t.role == "assistant" for t in conversation.turns):
            raise UserError(
                "the model's chat template has no turns of answers, so demonstrations cannot be "
                "turns; set model.chat=single"
            )
        for text in (*(turn.content for turn in conversation.turns), conversation.begun):
            _check(text)
        rendered, begun = self._split(conversation.turns, conversation.is_open), conversation.begun
        if conversation.is_open:
            return rendered
        parts = [*rendered[:-1], rendered[-1] + (self._gap + begun if begun else "")]
        if conversation.is_ended:
            parts = [*parts[:-1], parts[-1] + self._end[0], *self._end[1:]]
        return tuple(parts)

    def _rendered(self, turns: tuple[Turn, ...], is_open: bool) -> tuple[str, ...]:
        if is_open:
            turns = (*turns[:-1], Turn(turns[-1].role, turns[-1].content + PLACE))
            return self._pieces(self._apply(turns, asking=True).partition(PLACE)[0])
        return self._pieces(self._apply(turns, asking=True) + self._head)

    def _pieces(self, rendered: str) -> tuple[str, ...]:
        parts = self._controls.split(rendered)
        return tuple(part if i % 2 else part.replace(BREAK, "") for i, part in enumerate(parts))

    def _apply(self, turns: Sequence[Turn], *, asking: bool) -> str:
        """Return what the template makes of turns, names in what is said broken; `asking` for an
        answer.
        """
        messages = [
            {"role": turn.role, "content": self._controls.sub(_broken, turn.content)}
            for turn in self._said(turns)
        ]
        try:
            found: str = self._template.render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=asking,
                **dict.fromkeys(THINKING, False),
                **self._names,
            )
        except Exception as error:  # noqa: BLE001  a template is a program of others
            raise UserError(
                f"the model's chat template refuses {_roles(turns)} ({_reason(error)}); set "
                "model.chat=off, or single where it is about turns"
            ) from None
        return found

    def _said(self, turns: Sequence[Turn]) -> Sequence[Turn]:
        """Return turns with the system's in the user's first, where the template has none."""
        if self.takes_system or turns[0].role != "system":
            return turns
        merged = turns[0].content + BETWEEN + turns[1].content
        return [Turn(turns[1].role, merged), *turns[2:]]

    def _says(self, *turns: Turn) -> bool:
        """Return whether the template takes turns, and says what one of them does."""
        try:
            return self._apply(turns, asking=True).count(PLACE) == 1
        except UserError:
            return False

    def _around_answers(self, asked: str) -> tuple[str, str, tuple[str, ...]]:
        """Return what stands before an answer beside what asks for it: what is the prompt's, and
        the spaces that are the answer's; and what ends it, in pieces.
        """
        try:
            whole = self._apply([Turn("user", "?"), Turn("assistant", PLACE)], asking=False)
        except UserError:
            return "", "", ("\n",)
        before, _, after = whole.partition(PLACE)
        more = before[len(asked) :] if before.startswith(asked) else ""
        head = more.rstrip(" ")
        first = self._pieces(after)[:2]
        if len(first) < 2:  # no control token: the end of the line
            line, line_end, _ = after.partition("\n")
            first = (line + line_end if line_end or line.strip() else "\n",)
        return head, more[len(head) :], (*first, *[""] * (len(first) == 2))


def read_template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """Return the source of a model folder's chat template, None where it has none.

    Args:
        folder: of the model.
        settings: of its tokenizer; a file of its own goes before what they have.

    Raises:
        UserError: it cannot be read, or there are several and none is the default.
    """
    file, other = (folder / name for name in TEMPLATES)
    try:
        if file.exists():
            return file.read_text(encoding="utf-8")
        found = settings.get("chat_template")
        if found is None and other.exists():
            found = json.loads(other.read_text(encoding="utf-8")).get("chat_template")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"cannot read the chat template in {folder} ({_reason(error)})") from None
    if isinstance(found, list):
        named = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
        found = named.get("default")
        if found is None:
            raise UserError(
                f"the chat templates in {folder} are {sorted(map(str, named))}, and none is the "
                f"default; write the one to use into {file}"
            )
    if found is not None and not isinstance(found, str):
        raise UserError(f"the chat template in {folder} is no text; set model.chat=off")
    return found


def _compiled(source: str) -> Any:
    """Return a template as transformers compiles it, with `DAY` for the date."""
    from jinja2 import TemplateError, ext, nodes, sandbox
    from jinja2.exceptions import TemplateSyntaxError

    class Generation(ext.Extension):
        """Marks what a model writes, for training; it is text as any."""

        tags = {"generation"}  # noqa: RUF012  as Jinja has it

        def parse(self, parser: Any) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

        def _same(self, caller: Any) -> str:
            return str(caller())

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, **how: Any) -> str:
        return json.dumps(value, **{"ensure_ascii": False, **how})

    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals |= {"raise_exception": refuse, "strftime_now": DAY.strftime}
    try:
        return environment.from_string(source)
    except TemplateSyntaxError as error:
        raise UserError(
            f"the model's chat template cannot be read (line {error.lineno}: {error.message}); set "
            "model.chat=off, or mend the template in the model's folder"
        ) from None


def _check(text: str) -> None:
    if PLACE in text or BREAK in text:
        raise UserError(
            f"the text {text[:60]!r} has U+{ord(PLACE):X} or U+{ord(BREAK):X}, which are no "
            "characters and cannot be said in a chat; take them out"
        )


def _broken(name: re.Match[str]) -> str:
    return "".join(letter + BREAK for letter in name[0])


def _roles(turns: Sequence[Turn]) -> str:
    return "turns of " + ", ".join(turn.role for turn in turns)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:150]
