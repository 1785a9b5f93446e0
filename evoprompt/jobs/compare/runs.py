"""Run folders -> the records that a comparison is made of: what each run evolved, at what cost, and
why.

What evolved comes from `lineage.jsonl` alone, so another program's lineage can be compared too.
Tokens and seconds come from `generations.jsonl`, and the held-out check from `summary.json`, where
there are any. Nothing is written: a run may still be going on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.dynamics.account import PriceAccount, price_account
from evoprompt.dynamics.lines import check_line
from evoprompt.dynamics.population import Births, generations
from evoprompt.dynamics.price import generation_terms, restart_terms
from evoprompt.errors import UserError, nearest
from evoprompt.jobs.evolve.folder import GENERATIONS, LINEAGE, EvolveFolder
from evoprompt.store.folder import CONFIG, SUMMARY, TRACKING
from evoprompt.tracking.names import flat_parameters

#: What a run's curve can be drawn over.
AXES = ("tokens", "evaluations", "generations", "seconds")
#: Folders that hold copies of runs, or none.
_SKIPPED = ("mlartifacts", "mlruns", "comparisons", "__pycache__")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as far as it went. Arrays have an entry for each generation."""

    folder: Path
    config: Mapping[str, Any]  #: with dotted keys
    seed: int | None
    complete: bool
    cost: Mapping[str, Floats]  #: by axis, cumulative; an axis that the run does not have is absent
    best: Floats  #: the fittest policy so far, of those that were measured on as many examples
    mean: Floats  #: the trait's mean over the selected
    accounts: Sequence[PriceAccount]  #: of the trait, from generation 1 on
    summary: Mapping[str, Any] | None
    mlflow: Mapping[str, str] | None  #: the run's place in MLflow, or what another tracker said

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.name

    @property
    def task(self) -> str | None:
        """The task's name or path, where there is a config."""
        return self.config.get("task.name") or self.config.get("task.path")

    @property
    def fitness_kind(self) -> str | None:
        """Which number fitness is; None where it is not known: `auto` depends on the task, and is
        resolved in the summary.
        """
        resolved = self.summary.get("fitness", {}).get("kind") if self.summary else None
        given = self.config.get("fitness.kind")
        return resolved or (None if given == "auto" else given)


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Return the run folders that are, or are in, these folders: each once, in the order given,
    those inside a folder by name.

    Raises:
        UserError: a folder does not exist or has no run in it.
    """
    found: dict[Path, None] = {}
    for path in paths:
        inside = list(_inside(path.resolve()))
        if not inside:
            what = "has no run in it" if path.is_dir() else "does not exist"
            raise UserError(
                f"the folder {path} {what}: give folders with a {LINEAGE}, or a folder around them"
            )
        found |= dict.fromkeys(inside)
    return list(found)


def read_run(path: Path, trait: str) -> RunRecord | None:
    """Return a run as far as it is committed, or None where it has no generation yet.

    Raises:
        UserError: no birth has this trait, the lineage is broken, or the config is not valid.
    """
    folder = EvolveFolder(path)
    try:
        rows = list(_births_of(folder.committed(LINEAGE), trait, path))
        populations = list(generations(sorted(rows, key=lambda row: row["generation"])))
        unselected = next((b.generation for b in populations if not b.selected.any()), None)
        if unselected is not None:
            raise ValueError(f"no birth of generation {unselected} is selected")
        accounts = [_account(before, births, trait) for before, births in pairwise(populations)]
    except (ValueError, KeyError) as error:
        if isinstance(error, UserError):
            raise
        what = f"a birth has no {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"the lineage of {path} cannot be used: {what}") from None
    if not populations:
        return None
    config = flat_config(folder)
    summary = folder.read(SUMMARY)
    return RunRecord(
        folder=path,
        config=config,
        seed=config.get("seed"),
        complete=summary is not None or not (path / CONFIG).exists(),
        cost=_costs(folder, populations),
        best=_best(populations),
        mean=np.array(
            [float(births.trait(trait)[births.selected].mean()) for births in populations]
        ),
        accounts=accounts,
        summary=summary,
        mlflow=folder.read(TRACKING) or None,
    )


def flat_config(folder: EvolveFolder) -> Mapping[str, Any]:
    """Return a run's config with dotted keys.

    Another program's run has none: its config is the folder's name, less a number at the end, which
    is its seed (`ga-1`, `ga-seed2`).
    """
    if (folder.path / CONFIG).exists():
        flat = flat_parameters(folder.config().model_dump(mode="json"))
        return {key: value for key, value in flat.items() if value != {}}
    name, seed = re.fullmatch(
        r"(.*?)[-_. ]*(?:seed)?[-_. ]*(\d*)", folder.path.name, re.DOTALL
    ).groups()  # type: ignore[union-attr]
    return {"folder": name or folder.path.name} | ({"seed": int(seed)} if seed else {})


def _inside(path: Path) -> Iterator[Path]:
    for root, names, files in os.walk(path):
        if LINEAGE in files:
            names.clear()
            yield Path(root)
        names[:] = sorted(
            (n for n in names if n not in _SKIPPED and not n.startswith(".")), key=_natural
        )


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _births_of(
    rows: Iterable[Mapping[str, Any]], trait: str, path: Path
) -> Iterator[Mapping[str, Any]]:
    """Yield births with fitness and the trait alone: prompts and other traits are not needed, and
    may be large.
    """
    for row in rows:
        try:
            check_line(row)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
        own = row["traits"]
        traits = {**own, "fitness": row["fitness"] if "fitness" in row else own["fitness"]}
        if trait not in traits:
            raise UserError(
                f"there is no trait '{trait}' in {path} (birth {row['birth_id']}); "
                f"{nearest(trait, traits)}"
            )
        names = dict.fromkeys(("fitness", trait))
        kept = {key: value for key, value in row.items() if key != "policy"}
        kept["traits"] = {name: traits[name] for name in names}
        if "rungs" in row:
            earlier = [
                {**rung, "traits": {n: v for n, v in rung["traits"].items() if n in names}}
                for rung in row["rungs"][:-1]
            ]
            kept["rungs"] = [*earlier, {**row["rungs"][-1], "traits": kept["traits"]}]
        yield kept


def _account(before: Births, births: Births, trait: str) -> PriceAccount:
    """Return Price's terms of a generation. Where no birth has parents, all that is new came in
    from outside.
    """
    if births.has_parents.any():
        return price_account(generation_terms(before, births))[trait]
    return price_account(restart_terms(before, births))[trait]


def _best(populations: Sequence[Births]) -> Floats:
    """Return the greatest fitness so far by generation, of the births that were measured on the
    most examples; where there come more examples it begins again.
    """
    found: list[float] = []
    for births, before in zip(populations, (None, *populations), strict=False):
        best = float(births.trait("fitness")[births.last].max())
        same = before is not None and before.examples == births.examples
        found.append(max(best, found[-1]) if same else best)
    return np.array(found)


def _costs(folder: EvolveFolder, populations: Sequence[Births]) -> dict[str, Floats]:
    """Return what each generation cost, cumulatively, by axis.

    Tokens are those that the run's own policies need (`floor`): what a prefix store or the memo of
    earlier runs spared is counted, or else a run would seem cheap because another one came before
    it. Evaluations are different policies; one that comes again costs nothing.
    """
    seen: set[str] = set()
    evaluations = []
    for births in populations:
        seen.update(births.policy_ids)
        evaluations.append(float(len(seen)))
    costs = {
        "generations": np.array([float(b.generation) for b in populations]),
        "evaluations": np.array(evaluations),
    }
    rows: dict[int, tuple[float, float]] = {}
    for row in folder.committed(GENERATIONS):
        tokens, seconds = rows.get(row["generation"], (0.0, 0.0))
        rows[row["generation"]] = (
            max(tokens, float(row["tokens"]["floor"])),
            max(seconds, float(row["seconds"])),
        )
    if rows and all(b.generation in rows for b in populations):
        table = np.maximum.accumulate([rows[b.generation] for b in populations], axis=0)
        costs |= {"tokens": table[:, 0], "seconds": table[:, 1]}
    return costs
