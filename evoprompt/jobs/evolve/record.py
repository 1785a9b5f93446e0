"""What a run writes down: a generation's line of `generations.jsonl`, and `summary.json`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from evoprompt.backends.doing import Doing
from evoprompt.calibration import LabelCalibration
from evoprompt.dynamics.account import GenerationAccount
from evoprompt.dynamics.population import Filling
from evoprompt.evolution.headroom import Headroom
from evoprompt.evolution.surrogate import Forecast
from evoprompt.jobs.evolve.by_metric import MetricSummary
from evoprompt.jobs.evolve.findings import Claim, Trust
from evoprompt.jobs.held_out import EvaluatorSummary, HeldOut
from evoprompt.selection.elites import Archive
from evoprompt.stats.significance import Estimate
from evoprompt.store.ledger import Checked, TokenSummary


@dataclass(frozen=True, slots=True)
class ParentSelection:
    """The chance that each selected birth of the generation before had to fill a parent slot."""

    #: None where they are not known: births were chosen by more than the scheme
    probability: Sequence[float] | None
    how: str  #: the chances are known
    filling: Filling | None  #: of the slots; None where it is not known
    num_slots: int
    #: by birth id, the traits of parents on the examples that all their children were measured on,
    #: where the lineage does not tell; None where it does
    remeasured: Mapping[str, Mapping[str, float]] | None = None

    def to_dict(self) -> dict[str, object]:
        """Return it as a line of `generations.jsonl` has it."""
        known = asdict(self)
        return known if self.remeasured else {k: v for k, v in known.items() if k != "remeasured"}


@dataclass(frozen=True, slots=True)
class Steering:
    """How the births of a generation were steered by what the run had learned before them; None
    where that is off.
    """

    operator_rates: Mapping[str, float] | None = None  #: the chance of each operator to be drawn
    surrogate: Forecast | None = None  #: by which children were chosen

    def to_dict(self) -> dict[str, object]:
        """Return what is known, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the part of a generation's line."""
        told = values.get("surrogate")
        return cls(values.get("operator_rates"), Forecast(**told) if told else None)


@dataclass(frozen=True, slots=True)
class SideEffectsLine:
    """What the selected of a generation do to auxiliary tasks, in scales; of `Change` the means."""

    coefficient: float  #: by which selection took it off their fitness
    best: float  #: the penalty of the fittest member
    penalty: float
    decrease: float
    increase: float
    plain: float
    noise_floor: float


@dataclass(frozen=True, slots=True)
class ShapingLine:
    """What a bonus for named steps did in a generation."""

    weight: float  #: what a nat of it counted in selection, units of the fitness
    best: float  #: the bonus of the fittest selected, nats a move, before it is weighed
    mean: float  #: over the selected
    births_mean: float
    #: Kendall's tau of all births' ranks with the bonus and without; None where all tie
    rank_tau: float | None


#: Nothing was.
UNSTEERED = Steering()


@dataclass(frozen=True, slots=True)
class GenerationLine:
    """A generation of an island: what it was, how parents were chosen, what it cost so far."""

    island: int
    time_ms: int  #: when it was committed, since 1970
    account: GenerationAccount
    parent_selection: ParentSelection | None  #: None of founders
    tokens: TokenSummary
    seconds: float
    steering: Steering = UNSTEERED  #: its parts stand in the line by themselves
    archive: Archive | None = None  #: None where cells do not decide who survives
    side_effects: SideEffectsLine | None = None  #: None where nobody looks
    shaping: ShapingLine | None = None  #: None without a bonus
    workers: Doing | None = None  #: since the generation before; None without a fleet
    #: how busy the machine was, by MLflow's names; None where nobody is told
    system: Mapping[str, float] | None = None

    @property
    def generation(self) -> int:
        """The generation's number."""
        return self.account.generation

    def to_dict(self) -> dict[str, object]:
        """Return the line as `generations.jsonl` has it."""
        return {
            "island": self.island,
            "time_ms": self.time_ms,
            **self.account.to_dict(),
            "parent_selection": self.parent_selection.to_dict() if self.parent_selection else None,
            "tokens": asdict(self.tokens),
            "seconds": self.seconds,
            **self.steering.to_dict(),
            **({} if self.archive is None else {"archive": asdict(self.archive)}),
            **({} if self.side_effects is None else {"side_effects": asdict(self.side_effects)}),
            **({} if self.shaping is None else {"shaping": asdict(self.shaping)}),
            **({} if self.workers is None else {"workers": asdict(self.workers)}),
            **({} if self.system is None else {"system": dict(self.system)}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the line of `to_dict`'s values."""
        chances, effects = values["parent_selection"], values.get("side_effects")
        return cls(
            island=values["island"],
            time_ms=values["time_ms"],
            account=GenerationAccount.from_dict(values),
            parent_selection=ParentSelection(**chances) if chances else None,
            tokens=TokenSummary(**values["tokens"]),
            seconds=values["seconds"],
            steering=Steering.from_dict(values),
            archive=Archive(**values["archive"]) if "archive" in values else None,
            side_effects=SideEffectsLine(**effects) if effects else None,
            shaping=ShapingLine(**values["shaping"]) if "shaping" in values else None,
            workers=Doing.from_dict(values["workers"]) if "workers" in values else None,
            system=values.get("system"),
        )


@dataclass(frozen=True, slots=True)
class BaselineSummary:
    """The best starting policy, by the fitness that the search saw."""

    policy_id: str
    policy: Mapping[str, Any]  #: as `Policy.to_dict` has it
    prompt: str
    fitness: float
    calibration: LabelCalibration | None = None  #: by which it was tested; None where nothing is
    offsets: LabelCalibration | None = None  #: the same without a head, where it has one


@dataclass(frozen=True, slots=True)
class ChampionSummary:
    """The policy that the run ended with."""

    policy_id: str
    policy: Mapping[str, Any]
    prompt: str
    fitness: float  #: on the search's examples
    validation_fitness: float
    traits: Mapping[str, float]
    calibration: LabelCalibration | None = None  #: by which it answers; None where nothing is
    offsets: LabelCalibration | None = None  #: the same without a head, where it has one
    #: that it is fitted on, by split of the task
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FitnessSummary:
    """Fitness over the run."""

    kind: str
    first: float  #: of the best starting policy
    last: float  #: of the best in the last generation
    best: float  #: of all that were ever scored


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """What scored, and how."""

    name: str
    folder: str  #: of its weights, or the address of who holds them
    path: str  #: the rung of the engine
    reason: str
    dtype: str
    arithmetic: str
    placement: str
    chunk_tokens: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A complete run."""

    name: str
    champion: ChampionSummary
    baseline: BaselineSummary
    fitness: FitnessSummary
    test: HeldOut
    evaluator: Mapping[str, EvaluatorSummary]  #: of baseline and champion, where there are any
    generations: int
    policies_scored: int
    tokens: TokenSummary
    price_residual_max: float
    mlflow_run_id: str | None
    seed: int
    task: str
    model: ModelSummary
    checked: Checked  #: what the standing check found
    seconds: Mapping[str, float] = field(default_factory=dict)  #: by phase, and in `total`
    #: test examples that are too long for the champion, or cannot be tokenized with it; they count
    #: as wrong
    unanswered: int = 0
    headroom: Headroom | None = None  #: what a search could win, by its founders; None: not known
    claim: Claim | None = None  #: what the test shows; None of runs that were written without it
    metric: MetricSummary | None = None  #: of written answers; None where they are not written
    report: Trust | None = None  #: how far the search's own numbers can be trusted; None as above

    def to_dict(self) -> dict[str, object]:
        """Return the summary as `summary.json` has it."""
        optional = ("evaluator", "unanswered", "claim", "report", "headroom", "metric")
        values = {n: value for n, value in asdict(self).items() if n not in optional or value}
        for name, part in (("champion", self.champion), ("baseline", self.baseline)):
            found = {n: getattr(part, n) for n in CALIBRATIONS}
            known = {n: each.to_dict() for n, each in found.items() if each is not None}
            values[name] = {n: v for n, v in values[name].items() if n not in found} | known
        if not self.champion.labels:
            del values["champion"]["labels"]
        return values | {"test": self.test.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the summary of `to_dict`'s values; what else there is, is left out."""
        evaluators = values.get("evaluator", {}).items()
        nested = {name: kind(**_calibrated(values[name])) for name, kind in NESTED.items()} | {
            "test": HeldOut.from_dict(values["test"]),
            "checked": Checked(**values.get("checked", {})),
            "evaluator": {name: EvaluatorSummary.from_dict(each) for name, each in evaluators},
            "claim": Claim(**values["claim"]) if "claim" in values else None,
            "headroom": _headroom(values["headroom"]) if "headroom" in values else None,
            "metric": MetricSummary.from_dict(values["metric"]) if "metric" in values else None,
            "report": Trust.from_dict(values["report"]) if "report" in values else None,
        }
        own = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        return cls(**{**own, **nested})


def _calibrated(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a part's values with its calibrations as records, where it has them."""
    found = {name: values[name] for name in CALIBRATIONS if name in values}
    return {**values, **{n: LabelCalibration.from_dict(each) for n, each in found.items()}}


def _headroom(values: Mapping[str, Any]) -> Headroom:
    return Headroom(**{**values, "gain": Estimate(**values["gain"])})


CALIBRATIONS = ("calibration", "offsets")  #: of a champion and of a baseline, where they have them

NESTED: Mapping[str, Any] = {
    "champion": ChampionSummary,
    "baseline": BaselineSummary,
    "fitness": FitnessSummary,
    "tokens": TokenSummary,
    "model": ModelSummary,
}
