"""GEPA on the bench's model, scores and ledger. It begins with the best of the starting prompts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gepa
import numpy as np
from gepa import EvaluationBatch

from evoprompt.policy import Policy
from evoprompt.records import Example
from experiments.benchmarks.search.adapter import Adapter, affordable
from experiments.benchmarks.search.ledger import Bench, SpentError

PART = "instruction"


@dataclass(frozen=True)
class Gepa:
    """GEPA with an instruction as its one component."""

    calibrated: bool

    def __call__(self, bench: Bench, seed: int) -> Policy:
        """Return the policy with the best mean fitness on all validation examples of its own."""
        adapter = Adapter(bench, seed, self.calibrated)
        starting = bench.task.starting
        number = affordable(bench, starting[0], adapter.examples, copies=len(starting))
        kept, rest = adapter.examples[:number], adapter.examples[number:]
        first = max(starting, key=lambda policy: adapter.mean(policy, kept))
        writer = _Writer(bench, random.Random(seed))
        with suppress(SpentError):
            gepa.optimize(
                seed_candidate={PART: first.instruction},
                trainset=list(rest),
                valset=list(kept),
                adapter=_Adapter(adapter),
                reflection_lm=writer,
                stop_callbacks=lambda _: writer.error is not None or bench.ledger.refused,
                seed=seed,
                logger=_Silent(),
                track_best_outputs=False,
            )
        if not isinstance(writer.error, SpentError | None):
            raise writer.error
        ids = {e.example_id for e in kept}
        whole = [p for p, seen in bench.measured.items() if ids <= set(seen)]
        return max(whole, key=lambda policy: adapter.mean(policy, kept))


class _Writer:
    """Writes instructions, and keeps the error that the package passes over."""

    def __init__(self, bench: Bench, rng: random.Random) -> None:
        self.bench, self.rng = bench, rng
        self.error: Exception | None = None

    def __call__(self, prompt: Any) -> str:
        try:
            return self.bench.write([str(prompt)], [self.rng.getrandbits(31)])[0]
        except Exception as error:
            self.error = error
            raise


class _Adapter:
    """Implements `gepa.GEPAAdapter`."""

    propose_new_texts = None

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter

    def evaluate(
        self, batch: Sequence[Example], candidate: Mapping[str, str], capture_traces: bool = False
    ) -> EvaluationBatch[Any, Any]:
        """Return the fitness of a candidate on each example."""
        policy = self.adapter.instructed(candidate[PART])
        fitness = self.adapter.fitness(policy, [e.input for e in batch])
        answers = (
            [self._answer(policy, e) for e in batch] if capture_traces else ["" for _ in batch]
        )
        traces = list(zip(batch, answers, fitness, strict=True)) if capture_traces else None
        return EvaluationBatch(outputs=answers, scores=fitness, trajectories=traces)

    def make_reflective_dataset(
        self,
        candidate: Mapping[str, str],
        eval_batch: EvaluationBatch[Any, Any],
        components_to_update: Sequence[str],
    ) -> dict[str, list[dict[str, str]]]:
        """Return what the model is told of each example."""
        told = [
            {
                "Inputs": example.input,
                "Generated Outputs": answer,
                "Feedback": f"The right answer is {example.target}. It got the probability "
                f"{fitness:.2f}.",
            }
            for example, answer, fitness in eval_batch.trajectories or []
        ]
        return dict.fromkeys(components_to_update, told)

    def _answer(self, policy: Policy, example: Example) -> str:
        """Return the likeliest choice; of an answer in free form nothing is known but its score."""
        bench = self.adapter.bench
        if example.choices is None or not bench.fits(policy, [example]):
            return ""
        return example.choices[int(np.argmax(bench.scores(policy, [example]).log_likelihood[0]))]


class _Silent:
    """Logs nothing."""

    def log(self, message: str) -> None:
        """Pass over a message."""
