"""The measurement under changes, readable in one sitting.

    subject, source --variants--> prompts and inputs --ask--> answers --interpret--> cells
    cells --commit--> robustness.jsonl

The changes of a source to a policy are committed as a whole; what was committed is not measured
again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evoprompt.backends.base import ModelInfo
from evoprompt.interrupt import raise_if_interrupted
from evoprompt.jobs.robustness.analysis import findings_of, numbers_of
from evoprompt.jobs.robustness.attack import search, with_edit
from evoprompt.jobs.robustness.folder import ROBUSTNESS, RobustnessFolder
from evoprompt.jobs.robustness.record import (
    ATTACK,
    ATTACKED,
    DIGITS,
    TRANSFERRED,
    Cell,
    Edit,
)
from evoprompt.jobs.robustness.study import Study, Subject, Variant, variants
from evoprompt.measurement.asker import Asker
from evoprompt.policy import Policy
from evoprompt.records import Example
from evoprompt.stats.stacking import log_softmax
from evoprompt.store.folder import TRACKING
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.base import share_choices
from evoprompt.tasks.render import render_prefix

#: The phases of the ledger: what is reported, and what attacks are chosen by.
TEST, CHOICE = "test", "search"


@dataclass(slots=True)
class Progress:
    """What is committed of a measurement."""

    cells: list[Cell]
    done: set[tuple[str, str]]  #: policy and source
    ledger: Ledger
    notes: list[str]


def restore(folder: RobustnessFolder) -> Progress:
    """Return what an earlier part of this measurement committed."""
    content = folder.restore_lines((ROBUSTNESS,))
    if content is None:
        return Progress([], set(), Ledger(), [])
    done = {(subject, source) for subject, source in content["done"]}
    ledger = Ledger.from_dict(content["ledger"])
    return Progress(folder.cells(), done, ledger, list(content["notes"]))


def measure(
    study: Study,
    asker: Asker,
    folder: RobustnessFolder,
    progress: Progress,
    told: Callable[[Subject, str, Sequence[Cell]], None],
) -> None:
    """Measure the units that are not committed yet, each with a commit.

    Raises:
        InexactScoringError: the standing check found a wrong score.
    """
    for subject, source in study.units:
        if (subject.name, source) in progress.done:
            continue
        raise_if_interrupted()
        cells, notes = measure_unit(study, asker, subject, source, progress.cells)
        progress.cells += cells
        progress.notes += notes
        _commit(folder, progress, (subject.name, source), cells)
        told(subject, source, cells)


def measure_unit(
    study: Study, asker: Asker, subject: Subject, source: str, known: Sequence[Cell]
) -> tuple[list[Cell], list[str]]:
    """Return the cells of a source on a policy, and what is left out, a sentence each.

    Args:
        study: what is measured.
        asker: of the model.
        subject: the policy.
        source: a name of `PERTURBATIONS` or of `record`.
        known: the cells before it; a change to do harm is looked up among them.
    """
    edits: tuple[Edit, ...] = ()
    if source == ATTACK:
        policy, edits = _attacked(study, asker, subject)
        made = [Variant(source, 0, policy, study.test)]
    elif source == TRANSFERRED:
        [edits] = [c.edits for c in known if c.source == ATTACK and c.subject != subject.name]
        made = [Variant(source, 0, replayed(study, subject, edits), study.test)]
    elif source.startswith(ATTACKED):
        [edits] = [c.edits for c in known if c.source == ATTACK and c.subject == subject.name]
        policy = replayed(study, subject, edits)
        made = list(variants(study, policy, source.removeprefix(ATTACKED)))
    else:
        made = list(variants(study, subject.policy, source))
    fitting = [v for v in made if asker.measurer.fits(v.policy, v.examples)]
    notes = [
        f"{subject.name}: {source}: draw {v.draw + 1} is left out: it cannot be tokenized before "
        f"its answers, or is longer than the model's window"
        for v in made
        if v not in fitting
    ]
    if not made:
        notes = [f"{subject.name}: {source}: nothing to change, or no words are given for it"]
    cells = []
    for variant in fitting:
        raise_if_interrupted()
        found = answers(asker, subject, variant.policy, variant.examples, TEST)
        cells.append(_cell(subject, source, variant, found, edits))
    return cells, notes


def replayed(study: Study, subject: Subject, edits: Sequence[Edit]) -> Policy:
    """Return a policy with the edits of an attack, whoever they were found for."""
    policy = subject.policy
    for edit in edits:
        policy = with_edit(policy, edit, study.sources, study.config.seed)
    return policy


def answers(
    asker: Asker, subject: Subject, policy: Policy, examples: Sequence[Example], phase: str
) -> NDArray[np.float64]:
    """Return log-probabilities among the choices as the subject compares them, nats, shape
    (example, choice); -inf where there is none.
    """
    asker.calibration = subject.calibration
    head = None if subject.calibration is None else subject.calibration.head
    asker.measurer.features = () if head is None else head.words
    found = asker.answers(policy, examples, phase)
    logs = np.full((len(found), max(len(a.probabilities) for a in found)), -np.inf)
    least = np.finfo(np.float64).tiny
    for row, answer in zip(logs, found, strict=True):
        row[: len(answer.probabilities)] = np.log(np.maximum(answer.probabilities, least))
    return logs


def _attacked(study: Study, asker: Asker, subject: Subject) -> tuple[Policy, tuple[Edit, ...]]:
    config, measurer = study.config, asker.measurer
    gold = np.array([e.gold for e in study.searched])

    def worth(policy: Policy) -> float:
        if not measurer.fits(policy, study.searched):
            return np.inf
        logs = answers(asker, subject, policy, study.searched, CHOICE)
        if config.attack.freed:
            logs = log_softmax(logs - logs.mean(axis=0))
        return float(logs[np.arange(len(gold)), gold].mean())

    def tokens(policy: Policy) -> Sequence[int]:
        return measurer.tokenizer.encode([render_prefix(policy)])[0]

    return search(subject.policy, study.sources, config.attack, config.seed, worth, tokens)


def _cell(
    subject: Subject,
    source: str,
    variant: Variant,
    logs: NDArray[np.float64],
    edits: tuple[Edit, ...],
) -> Cell:
    gold = np.array([e.gold for e in variant.examples])
    found = logs.argmax(axis=1)
    freed = logs - logs.mean(axis=0) if share_choices(variant.examples) else logs
    return Cell(
        subject.name,
        source,
        variant.draw,
        variant.policy.to_dict(),
        tuple(found.tolist()),
        tuple((found == gold).astype(int).tolist()),
        tuple((freed.argmax(axis=1) == gold).astype(int).tolist()),
        tuple(round(float(v), DIGITS) for v in logs[np.arange(len(gold)), gold]),
        edits,
    )


def _commit(
    folder: RobustnessFolder, progress: Progress, key: tuple[str, str], cells: Sequence[Cell]
) -> None:
    progress.done.add(key)
    content: Mapping[str, Any] = {
        "version": 1,
        "done": [list(k) for k in sorted(progress.done)],
        "ledger": progress.ledger.to_dict(),
        "notes": progress.notes,
    }
    folder.commit_lines({ROBUSTNESS: [cell.to_dict() for cell in cells]}, content)


def summary_of(
    folder: RobustnessFolder, study: Study, progress: Progress, info: ModelInfo
) -> dict[str, Any]:
    """Return what `summary.json` has of a complete measurement."""
    ledger = progress.ledger
    return {
        "name": folder.path.name,
        "run": str(study.config.run),
        "task": study.task.name,
        "num_examples": len(study.test),
        "notes": [*study.notes, *progress.notes],
        "model": {
            "name": study.config.model.name,
            "dtype": info.dtype,
            "path": info.path,
            "window": info.window,
        },
        "tokens": asdict(ledger.token_summary()) | {"logical": ledger.total.logical_tokens},
        "checked": asdict(ledger.checked),
        "findings": numbers_of(findings_of(progress.cells, study.config.seed)),
        "mlflow_run_id": (folder.read(TRACKING) or {}).get("run_id"),
    }
