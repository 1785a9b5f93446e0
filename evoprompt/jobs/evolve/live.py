"""What a run tells while it goes on, in a line that fits. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from evoprompt.jobs.evolve.record import GenerationLine
from evoprompt.records import SURVIVE
from evoprompt.terminal import clock

#: Heights of a sparkline.
BLOCKS = "▁▂▃▄▅▆▇█"
#: Points of a sparkline at most: the latest.
POINTS = 24
#: Columns from which on words are written out.
FULL = 100


def starting(backend: str, tracker: str | None) -> str:
    """Return what is being started: only what a configuration uses."""
    others = ["Ray"] if backend == "ray" else []
    others += ["MLflow"] if tracker == "mlflow" else []
    return f"starting {', '.join(others)}{' and ' if others else ''}the model"


def generation_text(line: GenerationLine, left: float, width: int) -> str:
    """Return a generation in one line of at most this many characters: what matters least is left
    out first.

    Args:
        line: of the generation.
        left: seconds that the run still takes, about.
        width: of the terminal.
    """
    fitness, account = line.account.fitness, line.account
    parts = [
        (0, f"generation {line.generation:>3}" if width >= FULL else f"gen {line.generation:>3}"),
        (0, f"best {fitness.best:8.4f}"),
        (4, f"mean {fitness.mean:8.4f}"),
        (5, "" if account.examples is None else f"on {account.examples:>3}"),
        (1, "" if account.best_accuracy is None else f"accuracy {account.best_accuracy:.3f}"),
        (3, f"tokens {line.tokens.total:>9,}"),
        (2, f"left about {clock(left)}" if width >= FULL else f"left {clock(left)}"),
        (6, price_text(line)),
        (7, credit_text(line)),
    ]
    return fitted([(rank, text) for rank, text in parts if text], width)


def fitted(parts: Sequence[tuple[int, str]], width: int) -> str:
    """Return the parts in a line, without those of the highest ranks where it would be longer."""
    kept = list(parts)
    while len("  ".join(text for _, text in kept)) > width and any(rank for rank, _ in kept):
        kept.remove(max(kept, key=lambda part: part[0]))
    return "  ".join(text for _, text in kept)[:width]


def price_text(line: GenerationLine) -> str:
    """Return in brief why the mean fitness changed: by the choice of parents, by the operators, by
    the race and survival; nothing of the founders.
    """
    account = line.account.price.get("fitness")
    if account is None:
        return ""
    survival = account.survival.selection + account.racing
    return (
        f"parents {account.reproduction.selection:+.3f} operators {account.transmission:+.3f} "
        f"survival {survival:+.3f}"
    )


def credit_text(line: GenerationLine) -> str:
    """Return the operator that did most for the mean fitness of all births, and how much; nothing
    where none did anything.
    """
    account = line.account.price.get("fitness")
    by = {} if account is None else account.transmission_by_operator
    known = {name: value for name, value in by.items() if name != SURVIVE}
    if not known:
        return ""
    name = max(known, key=lambda n: known[n])
    return f"best operator {name} {known[name]:+.3f}"


def sparkline(values: Sequence[float]) -> str:
    """Return the latest values as blocks, from the least to the greatest of them."""
    shown = values[-POINTS:]
    if not shown:
        return ""
    low, room = min(shown), max(shown) - min(shown)
    if room == 0:
        return BLOCKS[0] * len(shown)
    return "".join(BLOCKS[round((v - low) / room * (len(BLOCKS) - 1))] for v in shown)
