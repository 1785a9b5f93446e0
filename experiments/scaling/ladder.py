"""A ladder of small language models on generated text: their losses by tokens seen.

    python experiments/scaling/ladder.py runs/ladder --minutes 10
    evoprompt scaling samples experiments/scaling/ladder.csv

Trains five decoders (0.1 to 10 million parameters beside embeddings) on characters of the package's
own generated tasks, one thread, one pass: no document comes twice. At tokens that grow by a root of
two each is measured on documents that it never sees, by an average of its weights. Run it again
after it stopped, and it goes on after the last point; what was measured is in `ladder.csv` there.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from evoprompt.tasks.generators import MAX_EXAMPLES, arithmetic, scramble
from evoprompt.tasks.word_problems import worked_problems

#: Tokens of a window, windows of a step, of the measurement.
WINDOW, BATCH, HELD_OUT = 128, 4, 128
#: Steps over which the learning rate rises, and that the average of weights looks back at.
WARM, MEMORY = 50, 40
#: Tokens at the first measurement.
FIRST = 8192
TYPES = {"loss": float, "accuracy": float, "seconds": float}
COLUMNS = ("model", "seed", "parameters", "samples", "flop", "loss", "accuracy", "seconds")


@dataclass(frozen=True)
class Size:
    """A model of the ladder."""

    name: str
    layers: int
    width: int
    rate: float  #: of learning, AdamW
    tokens: int  #: that it is trained on at most

    @property
    def parameters(self) -> int:
        """Parameters beside embeddings."""
        return 12 * self.layers * self.width**2


SIZES = (
    Size("0.1M", 2, 64, 3e-3, 1_500_000),
    Size("0.3M", 3, 96, 3e-3, 1_500_000),
    Size("0.8M", 4, 128, 2e-3, 1_500_000),
    Size("3M", 4, 256, 1.5e-3, 750_000),
    Size("10M", 8, 320, 1e-3, 375_000),
)


class Decoder(nn.Module):
    """A causal transformer over characters."""

    def __init__(self, size: Size, vocabulary: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, size.width)
        self.place = nn.Embedding(WINDOW, size.width)
        layer = nn.TransformerEncoderLayer(
            size.width, size.width // 32, 4 * size.width, 0.0, "gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.layers = nn.TransformerEncoder(layer, size.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(size.width)
        nn.init.normal_(self.embed.weight, std=0.02)
        nn.init.normal_(self.place.weight, std=0.02)
        mask = nn.Transformer.generate_square_subsequent_mask(WINDOW)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits of the next characters, shape (window, place, character)."""
        hidden = self.embed(tokens) + self.place.weight[: tokens.shape[1]]
        num = tokens.shape[1]
        hidden = self.layers(hidden, mask=self.mask[:num, :num], is_causal=True)
        return self.norm(hidden) @ self.embed.weight.T


def documents(seed: int) -> list[tuple[str, str]]:
    """Return all generated texts as what is given and the end that is the answer, shuffled."""
    found: list[tuple[str, str]] = []
    for difficulty in range(1, 6):
        for example in worked_problems(difficulty, MAX_EXAMPLES):
            steps, answer = example.target.rsplit(" ", 1)
            found.append((f"{example.input}\n{steps} ", answer + "\n\n"))
        for example in arithmetic(difficulty, MAX_EXAMPLES):
            found.append((f"{example.input} = ", example.target + "\n\n"))
        for example in scramble(difficulty, MAX_EXAMPLES):
            found.append((f"{example.input} is ", example.target + "\n\n"))
    return [found[i] for i in np.random.default_rng(seed).permutation(len(found))]


def corpus(seed: int) -> tuple[Tensor, Tensor, Tensor, int]:
    """Return characters to train on, those held out and the number of the answer of which each of
    these is part, 0 of none; and how many different characters there are.
    """
    texts = documents(0)
    codes = {c: i for i, c in enumerate(sorted({c for pair in texts for c in "".join(pair)}))}
    held: list[int] = []
    answer_of: list[int] = []
    num, needed = 0, HELD_OUT * WINDOW + 1
    while len(held) < needed:
        given, answer = texts[num]
        num += 1
        held += [codes[c] for c in given + answer]
        answer_of += [0] * len(given) + [num] * len(answer)
    order = np.random.default_rng(seed).permutation(range(num, len(texts)))
    train = [codes[c] for i in order for c in "".join(texts[i])]
    return torch.tensor(train), torch.tensor(held[:needed]), torch.tensor(answer_of), len(codes)


def measured(model: nn.Module, held: Tensor, answer_of: Tensor) -> tuple[float, float]:
    """Return the loss on what is held out, nats per character, and the share of answers of which
    every character is the likeliest.
    """
    tokens, targets = held[:-1].view(HELD_OUT, WINDOW), held[1:]
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(part) for part in tokens.split(16)]).flatten(0, 1)
    model.train()
    loss = float(cross_entropy(logits, targets))
    right = (logits.argmax(dim=1) == targets).tolist()
    groups = groupby(zip(answer_of[1 : len(held)].tolist(), right, strict=True), key=lambda p: p[0])
    whole = [all(r for _, r in group) for number, group in groups if number]
    return loss, float(np.mean(whole))


def points(most: int) -> list[int]:
    """Return after how many tokens models are measured."""
    step = WINDOW * BATCH
    found = [int(FIRST * 2 ** (k / 2)) // step * step for k in range(40)]
    return [n for n in found if n <= most]


def train(size: Size, seed: int, out: Path, rows: list[dict[str, object]], end: float) -> bool:
    """Train a model from its last measurement on; return whether it was trained to its end."""
    text, held, answer_of, vocabulary = corpus(seed)
    torch.manual_seed(seed)
    model = Decoder(size, vocabulary)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(1 - 1 / MEMORY))
    optimizer = torch.optim.AdamW(model.parameters(), lr=size.rate, betas=(0.9, 0.98))
    saved, seen, seconds = out / f"{size.name}-{seed}.pt", 0, 0.0
    if saved.exists():
        kept = torch.load(saved, weights_only=True)
        model.load_state_dict(kept["model"])
        average.load_state_dict(kept["average"])
        optimizer.load_state_dict(kept["optimizer"])
        seen, seconds = kept["seen"], kept["seconds"]
    step = WINDOW * BATCH
    for point in points(min(size.tokens, len(text) - 1)):
        if point <= seen:
            continue
        begun = time.process_time()
        while seen < point:
            if time.monotonic() > end:
                return False
            warm = min(1.0, (seen // step + 1) / WARM)
            optimizer.param_groups[0]["lr"] = size.rate * warm
            part = text[seen : seen + step + 1]
            tokens, targets = part[:-1].view(BATCH, WINDOW), part[1:]
            loss = cross_entropy(model(tokens).flatten(0, 1), targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            average.update_parameters(model)
            seen += step
        found = measured(average, held, answer_of)
        seconds += time.process_time() - begun
        flop = 6 * size.parameters * seen
        values = (size.name, seed, size.parameters, seen, flop, *found, round(seconds, 1))
        rows.append(dict(zip(COLUMNS, values, strict=True)))
        states = {"model": model, "average": average, "optimizer": optimizer}
        kept = {name: each.state_dict() for name, each in states.items()}
        torch.save({**kept, "seen": seen, "seconds": seconds}, saved)
        write(rows, out)
        print(f"{size.name} seed {seed}: {seen:,} tokens, loss {found[0]:.3f}, "
              f"answers {found[1]:.2f}, {seconds:.0f} s", flush=True)  # fmt: skip
    return True


def write(rows: list[dict[str, object]], out: Path) -> None:
    """Write the curves, the numbers to four digits."""
    with (out / "ladder.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            told = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()}
            writer.writerow({**told, "seconds": row["seconds"]})


def main() -> None:
    """Train what is not trained yet, for so many minutes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--sizes", nargs="+", default=[s.name for s in SIZES])
    parser.add_argument("--rate", type=float, help="another learning rate, times that of the size")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    if (given.out / "ladder.csv").exists():
        with (given.out / "ladder.csv").open(encoding="utf-8") as file:
            rows = [
                {k: v if k == "model" else TYPES.get(k, int)(v) for k, v in row.items()}
                for row in csv.DictReader(file)
            ]
    end = time.monotonic() + 60 * given.minutes
    for seed in given.seeds:
        for size in (s for s in SIZES if s.name in given.sizes):
            times = given.rate or 1.0
            tried = Size(size.name, size.layers, size.width, size.rate * times, size.tokens)
            if not train(tried, seed, given.out, rows, end):
                print("stopped; the same command goes on")
                return


if __name__ == "__main__":
    main()
