"""(Policy, Example) -> conversation, for policies that a chat template renders. Pure.

    instruction -> the system's turn
    input_prefix + input -> a turn of the user
    output_prefix + answer_prefix + answer -> the turn after it, of which a prompt has what stands
        before the answer

An `output_prefix` that is a whole sentence ("Is it right?") is said by the user, and the answer
stands alone. Demonstrations are turns as the example's are (`turns`), or stand in the turn of the
example as they do in a plain prompt (`single`).
"""

from __future__ import annotations

from evoprompt.conversation import Conversation, Turn
from evoprompt.policy import Demonstration, Policy

#: What a sentence ends with that an answer does not go on from.
SENTENCE_ENDS = (*".?!", "\u3002", "\uff1f", "\uff01")


def conversation(policy: Policy, text: str, steps: str, block: str) -> Conversation:
    """Return the conversation that asks for the answer to an input.

    Args:
        policy: that a chat template renders.
        text: the input.
        steps: the policy's steps that were answered, each on a line.
        block: the demonstrations as they stand in a plain prompt.
    """
    template = policy.template
    begun = steps + ("\n" if steps else "") if _asks(policy) else steps + template.output_prefix
    return Conversation(
        (*_before(policy), Turn("user", _shown(policy, block) + _question(policy, text))),
        _begun(policy, begun),
    )


def step_conversation(policy: Policy, text: str, steps: str, block: str) -> Conversation:
    """Return the conversation after which the model answers the last of these steps."""
    return Conversation(
        (*_before(policy), Turn("user", _shown(policy, block) + _question(policy, text))),
        steps.lstrip() + policy.template.answer_prefix.rstrip(" "),
    )


def beginning(policy: Policy, block: str) -> Conversation:
    """Return what all conversations of a policy have in common, up to the input and what stands
    before it.
    """
    turn = Turn("user", _shown(policy, block))
    return Conversation((*_before(policy), turn), is_open=True)


def stands_alone(policy: Policy) -> bool:
    """Return whether an answer has a turn, or a line of it, to itself: no space stands before
    it.
    """
    return _asks(policy) or not (policy.steps or policy.template.output_prefix.strip())


def _before(policy: Policy) -> tuple[Turn, ...]:
    system = (Turn("system", policy.instruction),) if policy.instruction else ()
    shown = policy.demonstrations if policy.chat == "turns" else ()
    return (*system, *(turn for each in shown for turn in _turns(policy, each)))


def _turns(policy: Policy, shown: Demonstration) -> tuple[Turn, Turn]:
    answer, template = policy.word(shown.target), policy.template
    if not _asks(policy) and template.output_prefix.strip():
        answer = template.output_prefix.lstrip() + template.answer_prefix + answer
    return Turn("user", _question(policy, shown.input)), Turn("assistant", answer)


def _shown(policy: Policy, block: str) -> str:
    return block if policy.chat == "single" else ""


def _question(policy: Policy, text: str) -> str:
    template = policy.template
    return template.input_prefix + text + (template.output_prefix if _asks(policy) else "")


def _asks(policy: Policy) -> bool:
    """Return whether the user says what stands before an answer."""
    return policy.template.output_prefix.endswith(SENTENCE_ENDS)


def _begun(policy: Policy, text: str) -> str:
    """Return how the answer begins; of `answer_prefix` it has what is no space."""
    begun = text.lstrip()
    gap = "" if stands_alone(policy) else policy.template.answer_prefix.rstrip(" ")
    return begun + gap if begun else ""
