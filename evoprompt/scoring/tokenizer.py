"""Text -> token ids and back, by the tokenizer of a model folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Texts whose tokens are remembered: some broods of prompts with all their examples.
MEMO_TEXTS = 8192


class Tokenizer:
    """Text -> token ids, in batches; token ids -> text."""

    def __init__(self, folder: Path) -> None:
        self._fast: Any = None
        self._slow: Any = None
        settings = _read_json(folder / "tokenizer_config.json")
        if (folder / "tokenizer.json").exists() and settings.get(
            "tokenizer_class"
        ) == "TokenizersBackend":
            # This class says that tokenizer.json is the whole tokenizer; reading it alone spares
            # the 4 s import of transformers.
            from tokenizers import Tokenizer as Backend

            self._fast = Backend.from_file(str(folder / "tokenizer.json"))
            self._fast.no_padding()
            self._fast.no_truncation()
        else:
            from transformers import AutoTokenizer

            self._slow = AutoTokenizer.from_pretrained(folder)
        model = _read_json(folder / "config.json")
        model = model.get("text_config", model)
        begin = model.get("bos_token_id")
        self.begin_token: int = int(
            begin if begin is not None else _first(model.get("eos_token_id", 0))
        )
        #: Tokens with a line end in them, as byte-level vocabularies write it, as it is, and as a
        #: single byte.
        self.break_tokens = frozenset(
            i
            for t, i in (self._fast or self._slow).get_vocab().items()
            if any(n in t for n in ("\u010a", "\n", "<0x0A>"))
        )
        #: Tokens that are never text: beginnings, ends, the turns of a conversation.
        self.special_tokens = frozenset(self._special())
        self._containing = {"\n": self.break_tokens}
        self._memo: dict[tuple[str, bool], tuple[int, ...]] = {}

    def encode(
        self, texts: Sequence[str], *, add_special_tokens: bool = True
    ) -> list[tuple[int, ...]]:
        """Return the token ids of each text; each distinct text is encoded once, also across calls
        while it is remembered.
        """
        new = [t for t in dict.fromkeys(texts) if (t, add_special_tokens) not in self._memo]
        if self._fast is not None:
            ids = [
                tuple(e.ids)
                for e in self._fast.encode_batch_fast(new, add_special_tokens=add_special_tokens)
            ]
        else:
            ids = (
                [
                    tuple(i)
                    for i in self._slow(new, add_special_tokens=add_special_tokens)["input_ids"]
                ]
                if new
                else []
            )
        self._memo |= {(t, add_special_tokens): i for t, i in zip(new, ids, strict=True)}
        encoded = [self._memo[t, add_special_tokens] for t in texts]
        for old in list(self._memo)[: max(0, len(self._memo) - MEMO_TEXTS)]:
            del self._memo[old]
        return encoded

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, special ones left out. An unfinished character at the end is
        U+FFFD.
        """
        if self._fast is not None:
            return str(self._fast.decode(list(tokens), skip_special_tokens=True))
        return str(
            self._slow.decode(
                list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def tokens_with(self, text: str) -> frozenset[int]:
        """Return the tokens in whose own text this text stands."""
        if text not in self._containing:
            vocabulary = (self._fast or self._slow).get_vocab().values()
            self._containing[text] = frozenset(
                token for token in vocabulary if text in self.decode([token])
            )
        return self._containing[text]

    def _special(self) -> Sequence[int]:
        if self._fast is not None:
            return [
                i for i, token in self._fast.get_added_tokens_decoder().items() if token.special
            ]
        return [i for i, token in self._slow.added_tokens_decoder.items() if token.special]


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value
