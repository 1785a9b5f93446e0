"""How much likelier answers would become, to first order, where a token of the prompt stood in the
place of another.

With e_i the embedding at place i of what the model reads, and F = sum_r w_r l_r a weighted sum of
log-likelihoods, the gain of token v in the place of t_i is

    (E[v] - E[t_i]) . dF/de_i

which is exact for small steps; between two tokens it is a guess, to be scored. It says nothing of
a text of another number of tokens. The network is frozen: only the embeddings have a gradient.

Source: Ebrahimi et al. 2018 (HotFlip); Zou et al. 2023 (greedy coordinate gradient).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evoprompt.errors import UserError
from evoprompt.records import TokenCount
from evoprompt.scoring.language_model import (
    REFUSALS,
    Ints,
    LanguageModel,
    check_tokens,
    check_window,
)
from evoprompt.scoring.trie import TokenRequest, Tokens

#: Tokens of a forward that a forward and a backward pass cost: the backward is two products for
#: each of the forward's.
FORWARDS = 3


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is asked: the gain of each candidate at each place of weighted requests."""

    requests: tuple[TokenRequest, ...]
    weights: tuple[float, ...]  #: of each request's log-likelihood
    places: tuple[int, ...]  #: in the tokens with which all requests begin
    candidates: Tokens | None = None  #: None is every token of the model

    def __post_init__(self) -> None:
        first = self.requests[0].context
        if len(self.weights) != len(self.requests):
            raise ValueError(f"{len(self.requests)} requests have {len(self.weights)} weights")
        for place in self.places:
            if any(r.context[: place + 1] != first[: place + 1] for r in self.requests):
                raise ValueError(f"the requests do not begin with the same {place + 1} tokens")

    def part(self, which: Sequence[int]) -> Exchange:
        """Return the same of these requests alone; the gains of all parts add up to the whole."""
        return Exchange(
            tuple(self.requests[i] for i in which),
            tuple(self.weights[i] for i in which),
            self.places,
            self.candidates,
        )


@dataclass(frozen=True, slots=True)
class Gains:
    """What an exchange would gain, to first order."""

    gain: NDArray[np.float64]  #: nats, shape (place, candidate)
    count: TokenCount  #: a forward and a backward count as `FORWARDS` forwards

    def __add__(self, other: Gains) -> Gains:
        return Gains(self.gain + other.gain, self.count + other.count)


@runtime_checkable
class Differentiable(Protocol):
    """What is asked of a model beside scores; `lm.TransformersLM` has it."""

    network: Any  #: of torch

    def hidden(self, inputs: Any, needed: Ints) -> tuple[Any, Any, Any]:
        """Return what the body has at these rows, the head that makes logits of it, and the
        outputs.
        """


def exchange_gains(model: LanguageModel, asked: Exchange) -> Gains:
    """Return the first-order gains of an exchange; each distinct sequence is forwarded by itself.

    Raises:
        UserError: as `Scorer.score`, or the network has no gradient.
    """
    if not isinstance(model, Differentiable):
        raise UserError(f"{type(model).__name__} is no model that has a gradient to be asked for")
    check_window(model.window, max(len(r.fed) for r in asked.requests))
    check_tokens(model.vocabulary, (r.context + r.continuation for r in asked.requests))
    by_fed: dict[Tokens, list[int]] = {}
    for index, request in enumerate(asked.requests):
        by_fed.setdefault(request.fed, []).append(index)
    places = list(asked.places)
    slope = sum(
        input_gradient(model, asked.part(indices), fed)[places] for fed, indices in by_fed.items()
    )
    first = asked.requests[0].context
    now = embeddings(model, [first[place] for place in places])
    every = range(model.vocabulary) if asked.candidates is None else asked.candidates
    gain = slope @ embeddings(model, every).T - (slope * now).sum(axis=1, keepdims=True)
    body = FORWARDS * sum(map(len, by_fed))
    heads = FORWARDS * sum(len(asked.requests[i[0]].continuation) for i in by_fed.values())
    return Gains(
        gain, TokenCount(body, body, heads, heads, len(by_fed), requests=len(asked.requests))
    )


def embeddings(model: Differentiable, tokens: Sequence[int]) -> NDArray[np.float64]:
    """Return what the network reads for each token, shape (token, hidden)."""
    import torch

    table = model.network.get_input_embeddings()
    with torch.no_grad():
        rows = table(torch.tensor(list(tokens), dtype=torch.long, device=model.network.device))
    found: NDArray[np.float64] = rows.double().cpu().numpy()
    return found


def input_gradient(model: Differentiable, asked: Exchange, fed: Tokens) -> NDArray[np.float64]:
    """Return the gradient, by the embedding of each token of `fed`, of the weighted log-likelihoods
    of requests that all feed it; shape (token, hidden).
    """
    import torch

    rows = np.array([len(r.context) - 1 + k for r in asked.requests for k in _span(r)])
    targets = torch.tensor([t for r in asked.requests for t in r.continuation])
    weights = torch.tensor(
        [w for r, w in zip(asked.requests, asked.weights, strict=True) for _ in _span(r)]
    )
    needed, place = np.unique(rows, return_inverse=True)
    device = model.network.device
    inputs = {"input_ids": torch.tensor([fed], device=device), "use_cache": False}
    model.network.requires_grad_(requires_grad=False)
    with _leaf(model.network) as leaves:
        hidden, head, _ = model.hidden(inputs, needed)
        logs = head(hidden).float().log_softmax(-1)[torch.from_numpy(place).to(device)]
        value = (logs[torch.arange(len(targets)), targets.to(device)] * weights.to(device)).sum()
        value.backward()
    found: NDArray[np.float64] = leaves[0].grad[0].double().cpu().numpy()
    if np.isnan(found).any():
        raise UserError(
            "the gradient of the model is NaN; try model.dtype=float32, and check its files"
        )
    return found


@contextmanager
def _leaf(network: Any) -> Iterator[list[Any]]:
    """Have the embeddings of the next forward keep their gradient; they come in the list."""
    import torch

    leaves: list[Any] = []

    def take(_module: Any, _inputs: Any, output: Any) -> Any:
        leaves.append(output.detach().requires_grad_())
        return leaves[-1]

    hook = network.get_input_embeddings().register_forward_hook(take)
    try:
        with torch.enable_grad():
            yield leaves
    except (*REFUSALS, MemoryError) as error:
        raise UserError(
            "the model has no gradient by its embeddings here "
            f"({(str(error).splitlines() or [type(error).__name__])[0][:150]}); leave out what "
            "needs one, or use shorter prompts where it is memory that is missing"
        ) from None
    finally:
        hook.remove()


def _span(request: TokenRequest) -> range:
    return range(len(request.continuation))
