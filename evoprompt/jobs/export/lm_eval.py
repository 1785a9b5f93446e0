"""A champion as a task of the LM Evaluation Harness, with the run's own test examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from evoprompt.errors import UserError
from evoprompt.jobs.evolve.predictions import PREDICTIONS
from evoprompt.jobs.export.exported import Exported
from evoprompt.tasks.render import render_prefix

#: The test examples, in the run's folder.
DATA = "lm_eval.jsonl"
#: What the harness compares by, for a comparison of this package.
METRICS = {"likelihood": "acc", "per_byte": "acc_bytes", "pmi": "acc_mutual_info"}


def as_lm_eval(exported: Exported) -> str:
    """Return the YAML of a task, whose contexts and continuations are those of the run to the byte;
    its examples are written into the run's folder.

    Raises:
        UserError: as `Exported.refuse_without_choices`; a chat template renders the champion, or
            the run kept no test examples.
    """
    exported.refuse_without_choices("lm-eval")
    champion = exported.champion
    policy, template = champion.policy, champion.policy.template
    if policy.is_chat:
        raise UserError(
            "the champion is rendered by a chat template, whose turns the harness divides in "
            "another way; take --to chat, or --to python"
        )
    queries = {c: query for c, (query, _) in exported.requests.items()}
    prefix, before = render_prefix(policy), template.answer_prefix.rstrip(" ")
    found: dict[str, Any] = {
        "task": f"evoprompt_{policy.policy_id}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(_data(exported))}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "description": _raw(str(prefix)),
        "doc_to_text": _raw(template.input_prefix)
        + "{{input}}"
        + _raw(template.output_prefix + before),
        "doc_to_choice": [
            q.continuation.lstrip(" ") + q.end * q.is_ended for q in queries.values()
        ],
        "doc_to_target": "{{" + json.dumps(list(queries)) + ".index(target)}}",
        "target_delimiter": template.answer_prefix.removeprefix(before),
        "num_fewshot": 0,
        "metric_list": [{"metric": METRICS.get(champion.answered_by, "acc")}],
        "metadata": {"version": 1, "policy_id": policy.policy_id},
    }
    notes = [exported.not_carried] if exported.not_carried else []
    return "".join(f"# {note}\n" for note in notes) + yaml.safe_dump(
        found, sort_keys=False, allow_unicode=True
    )


def _data(exported: Exported) -> Path:
    """Write the test examples into the run's folder; return the file.

    Raises:
        UserError: the run kept none, or the folder cannot be written.
    """
    folder = exported.folder.resolve()
    try:
        lines = (folder / PREDICTIONS).read_text("utf-8").splitlines()
    except OSError:
        raise UserError(
            f"the run has no {PREDICTIONS} with its test examples; take --to python"
        ) from None
    rows = [json.loads(line) for line in lines]
    test = {r["example_id"]: (r["input"], r["target"]) for r in rows if r["split"] == "test"}
    kept = [{"id": i, "input": text, "target": target} for i, (text, target) in test.items()]
    try:
        (folder / DATA).write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")
    except OSError as error:
        raise UserError(f"cannot write {folder / DATA} ({error.strerror})") from None
    return folder / DATA


def _raw(text: str) -> str:
    """Return a text that Jinja leaves as it is."""
    return text if "{" not in text else "{% raw %}" + text + "{% endraw %}"
