"""Weights of linear layers in the blocked layout of oneDNN: the same products on a CPU, faster the
fewer rows a pass has.

PyTorch has the operator but no public module for it, and some architectures read the weights of
their layers themselves: so a network is tried with packed layers, and keeps its plain ones where it
cannot be computed with them.
"""

from __future__ import annotations

import logging
from typing import Any

logger = logging.getLogger(__name__)

#: Greatest difference of a logit from that of the plain layers, as a part of the greatest logit:
#: the order of summation.
TOLERANCE = 1e-4
#: Tokens of the trial.
TRIAL = 8


def pack_linear_layers(network: Any) -> int:
    """Replace the float32 linear layers of a network on the CPU by packed ones, and return how
    many; their plain weights are given up.

    A layer whose weight is used elsewhere too (a vocabulary head tied to the embedding) stays
    plain. All stay plain, and 0 is returned, where this build of torch lacks the operator, the
    architecture does without its layers' own forward, or the logits of a trial change by more than
    `TOLERANCE`.
    """
    import torch

    places = _places(torch, network)
    if not places:
        return 0
    plain = _trial(torch, network)
    try:
        for parent, name, layer in places:
            setattr(parent, name, _packed_class(torch)(layer))
        difference = float((_trial(torch, network) - plain).abs().max() / plain.abs().max())
        reason = (
            "" if difference <= TOLERANCE else f"logits change by {difference:.1g} of the greatest"
        )
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
    """Return the logits of a few tokens, (token, vocabulary)."""
    tokens = torch.arange(TRIAL)[None] % int(network.config.get_text_config().vocab_size)
    with torch.inference_mode():
        return network(input_ids=tokens, use_cache=False).logits[0]


def _packed_class(torch: Any) -> Any:
    """Return the module class of packed linear layers (torch is imported with the model only)."""

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
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    return PackedLinear
