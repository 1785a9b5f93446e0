"""Read a champion's exports back with the packages that they are for, in an environment that has
them (dspy, gepa, lm-eval with datasets), and compare what these render with what the run read.

    for form in json lm-eval dspy gepa; do evoprompt export RUN --to $form > FOLDER/$form; done
    python experiments/check_exports.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")


def check_lm_eval(folder: Path, known: dict[str, Any]) -> str:
    """Every context and every continuation, of all test examples."""
    from lm_eval.tasks import TaskManager

    (folder / "champion.yaml").write_text((folder / "lm-eval").read_text())
    manager = TaskManager(include_defaults=False)
    task = next(iter(manager.load([str(folder / "champion.yaml")])["tasks"].values()))
    docs, before = list(task.eval_docs), known["policy"].get("template", [""] * 3)[3:]
    words = [(before[0] if before else " ") + word for word in known["words"].values()]
    for doc in docs:
        context = task.fewshot_context(doc, 0)
        assert context == known["prompt"].replace("{input}", doc["input"]), context
        assert [r.args[1] for r in task.construct_requests(doc, context)] == words
        assert list(known["words"])[task.doc_to_target(doc)] == doc["target"]
    return f"lm-eval: {len(docs)} contexts and {len(docs) * len(words)} continuations are equal"


def check_dspy(folder: Path, known: dict[str, Any]) -> str:
    """The instruction and each demonstration in what DSPy's adapter says."""
    import dspy

    (folder / "dspy.json").write_text((folder / "dspy").read_text())
    program = dspy.Predict("input -> answer")
    program.load(str(folder / "dspy.json"))
    adapter, text = dspy.ChatAdapter(), "an input of the check"
    said = adapter.format(program.signature, program.demos, {"input": text})
    shown = known["policy"].get("demonstrations", [])
    for given, target in shown:
        assert any(given in m["content"] for m in said if m["role"] == "user")
        word = known["words"].get(target, target)
        assert any(word in m["content"] for m in said if m["role"] == "assistant")
    assert known["policy"].get("instruction", "") in said[0]["content"]
    assert len(said) == 2 + 2 * len(shown)
    assert text in said[-1]["content"]
    return f"dspy: an instruction and {len(shown)} demonstrations are said"


def check_gepa(folder: Path, known: dict[str, Any]) -> str:
    """What stands before the input, as the system's turn of GEPA's own adapter."""
    from gepa.adapters.default_adapter.default_adapter import DefaultAdapter

    candidate, asked = json.loads((folder / "gepa").read_text()), []

    def model(messages: list[dict[str, str]]) -> str:
        asked.append(messages)
        return ""

    rows = [{"input": "an input", "answer": "", "additional_context": {}}]
    DefaultAdapter(model=model).evaluate(rows, candidate)
    [[system, user]] = asked
    assert known["prompt"].startswith(system["content"])
    assert user["content"] == "an input"
    return f"gepa: a system's turn of {len(system['content'])} characters"


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    champion = json.loads((place / "json").read_text())
    for check in (check_lm_eval, check_dspy, check_gepa):
        print(check(place, champion))
