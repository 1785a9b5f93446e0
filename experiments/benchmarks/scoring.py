"""What scoring costs: the LM Evaluation Harness, plain, per-prompt keys and values, and this
engine, in turn in one process.

    pip install --no-deps lm-eval==0.4.13
    python experiments/benchmarks/scoring.py --sst2 sst2.train.jsonl --topics agnews.train.jsonl
    --out scoring.json

All contenders get the same weights, number type, threads and token ids. Tokens, head rows and
forwards are counted by hooks on the models: the engine's, whose linear layers are packed for the
CPU, and the one that transformers loads, which all others and the oracle use. The workloads are
those of a prompt search:

    a  4-shot sentiment, 8 policies x 32 examples x 2 single-token labels
    b  4 choices of about 3 tokens, 32 policies that share a block of about 400 tokens, 25 examples
    c 16 children of 4 parents, made by the package's operators, with the parents in the prefix
    store and without
    d  (a) again, by a new process's memo

The contenders that take much longer are given a random share of the requests (--share), whole
examples, and their cost is scaled by what they left out; the harness's batch size is the best of 1,
4, 8 and 16 on a smaller share. Finished parts are read from --out, not done again. Files are JSONL
with "input", "target" and "choices" in each line.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from evoprompt.backends.base import WorkUnit
from evoprompt.backends.local import LocalExecutor
from evoprompt.config.sections import ModelConfig
from evoprompt.measurement.measure import Measurer
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example, Materials
from evoprompt.scoring import lm
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.load import load_scorer
from evoprompt.scoring.memo import Memo
from evoprompt.scoring.models import resolve_model
from evoprompt.scoring.prefix_store import PrefixStore
from evoprompt.scoring.tokenizer import Tokenizer
from evoprompt.scoring.trie import TokenRequest, count_rows
from evoprompt.store.ledger import Ledger
from evoprompt.variation.catalog import OPERATORS

Units = list[WorkUnit]
TOPICS = {
    "World": "a world story",
    "Sports": "a sports story",
    "Business": "a business story",
    "Tech": "a technology story",
}


class Hooks:
    """Counts what really goes through the model."""

    def __init__(self, *networks: Any) -> None:
        self.body = self.rows = self.forwards = 0
        self.sizes: list[int] = []  #: rows of each forward
        for network in networks:
            network.get_input_embeddings().register_forward_hook(self._on_body)
            network.get_output_embeddings().register_forward_hook(self._on_head)

    def _on_body(self, _module: Any, _inputs: Any, output: torch.Tensor) -> None:
        self.body += output.shape[:-1].numel()
        self.forwards += 1
        self.sizes.append(output.shape[:-1].numel())

    def _on_head(self, _module: Any, _inputs: Any, output: torch.Tensor) -> None:
        self.rows += output.shape[:-1].numel()

    def take(self) -> dict[str, int]:
        """Return the counts since the last call."""
        counts = {"body_tokens": self.body, "head_rows": self.rows, "forwards": self.forwards}
        self.body = self.rows = self.forwards = 0
        self.sizes = []
        return counts


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file, without line ends in the inputs."""
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    return [row | {"input": " ".join(row["input"].split())} for row in rows]


def demonstrations(rows: list[dict[str, Any]]) -> tuple[Demonstration, ...]:
    """Return rows as demonstrations."""
    return tuple(Demonstration(row["input"], row["target"]) for row in rows)


def examples(rows: list[dict[str, Any]]) -> list[Example]:
    """Return rows as examples."""
    return [
        Example(f"e{i}", row["input"], row["target"], tuple(row["choices"]))
        for i, row in enumerate(rows)
    ]


def sentiment(
    path: Path, *, policies: int, shots: int, count: int, seed: int = 0
) -> tuple[list[Policy], list[Example], Materials]:
    """Return few-shot policies with demonstrations of their own under one instruction, examples,
    and what children are made from.
    """
    rows = read(path)
    random.Random(seed).shuffle(rows)
    template = Template("Review: ", "\nSentiment:")
    shown = [rows[i * shots : (i + 1) * shots] for i in range(policies)]
    made = [
        Policy("Is the review positive or negative?", demonstrations(block), template)
        for block in shown
    ]
    pool = demonstrations(rows[256:356])
    materials = Materials(
        ("Decide.", "Think of the tone.", "Answer with one word."),
        pool,
        (template, Template("Text: ", "\nTone:")),
        {},
        shots + 2,
    )
    return made, examples(rows[-count:]), materials


def topics(path: Path, *, policies: int, count: int) -> tuple[list[Policy], list[Example]]:
    """Return policies that begin with the same 7 demonstrations (about 400 tokens) and end with one
    of their own, and examples.
    """
    rows = read(path)
    random.Random(1).shuffle(rows)
    rows = [row for row in rows if 180 <= len(row["input"]) <= 300]
    block, own = rows[:7], rows[100 : 100 + policies]
    words = tuple(TOPICS.items())
    made = [
        Policy(
            "Sort the news.", demonstrations([*block, row]), Template("News: ", "\nThis is"), words
        )
        for row in own
    ]
    return made, examples(rows[200 : 200 + count])


def children_of(parents: list[Policy], materials: Materials, each: int) -> list[Policy]:
    """Return distinct children, each by an operator drawn as in a run."""
    rng = np.random.default_rng(0)
    names, weights = zip(*[(o, w) for o, w in OPERATORS if o.slot != "label_words"], strict=True)
    chance = np.array(weights) / sum(weights)
    made: list[Policy] = []
    for parent in parents:
        while len(made) % each or len(made) // each == parents.index(parent):
            operator = names[int(rng.choice(len(names), p=chance))]
            chosen = [
                parent,
                *(
                    parents[int(rng.integers(len(parents)))]
                    for _ in range(operator.num_parents - 1)
                ),
            ]
            child = operator.apply(chosen, materials, rng)
            if child is not None and child not in made and child not in parents:
                made.append(child)
            if len(made) == each * (parents.index(parent) + 1):
                break
    return made


def contexts_share(units: Units, share: float) -> tuple[Units, float]:
    """Return a random share of the examples of all units, at least one, and the part of the plainly
    forwarded tokens that they have.
    """
    rng = random.Random(0)
    every = [
        (u, context)
        for u, unit in enumerate(units)
        for context in dict.fromkeys(r.context for r in unit.requests)
    ]
    chosen = set(rng.sample(every, max(1, round(len(every) * share))))
    kept = [
        WorkUnit(unit.key, tuple(r for r in unit.requests if (u, r.context) in chosen))
        for u, unit in enumerate(units)
    ]
    kept = [unit for unit in kept if unit.requests]
    part = sum(len(r.fed) for unit in kept for r in unit.requests) / sum(
        len(r.fed) for unit in units for r in unit.requests
    )
    return kept, part


class Harness:
    """The LM Evaluation Harness on the same network and token ids."""

    def __init__(self, network: Any, folder: Path) -> None:
        from lm_eval.models.huggingface import HFLM
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = lambda size: HFLM(
            pretrained=network,
            tokenizer=tokenizer,
            backend="causal",
            batch_size=size,
            max_length=2048,
            logits_cache=False,
        )

    def score(self, requests: list[TokenRequest], batch_size: int) -> np.ndarray:
        """Return log-likelihoods."""
        encoded = [((None, None), list(r.context), list(r.continuation)) for r in requests]
        return np.array(
            [
                value
                for value, _ in self._model(batch_size)._loglikelihood_tokens(
                    encoded, disable_tqdm=True
                )
            ]
        )


def timed(work: Callable[[], Any], hooks: Hooks) -> tuple[dict[str, Any], Any]:
    """Return CPU and wall seconds and counts of some work, and its result."""
    hooks.take()
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    return {
        "cpu_seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - wall,
    } | hooks.take(), result


def matrix_rate(network: Any, sizes: list[int]) -> float:
    """Return GFLOP/s of the products of so many rows, pass after pass, with the model's own
    matrices and nothing else.
    """
    weights = [p for name, p in network.named_parameters() if p.dim() == 2 and "embed" not in name]
    seconds = 0.0
    with torch.inference_mode():
        for rows, count in Counter(sizes).items():
            inputs = {w.shape[1]: torch.randn(rows, w.shape[1]) for w in weights}
            times = []
            for _ in range(4):
                begun = time.perf_counter()
                for w in weights:
                    torch.nn.functional.linear(inputs[w.shape[1]], w)
                times.append(time.perf_counter() - begun)
            seconds += count * median(times[1:])
    return 2 * sum(sizes) * sum(w.numel() for w in weights) / seconds / 1e9


def unpacked(folder: Path, threads: int) -> lm.TransformersLM:
    """Return the model as transformers loads it, its linear layers as they are."""
    pack, lm.pack_linear_layers = lm.pack_linear_layers, lambda _network: 0
    try:
        return lm.TransformersLM(folder, dtype="float32", device="cpu", threads=threads)
    finally:
        lm.pack_linear_layers = pack


class Bench:
    """One process: a model, its hooks, and a file of finished measurements."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.out: Path = arguments.out
        self.done: dict[str, Any] = json.loads(self.out.read_text()) if self.out.exists() else {}
        torch.set_num_threads(arguments.threads)
        self.folder = resolve_model(arguments.model)
        settings = ModelConfig(name=arguments.model, dtype="float32", device="cpu")
        self.scorer = load_scorer(settings, arguments.threads)
        self.model = self.scorer.model
        self.plain = unpacked(self.folder, arguments.threads)
        self.network = self.plain.network
        self.hooks = Hooks(self.network, self.model.network)
        self.tokenizer = Tokenizer(self.folder)
        body = sum(
            p.numel()
            for n, p in self.network.named_parameters()
            if p.dim() == 2 and "embed" not in n
        )
        self.flop = {
            "body_tokens": 2 * body,
            "head_rows": 2 * self.network.get_output_embeddings().weight.numel(),
        }

    def keep(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return a measurement, from the file if it is there."""
        if name not in self.done:
            self.done[name] = make()
            self.out.write_text(json.dumps(self.done, indent=1))
            print(
                name,
                json.dumps({k: v for k, v in self.done[name].items() if k != "scores"}),
                flush=True,
            )
        return self.done[name]

    def prepare(self, policies: list[Policy], chosen: list[Example]) -> Units:
        """Return the units that a run makes."""
        measurer = Measurer(self.tokenizer, LocalExecutor(self.scorer))
        return [unit.work for unit in measurer.prepare(policies, chosen)]

    def ours(self, units: Units, store: PrefixStore | None) -> np.ndarray:
        """Return log-likelihoods as a run's worker computes them."""
        scorer = Scorer(
            self.model, chunk_tokens=self.scorer.chunk_tokens, path=self.scorer.path, store=store
        )
        return np.concatenate([scorer.score(u.requests, u.cuts).log_likelihood for u in units])

    def by(self, units: Units, path: str) -> np.ndarray:
        """Return log-likelihoods by another way down the engine's ladder."""
        scorer = Scorer(self.plain, chunk_tokens=self.scorer.chunk_tokens, path=path)
        return np.concatenate([scorer.score(u.requests).log_likelihood for u in units])

    def oracle(self, units: Units) -> np.ndarray:
        """Return log-likelihoods one sequence at a time: whole logits, softmax over everything."""
        values = []
        with torch.inference_mode():
            for request in (r for u in units for r in u.requests):
                logits = self.network(torch.tensor([request.fed]), use_cache=False).logits[
                    0, len(request.context) - 1 :
                ]
                values.append(
                    logits.double()
                    .log_softmax(-1)[range(len(request.continuation)), request.continuation]
                    .sum()
                    .item()
                )
        return np.array(values)

    def compare(self, name: str, units: Units, share: float) -> None:
        """Measure all contenders on a workload."""
        part, fraction = contexts_share(units, share)
        tiny, _ = contexts_share(units, share / 4)
        requests = [r for u in part for r in u.requests]
        self.keep(
            f"{name} floor",
            lambda: {
                "body_tokens": count_rows([r for u in units for r in u.requests]),
                "share": fraction,
            },
        )
        harness = Harness(self.network, self.folder)
        sizes = (1, 4, 8, 16)
        few = [r for u in tiny for r in u.requests]
        tried = {
            n: self.keep(
                f"{name} harness, batch {n}",
                lambda n=n: timed(lambda: harness.score(few, n), self.hooks)[0],
            )
            for n in sizes
        }
        best = min(sizes, key=lambda n: tried[n]["cpu_seconds"])
        contenders: dict[str, tuple[Callable[[], np.ndarray], float]] = {
            f"harness (best batch {best})": (lambda: harness.score(requests, best), fraction),
            "plain, duplicates removed": (lambda: self.by(part, "plain"), fraction),
            "per-prompt KV": (lambda: self.by(units, "branched"), 1.0),
            "evoprompt": (lambda: self.ours(units, PrefixStore(2**28)), 1.0),
        }
        for repeat in range(self.arguments.repeats):
            for contender, (work, of) in contenders.items():
                if not contender.startswith(tuple(self.arguments.contenders)):
                    continue
                self.keep(
                    f"{name} {contender} #{repeat}", lambda work=work, of=of: self._scaled(work, of)
                )
        first = np.array(self.done[f"{name} evoprompt #0"]["scores"])
        place = {r: i for i, r in enumerate(r for u in units for r in u.requests)}
        self.keep(
            f"{name} oracle",
            lambda: self._errors(self.oracle(part), first[[place[r] for r in requests]]),
        )

    def _scaled(self, work: Callable[[], np.ndarray], part: float) -> dict[str, Any]:
        figures, scores = timed(work, self.hooks)
        rate = sum(self.flop[k] * figures[k] for k in self.flop) / figures["wall_seconds"] / 1e9
        figures = {k: v / part for k, v in figures.items()}
        return figures | {"gflops": rate, "scores": scores.tolist() if part == 1.0 else None}

    def rate(self, units: Units) -> dict[str, Any]:
        """Return GFLOP/s of the engine, then of bare matrix products with as many rows as its
        passes had, and with 256 rows.
        """
        self.hooks.take()
        begun = time.perf_counter()
        self.ours(units, None)
        wall, sizes = time.perf_counter() - begun, self.hooks.sizes
        done = self.hooks.take()
        engine = sum(self.flop[k] * done[k] for k in self.flop) / wall / 1e9
        return {
            "a": engine,
            "matrix, same rows": matrix_rate(self.network, sizes),
            "matrix, 256 rows": matrix_rate(self.network, [256]),
        }

    @staticmethod
    def _errors(truth: np.ndarray, found: np.ndarray) -> dict[str, Any]:
        return {"requests": len(truth), "error_max": float(np.abs(truth - found).max())}

    def children(self, name: str, *, shots: int, count: int) -> None:
        """Measure a generation of 16 children with a warm and with a cold store."""
        parents, chosen, materials = sentiment(
            self.arguments.sst2, policies=4, shots=shots, count=count
        )
        units = self.prepare(children_of(parents, materials, 4), chosen)
        before = self.prepare(parents, chosen)
        for repeat in range(self.arguments.repeats):
            store = PrefixStore(2**28)
            if f"{name} warm #{repeat}" not in self.done:
                self.ours(before, store)
            self.keep(
                f"{name} warm #{repeat}",
                lambda store=store: self._scaled(lambda: self.ours(units, store), 1.0),
            )
            self.keep(
                f"{name} cold #{repeat}",
                lambda: self._scaled(lambda: self.ours(units, PrefixStore(2**28)), 1.0),
            )
        self.keep(
            f"{name} same bits",
            lambda: {
                "equal": self.done[f"{name} warm #0"]["scores"]
                == self.done[f"{name} cold #0"]["scores"]
            },
        )

    def again(self, policies: list[Policy], chosen: list[Example]) -> None:
        """Measure a generation, and the same one by a measurer that has nothing but the memo's
        file.
        """
        for repeat in range(self.arguments.repeats):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "memo.sqlite"
                for turn in ("first", "again"):
                    self.keep(
                        f"d {turn} #{repeat}",
                        lambda path=path: self._measured(policies, chosen, path),
                    )

    def _measured(
        self, policies: list[Policy], chosen: list[Example], path: Path
    ) -> dict[str, Any]:
        measurer = Measurer(
            Tokenizer(self.folder),
            LocalExecutor(self.scorer),
            open_memo=lambda _: Memo(path, "model"),
        )
        return timed(
            lambda: measurer.measure(policies, chosen, lambda _: None, Ledger().timed), self.hooks
        )[0]

    def memory(self, units: Units) -> dict[str, Any]:
        """Return the most memory that scoring took beyond what the loaded model has, in MiB
        (Linux).
        """

        def status(key: str) -> float:
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))

        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        before = status("VmRSS")
        self.ours(units, PrefixStore(2**28))
        return {"mib": status("VmHWM") - before, "loaded_mib": before}

    def host(self) -> dict[str, Any]:
        """Return the seconds of planning 10,000 requests, and what scoring them would take at the
        rate of (a).
        """
        policies, chosen, _ = sentiment(self.arguments.sst2, policies=50, shots=4, count=100)
        begun = time.perf_counter()
        measurer = Measurer(Tokenizer(self.folder), LocalExecutor(self.scorer))
        units = [unit.work for unit in measurer.prepare(policies, chosen)]
        tokenized = time.perf_counter() - begun
        begun = time.perf_counter()
        from evoprompt.scoring.trie import plan, visible

        tokens = 0
        for unit in units:
            trie = plan(unit.requests, self.scorer.chunk_tokens, unit.cuts)
            tokens += trie.num_rows
            for piece in trie.passes:
                visible(trie, piece)
        planned = time.perf_counter() - begun
        ours = self.done["a evoprompt #0"]
        forward = tokens / (ours["body_tokens"] / ours["wall_seconds"])
        requests = sum(len(u.requests) for u in units)
        return {
            "requests": requests,
            "tokenization": tokenized,
            "planning": planned,
            "scoring_forecast": forward,
            "share": planned / forward,
        }


def table(done: dict[str, Any]) -> None:
    """Print medians."""
    print(
        "\n| workload | contender | body tokens | head rows | forwards | CPU s | wall s | "
        "GFLOP/s |\n|---|---|---|---|---|---|---|---|"
    )
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, figures in done.items():
        if "#" in name:
            groups.setdefault(name.split(" #")[0], []).append(figures)
    for name, runs in groups.items():
        workload, contender = name.split(" ", 1)
        mid = {
            k: median(r[k] for r in runs)
            for k in ("body_tokens", "head_rows", "forwards", "cpu_seconds", "wall_seconds")
        }
        counts = " | ".join(f"{mid[k]:,.0f}" for k in ("body_tokens", "head_rows", "forwards"))
        rate = f"{median(r['gflops'] for r in runs):.1f}" if "gflops" in runs[0] else ""
        print(
            f"| {workload} | {contender} | {counts} | {mid['cpu_seconds']:.2f} | "
            f"{mid['wall_seconds']:.2f} | {rate} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sst2", type=Path, required=True)
    parser.add_argument("--topics", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--share",
        type=float,
        nargs=2,
        default=[1 / 8, 1 / 64],
        metavar=("A", "B"),
        help="of the requests, for the slow contenders",
    )
    parser.add_argument(
        "--contenders", nargs="+", default=["harness", "plain", "per-prompt", "evoprompt"]
    )
    parser.add_argument("--only", nargs="+", default=["a", "b", "c", "d", "rate", "host", "memory"])
    arguments = parser.parse_args()
    bench = Bench(arguments)
    versions = {n: metadata.version(n) for n in ("torch", "transformers", "numpy")} | {
        "python": platform.python_version()
    }
    bench.keep(
        "setting",
        lambda: (
            versions
            | {"model": arguments.model, "threads": arguments.threads, "way": bench.scorer.reason}
        ),
    )
    few, chosen, _ = sentiment(arguments.sst2, policies=8, shots=4, count=32)
    a = bench.prepare(few, chosen)
    b = bench.prepare(*topics(arguments.topics, policies=32, count=25))
    bench.ours(a[:1], None)  # warm up
    bench.by(a[:1], bench.scorer.path)
    if "a" in arguments.only:
        bench.compare("a", a, arguments.share[0])
    if "rate" in arguments.only:
        for repeat in range(arguments.repeats):
            bench.keep(f"rate {repeat}", lambda: bench.rate(a))
    if "c" in arguments.only:
        for shots, count in ((4, 32), (16, 32), (16, 8)):
            bench.children(f"c ({shots} shots, {count} examples)", shots=shots, count=count)
    if "d" in arguments.only:
        bench.again(few, chosen)
    if "host" in arguments.only:
        bench.keep("host", bench.host)
    if "memory" in arguments.only:
        bench.keep("memory b", lambda: bench.memory(b[:4]))
    if "b" in arguments.only:
        bench.compare("b", b, arguments.share[1])
    table(bench.done)


if __name__ == "__main__":
    main()
