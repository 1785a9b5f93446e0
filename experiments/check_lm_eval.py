"""Score a task of the LM Evaluation Harness by the harness and here, with the prompt that a search
would start from, and compare: accuracy of choices and of last words, perplexity, exact_match.

    python -m experiments.check_lm_eval MODEL TASK train=a.jsonl validation=b.jsonl
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")

import numpy as np

from evoprompt.backends.local import LocalExecutor
from evoprompt.choices import correct
from evoprompt.config.task import TaskConfig
from evoprompt.fitness.grading import Grader
from evoprompt.measurement.answers import Answering
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.units import Wanted
from evoprompt.measurement.writer import Writer
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.harness.metric import own_metric
from evoprompt.tasks.harness.opened import opened
from evoprompt.tasks.judge import DEFAULT_EVALUATOR
from evoprompt.tasks.sources.harness import HarnessSource


def of_harness(model: Path, name: str, files: dict[str, Path], shown: list[str]) -> dict[str, Any]:
    """Return the harness's own results; with the examples that our prompt shows, for all alike."""
    import lm_eval
    from lm_eval.api.samplers import FirstNSampler
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    with opened(name, files) as found:
        if shown:
            docs = {found.task.doc_to_text(doc): doc for doc in found.task.fewshot_docs()}
            picked = [next(d for text, d in docs.items() if s in text) for s in shown]
            found.task.sampler = FirstNSampler(picked)
        [results] = lm_eval.simple_evaluate(
            HFLM(pretrained=str(model), device="cpu", dtype="float32", batch_size=4),
            tasks=[found.task],
            bootstrap_iters=0,
            task_manager=TaskManager(include_defaults=False),
        )["results"].values()
    return dict(results)


def here(model: Path, name: str, files: dict[str, Path]) -> tuple[dict[str, float], list[str]]:
    """Return this package's numbers, and the inputs that the prompt shows."""
    raw = HarnessSource().read(TaskConfig(lm_eval=name, data_files=files))
    [policy], examples = raw.starting_policies, raw.test or raw.examples
    tokenizer, executor = Tokenizer(model), LocalExecutor(Scorer(TransformersLM(model, threads=2)))
    wanted = Wanted()
    is_written = examples[0].choices is None and not examples[0].may_go_on
    if is_written:
        metric = own_metric(name)
        stops = tuple(metric.stops or ())
        graded = Answering(Grader(metric), DEFAULT_EVALUATOR, metric.max_tokens, stops=stops)
        wanted = Wanted(answers=graded)
    writer = Writer(tokenizer, executor)
    measurer = Measurer(tokenizer, executor, wanted, writer=writer)
    [(scores, _)] = measurer.measure([policy], examples, print, Ledger().timed).values()
    found = {"examples": len(examples), "right": float(correct(scores).mean())}
    found["perplexity"] = float(np.exp(-scores.of_gold(scores.log_likelihood).mean()))
    return found, [d.input for d in policy.demonstrations]


if __name__ == "__main__":
    place, task = Path(sys.argv[1]), sys.argv[2]
    data = {split: Path(path) for split, path in (each.split("=") for each in sys.argv[3:])}
    ours, inputs = here(place, task, data)
    print("here:", ours)
    print("harness:", of_harness(place, task, data, inputs))
