"""A remark's words -> the features that it names, each with its direction. Pure; a table of words,
no model.

Lengths go to the prompt's tokens, or to the instruction's words where that is named; quantities to
the demonstrations. `no`, `not`, `don't` and their like turn the direction, and so does `too` in a
demand. Words in quotes are label words where the task has them, else words of the instruction.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from evoprompt.fitness.preference import LABEL, WORD, words_of
from evoprompt.fitness.remarks import Kind

#: Words that name a direction of a length.
LENGTH: Mapping[str, float] = {
    **dict.fromkeys(("short", "shorter", "shorten", "shortly", "brief", "briefer"), -1.0),
    **dict.fromkeys(("concise", "compact", "terse", "trim", "condense", "simpler"), -1.0),
    **dict.fromkeys(("long", "longer", "lengthy", "lengthen", "wordy", "wordier"), 1.0),
    **dict.fromkeys(("verbose", "detail", "details", "detailed", "expand", "elaborate"), 1.0),
}
#: Words that name a direction of a number.
QUANTITY: Mapping[str, float] = {
    **dict.fromkeys(("more", "many", "add", "additional", "another", "extra", "increase"), 1.0),
    **dict.fromkeys(("enough", "several", "lots"), 1.0),
    **dict.fromkeys(("fewer", "few", "less", "remove", "drop", "reduce", "cut", "without"), -1.0),
    **dict.fromkeys(("no", "hardly", "delete", "rid", "omit", "lacks", "missing"), -1.0),
}
VARIETY: Mapping[str, float] = {
    **dict.fromkeys(("diverse", "varied", "variety", "different", "differ", "mixed", "mix"), 1.0),
    **dict.fromkeys(("similar", "alike", "repetitive", "same"), -1.0),
}
BALANCE: Mapping[str, float] = {
    **dict.fromkeys(("balance", "balanced", "even", "evenly", "equal", "equally"), 1.0),
    **dict.fromkeys(("unbalanced", "one-sided", "skewed", "lopsided"), -1.0),
}
EXAMPLES = frozenset(("example", "examples", "demonstration", "demonstrations", "shots", "demos"))
INSTRUCTION = frozenset(("instruction", "instructions", "explanation", "guidance"))
TURNS = frozenset(("don't", "do not", "not", "never", "stop", "avoid", "isn't", "aren't"))
#: Also before a word in quotes.
AGAINST = TURNS | {"without", "no", "remove", "drop", "omit", "delete"}
_QUOTED = re.compile(r"[\"“”«»`]([^\"“”«»`]+)[\"“”«»`]|(?<!\w)'([^']+)'(?!\w)")


def features_named(
    text: str, kind: Kind, labels: Collection[str] = (), vocabulary: Collection[str] = ()
) -> dict[str, float]:
    """Return the features that a remark names, each 1 or -1.

    Args:
        text: of the remark.
        kind: of it.
        labels: what stands for the task's labels, in small letters.
        vocabulary: words that tell the run's instructions apart, in small letters; each counts
            without quotes too.
    """
    quoted = [a or b for a, b in _QUOTED.findall(text)]
    said = words_of(_QUOTED.sub(" ", text.replace("’", "'")))  # noqa: RUF001
    sign = -1.0 if TURNS.intersection(said) else 1.0
    sign *= -1.0 if kind == "imperative" and "too" in said else 1.0
    found: dict[str, float] = {}
    if length := _first(said, LENGTH):
        place = "instruction_words" if INSTRUCTION.intersection(said) else "prompt_tokens"
        found[place] = sign * length
    has_examples = bool(EXAMPLES.intersection(said))
    if variety := _first(said, VARIETY) if has_examples else 0.0:
        found["demonstration_diversity"] = sign * variety
    if balance := _first(said, BALANCE):
        found["demonstration_balance"] = sign * balance
    quantity = _first(said, QUANTITY)
    if has_examples and (quantity or not found):
        found["num_demonstrations"] = sign * (quantity or 1.0)
    elif quantity and INSTRUCTION.intersection(said) and not found:
        found["instruction_words"] = sign * quantity
    against = -1.0 if AGAINST.intersection(said) else 1.0
    for word in (part.strip().lower() for part in quoted):
        if word in labels:
            found[f"{LABEL}{word}"] = against
        else:
            found |= {f"{WORD}{each}": against for each in words_of(word)}
    known = {*LENGTH, *QUANTITY, *VARIETY, *BALANCE, *EXAMPLES, *INSTRUCTION}
    named = (w for w in said if w in vocabulary and w not in known and f"{WORD}{w}" not in found)
    return found | {f"{WORD}{word}": against for word in named}


def _first(said: Collection[str], directions: Mapping[str, float]) -> float:
    """Return the direction of the first word that names one; 0 where none does."""
    return next((directions[word] for word in said if word in directions), 0.0)
