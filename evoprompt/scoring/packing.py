"""Weights of linear layers in the blocked layout of oneDNN: the same products on a CPU, faster the
fewer rows a pass has.

PyTorch has the operator but no public module for it, and some architectures read the weights of
their layers themselves: so a network is tried with packed layers, and keeps its plain ones where it
cannot be computed with them.
"""

from __future__ import annotations

import logging
from typing import Any

from evoprompt.scoring.probe import PROBE_TOLERANCE
from evoprompt.scoring.weights import vocabulary_of, window_of
from evoprompt.seeding import Stream, generator

logger = logging.getLogger(__name__)

#: A log-probability may differ from that of the plain layers by so many nats plus so many parts of
#: it: the order of summation.
ABSOLUTE, RELATIVE = PROBE_TOLERANCE["float32"]
#: Tokens of the trial, and of that of a network with a state, where rounding goes on from token to
#: token and grows.
TRIAL, STATE_TRIAL = 8, 160


def pack_linear_layers(network: Any) -> int:
    """Replace the float32 linear layers of a network on the CPU by packed ones, and return how
    many; their plain weights are given up.

    A layer whose weight is used elsewhere too (a vocabulary head tied to the embedding) stays
    plain. All stay plain, and 0 is returned, where this build of torch lacks the operator, the
    architecture does without its layers' own forward, or the log-probabilities of a trial change by
    more than `ABSOLUTE` and `RELATIVE` allow.
    """
    import torch

    places = _places(torch, network)
    if not places:
        return 0
    plain = _trial(torch, network)
    try:
        for parent, name, layer in places:
            setattr(parent, name, _packed_class(torch)(layer))
        difference = (_trial(torch, network) - plain).abs()
        is_right = bool((difference <= ABSOLUTE + RELATIVE * plain.abs()).all())
        reason = "" if is_right else f"scores change by {float(difference.max()):.1g} nats"
    except (AttributeError, RuntimeError, NotImplementedError, TypeError) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
    if not reason:
        return len(places)
    logger.info("linear layers stay plain (%s)", reason)
    for parent, name, layer in places:
        setattr(parent, name, layer)
    return 0


def _places(torch: Any, network: Any) -> list[tuple[Any, str, Any]]:
    """Return parent, name and layer of each linear layer that owns its weight alone."""
    uses: dict[int, int] = {}
    for module in network.modules():
        for weight in module.parameters(recurse=False):
            uses[id(weight)] = uses.get(id(weight), 0) + 1
    return [
        (parent, name, layer)
        for parent in network.modules()
        for name, layer in parent.named_children()
        if type(layer) is torch.nn.Linear
        and layer.weight.dtype == torch.float32
        and uses[id(layer.weight)] == 1
    ]


def _trial(torch: Any, network: Any) -> Any:
    """Return the log-probabilities after a few tokens, (token, vocabulary)."""
    has_state = any(isinstance(module, torch.nn.Conv1d) for module in network.modules())
    length = min(STATE_TRIAL if has_state else TRIAL, window_of(network.config.get_text_config()))
    tokens = torch.from_numpy(
        generator(0, Stream.PROBE, 3).integers(0, vocabulary_of(network), size=(1, length))
    )
    with torch.inference_mode():
        logits = network(input_ids=tokens, use_cache=False).logits[0]
        return logits.double().log_softmax(-1)


def _packed_class(torch: Any) -> Any:
    """Return the module class of packed linear layers (torch is imported with the model only)."""

    class Product(torch.autograd.Function):  # type: ignore[misc]
        """y = x W' + b with a frozen W: the operator by itself would have no gradient, silently."""

        @staticmethod
        def forward(context: Any, x: Any, weight: Any, bias: Any) -> Any:
            context.weight = weight
            return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")

        @staticmethod
        def backward(context: Any, gradient: Any) -> tuple[Any, None, None]:
            return gradient @ context.weight.to_dense(), None, None

    class PackedLinear(torch.nn.Module):  # type: ignore[misc]
        """y = x W' + b, with W packed; x is (..., in_features). Its weight is no parameter: it
        cannot be saved or trained.
        """

        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.in_features, self.out_features, self.bias = (
                layer.in_features,
                layer.out_features,
                layer.bias,
            )
            self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.data)

        def forward(self, x: Any) -> Any:
            if x.requires_grad:
                return Product.apply(x, self.weight, self.bias)
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    return PackedLinear
