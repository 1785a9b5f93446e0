"""What a GPU makes of the engine: ceilings, scoring by phase, exactness, the harness's cost,
writing.

    python experiments/benchmarks/gpu.py --json gpu.json     one GPU, about 8 minutes
    python experiments/benchmarks/gpu.py --tiny              a dry run on a CPU, in seconds

Nothing is downloaded: the models have the shapes of Qwen3-0.6B, Llama-3.2-1B, Gemma-3-1B and
Llama-3.1-8B, and random weights in bfloat16. The workload is a generation of a prompt search:
policies that share one of a few blocks of demonstrations and differ in their last tokens, each on
the same examples, each example with its candidates. The parts:

    ceilings    TFLOP/s of a large product, TB/s of a large copy
    scoring     the engine, a policy a call and all policies in one; seconds by phase, kernels,
                tokens/s, the share of the measured product rate, and the memory it takes
    exact       against transformers' own forward, a sequence at a time, in float32; and the error
                of bfloat16 beside that which this forward has in bfloat16
    harness     the cost of the LM Evaluation Harness on the same requests: padded batches, longest
                first, softmax over all logits, one forward for candidates of one token
    writing     greedy continuations, tokens/s
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import torch
import transformers

from evoprompt.scoring import engine
from evoprompt.scoring.decoding import Decoding
from evoprompt.scoring.engine import Scorer
from evoprompt.scoring.lm import TransformersLM
from evoprompt.scoring.trie import TokenRequest, Tokens, trunk_cuts

Figures = dict[str, Any]
PARTS = ("ceilings", "scoring", "exact", "harness", "writing")
#: What a run cuts trunks by: at least and at most so many tokens, after a break token.
SEGMENT = (48, 128)
COSTLY = ("labels", "choices")  #: the workloads that are timed
BREAK_SHARE = 20  #: one in so many tokens ends a sentence or a line


@dataclass(frozen=True, slots=True)
class Workload:
    """A generation of policies on examples; lengths in tokens."""

    blocks: int  #: different blocks of demonstrations
    policies: int
    examples: int
    block_tokens: int
    own_tokens: int
    example_tokens: int
    candidates: int
    candidate_tokens: int

    def requests(self, vocabulary: int, seed: int = 0) -> list[list[TokenRequest]]:
        """Return random requests by policy; examples and candidates are common to all."""
        rng = np.random.default_rng(seed)

        def draw(length: int) -> Tokens:
            return tuple(rng.integers(0, vocabulary, length).tolist())

        blocks = [draw(self.block_tokens) for _ in range(self.blocks)]
        prompts = [blocks[i % self.blocks] + draw(self.own_tokens) for i in range(self.policies)]
        examples = [draw(self.example_tokens + i % 5 - 2) for i in range(self.examples)]
        endings = [[draw(self.candidate_tokens) for _ in range(self.candidates)] for _ in examples]
        return [
            [
                TokenRequest(prompt + example, candidate)
                for example, candidates in zip(examples, endings, strict=True)
                for candidate in candidates
            ]
            for prompt in prompts
        ]


WORKLOADS = {
    "labels": Workload(4, 16, 48, 400, 60, 80, 4, 1),
    "choices": Workload(4, 16, 48, 400, 60, 80, 4, 3),
    "small": Workload(2, 4, 8, 150, 40, 60, 3, 3),
}
TINY_WORKLOADS = {
    "labels": Workload(2, 4, 3, 60, 10, 12, 2, 1),
    "choices": Workload(2, 4, 3, 60, 10, 12, 2, 3),
    "small": Workload(2, 2, 2, 30, 10, 8, 2, 3),
}


def configs(tiny: bool) -> dict[str, Any]:
    """Return the configurations by name; the tiny ones have the same families."""
    t = transformers

    def sizes(hidden: int, layers: int, heads: int, kv: int, size: int, inner: int, words: int):
        return {
            "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": kv, "head_dim": size, "intermediate_size": inner,
            "vocab_size": words, "max_position_embeddings": 8192,
        }  # fmt: skip

    if tiny:
        small = sizes(32, 2, 4, 2, 8, 64, 300)
        types = ["sliding_attention", "full_attention"]
        window = {"sliding_window": 32, "layer_types": types, "query_pre_attn_scalar": 8}
        return {
            "qwen3": t.Qwen3Config(**small, tie_word_embeddings=True),
            "llama": t.LlamaConfig(**small),
            "gemma3": t.Gemma3TextConfig(**small, **window),
        }
    gemma = sizes(1152, 26, 4, 1, 256, 6912, 262144)
    return {
        "qwen3-0.6b": t.Qwen3Config(
            **sizes(1024, 28, 16, 8, 128, 3072, 151936), tie_word_embeddings=True
        ),
        "llama-1b": t.LlamaConfig(
            **sizes(2048, 16, 32, 8, 64, 8192, 128256), tie_word_embeddings=True
        ),
        "gemma3-1b": t.Gemma3TextConfig(**gemma, sliding_window=512, query_pre_attn_scalar=256),
        "llama-8b": t.LlamaConfig(**sizes(4096, 32, 32, 8, 128, 14336, 128256)),
    }


def load(config: Any, dtype: str, device: str) -> TransformersLM:
    """Return the engine's model of this configuration, with seeded random weights."""
    torch.manual_seed(0)
    with torch.device(device):
        network = transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    return wrap(network, config, dtype, device)


def wrap(network: Any, config: Any, dtype: str, device: str) -> TransformersLM:
    """Return the engine's model around a network that is already there."""
    of_config = mock.patch.object(transformers.AutoConfig, "from_pretrained", return_value=config)
    whole = dict.fromkeys(("missing_keys", "unexpected_keys", "mismatched_keys"), ())
    of_model = mock.patch.object(
        transformers.AutoModelForCausalLM, "from_pretrained", return_value=(network, whole)
    )
    network.set_attn_implementation("sdpa")  # whatever an engine before this one had set
    with of_config, of_model:
        return TransformersLM(Path("random"), dtype=dtype, device=device)


class Bench:
    """A device, its ceilings, and what was measured so far."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.tiny: bool = arguments.tiny
        self.device = "cpu" if self.tiny or not torch.cuda.is_available() else "cuda"
        self.dtype = "bfloat16" if self.device == "cuda" else "float32"
        self.repeats = 1 if self.tiny else arguments.repeats
        self.json: Path | None = arguments.json
        self.parts: list[str] = arguments.parts
        self.chosen: list[str] = arguments.workloads
        self.share: float = 1.0 if self.tiny else arguments.share
        self.chunk_tokens: int | None = arguments.chunk_tokens
        self.workloads = TINY_WORKLOADS if self.tiny else WORKLOADS
        cuda = self.device == "cuda"
        name = torch.cuda.get_device_name() if cuda else torch.backends.cpu.get_cpu_capability()
        self.done: Figures = {
            "setting": {
                "device": name, "torch": torch.__version__,
                "transformers": transformers.__version__, "dtype": self.dtype,
            }
        }  # fmt: skip
        say(f"{name}, torch {torch.__version__}, transformers {transformers.__version__}")

    def sync(self) -> None:
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], Any], repeats: int | None = None, warm: int = 1) -> float:
        """Return the median seconds of some work, the device finished."""
        for _ in range(warm):
            work()
        times = []
        for _ in range(repeats or self.repeats):
            self.sync()
            begun = time.perf_counter()
            work()
            self.sync()
            times.append(time.perf_counter() - begun)
        return median(times)

    def keep(self, name: str, figures: Figures) -> Figures:
        """Say and write down what was measured."""
        self.done[name] = figures
        say(f"{name}: " + ", ".join(f"{k} {show(v)}" for k, v in figures.items()))
        if self.json is not None:
            self.json.write_text(json.dumps(self.done, indent=1))
        return figures

    # ------------------------------------------------------------------ ceilings

    def ceilings(self) -> None:
        """Measure the rate of a large product and of a large copy."""
        kind = getattr(torch, self.dtype)
        n = 256 if self.tiny else 8192
        a, b = (torch.randn(n, n, device=self.device).to(kind) for _ in range(2))
        product = 2 * n**3 / self.seconds(lambda: a @ b, 10, 3) / 1e12
        source = torch.randn(2**18 if self.tiny else 2**29, device=self.device)
        target = torch.empty_like(source)
        moved = 2 * source.numel() * source.element_size()
        copied = moved / self.seconds(lambda: target.copy_(source), 10, 3) / 1e12
        self.keep("ceilings", {"tflops": product, "copy_tb_s": copied})

    @property
    def ceiling(self) -> float:
        """TFLOP/s of the measured product."""
        return self.done.get("ceilings", {}).get("tflops", float("nan"))

    # ------------------------------------------------------------------ scoring

    def scorer(self, lm: TransformersLM) -> Scorer:
        """Return a scorer that is probed, with passes as long as a run would have."""
        return Scorer(lm, chunk_tokens=self.chunk_tokens or lm.chunk_tokens())

    def scoring(self, name: str, lm: TransformersLM) -> None:
        """Measure the engine on the workloads, a policy a call and all in one."""
        begun = time.perf_counter()
        scorer = self.scorer(lm)
        probed = time.perf_counter() - begun
        how = f"{scorer.path}, passes of {scorer.chunk_tokens}: {scorer.reason}"
        self.keep(f"{name} scorer", {"how": how, "arithmetic": lm.arithmetic, "probe_s": probed})
        for workload in self.chosen:
            units = self.workloads[workload].requests(lm.vocabulary)
            together = [request for unit in units for request in unit]
            breaks = frozenset(range(0, lm.vocabulary, BREAK_SHARE))
            cuts = [trunk_cuts([r.context for r in unit], breaks, *SEGMENT) for unit in units]

            def by_policy(units=units, cuts=cuts) -> list[Any]:
                return [scorer.score(u, c) for u, c in zip(units, cuts, strict=True)]

            def at_once(together=together) -> list[Any]:
                return [scorer.score(together)]

            for way, work in {"a policy a call": by_policy, "all at once": at_once}.items():
                self.keep(f"{name} {workload}, {way}", self.rate(lm, work))
        self.keep(f"{name} phases", self.phases(lm, at_once))
        if self.device == "cuda":
            self.keep(f"{name} kernels", self.kernels(at_once))

    def rate(self, lm: TransformersLM, work: Callable[[], list[Any]]) -> Figures:
        """Return seconds, tokens/s and the share of the ceiling of some scoring."""
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() if self.device == "cuda" else 0
        counts = [scores.count for scores in work()]
        taken = torch.cuda.max_memory_allocated() - before if self.device == "cuda" else 0
        seconds = self.seconds(work, warm=0)
        body, rows = sum(c.body_tokens for c in counts), sum(c.head_rows for c in counts)
        tflops = flop(lm, body, rows) / seconds / 1e12
        return {
            "seconds": seconds,
            "body_tokens": body,
            "head_rows": rows,
            "forwards": sum(c.forwards for c in counts),
            "tokens_s": body / seconds,
            "tflops": tflops,
            "share_of_product": tflops / self.ceiling,
            "memory_gib": taken / 2**30,
        }

    def phases(self, lm: TransformersLM, work: Callable[[], Any]) -> Figures:
        """Return seconds by phase, the device made to finish each (so the sum is too large)."""
        spent: dict[str, float] = {}
        base = type(lm.network.base_model)
        places = [
            (engine, "plan", "plan"), (engine, "visible", "mask"),
            (TransformersLM, "_masks", "mask"), (TransformersLM, "_gather", "head"),
            (TransformersLM, "_tensor", "copy"), (base, "forward", "layers"),
        ]  # fmt: skip
        with self.timed(spent, places):
            self.sync()
            begun = time.perf_counter()
            work()
            self.sync()
            spent["whole"] = time.perf_counter() - begun
        return spent

    @contextmanager
    def timed(self, spent: dict[str, float], places: Sequence[Any]) -> Iterator[None]:
        """Count the seconds of these functions by phase; what one calls of another is its own."""
        stack: list[float] = []

        def wrapped(function: Callable[..., Any], phase: str) -> Callable[..., Any]:
            def run(*args: Any, **kwargs: Any) -> Any:
                self.sync()
                begun = time.perf_counter()
                stack.append(0.0)
                result = function(*args, **kwargs)
                self.sync()
                took, inner = time.perf_counter() - begun, stack.pop()
                spent[phase] = spent.get(phase, 0.0) + took - inner
                if stack:
                    stack[-1] += took
                return result

            return run

        saved = [(o, n, getattr(o, n)) for o, n, _ in places if hasattr(o, n)]
        try:
            for owner, attribute, phase in places:
                if hasattr(owner, attribute):
                    setattr(owner, attribute, wrapped(getattr(owner, attribute), phase))
            yield
        finally:
            for owner, attribute, function in saved:
                setattr(owner, attribute, function)

    def kernels(self, work: Callable[[], Any]) -> Figures:
        """Return milliseconds on the device by kind of kernel, and of the longest kernels."""
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            begun = time.perf_counter()
            work()
            self.sync()
            wall = time.perf_counter() - begun
        rows = [e for e in seen.key_averages() if e.self_device_time_total > 0]
        rows.sort(key=lambda e: -e.self_device_time_total)
        kinds: dict[str, float] = {}
        for row in rows:
            kind = kind_of(row.key)
            kinds[kind] = kinds.get(kind, 0.0) + row.self_device_time_total / 1e3
        busy = sum(kinds.values())
        for row in rows[:14]:
            say(f"    {row.self_device_time_total / 1e3:9.1f} ms {row.count:6d} x {row.key[:110]}")
        return kinds | {"busy_ms": busy, "wall_ms": 1e3 * wall}

    # ------------------------------------------------------------------ exactness

    def exact(self, name: str, lm: TransformersLM, config: Any) -> None:
        """Hold scores against transformers' own forward: in float32, and in the short type."""
        units = self.workloads["small"].requests(lm.vocabulary, seed=1)
        requests = [r for unit in units for r in unit]

        def packed(model: TransformersLM) -> np.ndarray:
            scorer = Scorer(model, chunk_tokens=model.chunk_tokens(), path="packed")
            return scorer.score(requests).log_likelihood

        short = {}
        if self.dtype != "float32":
            short = {"packed": packed(lm), "plain": plainly(lm.network, requests)}
        full = wrap(lm.network.float(), config, "float32", self.device)
        truth = plainly(full.network, requests)
        figures: Figures = {"float32 packed max": float(np.abs(packed(full) - truth).max())}
        for path, found in short.items():
            error = found - truth
            figures |= {
                f"{self.dtype} {path} mean": float(np.abs(error).mean()),
                f"{self.dtype} {path} max": float(np.abs(error).max()),
                f"{self.dtype} {path} bias": float(error.mean()),
            }
        if short:
            means = [figures[f"{self.dtype} {path} mean"] for path in short]
            figures["packed over plain"] = means[0] / means[1]
        self.keep(f"{name} exact, nats", figures)

    # ------------------------------------------------------------------ the harness

    def harness(self, name: str, lm: TransformersLM) -> None:
        """Measure padded batches on a share of the requests; scale by the tokens left out."""
        for workload in self.chosen:
            units = self.workloads[workload].requests(lm.vocabulary)
            every = [r for unit in units for r in unit]
            if all(len(r.continuation) == 1 for r in every):  # one forward for a context
                every = list({r.context: r for r in every}.values())
            rng = np.random.default_rng(0)
            count = max(64 if not self.tiny else 2, round(len(every) * self.share))
            count = min(count, len(every))
            some = [every[i] for i in rng.choice(len(every), count, replace=False)]
            part = sum(len(r.fed) for r in some) / sum(len(r.fed) for r in every)
            tried = {}
            for size in (2,) if self.tiny else (8, 16, 32, 64):
                try:
                    tried[size] = self.seconds(
                        lambda size=size, some=some: padded(lm.network, some, size), 1
                    )
                except torch.OutOfMemoryError:
                    torch.cuda.empty_cache()
            best = min(tried, key=lambda size: tried[size])
            seconds = tried[best] / part
            ours = self.done.get(f"{name} {workload}, all at once", {}).get("seconds")
            figures = {
                "seconds": seconds, "best_batch": best, "share_run": part,
                "body_tokens": sum(len(r.fed) for r in every),
            }  # fmt: skip
            if ours:
                figures["over_engine"] = seconds / ours
            self.keep(f"{name} {workload}, harness", figures)

    # ------------------------------------------------------------------ writing

    def writing(self, name: str, lm: TransformersLM) -> None:
        """Measure greedy continuations of prompts that share their blocks."""
        units = self.workloads["small"].requests(lm.vocabulary, seed=2)
        prompts = list(dict.fromkeys(r.context for unit in units for r in unit))
        length = 4 if self.tiny else 32
        scorer = self.scorer(lm)
        asked = [Decoding(p, length) for p in prompts]
        seconds = self.seconds(lambda: scorer.generate(asked), 1)
        written = sum(len(d.drawn) for d in scorer.generate(asked))
        self.keep(
            f"{name} writing",
            {"prompts": len(asked), "tokens": written, "tokens_s": written / seconds},
        )

    def run(self, names: list[str] | None) -> None:
        """Measure everything that is asked for."""
        if "ceilings" in self.parts:
            self.ceilings()
        for name, config in configs(self.tiny).items():
            if names and name not in names:
                continue
            lm = load(config, self.dtype, self.device)
            for part in ("scoring", "harness", "writing"):
                if part in self.parts:
                    getattr(self, part)(name, lm)
            if "exact" in self.parts:
                self.exact(name, lm, config)
            del lm
            if self.device == "cuda":
                torch.cuda.empty_cache()


def plainly(network: Any, requests: Sequence[TokenRequest]) -> np.ndarray:
    """Return log-likelihoods by the obvious way: each sequence alone, nothing compiled."""
    values = []
    with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
        for r in requests:
            inputs = torch.tensor([r.fed], device=network.device)
            logits = network(input_ids=inputs, use_cache=False).logits[0, len(r.context) - 1 :]
            wanted = torch.tensor(r.continuation, device=network.device)[:, None]
            values.append(logits.double().log_softmax(-1).gather(1, wanted).sum().item())
    return np.array(values)


def padded(network: Any, requests: Sequence[TokenRequest], size: int) -> list[float]:
    """Score as the harness does, longest first, padded on the right; return log-likelihoods."""
    found: dict[int, float] = {}
    order = sorted(range(len(requests)), key=lambda i: -len(requests[i].fed))
    with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            tokens = torch.zeros(len(batch), len(requests[batch[0]].fed), dtype=torch.long)
            for row, i in enumerate(batch):
                tokens[row, : len(requests[i].fed)] = torch.tensor(requests[i].fed)
            inputs = tokens.to(network.device)
            logits = network(input_ids=inputs, use_cache=False).logits.log_softmax(-1)
            for row, i in enumerate(batch):
                r = requests[i]
                at = logits[row, len(r.context) - 1 : len(r.fed)]
                wanted = torch.tensor(r.continuation, device=network.device)
                found[i] = float(at.gather(1, wanted[:, None]).sum())
    return [found[i] for i in range(len(requests))]


def flop(lm: TransformersLM, body_tokens: int, head_rows: int) -> float:
    """Return the operations of the products with the weights; attention's are not counted."""
    network = lm.network
    outer = {id(network.get_input_embeddings().weight), id(network.get_output_embeddings().weight)}
    body = sum(p.numel() for p in network.parameters() if p.dim() == 2 and id(p) not in outer)
    head = network.get_output_embeddings().weight.numel()
    return 2.0 * (body * body_tokens + head * head_rows)


def kind_of(kernel: str) -> str:
    """Return what a kernel is for, by its name."""
    name = kernel.lower()
    if "memcpy" in name or "memset" in name or "catarray" in name:
        return "copies"
    if any(word in name for word in ("fmha", "flash", "flex", "attention", "tem_fused")):
        return "attention"
    if any(word in name for word in ("gemm", "nvjet", "cutlass", "cublas")):
        return "products"
    return "the rest"


def show(value: Any) -> str:
    """Return a figure in few characters."""
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1e4 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def say(text: str) -> None:
    print(text, flush=True)


def table(done: Figures) -> str:
    """Return what was measured, as tables in Markdown."""
    scored = {k: v for k, v in done.items() if "share_of_product" in v}
    lines = [
        "| model, workload | seconds | tokens | passes | tokens/s | TFLOP/s | of product | GiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, v in scored.items():
        counts = f"{v['body_tokens']:,} | {v['forwards']} | {v['tokens_s']:,.0f}"
        rates = f"{v['tflops']:.0f} | {v['share_of_product']:.2f} | {v['memory_gib']:.1f}"
        lines.append(f"| {name} | {v['seconds']:.3f} | {counts} | {rates} |")
    for title, ending in {
        "phases, seconds": " phases", "kernels, ms": " kernels", "error, nats": " exact, nats",
        "harness": ", harness", "writing": " writing",
    }.items():  # fmt: skip
        chosen = {k.removesuffix(ending): v for k, v in done.items() if k.endswith(ending)}
        columns = list(dict.fromkeys(c for v in chosen.values() for c in v))
        if chosen:
            lines += [
                "",
                f"| {title} | " + " | ".join(columns) + " |",
                "|---" * (len(columns) + 1) + "|",
            ]
        for name, v in chosen.items():
            lines.append(f"| {name} | " + " | ".join(show(v.get(c, "")) for c in columns) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> Figures:
    """Measure, print the tables, and return the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help="tiny shapes on the CPU")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--models", nargs="+", help="of the configurations; default: all")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--workloads", nargs="+", choices=COSTLY, default=list(COSTLY))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.15, help="of the harness's requests")
    parser.add_argument("--chunk-tokens", type=int, help="in a pass; default: what a run takes")
    arguments = parser.parse_args(argv)
    bench = Bench(arguments)
    bench.run(arguments.models)
    say("\n" + table(bench.done))
    return bench.done


if __name__ == "__main__":
    main()
