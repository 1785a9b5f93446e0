"""Every contender by its name. What needs packages of its own is imported where it is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from evoprompt.policy import Policy
from experiments.benchmarks.search.ledger import Bench
from experiments.benchmarks.search.ours import OURS

Contender = Callable[[Bench, int], Policy]

#: Published optimizers, and the same with calibrated fitness.
PEERS = ("evoprompt_ga", "evoprompt_de", "opro", "capo", "gepa")
CALIBRATED = tuple(f"{name}_calibrated" for name in PEERS)
#: The package's own search by its defaults; `evoprompt:NAME` is that of `configs/NAME.yaml`.
PRODUCT = "evoprompt"
NAMES = (*OURS, *PEERS, *CALIBRATED, PRODUCT)
CONFIGS = Path(__file__).parents[3] / "configs"


def contender(name: str, arguments: argparse.Namespace) -> Contender:
    """Return a contender: called with a bench and a seed, it returns the policy it would use."""
    if name.partition(":")[0] == PRODUCT:
        from experiments.benchmarks.search.product import LOGICAL, Product

        config = name.partition(":")[2]
        file = CONFIGS / f"{config}.yaml" if config else None
        unit = "prefill_tokens" if arguments.forwarded else LOGICAL
        return Product(arguments.out.parent / "runs", file, name, unit)
    if name not in NAMES:
        raise SystemExit(f"no contender {name!r}; there are {', '.join(NAMES)}")
    if arguments.forwarded:
        raise SystemExit(f"--forwarded is for evoprompt's own searches, not {name}: leave it out")
    if name in OURS:
        return OURS[name]
    base, calibrated = name.removesuffix("_calibrated"), name.endswith("_calibrated")
    if base == "gepa":
        from experiments.benchmarks.search.reflective import Gepa

        return Gepa(calibrated)
    from experiments.benchmarks.search.evolutionary import Evolutionary

    return Evolutionary(base, calibrated, arguments.de_template)
