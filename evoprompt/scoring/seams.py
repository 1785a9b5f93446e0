r"""Where a text can be cut so that its parts have the very tokens that they have in it: prompts
share most of their lines, and each line is then encoded once.

Tokens of a byte-pair vocabulary stay within the words that its pattern finds from left to right.
After a visible character and a line end, before a letter, all patterns of `PATTERNS` begin a word,
whatever stands on the other side: none goes on over a line end to a letter, and the one that looks
ahead, `\s+(?!\S)`, leaves a single line end where it is. Other tokenizers are not cut.
"""

from __future__ import annotations

import json
import re
from typing import Any

SEAM = re.compile(r"\n(?<=[!-~]\n)(?=[A-Za-z])")
_NUMBERS = (r"\p{N}", r"\p{N}{1,3}")
#: Of words, beside the one that byte-level vocabularies have by themselves: of Qwen and of Llama 3.
PATTERNS = frozenset(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
    + number
    + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    for number in _NUMBERS
)


def lines_of(text: str) -> list[str]:
    """Return the parts of a text between its seams; joined they are the text."""
    *before, last = SEAM.split(text)
    return [*(line + "\n" for line in before), last]


def can_be_cut(backend: Any) -> bool:
    """Return whether a tokenizer of `tokenizers` encodes the parts of `lines_of` as it encodes the
    whole.
    """
    found = json.loads(backend.to_str())
    model, added = found["model"], found["added_tokens"]
    return (
        model["type"] == "BPE"
        and not model.get("dropout")
        and not model.get("continuing_subword_prefix")
        and not model.get("end_of_word_suffix")
        and (found["normalizer"] or {"type": "NFC"})["type"] == "NFC"
        and _begins_a_word(found["pre_tokenizer"])
        # names of special ones are text like any other
        and not any(
            "\n" in token["content"] or token["lstrip"] or token["rstrip"]
            for token in added
            if not token["special"]
        )
    )


def _begins_a_word(steps: dict[str, Any] | None) -> bool:
    """Return whether these steps to words begin one at every seam."""
    if steps is None:
        return False
    *before, last = steps["pretokenizers"] if steps["type"] == "Sequence" else [steps]
    if last["type"] != "ByteLevel" or last["add_prefix_space"]:
        return False
    if last["use_regex"]:
        return all(step["type"] == "Digits" for step in before)
    return (
        len(before) == 1
        and before[0]["type"] == "Split"
        and before[0]["behavior"] == "Isolated"
        and not before[0]["invert"]
        and before[0]["pattern"].get("Regex") in PATTERNS
    )
