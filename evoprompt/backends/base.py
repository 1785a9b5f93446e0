"""Who does the scoring and the writing: work units in, scores out, and prompts in, continuations
out, in this process or elsewhere.

A backend says what answers, brings its tokenizer, and opens an executor. A unit is scored, and a
group of prompts continued, by itself whoever gets it, so the result does not depend on how they are
spread.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.conversation import Prompt
from evoprompt.errors import UserError
from evoprompt.scoring.decoding import Decoded, Decoding
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.gradient import Exchange, Gains
from evoprompt.scoring.readout import Readout
from evoprompt.scoring.trie import Features, TokenRequest, Tokens


@dataclass(frozen=True, slots=True)
class WorkUnit:
    """Requests that share a prefix: all of one policy's."""

    key: Hashable  #: of whoever made it; scores come back by it
    requests: tuple[TokenRequest, ...]
    #: where the tokens that they share are cut into segments for the prefix store
    cuts: tuple[int, ...] = ()
    #: read beside them; a backend that cannot leaves `TokenScores.features` None
    features: Features | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Return it for another process: what all prompts begin with once, and each prompt once."""
        shared = self.cuts[-1] if self.cuts else 0
        contexts: dict[Tokens, int] = {}
        places = [contexts.setdefault(r.context[shared:], len(contexts)) for r in self.requests]
        ends = [r.continuation for r in self.requests]
        beginning = self.requests[0].context[:shared] if self.requests else ()
        parts = (beginning, list(contexts), places, ends)
        return _work_unit, (self.key, *parts, self.cuts, self.features)

    def beginnings(self) -> list[int]:
        """Return a hash of the requests' beginning up to each cut."""
        return [hash(self.requests[0].context[:cut]) for cut in self.cuts]


def _work_unit(
    key: Hashable,
    beginning: Tokens,
    contexts: Sequence[Tokens],
    places: Sequence[int],
    ends: Sequence[Tokens],
    cuts: tuple[int, ...],
    features: Features | None,
) -> WorkUnit:
    """Return the unit of `WorkUnit.__reduce__`."""
    whole = [beginning + own for own in contexts]
    requests = (TokenRequest(whole[at], end) for at, end in zip(places, ends, strict=True))
    return WorkUnit(key, tuple(requests), cuts, features)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the driver must know of the loaded model, and how it is scored."""

    window: int
    dtype: str
    path: str  #: `packed`, `branched` or `plain`
    reason: str
    num_workers: int
    placement: str  #: for people: where the workers run
    device: str
    chunk_tokens: int
    arithmetic: str  #: how products are computed; the last bits of a score depend on it


#: What workers have to have in common: the last bits of a score depend on it.
ALIKE = ("window", "dtype", "path", "arithmetic", "chunk_tokens", "device")


def agreed(told: Sequence[ModelInfo]) -> ModelInfo:
    """Return what all workers say of the model.

    Raises:
        UserError: one says something else than the first.
    """
    first = told[0]
    for number, other in enumerate(told[1:], 2):
        for name in ALIKE:
            ours, theirs = getattr(first, name), getattr(other, name)
            if ours != theirs:
                raise UserError(
                    f"worker {number} of {len(told)} would score otherwise than worker 1: its "
                    f"{name} is {theirs} and not {ours}; give workers of one kind, or set "
                    f"model.{name} where there is such a key, or use workers.count=1"
                )
    return first


@dataclass(frozen=True, slots=True)
class Identity:
    """What answers, as far as it is known before anything is loaded."""

    name: str  #: of the model, as the configuration has it
    place: str  #: the folder of its weights, or the address of who holds them
    fingerprint: str  #: changes with the weights, the configuration or the tokenizer

    def to_dict(self) -> dict[str, object]:
        """Return it as `provenance.json` has it."""
        return {"name": self.name, "folder": self.place, "fingerprint": self.fingerprint}


class Executor(Protocol):
    """Scores work units and continues prompts. Used by one thread."""

    def info(self) -> ModelInfo:
        """Wait until the model is loaded; return what is known of it."""

    def score(
        self, units: Sequence[WorkUnit], on_result: Callable[[Hashable, TokenScores], None]
    ) -> dict[Hashable, TokenScores]:
        """Return the scores by key; `on_result` is called as each is done."""

    def score_plain(self, requests: Sequence[TokenRequest]) -> TokenScores | None:
        """Return the scores of requests, in order, each sequence forwarded by itself: what the
        others are held against. None where there is no way but that of `score`.
        """

    def readout(self, contexts: Sequence[Tokens], top: int) -> Readout | None:
        """Return the `top` likeliest next tokens after each context, in order. None where a model
        cannot be asked for them.
        """

    def gains(self, asked: Exchange) -> Gains | None:
        """Return the first-order gains of an exchange of tokens. None where a model cannot be
        asked for its gradient.
        """

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        """Return what the model writes for each request, in order."""

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """Prefer to keep what was computed for the beginnings of these prompts."""

    def close(self) -> None:
        """Give everything back."""


class TextTokenizer(Protocol):
    """Text -> token ids and back. `scoring.tokenizer.Tokenizer` reads that of a model folder.

    One that encodes conversations too has an attribute `chat`, the model's
    `scoring.chat.ChatTemplate`; without it, or where it is None, it is given texts alone.
    """

    begin_token: int  #: what an empty prompt is
    break_tokens: frozenset[int]  #: those with a line end in them
    special_tokens: frozenset[int]  #: those that are never text

    def encode(
        self, texts: Sequence[Prompt], *, add_special_tokens: bool = True
    ) -> list[tuple[int, ...]]:
        """Return the token ids of each text."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, special ones left out."""

    def tokens_with(self, text: str) -> frozenset[int]:
        """Return the tokens in whose own text this text stands."""


class Backend(Protocol):
    """A way to have a model score and write. Holds no state; a new one is a file of this folder and
    a line in `open.BACKENDS`.
    """

    def identify(self, model: ModelConfig) -> Identity:
        """Return what answers. Weights that have to be fetched first are fetched here; nothing is
        loaded.

        Raises:
            UserError: there is no such model.
        """

    def tokenizer(self, identity: Identity) -> TextTokenizer:
        """Return the tokenizer of what answers."""

    def open(self, model: ModelConfig, workers: WorkersConfig) -> Executor:
        """Return an executor. The model may still be loading when this returns; `info` waits for
        it.

        Raises:
            UserError: more workers are asked for than there is room for, or the model cannot be
                loaded.
        """
