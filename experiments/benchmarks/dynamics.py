"""What the analysis of a large lineage costs: by default 10,000 births a generation, 1,000
generations, 20 traits.

    python experiments/benchmarks/dynamics.py [--births N] [--generations N] [--traits N]

The births are drawn as arrays by this script, whose own time is told apart: a lineage in memory, as
another program has it. Half of each generation is selected by truncation; every child has one
parent or two and one of six operators. Prints seconds and the process's peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np

from evoprompt.dynamics.history import History
from evoprompt.dynamics.population import Births

OPERATORS = ("survive", "edit", "add", "drop", "change", "cross")


def next_births(
    before: Births | None, number: int, size: int, num_traits: int, rng: np.random.Generator
) -> Births:
    """Return the next generation: half of it survivors, the rest children of random pairs of the
    selected; the better half is selected.
    """
    if before is None:
        parents, child, share, operator = (
            np.zeros(0, int),
            np.zeros(0, int),
            np.zeros(0),
            np.zeros(size, dtype=np.int64),
        )
        traits = rng.normal(size=(size, num_traits))
    else:
        chosen = np.flatnonzero(before.selected)
        children = size - len(chosen)
        pairs = rng.choice(chosen, size=(children, 2))
        operator = np.concatenate(
            [np.zeros(len(chosen), dtype=np.int64), rng.integers(1, len(OPERATORS), size=children)]
        )
        parents = np.concatenate([chosen, pairs.reshape(-1)])
        child = np.concatenate([np.arange(len(chosen)), np.repeat(np.arange(len(chosen), size), 2)])
        share = np.concatenate([np.ones(len(chosen)), np.full(2 * children, 0.5)])
        inherited = before.traits[pairs].mean(axis=1) * 0.8 + 0.3 * rng.normal(
            size=(children, num_traits)
        )
        traits = np.concatenate([before.traits[chosen], inherited])
    selected = traits[:, 0] >= np.partition(traits[:, 0], size // 2)[size // 2]
    ids = tuple(f"{number}.{i}" for i in range(size))
    return Births(
        generation=number,
        birth_ids=ids,
        policy_ids=ids,
        island=np.zeros(size, dtype=np.int64),
        selected=selected,
        operator=operator,
        operator_names=OPERATORS,
        trait_names=("fitness", *(f"trait{i}" for i in range(1, num_traits))),
        traits=traits,
        child=child,
        parent=parents,
        share=share,
        selection_probability=np.where(selected, 1 / selected.sum(), np.nan),
        survival_probability=selected.astype(np.float64),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--births", type=int, default=10_000)
    parser.add_argument("--generations", type=int, default=1_000)
    parser.add_argument("--traits", type=int, default=20)
    arguments = parser.parse_args()
    rng, history, births = np.random.default_rng(0), History(), None
    made = analysed = 0.0
    residual = 0.0
    for number in range(arguments.generations):
        begun = time.perf_counter()
        births = next_births(births, number, arguments.births, arguments.traits, rng)
        made += (between := time.perf_counter()) - begun
        line = history.add(births)
        analysed += time.perf_counter() - between
        residual = max([residual, *(abs(account.residual) for account in line.price.values())])
    begun = time.perf_counter()
    history.summary()
    summed = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        json.dumps(
            vars(arguments)
            | {
                "making": made,
                "analysis": analysed,
                "summary": summed,
                "peak_gib": peak,
                "residual_max": residual,
            }
        )
    )


if __name__ == "__main__":
    main()
