"""A task: examples in four splits that share no content, and what policies for it start from.

Knows nothing of models or fitness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example, Materials


@dataclass(frozen=True, slots=True)
class Task:
    """Examples and starting points. The splits serve one purpose each and share no example."""

    name: str
    demonstrations: tuple[Demonstration, ...]  #: what operators may put into a prompt
    fitness: tuple[Example, ...]  #: what the search is selected on
    validation: tuple[Example, ...]  #: what picks the champion among the search's best
    test: tuple[Example, ...]  #: what the search never sees
    starting_policies: tuple[Policy, ...]
    phrases: tuple[str, ...] = ()
    templates: tuple[Template, ...] = ()
    label_words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pool: tuple[Example, ...] = ()  #: the examples that the demonstrations are
    steps: tuple[str, ...] = ()

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The choices that all examples share, or None where they differ or the task is free form."""
        shared = {e.choices for split in (self.fitness, self.validation, self.test) for e in split}
        return next(iter(shared)) if len(shared) == 1 else None

    @property
    def has_choices(self) -> bool:
        """Whether every example offers choices."""
        return all(e.choices is not None for split in (self.fitness, self.validation, self.test) for e in split)

    def materials(self, max_demonstrations: int) -> Materials:
        """Return what operators draw from."""
        return Materials(
            phrases=self.phrases,
            demonstrations=self.demonstrations,
            templates=self.templates,
            label_words=self.label_words,
            max_demonstrations=max_demonstrations,
            steps=self.steps,
        )


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

GENERAL_INSTRUCTIONS = ("", "Answer the question.", "Give the right answer for the text.")


def default_policies(choices: tuple[str, ...] | None) -> tuple[Policy, ...]:
    """Return the starting policies of a task that brings none: plain instructions, no demonstrations."""
    if choices is None:
        return tuple(Policy(instruction=text) for text in GENERAL_INSTRUCTIONS)
    listed = ", ".join(choices[:-1]) + f" or {choices[-1]}"
    instructions = (f"Decide which label fits the text: {listed}.", f"Is this {listed}?", "Classify the text.", "")
    return tuple(Policy(instruction=text, template=Template("Text: ", "\nLabel:")) for text in instructions)
