"""Norms and gates of a network on a GPU, compiled: one kernel where there were five to eight, so
fewer bytes are moved in long passes.

What an architecture computes there stays its own code. A network is tried before and after, and
stays as it was where it cannot be compiled or its logits change by more than the rounding of its
number type explains. Calls of few rows stay plain: a compiled call takes its caller longer than all
the launches that it spares.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from evoprompt.scoring.tree_mask import COMPILATIONS

logger = logging.getLogger(__name__)

#: Greatest difference of a logit from that of the plain modules, as a part of the greatest logit.
#: Compiled code rounds less often.
TOLERANCE = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
#: Tokens of the trial.
TRIAL = 300
#: Rows from which compiled modules are called. Writing, with 16 rows a step, had half the rate when
#: all calls were compiled.
LEAST_ROWS = 2048
#: Ends of the class names of what is compiled.
KINDS = ("RMSNorm", "MLP")


def fuse_modules(network: Any) -> int:
    """Compile the norms and gated layers of a network in place, and return how many; 0 where they
    stay as they were.
    """
    import torch

    modules = [m for m in network.modules() if type(m).__name__.endswith(KINDS)]
    if not modules:
        return 0
    torch._dynamo.config.recompile_limit = max(COMPILATIONS, torch._dynamo.config.recompile_limit)
    plain = _trial(torch, network)
    for module in modules:
        module.compile(dynamic=True)
    try:
        difference = float((_trial(torch, network) - plain).abs().max() / plain.abs().max())
        allowed = TOLERANCE[str(network.dtype).removeprefix("torch.")]
        reason = "" if difference <= allowed else f"logits change by {difference:.1g} in 1"
    except (RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
        reason = f"{type(error).__name__}: {str(error)[:120]}"
    if reason:
        logger.info("norms and gates stay plain (%s)", reason)
    for module in modules:  # torch offers no other way to compile some calls, nor back
        compiled = module._compiled_call_impl
        module._compiled_call_impl = None if reason else _by_length(compiled, module._call_impl)
    return 0 if reason else len(modules)


def _by_length(compiled: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """Return a call that is compiled for inputs of many rows, (batch, row, ...)."""

    def call(rows: Any, *others: Any, **named: Any) -> Any:
        return (compiled if rows.shape[:2].numel() >= LEAST_ROWS else plain)(rows, *others, **named)

    return call


def _trial(torch: Any, network: Any) -> Any:
    """Return the logits of a few tokens, (token, vocabulary)."""
    text = network.config.get_text_config()
    length = min(TRIAL, getattr(text, "max_position_embeddings", None) or TRIAL)
    tokens = torch.arange(length, device=network.device)[None] * 7 % int(text.vocab_size)
    with torch.inference_mode():
        return network(input_ids=tokens, use_cache=False).logits[0].float()
