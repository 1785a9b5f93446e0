"""What survival costs a generation of a large population: who survives, and how likely it was.

    python -m experiments.benchmarks.survival

Prints CPU seconds for schemes that draw survivors one after the other, on 100 examples: 200 of 400
births, and 400 of 800.
"""

from __future__ import annotations

import json
import time

import numpy as np

from evoprompt.config.evolution import SelectionConfig
from evoprompt.selection.base import Candidates
from evoprompt.selection.select import select_survivors, survival_probabilities

EXAMPLES = 100
SCHEMES = {
    "epsilon_lexicase": SelectionConfig(method="epsilon_lexicase"),
    "cold sus": SelectionConfig(method="sus", weights="boltzmann", temperature=0.01),
}


def main() -> None:
    rng = np.random.default_rng(0)
    for births in (400, 800):
        cases = rng.normal(size=(births, EXAMPLES)) + 0.3 * rng.normal(size=(births, 1))
        pool = Candidates(cases.mean(axis=1), cases, np.zeros(births))
        for name, scheme in SCHEMES.items():
            begun = time.process_time()
            select_survivors(pool, births // 2, scheme, rng)
            drawn = time.process_time()
            found = survival_probabilities(pool, births // 2, scheme, rng)
            told = {
                "scheme": name,
                "births": births,
                "survivors": births // 2,
                "drawing": round(drawn - begun, 3),
                "chances": round(time.process_time() - drawn, 3),
                "largest_standard_error": round(float(np.max(found.standard_error)), 3),
            }
            print(json.dumps(told))


if __name__ == "__main__":
    main()
