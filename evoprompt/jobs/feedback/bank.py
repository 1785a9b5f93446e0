"""Remarks whose kind and sentiment are known: the model's own likelihoods of the kinds are
calibrated on them, so that a small model too tells kinds apart.
"""

from __future__ import annotations

from typing import NamedTuple

from evoprompt.fitness.remarks import Kind


class Known(NamedTuple):
    """A remark with its kind; `good` says whether it finds something good."""

    text: str
    kind: Kind
    good: bool


#: Remarks that the prompts show.
SHOWN: tuple[Known, ...] = (
    Known("That is exactly what I wanted.", "evaluative", True),
    Known("Cut the text by half.", "imperative", False),
    Known("The many examples in it are a help.", "descriptive", True),
    Known("I do not like this one.", "evaluative", False),
    Known("Show two more examples, please.", "imperative", True),
    Known("The wording is far too long.", "descriptive", False),
)

#: Remarks that the calibration is fitted on.
KNOWN: tuple[Known, ...] = (
    Known("Great job!", "evaluative", True),
    Known("Perfect.", "evaluative", True),
    Known("Nice, this works for me.", "evaluative", True),
    Known("I am happy with that.", "evaluative", True),
    Known("Much better than the last one.", "evaluative", True),
    Known("Yes, correct.", "evaluative", True),
    Known("Excellent result.", "evaluative", True),
    Known("Well done, keep it up.", "evaluative", True),
    Known("Terrible.", "evaluative", False),
    Known("This is useless.", "evaluative", False),
    Known("Wrong again.", "evaluative", False),
    Known("I am disappointed.", "evaluative", False),
    Known("Not good at all.", "evaluative", False),
    Known("It failed completely.", "evaluative", False),
    Known("What a poor answer.", "evaluative", False),
    Known("This got worse.", "evaluative", False),
    Known("Make it brief.", "imperative", False),
    Known("Please use fewer demonstrations.", "imperative", False),
    Known("Do not repeat the question.", "imperative", False),
    Known("Remove the last sentence.", "imperative", False),
    Known("Avoid the word review.", "imperative", False),
    Known("Drop half of the examples.", "imperative", False),
    Known("Stop being so wordy.", "imperative", False),
    Known("Keep the instruction under ten words.", "imperative", False),
    Known("Add another example.", "imperative", True),
    Known("Write a longer instruction.", "imperative", True),
    Known("You should mention the customer.", "imperative", True),
    Known("Use different examples each time.", "imperative", True),
    Known("Say positive instead of good.", "imperative", True),
    Known("Give it more context.", "imperative", True),
    Known("Balance the labels.", "imperative", True),
    Known("Try to include a clear question.", "imperative", True),
    Known("The short instruction makes it easy to follow.", "descriptive", True),
    Known("Its examples cover every label nicely.", "descriptive", True),
    Known("The varied examples are good.", "descriptive", True),
    Known("The words that it uses fit the task well.", "descriptive", True),
    Known("It has a pleasant, compact form.", "descriptive", True),
    Known("The labels are clear and easy to tell apart.", "descriptive", True),
    Known("Having the word sentiment in it is useful.", "descriptive", True),
    Known("The longer text explains the task better.", "descriptive", True),
    Known("The prompt has too many examples.", "descriptive", False),
    Known("The instruction is hard to understand.", "descriptive", False),
    Known("Its demonstrations all look the same.", "descriptive", False),
    Known("There are not enough examples in the prompt.", "descriptive", False),
    Known("The text is much too wordy.", "descriptive", False),
    Known("The labels in it are confusing.", "descriptive", False),
    Known("Its examples are nearly all negative ones.", "descriptive", False),
    Known("The explanation in it is missing details.", "descriptive", False),
)
