"""Hold a running server against the local engine on real requests: log-likelihoods, greedy
choices, tokens that are read beside them, writing, and how many tokens the server forwards.

    evoprompt models --fetch smollm2-135m
    vllm serve FOLDER --dtype float32 --max-model-len 2048 --enable-prompt-tokens-details
    python experiments/check_servers.py http://127.0.0.1:8000 --model smollm2-135m

The folder is that which `evoprompt models` names. The requests are of a prompt with four
demonstrations on examples of `inbox`, and of three more prompts that differ in the last of them,
one after the other, as children come. Exit code 1: a log-likelihood differs by more than a
thousandth of a nat a token.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np

from evoprompt.backends.base import Executor, TextTokenizer, WorkUnit
from evoprompt.backends.local import LocalBackend
from evoprompt.backends.server.backend import ServerBackend
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.config.task import TaskConfig
from evoprompt.errors import MachineError, UserError
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.trie import Features, TokenRequest
from evoprompt.tasks.load import load_task
from evoprompt.testing.backends import check_backend

#: Nats a token by which a log-likelihood may differ.
TOLERANCE = 1e-3
#: The first of the tokens that are read beside the choices.
FIRST_WORD = 300
#: Demonstrations of a prompt, and prompts: each has another last demonstration.
SHOWN, PROMPTS = 4, 4


def units(tokenizer: TextTokenizer, examples: int, words: int) -> list[WorkUnit]:
    """Return a unit for each prompt."""
    task = load_task(TaskConfig(name="inbox"), seed=0)
    made = []
    for number in range(PROMPTS):
        shown = (*task.pool[: SHOWN - 1], task.pool[SHOWN + number])
        begin = "".join(f"Text: {e.input}\nLabel: {e.target}\n\n" for e in shown)
        requests: list[TokenRequest] = []
        for example in task.test[:examples]:
            prompt = f"Sort the messages.\n\n{begin}Text: {example.input}\nLabel:"
            answers = [f"{prompt} {choice}" for choice in task.choices or ()]
            context, *wholes = tokenizer.encode([prompt, *answers])
            requests += [TokenRequest(context, whole[len(context) :]) for whole in wholes]
        places = tuple(range(0, len(requests), len(task.choices or ())))
        features = Features(tuple(range(FIRST_WORD, FIRST_WORD + words)), places) if words else None
        made.append(WorkUnit(f"prompt {number}", tuple(requests), features=features))
    return made


def scored(executor: Executor, work: Sequence[WorkUnit]) -> tuple[list[TokenScores], float]:
    """Return the scores of units that are asked for one after the other, and the seconds."""
    begun, found = time.monotonic(), []
    for unit in work:
        found.append(executor.score([unit], lambda *_: None)[unit.key])
    return found, time.monotonic() - begun


def compare(
    there: Sequence[TokenScores], here: Sequence[TokenScores], work: Sequence[WorkUnit]
) -> float:
    """Print how the server differs; return nats a token at worst."""
    tokens = np.array([len(r.continuation) for unit in work for r in unit.requests])
    ours, theirs = (np.concatenate([s.log_likelihood for s in found]) for found in (here, there))
    greedy = [np.concatenate([s.is_greedy for s in found]) for found in (here, there)]
    nats = np.abs(theirs - ours) / tokens
    print(f"{len(tokens)} requests: {nats.max():.1e} nats a token at worst, {nats.mean():.1e} mean")
    print(f"greedy choices that differ: {(greedy[0] != greedy[1]).sum()}")
    read = [(a.features, b.features) for a, b in zip(here, there, strict=True)]
    pairs = [(a, b) for a, b in read if a is not None and b is not None]
    if pairs:
        apart = max(np.abs(a - b).max() for a, b in pairs)
        print(f"{len(pairs[0][0][0])} tokens read beside: {apart:.1e} nats at worst")
    sent = sum(s.count.body_tokens for s in there)
    floor = sum(s.count.floor_body_tokens for s in there)
    print(f"tokens forwarded: {sent}, each unit's floor alone {floor}: {sent / floor:.3f} of it")
    return float(nats.max())


def main() -> int:
    """Compare, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--examples", type=int, default=16, help="of each prompt")
    parser.add_argument("--words", type=int, default=256, help="read beside, where it can")
    parser.add_argument("--dialect", default="auto")
    asked = parser.parse_args()
    model = ModelConfig(name=asked.model)
    workers = WorkersConfig(backend="server", url=asked.url, dialect=asked.dialect, count=1)
    backend = ServerBackend().at(workers)
    server, local = backend.open(model, workers), LocalBackend().open(model, WorkersConfig())
    try:
        print(f"dialect {server.info().path}, window {server.info().window}")
        tokenizer = backend.tokenizer(backend.identify(model))
        words = asked.words if server.info().path in ("vllm", "sglang") else 0
        work = units(tokenizer, asked.examples, words)
        there, seconds = scored(server, work)
        here, _ = scored(local, work)
        print(f"{seconds:.1f} s")
        worst = compare(there, here, work)
    finally:
        server.close()
        local.close()
    check_backend(backend, model, workers)
    print("the contract of backends holds, writing included")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (MachineError, UserError) as error:
        sys.exit(str(error))
