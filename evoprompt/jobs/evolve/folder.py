"""A run's lines in its folder: births, generations, measurements, and the checkpoint that makes
them count.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from evoprompt.config.sections import with_absolute_paths
from evoprompt.dynamics.population import Births, generations
from evoprompt.dynamics.remeasured import with_parents
from evoprompt.jobs.evolve.config import Config, check_config
from evoprompt.jobs.evolve.predictions import PREDICTIONS, Prediction
from evoprompt.jobs.evolve.record import GenerationLine, Summary
from evoprompt.policy import Policy
from evoprompt.records import Birth, Evaluation, LabelScores, LineageEntry, Member, Rung, State
from evoprompt.store.folder import CONFIG, SUMMARY, RunFolder
from evoprompt.store.form import in_form
from evoprompt.store.ledger import Ledger

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
    ) -> None:
        """Append a generation to the files, then make it count by replacing the checkpoint.
        `looked` has what was measured beside the examples, by file.
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
        self.commit_lines(lines, content)

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
        chances = {
            line["generation"] - 1: line.get("parent_selection") for line in self.lines(GENERATIONS)
        }
        before: Births | None = None
        for births in generations(self.lines(LINEAGE)):
            told = chances.get(births.generation - 1) or {}
            if before is not None and told.get("remeasured"):
                births = with_parents(before, births, told["remeasured"])
            known, before = chances.get(births.generation), births
            yield (
                births.with_chances(known["probability"], known["filling"], known["num_slots"])
                if known
                else births
            )

    def generations(self) -> list[GenerationLine]:
        """Return the lines of the generations that are committed."""
        with in_form(self.path / GENERATIONS):
            return [GenerationLine.from_dict(line) for line in self.lines(GENERATIONS)]

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


def measurement_line(scores: LabelScores) -> dict[str, object]:
    """Return one policy's scores as `measurements.jsonl` has them; absent candidates have null for
    -inf.
    """

    def plain(values: np.ndarray) -> list[list[float | None]]:
        return [[float(v) if np.isfinite(v) else None for v in row] for row in values[0]]

    [policy_id] = scores.policy_ids
    return {
        "policy_id": policy_id,
        "example_ids": list(scores.example_ids),
        "gold": scores.gold.tolist(),
        "log_likelihood": plain(scores.log_likelihood),
        "num_tokens": scores.num_tokens[0].tolist(),
        "num_bytes": scores.num_bytes[0].tolist(),
        "is_greedy": scores.is_greedy[0].tolist(),
        "prior": plain(scores.prior) if scores.prior is not None else None,
        "prompt_cross_entropy": scores.prompt_cross_entropy.tolist()
        if scores.prompt_cross_entropy is not None
        else None,
        "verdict": scores.verdict[0].tolist() if scores.verdict is not None else None,
        **({"features": _packed(scores.features)} if scores.features is not None else {}),
        **({"moves": _moves_list(scores.moves[0])} if scores.moves is not None else {}),
        **({"said": _moves_list(scores.said[0])} if scores.said is not None else {}),
        **_written_dict(scores),
    }


def _moves_list(moves: np.ndarray) -> list[list[float]]:
    """Return the log-likelihood of each move of each path."""
    return [row[~np.isnan(row)].tolist() for row in moves]


def _moves_array(rows: list[list[float]]) -> np.ndarray:
    """Return the moves of `_moves_list`, shape (1, example, move)."""
    moves = np.full((1, len(rows), max(map(len, rows))), np.nan)
    for place, row in enumerate(rows):
        moves[0, place, : len(row)] = row
    return moves


def _written_dict(scores: LabelScores) -> dict[str, object]:
    """Return one policy's written answers with their grades, where there are any."""
    if scores.written is None or scores.grade is None or scores.feedback is None:
        return {}
    values = {"written": scores.written[0].tolist(), "grade": scores.grade[0].tolist()}
    feedback = scores.feedback[0].tolist()
    return {**values, **({"feedback": feedback} if any(feedback) else {})}


def measurement_of(row: Mapping[str, Any]) -> LabelScores:
    """Return the scores of a line of `measurements.jsonl`."""

    def array(values: list[list[float | None]]) -> np.ndarray:
        return np.array([[[-np.inf if v is None else v for v in example] for example in values]])

    return LabelScores(
        policy_ids=(row["policy_id"],),
        example_ids=tuple(row["example_ids"]),
        gold=np.array(row["gold"]),
        log_likelihood=array(row["log_likelihood"]),
        num_tokens=np.array([row["num_tokens"]]),
        num_bytes=np.array([row["num_bytes"]]),
        is_greedy=np.array([row["is_greedy"]]),
        prior=array(row["prior"]) if row["prior"] is not None else None,
        prompt_cross_entropy=np.array(row["prompt_cross_entropy"])
        if row.get("prompt_cross_entropy") is not None
        else None,
        verdict=np.array([row["verdict"]]) if row.get("verdict") is not None else None,
        features=_unpacked(row["features"], len(row["gold"])) if "features" in row else None,
        moves=_moves_array(row["moves"]) if "moves" in row else None,
        said=_moves_array(row["said"]) if "said" in row else None,
        written=_texts(row["written"]) if "written" in row else None,
        grade=np.array([row["grade"]], dtype=np.float64) if "written" in row else None,
        feedback=_texts(row.get("feedback") or [""] * len(row["gold"]))
        if "written" in row
        else None,
    )


def _texts(texts: Sequence[str]) -> np.ndarray:
    return np.array([texts], dtype=object)


def _packed(features: np.ndarray) -> str:
    """Return one policy's features as text: little-endian numbers of 16 bits in base 64, example
    after example.
    """
    return b64encode(features.astype("<f2").tobytes()).decode()


def _unpacked(text: str, num_examples: int) -> np.ndarray:
    """Return the features of `_packed`, shape (1, example, word)."""
    values = np.frombuffer(b64decode(text, validate=True), "<f2").astype(np.float64)
    return values.reshape(1, num_examples, -1)


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
