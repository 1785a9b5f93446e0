"""A champion as the messages of a chat, as servers with OpenAI's interface take them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from evoprompt.conversation import Conversation
from evoprompt.jobs.export.exported import Exported
from evoprompt.tasks.render import render_prompt

#: What is said of a champion that the run read without a chat template.
PLAIN = "the run read this prompt as plain text (--to text): in a chat its numbers are others"


def as_chat(exported: Exported) -> str:
    """Return `messages` with {input} for the input, and the answers with their words, as JSON.
    Where the prompt begins the answer, that is the last message, and the keys by which vLLM and
    transformers go on with it stand beside.

    Raises:
        UserError: the policy has steps.
    """
    exported.refuse_steps("chat")
    policy = exported.champion.policy
    chat = policy if policy.is_chat else replace(policy, chat="turns")
    said = render_prompt(chat)
    assert isinstance(said, Conversation)
    messages = [{"role": turn.role, "content": turn.content} for turn in said.turns]
    found: dict[str, Any] = {"messages": messages}
    if said.begun:
        messages.append({"role": "assistant", "content": said.begun})
        found |= {"continue_final_message": True, "add_generation_prompt": False}
    found["answers"] = {word: choice for choice, word in exported.words.items()}
    notes = [*([] if policy.is_chat else [PLAIN]), exported.not_carried]
    found["notes"] = [note for note in notes if note]
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"
