"""The curriculum, readable in one sitting: two searches and the weights of regions.

    weights --next_batch--> examples; each player --ask--> brood
    all policies on the examples --measure once--> utilities
        members, selected on earlier examples --> regret by region --> rewards --> weights
        each player --tell--> survivors
    commit

Members were selected on the examples of earlier rounds, so what they do on a round's examples is
no luck of their selection; the best of each region, of either population, was named before as well.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.errors import UserError
from evoprompt.evolution.curriculum import (
    SPAN,
    Game,
    entropy,
    exploration_share,
    game,
    hedge_rate,
    importance_weighted,
    weights_of,
)
from evoprompt.interrupt import raise_if_interrupted
from evoprompt.jobs.curriculum.config import CurriculumConfig
from evoprompt.jobs.curriculum.folder import ROUNDS, CurriculumFolder
from evoprompt.jobs.curriculum.meter import Meter
from evoprompt.jobs.curriculum.players import ANTAGONIST, PROTAGONIST, Player, best_by_region
from evoprompt.jobs.curriculum.record import DIGITS, RoundLine, Values
from evoprompt.jobs.curriculum.regions import Batch, Regions, next_batch, strategy_of
from evoprompt.jobs.evolve.folder import LINEAGE
from evoprompt.policy import Policy
from evoprompt.records import Brood, LineageEntry
from evoprompt.store.ledger import Ledger

SEARCH = "search"  #: the phase of the ledger
#: Gap, worst and minimax regret where not all of a game is known.
NO_GAME = (None, None, None)


@dataclass(slots=True)
class Progress:
    """What a curriculum goes on from."""

    players: dict[int, Player]  #: by island
    totals: Floats  #: rewards of each region so far, summed or so estimated, shape (region,)
    used: list[int]  #: examples that each region has given
    ledger: Ledger
    round: int = 0  #: that comes next
    #: tokens of choosing a policy in the end, by policy id
    choosing: dict[str, int] = field(default_factory=dict)

    @property
    def policies(self) -> tuple[Policy, ...]:
        """Of the members of all players, each once."""
        return tuple(dict.fromkeys(p for own in self.players.values() for p in own.policies))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "version": 1,
            "round": self.round,
            "totals": self.totals.tolist(),
            "used": self.used,
            "players": {str(place): own.to_dict() for place, own in self.players.items()},
            "ledger": self.ledger.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Found:
    """What a round shows of the members that were there before it."""

    protagonist: Values
    best: Values
    regret: Values
    error: Values
    game: Game | None


def begin(config: CurriculumConfig, regions: Regions) -> Progress:
    """Return the state before the first round."""
    players = {PROTAGONIST: Player(PROTAGONIST, strategy_of(config, regions.union))}
    if config.has_antagonist:
        strategy = strategy_of(config, regions.union, specialists=True)
        players[ANTAGONIST] = Player(ANTAGONIST, strategy)
    num = len(regions.names)
    return Progress(players, np.zeros(num), [0] * num, Ledger())


def restore(folder: CurriculumFolder, config: CurriculumConfig, regions: Regions) -> Progress:
    """Return what an earlier part of this curriculum committed."""
    progress = begin(config, regions)
    content = folder.restore_lines((ROUNDS, LINEAGE))
    if content is None:
        return progress
    lineage = [(row["island"], Policy.from_dict(row["policy"])) for row in folder.lines(LINEAGE)]
    for place, own in progress.players.items():
        born = [policy for island, policy in lineage if island == place]
        own.restored(content["players"][str(place)], born)
    progress.totals = np.array(content["totals"])
    progress.used, progress.round = list(content["used"]), int(content["round"])
    progress.ledger = Ledger.from_dict(content["ledger"])
    return progress


def weights(config: CurriculumConfig, totals: Floats) -> Floats:
    """Return the weights of regions after these rewards, shape (region,)."""
    num = len(totals)
    if not config.is_moved:
        return np.full(num, 1 / num)
    if config.update == "hedge":
        return weights_of(totals, config.rate or hedge_rate(num, config.rounds, _span(config)))
    share = exploration_share(num, config.rounds * config.draws)
    return weights_of(totals, config.rate or share / num, share)


def rounds(
    config: CurriculumConfig,
    regions: Regions,
    meter: Meter,
    progress: Progress,
    folder: CurriculumFolder,
) -> Iterator[RoundLine]:
    """Yield each further round as it is committed, until all are done, or the tokens do not suffice
    for another and for the choice of the champion after it.

    Raises:
        UserError: they do not suffice for the founders.
    """
    while progress.round <= config.rounds:
        raise_if_interrupted()
        batch, broods = ask(config, regions, meter, progress)
        if config.tokens is not None:
            end = ends_by(config, regions, meter, progress, batch, broods)
            if end > config.tokens and progress.round == 0:
                raise UserError(
                    f"tokens is {config.tokens:,}, and the founders and the choice of a champion "
                    f"take up to {end:,}; give tokens at least that, fewer validation examples of "
                    f"the regions, or a smaller population"
                )
            if end > config.tokens:
                return
        line, entries = tell(config, regions, meter, progress, batch, broods)
        folder.commit(line, entries, progress.to_dict())
        yield line


def ask(
    config: CurriculumConfig, regions: Regions, meter: Meter, progress: Progress
) -> tuple[Batch, dict[int, Brood]]:
    """Return the examples and the broods of the next round."""
    now = weights(config, progress.totals)
    batch = next_batch(config, regions, now, progress.round, progress.used)
    return batch, {place: own.ask(meter.fits) for place, own in progress.players.items()}


def ends_by(
    config: CurriculumConfig,
    regions: Regions,
    meter: Meter,
    progress: Progress,
    batch: Batch,
    broods: Mapping[int, Brood],
) -> int:
    """Return how many tokens all will have taken at most if this round is the last: with the choice
    of a champion among the dearest that may be members after it.
    """
    examples, born = [e for task in regions.tasks for e in task.validation], _born(broods)
    others = [p for p in dict.fromkeys((*progress.policies, *born)) if p not in regions.given]
    for policy in (*regions.given, *others):
        if policy.policy_id not in progress.choosing:
            progress.choosing[policy.policy_id] = meter.logical([policy], examples)
    given, costs = (
        [progress.choosing[policy.policy_id] for policy in each]
        for each in (dict.fromkeys(regions.given), others)
    )
    reserve = sum(given) + sum(nlargest(config.population * len(progress.players), costs))
    return progress.ledger.logical + meter.logical(born, batch.all) + reserve


def tell(
    config: CurriculumConfig,
    regions: Regions,
    meter: Meter,
    progress: Progress,
    batch: Batch,
    broods: Mapping[int, Brood],
) -> tuple[RoundLine, list[LineageEntry]]:
    """Measure a round, move the weights and let the fittest survive; return its line and those of
    the lineage.
    """
    now, policies = weights(config, progress.totals), _born(broods)
    utilities, count = meter.utilities(policies, batch.all, progress.ledger)
    progress.ledger.count(SEARCH, count)
    found = compare(progress, utilities, batch, now)
    progress.totals = progress.totals + rewards(config, found, batch, now)
    lengths = {p.policy_id: meter.length(p) for p in policies}
    # drawn regions come as often as they weigh
    by = batch.counts / batch.counts.sum() if config.draws_regions else now
    entries: list[LineageEntry] = []
    for place, own in progress.players.items():
        entries += own.tell(broods[place], utilities, batch, by, lengths, config.seed)
    progress.used = [n + len(e) for n, e in zip(progress.used, batch.examples, strict=True)]
    line = _line(progress, found, batch, now)
    progress.round += 1
    return line, entries


def compare(
    progress: Progress, utilities: Mapping[str, Floats], batch: Batch, now: Floats
) -> Found:
    """Return what the members that were there before a round do on its examples."""
    ours = [batch.by_region(utilities[p.policy_id]) for p in progress.players[PROTAGONIST].policies]
    num = len(now)
    nothing: Values = (None,) * num
    if not ours:
        return Found(nothing, nothing, nothing, nothing, None)
    means = [np.mean([each[e] for each in ours], axis=0) for e in range(num)]
    mine = tuple(_mean(values) for values in means)
    if ANTAGONIST not in progress.players:
        return Found(mine, nothing, nothing, nothing, None)
    best = best_by_region(list(progress.players.values()), num)
    theirs = [batch.by_region(utilities[p.policy_id])[e] for e, p in enumerate(best)]
    gains = [t - m for t, m in zip(theirs, means, strict=True)]
    regret, frozen = tuple(map(_mean, gains)), None
    if batch.drawn.all():
        matrix = np.array([[np.mean(theirs[e] - own[e]) for e in range(num)] for own in ours])
        frozen = game(matrix, np.full(len(ours), 1 / len(ours)), now)
    return Found(mine, tuple(_mean(t) for t in theirs), regret, tuple(map(_error, gains)), frozen)


def rewards(config: CurriculumConfig, found: Found, batch: Batch, now: Floats) -> Floats:
    """Return what a round adds to the rewards of regions, shape (region,). Of regions that did not
    come nothing is known, and of none in the founders' round.
    """
    if not config.is_moved:
        return np.zeros(len(now))
    told = found.regret if config.sampling == "regret" else found.protagonist
    sign = 1.0 if config.sampling == "regret" else -1.0
    known = np.array([value is not None for value in told])
    values = np.array([0.0 if value is None else sign * value for value in told])
    if config.update == "hedge":
        return values
    return importance_weighted(
        (values + 1.0) / _span(config), np.where(known, batch.counts, 0), now
    )


def _span(config: CurriculumConfig) -> float:
    """Return the width of a reward's range: from -1 to 1 for a regret, from -1 to 0 without an
    antagonist.
    """
    return SPAN if config.has_antagonist else 1.0


def _born(broods: Mapping[int, Brood]) -> list[Policy]:
    """Return the policies of a round, each once."""
    return list(dict.fromkeys(b.policy for brood in broods.values() for b in brood.births))


def _line(progress: Progress, found: Found, batch: Batch, now: Floats) -> RoundLine:
    state, played = progress.players[PROTAGONIST].state, found.game
    assert state is not None
    gap, worst, least = _rounded((played.gap, played.worst, played.minimax) if played else NO_GAME)
    return RoundLine(
        round=progress.round,
        weights=tuple(round(float(w), DIGITS) for w in now),
        draws=tuple(int(c) for c in batch.counts),
        protagonist=_rounded(found.protagonist),
        best=_rounded(found.best),
        regret=_rounded(found.regret),
        regret_error=_rounded(found.error),
        entropy=round(entropy(now), DIGITS),
        best_fitness=max(m.evaluation.fitness for m in state.members),
        duality_gap=gap,
        worst_regret=worst,
        minimax_regret=least,
        logical_tokens=progress.ledger.logical,
        prefill_tokens=progress.ledger.total.body_tokens,
        time_ms=int(time.time() * 1000),
    )


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


def _error(values: Floats) -> float | None:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def _rounded(values: Sequence[float | None]) -> Values:
    return tuple(None if v is None else round(v, DIGITS) for v in values)
