"""How well a model reads remarks, and what three of them do to a run.

python -m experiments.feedback.study read smollm2-135m
python -m experiments.feedback.study steer OUT
"""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from evoprompt.jobs.evolve.config import check_config, load_config
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.feedback.grounding import features_named
from evoprompt.jobs.feedback.reading import KINDS, read
from evoprompt.jobs.feedback.session import give_feedback
from evoprompt.measurement.features import feature_words
from evoprompt.measurement.model import build_asker

REMARKS = Path(__file__).parent / "remarks.csv"
#: What is said of the champion of the run without remarks.
SAID = ("Make the prompt much shorter.", "It shows too many examples.", "Use fewer examples.")
BUDGET = "budget={logical_tokens: 20000}"


def read_all(model: str) -> None:
    """Print the confusion of kinds and of sentiments, for each way of calibrating."""
    config = check_config(
        {"model": {"name": model}, "task": {"name": "inbox"}, "workers": {"backend": "local"}}, ""
    )
    rows = list(csv.DictReader(REMARKS.open(encoding="utf-8")))
    asker = build_asker(config, answer_tokens=1)
    asker.measurer.features = feature_words(asker.measurer.tokenizer)
    try:
        for way in ("off", "batch", "labelled", "head"):
            found = read([row["remark"] for row in rows], asker, way)  # type: ignore[arg-type]
            pairs = Counter((row["kind"], r.kind) for row, r in zip(rows, found, strict=True))
            judged = [(row, r) for row, r in zip(rows, found, strict=True) if row["sentiment"]]
            right = sum((r.sentiment > 0) == (row["sentiment"] == "good") for row, r in judged)
            print(f"{model}, {way}: kinds {sum(pairs[k, k] for k in KINDS)}/{len(rows)}")
            for kind in KINDS:
                print(f"  {kind:12}", *(f"{k} {pairs[kind, k]:2}" for k in KINDS))
            print(f"  sentiment {right}/{len(judged)}")
            if way == "head":
                wrong = [
                    row["remark"]
                    for row, r in zip(rows, found, strict=True)
                    if row["kind"] != r.kind
                ]
                print("  wrong kinds:", wrong)
        named = sum(bool(features_named(row["remark"], row["kind"])) for row in rows)
        print(f"  of {len(rows)} remarks {named} name a feature by their words")
    finally:
        asker.measurer.close()


def steer(out: Path) -> None:
    """Print what a run chooses without remarks, and with what is said of its champion."""
    for seed in (0, 1, 2):
        plain = out / f"plain-{seed}"
        start(load_config(Path("quickstart"), [f"seed={seed}", BUDGET]), plain)
        give_feedback(plain, SAID)
        place = (plain / "remarks.jsonl").resolve()
        for strength in (0.02, 0.2):
            told = f"feedback={{path: {place}, strength: {strength}}}"
            steered = out / f"said-{strength}-{seed}"
            start(load_config(Path("quickstart"), [f"seed={seed}", BUDGET, told]), steered)
    for folder in sorted(out.iterdir()):
        if (folder / "summary.json").exists():
            print(folder.name, *facts(folder))


def facts(folder: Path) -> Sequence[object]:
    """Return the champion's tokens, demonstrations and test accuracy with its interval."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    lines = (folder / "lineage.jsonl").read_text(encoding="utf-8").splitlines()
    own = summary["champion"]["policy_id"]
    traits = next(r["traits"] for r in map(json.loads, lines) if r["policy_id"] == own)
    test = summary["test"]["champion"]
    return (
        f"tokens {traits['prompt_tokens']:.0f}",
        f"demonstrations {traits['num_demonstrations']:.0f}",
        f"test {test['value']:.3f} [{test['ci'][0]:.3f}, {test['ci'][1]:.3f}]",
    )


if __name__ == "__main__":
    command, given = sys.argv[1:]
    read_all(given) if command == "read" else steer(Path(given))
