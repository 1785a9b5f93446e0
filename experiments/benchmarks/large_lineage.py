"""What the page of a large lineage takes: by default a million births, 1,000 in each of 1,000
generations, as another program may have them.

    python -m experiments.benchmarks.large_lineage runs/million

Writes the lineage where it is not there yet, then its page; prints the page's size, CPU seconds and
the process's peak memory. Half of each generation survives; every child has one parent or two.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np

from evoprompt.jobs.evolve.folder import LINEAGE
from evoprompt.jobs.evolve.page import write_lineage_page
from experiments.benchmarks.dynamics import OPERATORS, next_births


def write_lineage(file: Path, births: int, generations: int, traits: int) -> None:
    """Write a lineage of arrays as lines."""
    rng, now, before = np.random.default_rng(0), None, None
    with file.open("w", encoding="utf-8") as stream:
        for number in range(generations):
            before, now = now, next_births(now, number, births, traits, rng)
            links: list[list[tuple[str, float]]] = [[] for _ in range(births)]
            for child, parent, share in zip(now.child, now.parent, now.share, strict=True):
                links[child].append((before.birth_ids[parent] if before else "", float(share)))
            for i, name in enumerate(now.birth_ids):
                # the same parent twice is one
                shares: dict[str, float] = {}
                for parent, share in links[i]:
                    shares[parent] = shares.get(parent, 0.0) + share
                row = {
                    "generation": number,
                    "birth_id": name,
                    "parent_ids": list(shares),
                    "shares": list(shares.values()),
                    "operator": OPERATORS[now.operator[i]],
                    "selected": bool(now.selected[i]),
                    "fitness": float(now.traits[i, 0]),
                    "traits": dict(zip(now.trait_names, now.traits[i].tolist(), strict=True)),
                }
                stream.write(json.dumps(row) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--births", type=int, default=1_000)
    parser.add_argument("--generations", type=int, default=1_000)
    parser.add_argument("--traits", type=int, default=5)
    arguments = parser.parse_args()
    file = arguments.folder / LINEAGE
    if not file.exists():
        arguments.folder.mkdir(parents=True)
        write_lineage(file, arguments.births, arguments.generations, arguments.traits)
    cpu, begun = time.process_time(), time.perf_counter()
    page = write_lineage_page(arguments.folder)
    told = {
        "lineage_mb": round(file.stat().st_size / 1e6, 1),
        "page_mb": round(page.stat().st_size / 1e6, 3),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "seconds": round(time.perf_counter() - begun, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
