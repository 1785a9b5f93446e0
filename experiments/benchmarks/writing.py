"""What operators give whose instructions a model writes: how much of it is of no use, and how many
children are better than the best of their parents, on the same examples.

    python experiments/benchmarks/writing.py --out runs/writing.jsonl
    python experiments/benchmarks/writing.py --model PATH --operators instruction_mutate --draws 50

Parents are different starting prompts of the task that have an instruction. A draw is of no use
where the operator makes no child: nothing whole was written, it was cleaned away, or it reads as a
parent's instruction does. Edits without a model stand beside them. Prints a table; `--out` gets a
line for each draw.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from evoprompt.evolution.experience import history_of, mistakes_of
from evoprompt.jobs.evolve.build import Parts, build
from evoprompt.jobs.evolve.config import check_config
from evoprompt.policy import Policy
from evoprompt.records import Materials, TokenCount
from evoprompt.stats.resampling import wilson_interval
from evoprompt.tasks.render import render_prompt
from evoprompt.variation.base import policy_of

WRITTEN = (
    *("instruction_paraphrase", "instruction_crossover", "instruction_difference"),
    *("instruction_induce", "instruction_from_history", "instruction_mutate"),
    "instruction_reflect",
)
EDITS = ("instruction_insert", "instruction_replace", "instruction_delete", "demonstration_add")


def main() -> None:
    """Draw, score, print."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        parts = build(check_config(_values(arguments), "writing"), Path(folder))
        try:
            lines = _measure(parts, arguments)
        finally:
            parts.close()
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(table(lines, arguments.operators))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--writer", help="another model that writes")
    parser.add_argument("--task", default="inbox")
    parser.add_argument("--operators", nargs="+", default=[*WRITTEN, *EDITS])
    parser.add_argument("--draws", type=int, default=24, help="of each operator")
    parser.add_argument("--scored", type=int, default=12, help="children of each operator, at most")
    parser.add_argument("--examples", type=int, default=24, help="that they are scored on")
    parser.add_argument("--calibration", default="batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _values(arguments: argparse.Namespace) -> dict[str, Any]:
    operators = dict.fromkeys(arguments.operators, 1)
    return {
        "seed": arguments.seed,
        "model": {"name": arguments.model},
        "writer": {"model": arguments.writer},
        "task": {"name": arguments.task, "fitness_examples": arguments.examples},
        "fitness": {"calibration": arguments.calibration},
        "evolution": {
            "other_operators": "none",
            "operators": operators,
        },
        "workers": {"backend": "local", "threads": 1},
        "tracking": {"enabled": False},
    }


def _measure(parts: Parts, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a line for each draw."""
    founders = parts.task.starting_policies
    fitness, materials = _founded(parts, founders)
    pool = [p for p in founders if p.instruction]
    lines, children = [], []
    for number, name in enumerate(arguments.operators):
        operator, scored = parts.strategy.operators[name], 0
        for draw in range(arguments.draws):
            rng = np.random.default_rng([arguments.seed, number, draw])
            size = operator.num_parents
            drawn = rng.choice(len(pool), size=size, replace=size > len(pool))
            parents = [pool[int(i)] for i in drawn]
            child = policy_of(operator.apply(parents, materials, rng))
            best = max(fitness[p.policy_id] for p in parents)
            line = {"operator": name, "draw": draw, "parent_fitness": best, "child": None}
            if child is not None:
                line["child"] = render_prompt(child)
                line["instruction"] = child.instruction
                if scored < arguments.scored and parts.costs.fits(child):
                    scored += 1
                    children.append((line, child))
            lines.append(line)
    count = TokenCount() if parts.author is None else parts.author.take_count()
    print(f"written: {count.body_tokens + count.generated_tokens:,} tokens")
    scores = _fitness(parts, [child for _, child in children])
    for line, child in children:
        line["fitness"] = scores[child.policy_id]
    return lines


def _founded(parts: Parts, founders: Sequence[Policy]) -> tuple[dict[str, float], Materials]:
    """Return the fitness of the starting prompts, and what is known of them."""
    measured = parts.measurer.measure(
        founders, parts.task.fitness, lambda _: None, lambda _: nullcontext()
    )
    parts.calibrator.settle([scores for scores, _ in measured.values()])
    found = {p: parts.interpret(p, measured[p.policy_id][0])[0] for p in founders}
    examples = {e.example_id: e for e in parts.task.fitness}
    mistakes = [
        mistakes_of(p, parts.calibrator.left_out(measured[p.policy_id][0]), examples)
        for p in founders
    ]
    materials = replace(
        parts.strategy.materials,
        history=history_of(found.items()),
        mistakes=tuple(m for each in mistakes for m in each),
    )
    return {p.policy_id: e.fitness for p, e in found.items()}, materials


def _fitness(parts: Parts, policies: Sequence[Policy]) -> dict[str, float]:
    measured = parts.measurer.measure(
        list(dict.fromkeys(policies)),
        parts.task.fitness,
        lambda _: None,
        lambda _: nullcontext(),
    )
    print(f"scored: {sum(c.body_tokens for _, c in measured.values()):,} tokens")
    return {p.policy_id: parts.interpret(p, measured[p.policy_id][0])[0].fitness for p in policies}


def table(lines: Sequence[dict[str, Any]], operators: Sequence[str]) -> str:
    """Return what each operator gave: draws without a child, children scored, those better than
    their best parent with a 95 % interval, and by how much children differ from it, nats.
    """
    rows = [f"{'operator':<26}{'no use':>8}{'scored':>8}{'better':>8}{'95 %':>16}{'nats':>16}"]
    for name in operators:
        own = [line for line in lines if line["operator"] == name]
        gains = [line["fitness"] - line["parent_fitness"] for line in own if "fitness" in line]
        none = sum(line["child"] is None for line in own) / len(own)
        row = f"{name:<26}{none:>8.2f}{len(gains):>8}"
        if gains:
            better = sum(gain > 0 for gain in gains)
            low, high = wilson_interval(better, len(gains), 0.05)
            error = np.std(gains, ddof=1) / sqrt(len(gains)) if len(gains) > 1 else float("nan")
            interval, nats = f"{low:.2f} to {high:.2f}", f"{np.mean(gains):+.3f} +- {error:.3f}"
            row += f"{better / len(gains):>8.2f}{interval:>16}{nats:>16}"
        rows.append(row)
    return "\n".join(rows)


if __name__ == "__main__":
    main()
