"""What a run costs that lasts nights: memory, files and time of a generation, by generation.

    python -m experiments.benchmarks.nights runs/nights --generations 100000

The run is a real one, all of it, but for the model: a stand-in answers at once, each sequence of
words with its own random log-likelihood, so that a second holds many generations. It goes on from
where it was when the folder exists, which tells what a resume takes. Prints a line of JSON every so
many generations: seconds and bytes since the line before, and the resident memory.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import resource
import tempfile
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from evoprompt.backends.base import Identity, ModelInfo, WorkUnit
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.display import QuietObserver
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.session import carry_out, conduct
from evoprompt.records import TokenCount
from evoprompt.scoring.decoding import Decoded, Decoding
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.gradient import Exchange
from evoprompt.scoring.trie import TokenRequest, Tokens

_PARTS = re.compile(r"\n| ?[^ \n]+| +")
EXAMPLES = 4


class WordTokenizer:
    """Text -> a number for each word and each space between; line ends are 1, 0 begins a text."""

    begin_token = 0
    break_tokens = frozenset({1})
    special_tokens = frozenset({0})

    def encode(
        self, texts: Sequence[str], *, add_special_tokens: bool = True
    ) -> list[tuple[int, ...]]:
        """Return the token ids of each text."""
        return [
            tuple(token for line in text.splitlines(keepends=True) for token in _tokens(line))
            for text in texts
        ]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the numbers: nobody reads them."""
        return " ".join(map(str, tokens))

    def tokens_with(self, text: str) -> frozenset[int]:
        """Return none."""
        return frozenset()


@lru_cache(4096)
def _tokens(line: str) -> Tokens:
    return tuple(
        1 if part == "\n" else 2 + crc32(part.encode()) % 50_000 for part in _PARTS.findall(line)
    )


class InstantExecutor:
    """Scores by a checksum of the tokens."""

    def info(self) -> ModelInfo:
        """Return what is said of a model."""
        return ModelInfo(
            8192, "float32", "plain", "a stand-in", 1, "this process", "cpu", 64, "exact"
        )

    def score(
        self, units: Sequence[WorkUnit], on_result: Callable[[Hashable, TokenScores], None]
    ) -> dict[Hashable, TokenScores]:
        """Return the scores by key."""
        results = {}
        for unit in units:
            results[unit.key] = self.score_plain(unit.requests)
            on_result(unit.key, results[unit.key])
        return results

    def score_plain(self, requests: Sequence[TokenRequest]) -> TokenScores:
        """Return a number in (-3, 0) for each request."""
        texts = [repr((*r.context, *r.continuation)).encode() for r in requests]
        values = [-3 * (crc32(text) + 1) / (2**32 + 1) for text in texts]
        tokens = sum(len(r.context) + len(r.continuation) for r in requests)
        count = TokenCount(body_tokens=tokens, floor_body_tokens=tokens, requests=len(requests))
        return TokenScores(np.array(values), np.array([v > -0.3 for v in values]), count)

    def readout(self, contexts: Sequence[Tokens], top: int) -> None:
        """Return nothing."""

    def gains(self, asked: Exchange) -> None:
        """Return nothing."""

    def generate(self, requests: Sequence[Decoding]) -> list[Decoded]:
        """Return nothing: no operator writes."""
        return []

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class InstantBackend:
    """That executor, whatever the model's name."""

    def identify(self, model: ModelConfig) -> Identity:
        """Return who answers."""
        return Identity(model.name, "nowhere", "instant")

    def tokenizer(self, identity: Identity) -> WordTokenizer:
        """Return the tokenizer."""
        return WordTokenizer()

    def open(self, model: ModelConfig, workers: WorkersConfig) -> InstantExecutor:
        """Return the executor."""
        return InstantExecutor()


class Watcher(QuietObserver):
    """Prints what generations cost, and interrupts the run after so many seconds."""

    def __init__(self, folder: Path, every: int, seconds: float) -> None:
        super().__init__(self.look)
        self._folder, self._every, self._seconds = folder, every, seconds
        self._begun = self._since = time.perf_counter()
        self._cpu, self._size = time.process_time(), 0
        self._is_first = True

    def look(self, line: Mapping[str, Any]) -> None:
        """Print a line where it is time for one.

        Raises:
            KeyboardInterrupt: the time is over.
        """
        now, generation = time.perf_counter(), line["generation"]
        if self._is_first:
            self._is_first = False
            told = {"first": generation, "seconds_before": round(now - self._begun, 3)}
            print(json.dumps(told), flush=True)
            self._since, self._cpu, self._size = now, time.process_time(), self._bytes()
        elif generation % self._every == 0:
            gc.collect()
            size, cpu = self._bytes(), time.process_time()
            told = {
                "generation": generation,
                "ms": 1e3 * (now - self._since) / self._every,
                "cpu_ms": 1e3 * (cpu - self._cpu) / self._every,
                "bytes": (size - self._size) / self._every,
                "resident_mib": resident_mib(),
            }
            print(json.dumps({k: round(v, 3) for k, v in told.items()}), flush=True)
            self._since, self._cpu, self._size = time.perf_counter(), cpu, size
        if now - self._begun > self._seconds:
            raise KeyboardInterrupt

    def _bytes(self) -> int:
        return sum(f.stat().st_size for f in self._folder.iterdir() if f.is_file())


def resident_mib() -> float:
    """Return this process's resident memory, MiB."""
    status = Path(f"/proc/{os.getpid()}/status").read_text("utf-8")
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def peak_mib() -> float:
    """Return the most resident memory that this process ever had, MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def settings(generations: int, further: Iterable[str] = ()) -> list[str]:
    """Return the overrides of the run."""
    return [
        f"task.fitness_examples={EXAMPLES}",
        "task.validation_examples=4",
        "task.test_examples=4",
        "model={name: instant, memo: false}",
        "workers.backend=experiments.benchmarks.nights:InstantBackend",
        "fitness.calibration=off",
        "evolution.children=2",
        "evolution.max_demonstrations=4",
        "evolution.examples.first=null",
        "evolution.racing.method=off",
        f"evolution.generations={generations}",
        *further,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--generations", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=1_000, help="generations between two lines")
    parser.add_argument("--seconds", type=float, default=1e9, help="until the search ends")
    parser.add_argument("--set", action="append", default=["tracking.enabled=false"], dest="given")
    arguments = parser.parse_args()
    watcher = Watcher(arguments.folder, arguments.every, arguments.seconds)
    begun = time.perf_counter()
    try:
        if arguments.folder.exists():
            folder = EvolveFolder.open(arguments.folder)
            with folder.owned():
                carry_out(folder.config(), folder, watcher)
        else:
            with tempfile.TemporaryDirectory() as place:
                file = Path(place) / "nights.yaml"
                file.write_text("task: {name: inbox}", "utf-8")
                config = load_config(file, settings(arguments.generations, arguments.given))
            conduct(config, arguments.folder, show=False, on_generation=watcher.look)
    except KeyboardInterrupt:
        pass
    print(json.dumps({"seconds": round(time.perf_counter() - begun, 3), "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
