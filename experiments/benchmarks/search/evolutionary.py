"""EvoPrompt's GA and DE, OPRO and CAPO by promptolution, on the bench's model, scores and ledger.

What the package does otherwise than the papers is set right where it can be: DE is asked with the
original text in four steps (a file; the package's own leaves the best prompt out), OPRO is told the
task, CAPO draws demonstrations from the pool that all contenders have, and the generators that the
optimizers share are seeded. Fitness is the probability of the right answer among the choices, in
[0, 1], which wheels and scores out of 100 need.

All but CAPO keep the best of what they measure, on the same examples, so the best of all that was
measured is taken, of a step that the budget broke off too; of CAPO the first of its last whole
race.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from promptolution.llms.base_llm import BaseLLM
from promptolution.optimizers import CAPO, OPRO, EvoPromptDE, EvoPromptGA
from promptolution.predictors.base_predictor import BasePredictor
from promptolution.tasks import ClassificationTask
from promptolution.utils.prompt import Prompt
from promptolution.utils.templates import OPRO_TEMPLATE_TD

from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Example
from experiments.benchmarks.search.adapter import Adapter, affordable
from experiments.benchmarks.search.ledger import WRITTEN_TOKENS, Bench, SpentError

# the package logs what it passes over, such as the end of the budget; `_Steps` keeps it
logging.getLogger("promptolution").setLevel(logging.CRITICAL)

#: CAPO's children of a step, most demonstrations, and the sizes of a block of examples.
CROSSOVERS, SHOTS, BLOCKS = 4, 5, (16, 8, 4)
#: Of a text in four steps, at the end of which DE's prompt stands: at most so many tokens.
STEPS_TOKENS = 256


@dataclass(frozen=True)
class Evolutionary:
    """One of promptolution's optimizers."""

    name: str
    calibrated: bool
    de_template: Path | None = None

    def __call__(self, bench: Bench, seed: int) -> Policy:
        """Return the best policy that was found."""
        random.seed(seed)
        np.random.seed(seed)
        adapter = Adapter(bench, seed, self.calibrated)
        tokens = STEPS_TOKENS if self.name == "evoprompt_de" else WRITTEN_TOKENS
        scorer = _Scorer(_Writer(bench, tokens), adapter)
        optimizer = self._optimizer(bench, scorer, seed)
        steps = _Steps(optimizer)
        prompts: list[Prompt] = []
        with suppress(SpentError):  # before the first step; the package passes over later ones
            prompts = optimizer.optimize(n_steps=10**6)
        if not isinstance(steps.error, SpentError | None):
            raise steps.error
        if self.name == "capo" and steps.done:
            return scorer.policy(str(prompts[0]))
        return adapter.best_measured()

    def _optimizer(self, bench: Bench, scorer: _Scorer, seed: int) -> Any:
        """Return the optimizer; how many examples it has follows from the budget."""
        adapter, starting = scorer.adapter, bench.task.starting
        if self.name == "capo":
            shown = adapter.with_demonstrations(SHOTS // 2)
            size = affordable(bench, shown, adapter.examples, BLOCKS, CROSSOVERS + len(starting))
            examples, strategy = adapter.examples, "sequential_block"
        else:
            size = affordable(bench, starting[0], adapter.examples, copies=len(starting))
            examples, strategy = adapter.examples[:size], "full"
        task = _Task(
            _frame(examples),
            task_description=bench.task.description,
            n_subsamples=size,
            eval_strategy=strategy,
            seed=seed,
        )
        parts: dict[str, Any] = {
            "predictor": scorer,
            "task": task,
            "meta_llm": scorer.llm,
            "initial_prompts": [p.instruction for p in starting],
        }
        if self.name == "evoprompt_ga":
            return EvoPromptGA(**parts)
        if self.name == "evoprompt_de":
            if self.de_template is None:
                raise SystemExit("EvoPrompt's DE needs its text: give --de-template FILE")
            return EvoPromptDE(**parts, prompt_template=self.de_template.read_text())
        if self.name == "opro":
            return OPRO(**parts, prompt_template=OPRO_TEMPLATE_TD)
        return CAPO(
            **parts,
            crossovers_per_iter=CROSSOVERS,
            upper_shots=SHOTS,
            create_fs_reasoning=False,
            check_fs_accuracy=False,
            df_few_shots=_frame(bench.task.task.pool),
        )


class _Writer(BaseLLM):
    """The bench's model as promptolution asks it to write."""

    def __init__(self, bench: Bench, max_tokens: int) -> None:
        super().__init__()
        self.bench, self.max_tokens = bench, max_tokens
        self.tokenizer = self  # counts the lengths that CAPO penalises

    def encode(self, text: str) -> Sequence[int]:
        """Return the tokens of a text."""
        return self.bench.model.tokenizer.encode([text])[0]

    def set_generation_seed(self, seed: int) -> None:
        """Draws follow from the generator that is seeded for the run."""

    def _get_response(self, prompts: list[str], system_prompts: list[str]) -> list[str]:
        seeds = [random.getrandbits(31) for _ in prompts]
        return self.bench.write(prompts, seeds, system_prompts[0], self.max_tokens)


class _Scorer(BasePredictor):
    """Scores prompts by the bench; what is predicted is the fitness on the example."""

    def __init__(self, llm: _Writer, adapter: Adapter) -> None:
        super().__init__(llm)
        self.adapter = adapter
        if choices := adapter.bench.task.task.choices:
            self.extraction_description = f"The answer must be one of: {', '.join(choices)}"

    def predict(
        self, prompts: list[str], xs: list[str], system_prompts: Any = None
    ) -> tuple[list[str], list[str]]:
        """Return the fitness of each prompt on its input, as text, and the input."""
        wanted: dict[str, list[str]] = {}
        for prompt, x in zip(prompts, xs, strict=True):
            wanted.setdefault(prompt, []).append(x)
        found: dict[tuple[str, str], float] = {}
        for prompt, inputs in wanted.items():
            values = self.adapter.fitness(self.policy(prompt), inputs)
            found |= {(prompt, x): v for x, v in zip(inputs, values, strict=True)}
        return [str(found[pair]) for pair in zip(prompts, xs, strict=True)], list(xs)

    def policy(self, text: str) -> Policy:
        """Return the policy of a prompt as promptolution writes it: an instruction, and
        demonstrations where it has some. They are shown as all contenders' are.
        """
        instruction, *shown = text.removesuffix("\n\nInput:").split("\n\nInput:\n")
        pairs = [block.rpartition("\nOutput:\n") for block in shown]
        demonstrations = tuple(Demonstration(x, y) for x, _, y in pairs)
        return replace(self.adapter.instructed(instruction), demonstrations=demonstrations)

    def _extract_preds(self, preds: list[str]) -> list[str]:
        return preds


class _Task(ClassificationTask):
    """Examples with the fitness that the scorer found."""

    def __init__(self, df: pd.DataFrame, **settings: Any) -> None:
        super().__init__(df, **settings)
        self.ys = self.df[self.y_column].tolist()  # as they are: the package makes them small

    def _evaluate(self, xs: list[str], ys: list[str], preds: list[str]) -> np.ndarray:
        return np.array([float(p) for p in preds])


class _Steps:
    """Counts the whole steps of an optimizer, and keeps the error that the package passes over."""

    def __init__(self, optimizer: Any) -> None:
        self.done, self.error = 0, None
        self._step = optimizer._step
        optimizer._step = self

    def __call__(self) -> list[Prompt]:
        try:
            prompts: list[Prompt] = self._step()
        except Exception as error:
            self.error = error
            raise
        self.done += 1
        return prompts


def _frame(examples: Sequence[Example]) -> pd.DataFrame:
    return pd.DataFrame({"x": [e.input for e in examples], "y": [e.target for e in examples]})
