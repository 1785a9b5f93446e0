"""How much do demonstrations help two models on five tasks, and are the scores and tokens right?

    python experiments/shots/grid.py prepare runs/grid --data FOLDER
    evoprompt shots runs/grid/grid.yaml --out runs/grid/shots
    python experiments/shots/grid.py check runs/grid/shots

FOLDER has winograd/wsc273.test.jsonl, winograd/winogrande.{train,test}.jsonl and
lu/{sst2,trec}.{train,test}.jsonl, lines {"input", "target", "choices"}. WSC273 has no examples to
show, so those of WinoGrande are; a choice inside a sentence begins with a small letter where its
first word is an article or a pronoun.

The check prints the accuracies, and what demonstrations add to the prompt without any, also of a
folder that is not complete. It takes 40 of the log-likelihoods that the folder has, at random for
each model, and forwards prompt and answer again by transformers alone; and it compares the tokens
that were forwarded with the floor, each distinct beginning of all prompts of a model and task once.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from transformers import AutoModelForCausalLM

from evoprompt.backends.open import backend_of
from evoprompt.jobs.shots.analysis import curves_of
from evoprompt.jobs.shots.folder import ShotsFolder
from evoprompt.jobs.shots.loop import TEST, key_of
from evoprompt.jobs.shots.plan import Planner, Series, load_series, window_in
from evoprompt.jobs.shots.record import Cell
from evoprompt.jobs.shots.tables import curve_table, settings_table
from evoprompt.measurement.requests import requests_of
from evoprompt.policy import Demonstration, Policy
from evoprompt.report.table import Table, new_table, to_markdown
from evoprompt.scoring.models import resolve_model
from evoprompt.scoring.trie import TokenRequest, count_rows
from evoprompt.stats.clustered import clustered_mean
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.render import render_queries

MODELS = ["smollm2-135m", "gemma3-270m"]
NUMBERS = [0, 1, 2, 4, 8, 16, 32]
#: Published with EvoPrompt (Guo et al. 2024).
SENTIMENT = "Does the following sentence have a positive or negative sentiment?"
#: First words of a choice that have a small letter inside a sentence.
SMALL = {"The", "His", "My"}
NUM_CHECKED = 40


def prepare(out: Path, data: Path, num_test: int) -> None:
    """Write the tasks' files and the configuration."""
    out.mkdir(parents=True, exist_ok=True)
    winograd, other = data / "winograd", data / "lu"
    sources = {
        "wsc273": (winograd / "winogrande.train.jsonl", winograd / "wsc273.test.jsonl"),
        "winogrande": (winograd / "winogrande.train.jsonl", winograd / "winogrande.test.jsonl"),
        "sst2": (other / "sst2.train.jsonl", other / "sst2.test.jsonl"),
        "trec": (other / "trec.train.jsonl", other / "trec.test.jsonl"),
    }

    def of(name: str, **more: Any) -> dict[str, Any]:
        paths = {"path": f"{name}.jsonl", "test_path": f"{name}.test.jsonl"}
        for file, source in zip(paths.values(), sources[name], strict=True):
            rows = source.read_text(encoding="utf-8").splitlines()
            if file == "wsc273.test.jsonl":
                rows = [json.dumps(in_sentence(json.loads(row))) for row in rows]
            (out / file).write_text("\n".join(rows) + "\n", encoding="utf-8")
        return {**paths, "validation_examples": 32, "test_examples": num_test, **more}

    config = {
        "name": "grid",
        "models": MODELS,
        "tasks": [
            of("wsc273", blank="_", test_examples=100),
            of("winogrande", blank="_", test_examples=100),
            {"name": "inbox", "validation_examples": 32, "test_examples": num_test},
            of("sst2", starting_policies=[{"instruction": SENTIMENT}]),
            of("trec"),
        ],
        "numbers": NUMBERS,
        "draws": 3,
        "contexts": ["random"],
        "model": {"memo": False},
        "tracking": {"enabled": False},
        "workers": {"backend": "local", "threads": 1},
    }
    (out / "grid.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    print(f"evoprompt shots {out / 'grid.yaml'} --out {out / 'shots'}")


def in_sentence(row: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with its choices as they are written where the blank is."""
    begins = re.search(r"(^|[.!?]\s+[\"']?)_", row["input"]) is not None

    def small(choice: str) -> str:
        word, _, rest = choice.partition(" ")
        return f"{word.lower()} {rest}" if word in SMALL and rest and not begins else choice

    choices = [small(choice) for choice in row["choices"]]
    return {**row, "choices": choices, "target": small(row["target"])}


def check(path: Path) -> None:
    """Print how far sampled log-likelihoods are from transformers' own, and the tokens."""
    folder = ShotsFolder.open(path)
    config, cells = folder.config(), folder.cells()
    commit = folder.last_commit()
    assert commit is not None, "something is measured"
    done = {(key[0], key[1], key[2], key[3]) for key in commit["done"]}
    curves = curves_of(cells)
    for table in (
        curve_table(curves, "accuracy", "Accuracy, as it is"),
        curve_table(curves, "calibrated_accuracy", "Accuracy, calibrated"),
        settings_table(curves),
    ):
        print(to_markdown(table))
    print(to_markdown(gain_table(cells)))
    floor = 0
    for own in config.by_model:
        name = own.model.name
        if not any(cell.model == name for cell in cells):
            continue
        network = AutoModelForCausalLM.from_pretrained(
            resolve_model(name), dtype=torch.float32, local_files_only=True
        ).eval()
        backend = backend_of(own)
        identity = backend.identify(own.model)
        tokenizer = backend.tokenizer(identity)
        series = {s.name: s for s in load_series(own)}
        rng, errors, longest = np.random.default_rng(0), [], 0
        mine = [cell for cell in cells if cell.model == name]
        for _ in range(NUM_CHECKED):
            cell = mine[int(rng.integers(len(mine)))]
            at = int(rng.integers(len(cell.right)))
            each = series[cell.task]
            policy = shown(each, cell.demonstrations)
            [request] = right_one(tokenizer, policy, each.task.test[at])
            value = plain(network, request)
            errors.append(abs(value - cell.log_likelihood[at]))
            longest = max(longest, len(request.fed))
        print(
            f"{name}: {NUM_CHECKED} log-likelihoods, at most {max(errors):.2e} nats from the plain "
            f"forward, of up to {longest} tokens"
        )
        for each in series.values():
            planner = Planner(each, tokenizer, window_in(identity))
            chains = planner.plan().chains
            asked = [c for c in chains if key_of(each, c) in done]
            floor += count_rows([r for c in asked for part in planner.asked(c) for r in part])
    ledger = Ledger.from_dict(commit["ledger"])
    forwarded = ledger.tokens[TEST].body_tokens
    print(f"{forwarded:,} tokens forwarded, the floor is {floor:,}: {forwarded / floor:.4f}")


def gain_table(cells: Sequence[Cell]) -> Table:
    """Return what demonstrations add to the prompt without, points of accuracy, calibrated where
    that is possible: paired by examples, with standard errors by examples and draws.
    """
    bare = {(c.model, c.task): c for c in cells if c.number == 0}
    rows = []
    for key, zero in bare.items():
        own, row = [c for c in cells if (c.model, c.task) == key and c.number], list(key)
        for number in NUMBERS[1:]:
            changes = [answered(c) - answered(zero) for c in own if c.number == number]
            found = clustered_mean(np.array(changes)) if changes else None
            error = None if found is None else found.error
            row.append("" if error is None else f"{100 * found.value:+.1f} ±{100 * error:.1f}")
        rows.append(row)
    return new_table(("model", "task", *map(str, NUMBERS[1:])), rows, align="ll")


def answered(cell: Cell) -> np.ndarray:
    """Return which examples are answered right, shape (example,)."""
    right = cell.right if cell.calibrated_right is None else cell.calibrated_right
    return np.array(right, dtype=np.float64)


def shown(series: Series, demonstrations: tuple[tuple[str, str], ...]) -> Policy:
    """Return the policy of a cell: that of its series with the demonstrations of these texts."""
    by_text: dict[tuple[str, str], Demonstration] = {
        (d.input, d.target): d for d in series.task.demonstrations
    }
    return replace(series.base, demonstrations=tuple(by_text[pair] for pair in demonstrations))


def right_one(tokenizer: Any, policy: Policy, example: Any) -> list[TokenRequest]:
    """Return what is asked about the right answer to an example."""
    asked = requests_of(tokenizer, render_queries(policy, [example]))
    return [request for query, request in asked if query.candidate == example.gold]


def plain(network: Any, request: TokenRequest) -> float:
    """Return log p(continuation | context), nats, of one sequence forwarded by itself."""
    tokens = torch.tensor([request.context + request.continuation])
    with torch.inference_mode():
        logs = network(tokens).logits[0].double().log_softmax(dim=-1)
    num = len(request.context)
    places = torch.arange(num - 1, tokens.shape[1] - 1)
    return float(logs[places, tokens[0, num:]].sum())


def main() -> None:
    """Prepare or check."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    first = kinds.add_parser("prepare")
    first.add_argument("out", type=Path)
    first.add_argument("--data", type=Path, required=True)
    first.add_argument("--test", type=int, default=60, help="test examples, of schemas 100")
    second = kinds.add_parser("check")
    second.add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.kind == "prepare":
        prepare(given.out, given.data, given.test)
    else:
        check(given.folder)


if __name__ == "__main__":
    main()
