"""A run's lines in its folder: births, generations, measurements, and the checkpoint that makes
them count.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from evoprompt.config.sections import with_absolute_paths
from evoprompt.dynamics.population import Births, generations
from evoprompt.dynamics.remeasured import with_parents
from evoprompt.jobs.evolve.config import Config, check_config
from evoprompt.jobs.evolve.measurement_lines import measurement_line, measurement_of
from evoprompt.jobs.evolve.predictions import PREDICTIONS, Prediction
from evoprompt.jobs.evolve.record import GenerationLine, Summary
from evoprompt.policy import Policy
from evoprompt.records import Birth, Evaluation, LabelScores, LineageEntry, Member, Rung, State
from evoprompt.selection.base import Expectation
from evoprompt.store.folder import CONFIG, SUMMARY, RunFolder
from evoprompt.store.form import in_form
from evoprompt.store.ledger import Ledger
from evoprompt.store.lines import Place

LINEAGE, GENERATIONS, MEASUREMENTS = "lineage.jsonl", "generations.jsonl", "measurements.jsonl"


DYNAMICS = "dynamics.json"
#: What policies do to auxiliary tasks; only of runs that look.
SIDE_EFFECTS = "side_effects.jsonl"
#: What policies answer under changes; only of runs that look.
UNDER_CHANGES = "under_changes.jsonl"
#: What changes take from the finalists; only of runs that look.
FINALISTS_UNDER_CHANGES = "finalists_under_changes.jsonl"
LOOKED = (SIDE_EFFECTS, UNDER_CHANGES)
#: What remarks of before told a run of the traits that are wanted.
FEEDBACK = "feedback.json"
#: Examples that were given in memory.
EXAMPLES = "examples.jsonl"
APPENDED = (LINEAGE, GENERATIONS, MEASUREMENTS)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a run goes on from."""

    state: State
    ledger: Ledger


class EvolveFolder(RunFolder):
    """The folder of a run."""

    def config(self) -> Config:
        """Return the configuration that the run was begun with, as it is used."""
        return self.settled(check_config(self.config_values(), str(self.path / CONFIG)))

    def settled(self, config: Config) -> Config:
        """Return the file's configuration as it is used: the folder's own examples are found
        wherever the folder is now.
        """
        return config.model_copy(update={"task": with_absolute_paths(config.task, self.path)})

    def commit(
        self,
        state: State,
        entries: Sequence[LineageEntry],
        line: GenerationLine,
        measured: Iterable[LabelScores],
        ledger: Ledger,
        looked: Mapping[str, Sequence[Mapping[str, Any]]] = MappingProxyType({}),
    ) -> list[Place]:
        """Append a generation to the files, then make it count by replacing the checkpoint; return
        where the measurements are. `looked` has what was measured beside the examples, by file.
        """
        lines: dict[str, Sequence[Mapping[str, Any]]] = {
            LINEAGE: [lineage_line(e) for e in entries],
            GENERATIONS: [line.to_dict()],
            MEASUREMENTS: [measurement_line(m) for m in measured],
        }
        lines |= {
            name: looked.get(name, ()) for name in LOOKED if name in looked or self._has(name)
        }
        content = {
            "version": 1,
            **state_dict(state),
            "ledger": ledger.to_dict(),
        }
        return self.commit_lines(lines, content)[MEASUREMENTS]

    def restore(self) -> Checkpoint | None:
        """Cut off what was never committed; return the checkpoint, or None where no generation was
        committed.

        Raises:
            UserError: a file is shorter than its checkpoint says, so the folder was damaged.
        """
        content = self.restore_lines((*APPENDED, *filter(self._has, LOOKED)))
        if content is None:
            return None
        return Checkpoint(state_of(content), Ledger.from_dict(content["ledger"]))

    def _has(self, name: str) -> bool:
        """Return whether the run has begun a file."""
        return (self.path / name).exists()

    def lineage(self) -> list[LineageEntry]:
        """Return every birth of the run, in order. Case fitness is not in the lineage, and is
        empty.
        """
        return [
            LineageEntry(
                row["generation"],
                row["island"],
                Member(_birth(row), _evaluation(row, ())),
                row["selected"],
            )
            for row in self.lines(LINEAGE)
        ]

    def births(self) -> Iterator[Births]:
        """Yield each generation as arrays, with the chances that selection gave to each birth."""
        yield from told_births(
            generations(self.committed(LINEAGE)), self.committed(GENERATIONS), None
        )

    def founders(self) -> list[str]:
        """Return the policy ids of the births of generation 0, of a folder that was restored."""
        rows = (row for _, row in self.placed_lines(LINEAGE))
        return [row["policy_id"] for row in takewhile(lambda r: r["generation"] == 0, rows)]

    def first_measurements(self, policy_ids: Iterable[str]) -> dict[str, LabelScores]:
        """Return the first measurement of each of these policies, by id, of a folder that was
        restored; they stand first in their file.
        """
        lacking, found = set(policy_ids), dict[str, LabelScores]()
        for _, row in self.placed_lines(MEASUREMENTS) if lacking else ():
            if row["policy_id"] in lacking:
                lacking.remove(row["policy_id"])
                found[row["policy_id"]] = measurement_of(row)
            if not lacking:
                break
        return found

    def measured_since(
        self, begin: Mapping[str, int], known: Mapping[str, Policy]
    ) -> Iterator[tuple[Policy, LabelScores, Place]]:
        """Yield what was measured since the files had so many bytes, of a folder that was restored,
        and where each line is. `known` has by id the policies that were measured before, and those
        that were yielded.
        """
        births = (row for _, row in self.placed_lines(LINEAGE, begin[LINEAGE]))
        born: dict[str, Mapping[str, Any]] = {}
        for place, row in self.placed_lines(MEASUREMENTS, begin[MEASUREMENTS]):
            name = row["policy_id"]
            if name in known:
                yield known[name], measurement_of(row), place
                continue
            while name not in born and (birth := next(births, None)) is not None:
                if birth["policy_id"] not in known:
                    born[birth["policy_id"]] = birth["policy"]
            yield Policy.from_dict(born.pop(name)), measurement_of(row), place

    def births_since(
        self, begin: Mapping[str, int], parents: Mapping[str, int]
    ) -> Iterator[tuple[Births, Expectation | None]]:
        """Yield each generation since the files had so many bytes, of a folder that was restored,
        and how likely each member of the one before was to be a parent, as `generations.jsonl` has
        it. `parents` as of `generations`.
        """
        rows = (row for _, row in self.placed_lines(LINEAGE, begin[LINEAGE]))
        lines = (line for _, line in self.placed_lines(GENERATIONS, begin[GENERATIONS]))
        for births, line in zip(generations(rows, parents), lines, strict=True):
            told = line.get("parent_selection") or {}
            known = told.get("probability")
            yield (
                births,
                None
                if known is None
                else Expectation(
                    np.array(known), told["how"], None, told["filling"], told["num_slots"]
                ),
            )

    def generations(self, chosen: Container[int] | None = None) -> list[GenerationLine]:
        """Return the lines of the generations that are committed, or of those chosen of them."""
        with in_form(self.path / GENERATIONS):
            return [
                GenerationLine.from_dict(line)
                for line in self.committed(GENERATIONS)
                if chosen is None or line["generation"] in chosen
            ]

    def summary(self) -> Summary | None:
        """Return what the run came to, or None where it is not complete."""
        values = self.read(SUMMARY)
        return None if values is None else Summary.from_dict(values)

    def write_predictions(self, found: Iterable[Prediction]) -> None:
        """Write what the finalists answered on the validation and the test examples."""
        self.write_lines(PREDICTIONS, [each.to_dict() for each in found])

    def predictions(self) -> list[Prediction]:
        """Return them; nothing of a run that has not come so far.

        Raises:
            UserError: a line is not as it was written; the message has its number.
        """
        file = self.path / PREDICTIONS
        if not file.exists():
            return []
        with in_form(file):
            return [Prediction.from_dict(row) for row in self.whole_lines(PREDICTIONS)]

    def finalists_under_changes(self) -> list[dict[str, Any]]:
        """Return what changes take of each finalist; nothing of a run that does not look, or has
        not come so far.
        """
        file = self.path / FINALISTS_UNDER_CHANGES
        return self.whole_lines(FINALISTS_UNDER_CHANGES) if file.exists() else []

    def measurements(self) -> dict[str, LabelScores]:
        """Return what was measured of every policy on the fitness examples, by policy id; a policy
        has a line for each time that it was measured on more of them.
        """
        found: dict[str, LabelScores] = {}
        for row in self.lines(MEASUREMENTS):
            policy_id, scores = row["policy_id"], measurement_of(row)
            known = found.get(policy_id)
            found[policy_id] = scores if known is None else known.joined(scores)
        return found


def told_births(
    births: Iterable[Births], lines: Iterable[Mapping[str, Any]], before: Births | None
) -> Iterator[Births]:
    """Yield generations with what their lines tell of them: what parents are worth on the examples
    that the next was measured on first, and the chances that selection gave to each birth, of which
    the line of the next generation tells.

    Args:
        births: generation after generation.
        lines: of `generations.jsonl` for the same, a line or several for each.
        before: the generation before the first; None where there is none.
    """
    told: dict[int, Mapping[str, Any]] = {}
    rest = iter(lines)
    waiting: Births | None = None
    for each in births:
        while each.generation not in told and (line := next(rest, None)) is not None:
            told[line["generation"]] = line.get("parent_selection") or {}
        known = told.pop(each.generation, {})
        if waiting is not None:
            yield _with_told_chances(waiting, known)
        if before is not None and known.get("remeasured"):
            each = with_parents(before, each, known["remeasured"])
        waiting = before = each
    if waiting is not None:
        yield waiting


def _with_told_chances(births: Births, told: Mapping[str, Any]) -> Births:
    if not told:
        return births
    return births.with_chances(told["probability"], told["filling"], told["num_slots"])


def with_examples(config: Config, folder: Path, examples: Sequence[Mapping[str, Any]]) -> Config:
    """Write examples that were given in memory into a folder; return the configuration that reads
    them there. Without examples it is returned as it is.
    """
    if not examples:
        return config
    RunFolder(folder).write_lines(EXAMPLES, examples)
    return config.model_copy(update={"task": with_absolute_paths(config.task, folder)})


def state_dict(state: State) -> dict[str, object]:
    """Return a population as a checkpoint has it."""
    return {
        "seed": state.seed,
        "generation": state.generation,
        "island": state.island,
        "members": [
            {
                **_birth_dict(m.birth),
                **_evaluation_dict(m.evaluation),
                "case_fitness": m.evaluation.case_fitness,
                **_bonus_dict(m.evaluation),
            }
            for m in state.members
        ],
    }


def state_of(values: Mapping[str, Any]) -> State:
    """Return the population of `state_dict`'s values."""
    members = tuple(Member(_birth(m), _evaluation(m, m["case_fitness"])) for m in values["members"])
    return State(values["seed"], values["generation"], members, values["island"])


def lineage_line(entry: LineageEntry) -> dict[str, object]:
    """Return a birth as `lineage.jsonl` has it."""
    birth, evaluation = entry.member.birth, entry.member.evaluation
    return {
        "generation": entry.generation,
        "island": entry.island,
        "birth_id": birth.birth_id,
        "policy_id": birth.policy.policy_id,
        "parent_ids": list(birth.parent_ids),
        "shares": list(birth.shares),
        "operator": birth.operator,
        **_further_dict(birth),
        "selected": entry.selected,
        **_evaluation_dict(evaluation),
        "policy": birth.policy.to_dict(),
        "survival_probability": entry.survival_probability,
    }


def _birth_dict(birth: Birth) -> dict[str, object]:
    return {
        "birth_id": birth.birth_id,
        "parent_ids": list(birth.parent_ids),
        "shares": list(birth.shares),
        "operator": birth.operator,
        **_further_dict(birth),
        **({"island": birth.island} if birth.island else {}),
        "policy": birth.policy.to_dict(),
    }


def _further_dict(birth: Birth) -> dict[str, object]:
    """Return what few births have."""
    edits = {"edits": list(birth.edits)} if birth.edits else {}
    rates = {"rates": dict(birth.rates)} if birth.rates else {}
    return {**edits, **rates, **({"founded": birth.founded} if birth.founded else {})}


def _birth(row: Mapping[str, Any]) -> Birth:
    return Birth(
        row["birth_id"],
        Policy.from_dict(row["policy"]),
        tuple(row["parent_ids"]),
        tuple(row["shares"]),
        row["operator"],
        tuple(row.get("edits", ())),
        row.get("island", 0),
        tuple(row.get("rates", {}).items()),
        row.get("founded", 0),
    )


def _bonus_dict(evaluation: Evaluation) -> dict[str, object]:
    return {"case_bonus": evaluation.case_bonus} if evaluation.case_bonus else {}


def _evaluation_dict(evaluation: Evaluation) -> dict[str, object]:
    rungs = [{"examples": r.examples, "traits": dict(r.traits)} for r in evaluation.rungs]
    return {
        "fitness": evaluation.fitness,
        "traits": dict(evaluation.traits),
        **({"examples": evaluation.examples} if evaluation.examples else {}),
        **({"rungs": rungs} if rungs else {}),
    }


def _evaluation(row: Mapping[str, Any], case_fitness: Sequence[float]) -> Evaluation:
    rungs = tuple(Rung(r["examples"], r["traits"]) for r in row.get("rungs", ()))
    return Evaluation(
        row["fitness"],
        tuple(case_fitness),
        row["traits"],
        row.get("examples", 0),
        rungs,
        tuple(row.get("case_bonus", ())),
    )
