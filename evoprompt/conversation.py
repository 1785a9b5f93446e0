"""What is said before an answer, turn by turn: what a model's chat template makes a text of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one of them says."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns, and how the answer to the last one begins. Its text is the template's
    (`scoring.chat.ChatTemplate`), so what is said in a turn is text, and never ends the turn.
    """

    turns: tuple[Turn, ...]
    begun: str = ""  #: the beginning of the answer, which the prompt gives
    is_ended: bool = False  #: whether the answer ends with what is begun
    #: whether the last turn goes on: the text then stops where its content does
    is_open: bool = False

    def __add__(self, text: str) -> Conversation:
        return replace(self, begun=self.begun + text)

    def __str__(self) -> str:
        """What is said and by whom, for people where no template is at hand; not what the model
        reads.
        """
        turns = (*self.turns, *([] if self.is_open else [Turn("assistant", self.begun)]))
        return "\n".join(f"[{turn.role}] {turn.content}".rstrip() for turn in turns)

    def ended(self) -> Conversation:
        """Return it with the end of the answer's turn."""
        return replace(self, is_ended=True)


#: What a model reads before its answer: a text, or what its chat template makes one of.
Prompt = str | Conversation
