"""The run folder: what is written, when, and how a run goes on from it after any end.

`config.yaml` and `provenance.json` come first. Each generation appends to the three `.jsonl` files and then commits: the checkpoint is
replaced in one step and says how long each file was. What lies behind that length when a run is resumed was never committed, and is
cut off. `summary.json` comes last: its existence means that the run is complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evoprompt.config.sections import Config, Section, check_config, check_section, dump_config
from evoprompt.dynamics.population import Births, Filling, generations
from evoprompt.errors import UserError
from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.policy import Policy
from evoprompt.records import Birth, Evaluation, LabelScores, LineageEntry, Member, State
from evoprompt.store.ledger import Ledger

LINEAGE, GENERATIONS, MEASUREMENTS = "lineage.jsonl", "generations.jsonl", "measurements.jsonl"
CHECKPOINT, CONFIG, PROVENANCE, SUMMARY, TRACKING = "checkpoint.json", "config.yaml", "provenance.json", "summary.json", "tracking.json"
DYNAMICS = "dynamics.json"
RECURRENCE, ANSWERS, ACCEPTED = "recurrence.jsonl", "answers.jsonl", "accepted.jsonl"  #: of a self-evaluation loop
SWEEP = "sweep.json"  #: of a sweep, in the folder around the folders of its runs
_APPENDED = (LINEAGE, GENERATIONS, MEASUREMENTS)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a run goes on from."""

    state: State
    ledger: Ledger


class RunFolder:
    """One run's folder. Only this class knows its files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, out: Path | None, name: str, runs: Path = Path("runs")) -> RunFolder:
        """Make a new folder: `out`, or `runs/<name>`, numbered where that exists.

        Raises:
            UserError: `out` is in use (exists and is not an empty folder), or cannot be made.
        """
        path = out if out is not None else _unused(runs / name)
        try:
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                hint = f"to go on with it: evoprompt resume {path}" if (path / CONFIG).exists() else "give a folder that does not exist"
                raise UserError(f"the output folder {path} is in use, and nothing in it is overwritten; {hint}")
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the output folder {path}: {error.strerror}") from None
        return cls(path.resolve())

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Return an existing run's folder.

        Raises:
            UserError: there is no run in it.
        """
        if not (path / CONFIG).exists():
            raise UserError(f"there is no run in {path}: it has no {CONFIG}; give the folder that evoprompt run printed")
        return cls(path.resolve())

    @property
    def is_complete(self) -> bool:
        """Whether the run has ended with its summary."""
        return (self.path / SUMMARY).exists()

    @property
    def is_loop(self) -> bool:
        """Whether it is a self-evaluation loop's."""
        return "loop" in self._config_values()

    def begin(self, config: Section, provenance: Mapping[str, Any]) -> None:
        """Write what the run is, before anything of it happens."""
        _replace(self.path / CONFIG, dump_config(config))
        _replace(self.path / PROVENANCE, _pretty(provenance))

    def config(self) -> Config:
        """Return the configuration that the run was begun with."""
        return check_config(self._config_values(), str(self.path / CONFIG))

    def loop_config(self) -> BoostConfig:
        """Return the configuration that a self-evaluation loop was begun with."""
        return check_section(BoostConfig, self._config_values(), str(self.path / CONFIG))

    def _config_values(self) -> dict[str, Any]:
        import yaml

        values: dict[str, Any] = yaml.safe_load((self.path / CONFIG).read_text(encoding="utf-8"))
        return values

    def read(self, name: str) -> Any:
        """Return the content of one of the folder's JSON files, or None where it does not exist yet."""
        file = self.path / name
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write one of the folder's JSON files in one step."""
        _replace(self.path / name, _pretty(content))

    def commit(
        self,
        state: State,
        entries: Sequence[LineageEntry],
        generation_line: Mapping[str, Any],
        measured: Iterable[LabelScores],
        ledger: Ledger,
    ) -> None:
        """Append a generation to the files, then make it count by replacing the checkpoint."""
        lines: dict[str, Sequence[Mapping[str, Any]]] = {
            LINEAGE: [lineage_line(e) for e in entries],
            GENERATIONS: [generation_line],
            MEASUREMENTS: [measurement_line(m) for m in measured],
        }
        content = {
            "version": 1,
            "seed": state.seed,
            "generation": state.generation,
            "island": state.island,
            "members": [{**_birth_dict(m.birth), **_evaluation_dict(m.evaluation), "case_fitness": m.evaluation.case_fitness} for m in state.members],
            "ledger": ledger.to_dict(),
        }
        self.commit_lines(lines, content)

    def commit_lines(self, lines: Mapping[str, Sequence[Mapping[str, Any]]], content: Mapping[str, Any]) -> None:
        """Append lines to files by name, then make them count by replacing the checkpoint with this content and the files' sizes."""
        for name, rows in lines.items():
            self._append(name, rows)
        sizes = {name: (self.path / name).stat().st_size for name in lines}
        _replace(self.path / CHECKPOINT, json.dumps({**content, "sizes": sizes}))

    def restore(self) -> Checkpoint | None:
        """Cut off what was never committed; return the checkpoint, or None where no generation was committed.

        Raises:
            UserError: a file is shorter than its checkpoint says, so the folder was damaged.
        """
        content = self.restore_lines(_APPENDED)
        if content is None:
            return None
        members = tuple(Member(_birth(m), Evaluation(m["fitness"], tuple(m["case_fitness"]), m["traits"])) for m in content["members"])
        state = State(content["seed"], content["generation"], members, content["island"])
        return Checkpoint(state, Ledger.from_dict(content["ledger"]))

    def restore_lines(self, names: Sequence[str]) -> dict[str, Any] | None:
        """Cut off what these files have beyond the checkpoint; return its content, or None where nothing was committed.

        Raises:
            UserError: a file is shorter than its checkpoint says, so the folder was damaged.
        """
        content: dict[str, Any] | None = self.read(CHECKPOINT)
        for name in names:
            file, size = self.path / name, content["sizes"][name] if content else 0
            found = file.stat().st_size if file.exists() else 0
            if found < size:
                raise UserError(f"{file} has {found} bytes where its checkpoint says {size}: the run folder is damaged and cannot be resumed")
            if found > size:
                os.truncate(file, size)
        return content

    def write_lines(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write one of the folder's `.jsonl` files in one step."""
        _replace(self.path / name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of one of the `.jsonl` files, as far as they are committed: a kill may have torn the last."""
        file = self.path / name
        if not file.exists():
            return []
        committed = (self.read(CHECKPOINT) or {}).get("sizes", {}).get(name)
        content = file.read_bytes()[:committed]
        return [json.loads(line) for line in content.decode().split("\n") if line]

    def lineage(self) -> list[LineageEntry]:
        """Return every birth of the run, in order. Case fitness is not in the lineage, and is empty."""
        return [
            LineageEntry(row["generation"], row["island"], Member(_birth(row), Evaluation(row["fitness"], (), row["traits"])), row["selected"])
            for row in self.lines(LINEAGE)
        ]

    def births(self) -> Iterator[Births]:
        """Yield each generation as arrays, with the chances that selection gave to each birth."""
        chances = {line["generation"] - 1: line.get("parent_selection") for line in self.lines(GENERATIONS)}
        for births in generations(self.lines(LINEAGE)):
            known = chances.get(births.generation)
            yield births.with_chances(known["probability"], *_slots(known)) if known else births

    def measurements(self) -> dict[str, LabelScores]:
        """Return what was measured of every policy on the fitness examples, by policy id."""
        return {row["policy_id"]: _measurement(row) for row in self.lines(MEASUREMENTS)}

    def _append(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            file.flush()
            os.fsync(file.fileno())


def lineage_line(entry: LineageEntry) -> dict[str, Any]:
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
        "selected": entry.selected,
        **_evaluation_dict(evaluation),
        "policy": birth.policy.to_dict(),
        "survival_probability": entry.survival_probability,
    }


def measurement_line(scores: LabelScores) -> dict[str, Any]:
    """Return one policy's scores as `measurements.jsonl` has them; absent candidates have null for -inf."""

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
        "prompt_cross_entropy": scores.prompt_cross_entropy.tolist() if scores.prompt_cross_entropy is not None else None,
        "verdict": scores.verdict[0].tolist() if scores.verdict is not None else None,
    }


def _measurement(row: Mapping[str, Any]) -> LabelScores:
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
        prompt_cross_entropy=np.array(row["prompt_cross_entropy"]) if row.get("prompt_cross_entropy") is not None else None,
        verdict=np.array([row["verdict"]]) if row.get("verdict") is not None else None,
    )


def _slots(known: Mapping[str, Any]) -> tuple[Filling | None, int | None]:
    """Return how parent slots were filled, and how many. Early runs say only whether they were filled independently."""
    if "filling" in known:
        return known["filling"], known["num_slots"]
    return ("independent" if known["independent"] else None), None


def _birth_dict(birth: Birth) -> dict[str, Any]:
    return {
        "birth_id": birth.birth_id,
        "parent_ids": list(birth.parent_ids),
        "shares": list(birth.shares),
        "operator": birth.operator,
        "policy": birth.policy.to_dict(),
    }


def _birth(row: Mapping[str, Any]) -> Birth:
    return Birth(row["birth_id"], Policy.from_dict(row["policy"]), tuple(row["parent_ids"]), tuple(row["shares"]), row["operator"])


def _evaluation_dict(evaluation: Evaluation) -> dict[str, Any]:
    return {"fitness": evaluation.fitness, "traits": dict(evaluation.traits)}


def _unused(path: Path) -> Path:
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _pretty(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _replace(file: Path, text: str) -> None:
    """Write a file so that a kill at any moment leaves the old content or the new, never a part."""
    scratch = file.with_name(f".{file.name}.new")
    with scratch.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(file)
