"""Text -> token ids and back, by the tokenizer of a model folder.

A text is only ever text: where the name of a control token is written in it (`<|im_end|>`), its
characters are encoded, so no example can end a turn or a prompt. Control tokens come from the
tokenizer's own template alone, and of that what it puts before a text: the begin token. What it
puts after a text (some add an end token) is left out, since a prompt goes on. A text that itself
begins with the name of the begin token that the template adds has that token once, as in the LM
Evaluation Harness.

A conversation has the tokens that the model's chat template writes: those of its control tokens,
and of what is said the tokens of a text (`scoring.chat_tokens`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

from evoprompt.conversation import Conversation, Prompt
from evoprompt.errors import UserError
from evoprompt.scoring.chat import ChatTemplate, read_template
from evoprompt.scoring.chat_tokens import ChatTokens, control_names
from evoprompt.scoring.seams import can_be_cut, lines_of

#: Texts whose tokens are remembered: some broods of prompts with all their examples.
MEMO_TEXTS = 8192
#: Names of control tokens, also where a tokenizer does not mark them as such.
CONTROL = re.compile(r"<[|\uff5c].*[|\uff5c]>")


class Tokenizer:
    """Text -> token ids, in batches; token ids -> text.

    Raises:
        UserError: the folder has no tokenizer that can be read, or one that is not of its weights.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fast: Any = None
        self._slow: Any = None
        settings = _read_json(folder / "tokenizer_config.json")
        model = _read_json(folder / "config.json")
        try:
            self._load(settings)
        except Exception as error:  # noqa: BLE001  a folder may hold anything, and break any reader
            raise UserError(
                f"cannot read a tokenizer from the model folder {folder} ({_reason(error)}); give "
                "a folder with the files of its tokenizer, as save_pretrained writes it"
            ) from None
        text = model.get("text_config")
        text = {**model, **text} if isinstance(text, dict) else model
        self.begin_token = self._begin(settings, (text, model))
        self._size = _size_of(folder, text.get("vocab_size"))
        self._check_vocabulary()
        #: Tokens with a line end in them, as byte-level vocabularies write it, as it is, and as a
        #: single byte.
        self.break_tokens = frozenset(
            i
            for t, i in self._vocabulary().items()
            if any(n in t for n in ("\u010a", "\n", "<0x0A>"))
        )
        #: Tokens that are never text: beginnings, ends, the turns of a conversation.
        self.special_tokens = frozenset(self._special())
        self._containing = {"\n": self.break_tokens}
        self._memo: dict[tuple[Prompt, bool], tuple[int, ...]] = {}
        self._lines: dict[str, tuple[int, ...]] = {}  # of texts that can be cut
        self._settings = settings
        self._before, self._after = self._template()

    @cached_property
    def chat(self) -> ChatTemplate | None:
        """The model's chat template; None where it has none.

        Raises:
            UserError: it cannot be used.
        """
        source = read_template(self._folder, self._settings)
        if source is None:
            return None
        return ChatTemplate(source, self._named(), control_names(self._backend, source))

    @cached_property
    def _chat_tokens(self) -> ChatTokens:
        if self.chat is None:
            raise UserError(
                f"the model in {self._folder} has no chat template (chat_template.jinja); set "
                "model.chat=off, or give a model that has one"
            )
        return ChatTokens(self._backend, self.chat)

    @property
    def _backend(self) -> Any:
        backend: Any = self._fast or getattr(self._slow, "backend_tokenizer", None)
        if backend is None:
            raise UserError(
                f"the tokenizer in {self._folder} cannot tell a control token from its name in a "
                "text, which chats need; set model.chat=off, or give one with a tokenizer.json"
            )
        return backend

    def _named(self) -> dict[str, Any]:
        """Return what a chat template may read: the names of special tokens."""
        if self._slow is not None:
            return dict(self._slow.special_tokens_map)
        found = {k: v for k, v in self._settings.items() if k.endswith("_token")}
        names = {k: v.get("content") if isinstance(v, dict) else v for k, v in found.items()}
        return {k: v for k, v in names.items() if isinstance(v, str)}

    def encode(
        self, texts: Sequence[Prompt], *, add_special_tokens: bool = True
    ) -> list[tuple[int, ...]]:
        """Return the token ids of each text or conversation; each distinct one is encoded once,
        also across calls while it is remembered.

        Args:
            texts: any.
            add_special_tokens: with what the tokenizer puts before a text; a conversation has what
                its template writes.

        Raises:
            UserError: a text has a token that the model does not have, or a control token that this
                tokenizer cannot write as text; as of `ChatTemplate.pieces`.
        """
        chats = [
            t
            for t in dict.fromkeys(texts)
            if isinstance(t, Conversation) and (t, add_special_tokens) not in self._memo
        ]
        for chat, ids in zip(chats, self._chat_tokens.encode(chats) if chats else (), strict=True):
            self._check_size(str(chat), ids)
            self._memo[chat, add_special_tokens] = ids
        new = [
            t
            for t in dict.fromkeys(texts)
            if isinstance(t, str) and (t, add_special_tokens) not in self._memo
        ]
        before = self._before if add_special_tokens else ()
        name = self._name(before[-1]) if before else ""
        bare = [t.removeprefix(name) if name else t for t in new]
        for text, ids in zip(new, self._bare_ids(bare), strict=True):
            self._check(text, ids)
            self._memo[text, add_special_tokens] = (*before, *ids)
        encoded = [self._memo[t, add_special_tokens] for t in texts]
        _forget(self._memo)
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
            self._containing[text] = frozenset(
                token for token, own in self._token_texts.items() if text in own
            )
        return self._containing[text]

    @cached_property
    def _token_texts(self) -> dict[int, str]:
        """What each token of the vocabulary is by itself, by number."""
        tokens = list(self._vocabulary().values())
        if self._fast is None:
            return {token: self.decode([token]) for token in tokens}
        texts = self._fast.decode_batch([[token] for token in tokens], skip_special_tokens=True)
        return dict(zip(tokens, texts, strict=True))

    def _name(self, token: int) -> str:
        """Return the name of a token, as the vocabulary has it."""
        if self._fast is not None:
            return str(self._fast.id_to_token(token) or "")
        return str(self._slow.convert_ids_to_tokens(token) or "")

    def _load(self, settings: dict[str, Any]) -> None:
        if (self._folder / "tokenizer.json").exists() and settings.get(
            "tokenizer_class"
        ) == "TokenizersBackend":
            # This class says that tokenizer.json is the whole tokenizer; reading it alone spares
            # the 4 s import of transformers.
            from tokenizers import Tokenizer as Backend

            self._fast = Backend.from_file(str(self._folder / "tokenizer.json"))
        else:
            from transformers import AutoTokenizer

            self._slow = AutoTokenizer.from_pretrained(self._folder, trust_remote_code=False)
        backend: Any = self._fast or getattr(self._slow, "backend_tokenizer", None)
        if backend is None:
            return
        backend.no_padding()
        backend.no_truncation()
        backend.add_special_tokens(
            [
                _as_control(token)
                for token in backend.get_added_tokens_decoder().values()
                if CONTROL.fullmatch(token.content) and not token.special
            ]
        )
        backend.encode_special_tokens = True

    @cached_property
    def _can_be_cut(self) -> bool:
        backend: Any = self._fast or getattr(self._slow, "backend_tokenizer", None)
        return backend is not None and can_be_cut(backend)

    def _bare_ids(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the ids of texts alone; lines that several of them have are encoded once."""
        if not texts or not self._can_be_cut:
            return self._ids(texts, add_special_tokens=False)
        cut = [lines_of(text) for text in texts]
        new = [line for line in dict.fromkeys(chain(*cut)) if line not in self._lines]
        found = self._ids(new, add_special_tokens=False)
        self._lines.update(zip(new, found, strict=True))
        whole = [tuple(chain.from_iterable(map(self._lines.__getitem__, lines))) for lines in cut]
        _forget(self._lines)
        return whole

    def _ids(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[tuple[int, ...]]:
        if not texts:
            return []
        if self._fast is not None:
            found = self._fast.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)
            return [tuple(e.ids) for e in found]
        found = self._slow(
            list(texts), add_special_tokens=add_special_tokens, split_special_tokens=True
        )
        return [tuple(ids) for ids in found["input_ids"]]

    def _template(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return what the tokenizer puts before a text and after it."""
        [whole], [bare] = (self._ids(["a"], add_special_tokens=add) for add in (True, False))
        for start in range(len(whole) - len(bare) + 1):
            if whole[start : start + len(bare)] == bare:
                return whole[:start], whole[start + len(bare) :]
        return (), ()

    def _check_size(self, text: str, ids: Sequence[int]) -> None:
        if ids and max(ids) >= self._size:
            raise UserError(
                f"the text {_shown(text)!r} has the token {self._name(max(ids))!r} ({max(ids)}), "
                f"beyond the {self._size} of the model in {self._folder}: its tokenizer is not of "
                "its weights"
            )

    def _check(self, text: str, ids: Sequence[int]) -> None:
        self._check_size(text, ids)
        # others are what the text is made of: bytes, or what the vocabulary does not have
        names = [self._name(token) for token in self.special_tokens.intersection(ids)]
        if written := [name for name in names if name and name in text]:
            raise UserError(
                f"the text {_shown(text)!r} has the control token {min(written)!r}, which the "
                f"tokenizer in {self._folder} cannot write as text; take it out"
            )

    def _check_vocabulary(self) -> None:
        """Refuse a vocabulary that goes beyond the model's; tokens added to it need not be used."""
        backend: Any = self._fast or getattr(self._slow, "backend_tokenizer", None)
        if backend is None:
            added = set(self._slow.added_tokens_decoder)
            own = [i for i in self._vocabulary().values() if i not in added]
        else:
            own = list(backend.get_vocab(with_added_tokens=False).values())
        if own and max(own) >= self._size:
            raise UserError(
                f"the tokenizer in the model folder {self._folder} has tokens up to {max(own)}, "
                f"and the model reads {self._size}: it is not the tokenizer of these weights; give "
                "a folder with both of one model"
            )

    def _begin(self, settings: dict[str, Any], configs: Sequence[dict[str, Any]]) -> int:
        """Return the tokenizer's begin token, else its end token, else those of the model."""
        for key in ("bos_token", "eos_token"):
            name = settings.get(key) if self._slow is None else getattr(self._slow, key, None)
            name = name.get("content") if isinstance(name, dict) else name
            token = self._id_of(name) if isinstance(name, str) else None
            if token is not None:
                return token
        for key in ("bos_token_id", "eos_token_id"):
            for config in configs:
                value = config.get(key)
                value = value[0] if isinstance(value, list) and value else value
                if isinstance(value, int) and not isinstance(value, bool):
                    return value
        raise UserError(
            f"the model folder {self._folder} names no token that begins or ends a text; name one "
            "as bos_token in its tokenizer_config.json"
        )

    def _id_of(self, name: str) -> int | None:
        found = self._vocabulary().get(name)
        return None if found is None else int(found)

    def _vocabulary(self) -> dict[str, int]:
        """Return the tokens of all names."""
        found: dict[str, int] = (self._slow if self._fast is None else self._fast).get_vocab()
        return found

    def _special(self) -> Sequence[int]:
        if self._fast is not None:
            return [
                i for i, token in self._fast.get_added_tokens_decoder().items() if token.special
            ]
        return [i for i, token in self._slow.added_tokens_decoder.items() if token.special]


def _forget(memo: dict[Any, tuple[int, ...]]) -> None:
    """Forget the oldest of what is remembered, but for `MEMO_TEXTS`."""
    for old in list(islice(memo, max(0, len(memo) - MEMO_TEXTS))):
        del memo[old]


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _as_control(token: Any) -> Any:
    token.special = True
    return token


def _size_of(folder: Path, named: object) -> int:
    """Return how many tokens the model of a folder reads: as its configuration says, or means."""
    if isinstance(named, int):
        return named
    from transformers import AutoConfig

    try:
        text = AutoConfig.from_pretrained(folder, trust_remote_code=False).get_text_config()
        return int(text.vocab_size)
    except Exception as error:  # noqa: BLE001  a folder may hold anything, and break any reader
        raise UserError(
            f"{folder / 'config.json'} does not say how many tokens the model reads "
            f"({_reason(error)}); give the folder of a whole model, with vocab_size in its "
            "configuration"
        ) from None


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:150]}"


def _read_json(path: Path) -> dict[str, Any]:
    """Return an object from a file, or nothing where there is no file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {path} ({str(error).splitlines()[0][:120]}); give the folder of a whole "
            "model"
        ) from None
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no JSON object; give the folder of a whole model")
    return found
