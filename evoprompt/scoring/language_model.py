"""What the scorer and the decoder ask of a language model, and nothing else: arrays in,
log-probabilities and logits out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evoprompt.errors import UserError

Ints = NDArray[np.int64]
Logits = NDArray[np.float32]

#: Passes are not made shorter than this when memory does not suffice.
LEAST_CHUNK = 8
#: Tokens of a pass on a device under a dense mask, which grows with their square.
DENSE_CHUNK = 4096
#: How architectures refuse masks, kept rows and states: each is a reason to take another way, never
#: the user's mistake.
REFUSALS = (
    TypeError,
    ValueError,
    RuntimeError,
    KeyError,
    AttributeError,
    IndexError,
    NotImplementedError,
)
#: What a user can do about NaN.
NOT_A_NUMBER = (
    "the model returned NaN as a log-probability; its weights or its number type are "
    "at fault: try model.dtype=float32, and check the model's files"
)


def check_tokens(vocabulary: int, sequences: Iterable[Sequence[int]]) -> None:
    """Raise a `UserError` where a token is none of the model's."""
    for tokens in sequences:
        for token in (min(tokens), max(tokens)):
            if not 0 <= token < vocabulary:
                raise UserError(
                    f"the token {token} is none of the {vocabulary} that the model reads "
                    f"(0 to {vocabulary - 1}); give a model folder with the tokenizer of its "
                    "weights"
                )


def check_window(window: int, length: int, what: str = "") -> None:
    """Raise a `UserError` where a prompt of this length, with what else is said, is too long."""
    if length > window:
        raise UserError(
            f"a prompt of {length} tokens{what} is longer than the model's window of {window}; "
            "nothing is ever cut off, "
            "so use shorter inputs, fewer demonstrations (evolution.max_demonstrations) or a "
            "model with a longer window"
        )


class OutOfMemoryError(RuntimeError):
    """The model's device has no memory for a pass."""


class Answers(Protocol):
    """What `RowScores` has. A device may still be computing it, which reading waits for."""

    @property
    def log_prob(self) -> NDArray[np.float64]:
        """Nats, shape (scored token,)."""

    @property
    def is_first(self) -> NDArray[np.bool_]:
        """The token is the model's first choice."""


@dataclass(frozen=True, slots=True)
class RowScores:
    """Log-probabilities at scored tokens."""

    log_prob: NDArray[np.float64]  #: nats, shape (scored token,)
    is_first: NDArray[np.bool_]  #: the token is the model's first choice


class LanguageModel(Protocol):
    """What the scorer and the decoder ask of a model. `lm.TransformersLM` is the implementation.

    `scored` are rows of what is forwarded and the tokens that they predict.
    """

    window: int  #: the longest sequence it reads, in tokens
    vocabulary: int
    dtype: str
    device: str
    #: lengths below the window past which it may compute otherwise: each is probed
    limits: tuple[int, ...]
    picks_positions: bool  #: queries attend to the best few positions, of which some may tie
    reads_ends: bool  #: the mask of a pass is made on its device
    #: long passes attend under block masks; the scorer turns that off where it is not exact
    block_masks: bool

    @property
    def arithmetic(self) -> str:
        """How products are computed; the last bits of a score depend on it."""

    @property
    def end_tokens(self) -> frozenset[int]:
        """The tokens that end a text."""

    def begin(self) -> None:
        """Forget all that is kept."""

    def forward(
        self,
        tokens: Ints,
        depth: Ints,
        past_depth: Ints,
        visible: NDArray[np.bool_] | Ints,
        scored: tuple[Ints, Ints],
        *,
        keep: bool,
    ) -> Answers:
        """Forward one packed pass after the kept rows; `visible` is `trie.visible`, or
        `trie.column_ends` for a model that `reads_ends`.
        """

    def forward_logits(
        self, tokens: Ints, depth: Ints, past_depth: Ints, visible: NDArray[np.bool_], rows: Ints
    ) -> Logits:
        """Forward and keep one packed pass after the kept rows; return the logits at these rows of
        it, (row, vocabulary), ascending.
        """

    def drop(self, num_rows: int) -> None:
        """Forget the last rows kept."""

    def take(self, num_rows: int) -> tuple[Any, int]:
        """Return a copy of the last rows kept, and its size in bytes."""

    def put(self, segments: Sequence[Any]) -> None:
        """Keep these rows, as `take` returned them, after those that are kept."""

    def grow(self, tokens: Ints, scored: tuple[Ints, Ints]) -> Answers:
        """Forward one sequence after the kept state, and keep the state after it on top."""

    def extend(self, tokens: Ints) -> Logits:
        """Forward one sequence after the state on top, which becomes the state after it; return the
        next token's logits, (vocabulary,).
        """

    def shrink(self) -> None:
        """Forget the state on top."""

    def branch(self, tokens: Ints, scored: tuple[Ints, Ints, Ints]) -> Answers:
        """Forward a batch, each from a copy of the state on top; tokens are (branch, row), `scored`
        are branches, rows and tokens.
        """

    def forward_plain(self, tokens: Ints, scored: tuple[Ints, Ints]) -> Answers:
        """Forward one whole sequence by itself: the reference that everything else is held
        against.
        """
