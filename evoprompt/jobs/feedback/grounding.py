"""A remark's words -> the features that it names, each with its direction. Pure; a table of words,
no model.

Lengths go to the prompt's tokens, or to the instruction's words where that is named; quantities to
the demonstrations. `not`, `don't` and their like turn the directions of their clause, and in a
demand so does `too`; `less`, `no`, `remove` turn what stands just after them. Words in quotes are
label words where the task has them, else words of the instruction; what stands after `instead of`
is not wanted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

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
#: Turn all of their clause, as every word that ends in n't does.
TURNS = frozenset(("not", "never", "stop", "avoid", "cannot"))
#: Turn what stands at most `NEAR` words after them.
LESSENS = frozenset(
    (
        *("less", "fewer", "reduce", "cut", "rid", "no", "without"),
        *("remove", "drop", "omit", "delete"),
    )
)
NEAR = 3
_QUOTED = re.compile(r"[\"“”«»`]([^\"“”«»`]+)[\"“”«»`]|(?<!\w)'([^']+)'(?!\w)")
_CLAUSE_ENDS = re.compile(r"[,;:.!?\n]+|\bbut\b", re.IGNORECASE)
_CONTRAST = re.compile(r"\b(?:instead of|rather than)\b", re.IGNORECASE)
#: Stands for a text in quotes.
_PLACE = "\ue000"


@dataclass(slots=True)
class _Clause:
    """A part of a remark, up to a comma or the like."""

    words: list[str]  #: in small letters; a text in quotes is `_PLACE` and its number
    is_denied: bool  #: says `not` or the like
    is_too_much: bool  #: is a demand that says `too`
    is_unwanted: bool  #: stands after `instead of`

    @property
    def direction(self) -> float:
        """Which way its words point: 1, or -1 where they are turned."""
        return -1.0 if (self.is_denied or self.is_too_much) ^ self.is_unwanted else 1.0

    def sign(self, at: int) -> float:
        """Return 1 or -1 for the word at a place."""
        return self.direction if self.lessened(at) is None else -self.direction

    def lessened(self, at: int) -> int | None:
        """Return the place of what lessens the word at a place; None where nothing does."""
        near = range(at - 1, max(-1, at - 1 - NEAR), -1)
        return next((n for n in near if self.words[n] in LESSENS), None)

    def named(
        self, directions: Mapping[str, float], beside: Collection[int | None] = ()
    ) -> int | None:
        """Return the place of the first word that names a direction; None where none does."""
        places = (n for n, word in enumerate(self.words) if word in directions and n not in beside)
        return next(places, None)


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
    clauses, quoted = _clauses(text, kind)
    said = {word for clause in clauses for word in clause.words}
    has_examples, has_instruction = bool(EXAMPLES & said), bool(INSTRUCTION & said)
    length = "instruction_words" if has_instruction else "prompt_tokens"
    found: dict[str, float] = {}
    for clause in clauses:
        used: set[int | None] = set()
        for name, directions in (
            (length, LENGTH),
            ("demonstration_diversity", VARIETY if has_examples else {}),
            ("demonstration_balance", BALANCE),
        ):
            if (at := clause.named(directions)) is not None:
                found.setdefault(name, clause.sign(at) * directions[clause.words[at]])
                used.add(clause.lessened(at))
        if (at := clause.named(QUANTITY, used)) is not None:
            # no, less and their like have a direction of their own
            found.setdefault("quantity", clause.direction * QUANTITY[clause.words[at]])
    quantity, others = found.pop("quantity", 0.0), len(found)
    if has_examples and (quantity or not others):
        is_denied = any(clause.is_denied for clause in clauses)
        found["num_demonstrations"] = quantity or (-1.0 if is_denied else 1.0)
    elif quantity and has_instruction and not others:
        found["instruction_words"] = quantity
    return found | _words_named(clauses, quoted, labels, vocabulary)


def _words_named(
    clauses: Sequence[_Clause],
    quoted: Sequence[str],
    labels: Collection[str],
    vocabulary: Collection[str],
) -> dict[str, float]:
    """Return the label words and words of instructions that clauses name, each 1 or -1."""
    known = {*LENGTH, *QUANTITY, *VARIETY, *BALANCE, *EXAMPLES, *INSTRUCTION}
    found: dict[str, float] = {}
    for clause in clauses:
        for at, word in enumerate(clause.words):
            if word.startswith(_PLACE):
                told = quoted[int(word.removeprefix(_PLACE))]
                parts = [f"{WORD}{part}" for part in words_of(told)]
                names = [f"{LABEL}{told}"] if told in labels else parts
            else:
                names = [f"{WORD}{word}"] if word in vocabulary and word not in known else []
            lessened = LESSENS.intersection(clause.words[:at])
            wanted = not (clause.is_denied or clause.is_unwanted or lessened)
            for name in names:
                found.setdefault(name, 1.0 if wanted else -1.0)
    return found


def _clauses(text: str, kind: Kind) -> tuple[list[_Clause], list[str]]:
    """Return the clauses of a remark, in order, and the texts in quotes, in small letters."""
    quoted: list[str] = []

    def taken_out(match: re.Match[str]) -> str:
        quoted.append((match[1] or match[2]).strip().lower())
        return f" {_PLACE}{len(quoted) - 1} "

    plain = _QUOTED.sub(taken_out, text.replace("’", "'").replace(_PLACE, " "))  # noqa: RUF001
    found = []
    for part in _CLAUSE_ENDS.split(plain):
        for place, half in enumerate(_CONTRAST.split(part)):
            words = re.findall(rf"{_PLACE}\d+|[^\W_]+(?:['-][^\W_]+)*", half.lower())
            is_denied = any(word in TURNS or word.endswith("n't") for word in words)
            is_too_much = kind == "imperative" and "too" in words
            if words:
                found.append(_Clause(words, is_denied, is_too_much, place > 0))
    return found, quoted
