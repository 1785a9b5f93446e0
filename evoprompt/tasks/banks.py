"""What suits any task: phrases, steps, templates, and the policies that a search starts from where
a task brings none.
"""

from __future__ import annotations

from evoprompt.policy import Policy, Template

#: What operators may put in an instruction of any task.
GENERAL_PHRASES = (
    "Think about the meaning.",
    "Answer with one word.",
    "Look at the examples.",
    "Read carefully.",
    "Choose the best answer.",
    "Be precise.",
    "Consider what the writer wants.",
    "Follow the pattern.",
    "Pay attention to the tone.",
    "The answer is given at the end.",
)


#: Questions that break an input of any task up; the model writes an answer to each.
GENERAL_STEPS = (
    "What is asked?",
    "What is the important word?",
    "What is this about?",
    "What is the main point?",
    "In other words:",
    "What is known?",
    "Why?",
    "A first guess:",
)


#: Wrappings of an example that suit any task.
GENERAL_TEMPLATES = (
    Template("Input: ", "\nOutput:", "\n\n"),
    Template("Text: ", "\nLabel:", "\n\n"),
    Template("Text: ", "\nAnswer:", "\n\n"),
    Template("Q: ", "\nA:", "\n\n"),
    Template("Question: ", "\nAnswer:", "\n\n"),
    Template("Sentence: ", "\nCategory:", "\n\n"),
    Template("", " =>", "\n"),
    Template("", "\n->", "\n\n"),
    Template("Input: ", " Output:", "\n"),
    Template("", "\nThis is", "\n\n"),
)


#: Words of instructions that may stand for one another, in small letters. No word is in two groups,
#: and each stands where the others of its group do, as what is told to do, or as a name.
GENERAL_SYNONYMS = (
    ("classify", "categorize", "sort"),
    ("decide", "determine", "judge"),
    ("say", "state", "tell", "write"),
    ("choose", "pick", "select"),
    ("read", "study"),
    ("consider", "weigh"),
    ("question", "query"),
    ("text", "passage"),
    ("sentence", "statement"),
    ("label", "category", "class"),
    ("kind", "type"),
    ("topic", "subject", "theme"),
    ("sentiment", "feeling", "mood"),
    ("right", "correct"),
    ("following", "given"),
    ("fits", "matches", "suits"),
    ("whether", "if"),
    ("carefully", "closely"),
)


GENERAL_INSTRUCTIONS = ("", "Answer the question.", "Give the right answer for the text.")


def default_policies(choices: tuple[str, ...] | None) -> tuple[Policy, ...]:
    """Return the starting policies of a task that brings none: plain instructions, no
    demonstrations.
    """
    if choices is None:
        return tuple(Policy(instruction=text) for text in GENERAL_INSTRUCTIONS)
    listed = ", ".join(choices[:-1]) + f" or {choices[-1]}"
    instructions = (
        f"Decide which label fits the text: {listed}.",
        f"Is this {listed}?",
        "Classify the text.",
        "",
    )
    return tuple(
        Policy(instruction=text, template=Template("Text: ", "\nLabel:")) for text in instructions
    )
