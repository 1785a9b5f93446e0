"""What racing saves, and what it loses: simulated runs of several generations.

    python experiments/benchmarks/racing.py [--races N] [--seed N]

Each race is a run: the best 3 of 19 are the parents of 16 births, four times. Policies answer 64
examples by ability, favour for a label, how hard an example is (common to all) and what is their
own, most of which they inherit. Prints per setting:

- of `certified`, the share of runs in which it ever dropped a birth whose mean over all examples
  was at least that of the last parent that would survive, to hold against alpha;
- of each rule, the share of the examples that it measured, and how often it lost the best of a
  brood, all broods and those whose best was better than that parent;
- of one comparison of two policies with exactly equal means, how often the bet and a paired t-test
  of the same level that looks every 8 examples say that one is behind.

With `one order` the examples stand in the same order in all generations, so that parents were
chosen by the very examples that come first.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evoprompt.config.evolution import RacingConfig
from evoprompt.evolution.racing import Rule, Scale, lead, refuted
from evoprompt.stats.resampling import wilson_interval
from evoprompt.stats.significance import t_quantile

PARENTS, BIRTHS, GENERATIONS, EXAMPLES = 3, 16, 4, 64
ALPHA, Z = 0.05, 1.64
#: How much of what is a policy's own goes to its child, and how the child's ability differs.
INHERITED, WORSE, SPREAD = 0.8, -0.1, 0.3
#: Runs that are simulated at once.
BLOCK = 500
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """How examples are scored and ordered."""

    discrete: bool  #: right or wrong, else the log-probability of the right answer
    labels: int  #: dealt in turns; 1 where the order is a random one
    fresh: bool  #: whether the order is drawn anew for each generation
    level: bool = False  #: whether all births have exactly the rival's mean

    @property
    def name(self) -> str:
        """What people call it."""
        order = "new order" if self.fresh else "one order"
        kind = "right or wrong" if self.discrete else "log-probability"
        turns = f", {self.labels} labels in turns" if self.labels > 1 else ""
        return f"{kind}, {order}{turns}{', all level' if self.level else ''}"

    @property
    def groups(self) -> list[int] | None:
        """The label of each example in order, where it follows from the labels."""
        return [i % self.labels for i in range(EXAMPLES)] if self.labels > 1 else None


@dataclass
class Policies:
    """Latent parts of policies, each of shape (race, policy, ...)."""

    ability: Floats
    favour: Floats  #: (race, policy, label)
    own: Floats  #: (race, policy, example)

    def pick(self, index: NDArray[np.int64]) -> Policies:
        """Return those of each race's indices, shape (race, number)."""
        rows = np.arange(len(index))[:, None]
        return Policies(self.ability[rows, index], self.favour[rows, index], self.own[rows, index])

    def join(self, other: Policies) -> Policies:
        """Return both."""
        return Policies(
            *(
                np.concatenate([getattr(self, k), getattr(other, k)], axis=1)
                for k in ("ability", "favour", "own")
            )
        )


def drawn(races: int, number: int, labels: int, rng: np.random.Generator) -> Policies:
    """Return policies without parents."""
    return Policies(
        rng.normal(0, 0.5, (races, number)),
        rng.normal(0, 1.0, (races, number, labels)),
        rng.normal(0, 1.0, (races, number, EXAMPLES)),
    )


def children(parents: Policies, rng: np.random.Generator) -> Policies:
    """Return the births, each of a random parent."""
    races, number, labels = parents.favour.shape
    chosen = parents.pick(rng.integers(0, number, (races, BIRTHS)))
    new = drawn(races, BIRTHS, labels, rng)
    rest = np.sqrt(1 - INHERITED**2)
    return Policies(
        chosen.ability + rng.normal(WORSE, SPREAD, (races, BIRTHS)),
        INHERITED * chosen.favour + rest * new.favour,
        INHERITED * chosen.own + rest * new.own,
    )


def cases(policies: Policies, hard: Floats, setting: Setting) -> Floats:
    """Return fitness by example, shape (race, policy, example)."""
    label = np.arange(EXAMPLES) % setting.labels
    strength = policies.ability[..., None] + policies.favour[..., label] + policies.own
    strength = strength + hard[:, None, :]
    if setting.discrete:
        return (strength > 0).astype(np.float64)
    return -np.logaddexp(0, -strength)


def level_with(rival: Floats, births: Floats, rng: np.random.Generator) -> Floats:
    """Return births with exactly the rival's mean probability: as many better as worse examples
    as there are, by the same amounts.
    """
    wins = rng.permuted(np.broadcast_to(np.arange(EXAMPLES), births.shape), axis=-1)
    half = EXAMPLES // 4
    p = np.exp(rival) if rival.min() < 0 else rival
    found = np.repeat(p[:, None, :], births.shape[1], axis=1)
    up, down = wins[..., :half], wins[..., half : 2 * half]
    first, second = (np.take_along_axis(found, k, axis=-1) for k in (up, down))
    np.put_along_axis(found, up, second, axis=-1)
    np.put_along_axis(found, down, first, axis=-1)
    return np.log(found) if rival.min() < 0 else found


def order(setting: Setting, races: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return an order of the examples for each race, labels in turns, shape (race, example)."""
    places = np.arange(EXAMPLES).reshape(-1, setting.labels)
    dealt = rng.permuted(np.broadcast_to(places, (races, *places.shape)), axis=1)
    return dealt.reshape(races, EXAMPLES)


@dataclass
class Count:
    """What became of the broods of all runs."""

    runs: int = 0
    wrong: int = 0  #: runs in which one as good as the rival was dropped
    measured: int = 0  #: examples of births
    broods: int = 0
    lost: int = 0  #: broods whose best was dropped
    better: int = 0  #: broods whose best is better than the rival
    lost_better: int = 0

    def add(self, other: Count) -> None:
        """Add what another counted."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


def play(rule: Rule, setting: Setting, races: int, seed: int) -> Count:
    """Return what a rule does in so many runs."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0.8, 1.2, (races, EXAMPLES))
    parents = drawn(races, PARENTS, setting.labels, rng)
    count = Count()
    wrong = np.zeros(races, dtype=np.bool_)
    for generation in range(1, GENERATIONS + 1):
        births = children(parents, rng)
        known, new = cases(parents, hard, setting), cases(births, hard, setting)
        rival = known[np.arange(races), known.mean(axis=-1).argmin(axis=1)]
        if setting.level:
            new = level_with(rival, new, rng)
        shown = order(setting, races, rng if setting.fresh else np.random.default_rng(seed + 1))
        first = np.take_along_axis(new, shown[:, None, :], axis=2)
        alive = race(
            rule, first, np.take_along_axis(rival, shown, axis=1), generation, setting, count
        )
        wrong |= judge(count, new, rival, alive, rule)
        worth = np.concatenate([known.mean(-1), np.where(alive, new.mean(-1), -np.inf)], axis=1)
        best = np.argsort(-worth, axis=1, kind="stable")[:, :PARENTS]
        parents = parents.join(births).pick(best)
    count.runs, count.wrong = races, int(wrong.sum())
    return count


def race(
    rule: Rule, new: Floats, rival: Floats, generation: int, setting: Setting, count: Count
) -> NDArray[np.bool_]:
    """Return who is measured on all examples, shape (race, birth)."""
    alive = np.ones(new.shape[:2], dtype=np.bool_)
    measured = 0
    for m in rule.rungs(EXAMPLES):
        count.measured += int(alive.sum()) * (m - measured)
        measured = m
        if m == EXAMPLES or rule.config.method == "off":
            continue
        if rule.config.method == "certified":
            level = ALPHA / (generation * (generation + 1) * BIRTHS)
            together = ~refuted(
                new[..., :m], rival[..., :m], EXAMPLES, level, rule.scale, setting.groups
            )
        by_one = range(20 if rule.config.method == "certified" else len(new))
        for r in by_one:
            kept = rule.keeps(
                new[r, alive[r], :m],
                rival[r, :m],
                EXAMPLES,
                num_births=BIRTHS,
                generation=generation,
                groups=setting.groups,
            )
            alive[r, alive[r]] = kept
        if rule.config.method == "certified":
            assert (together[: len(by_one)] == alive[: len(by_one)]).all()
            alive = together
    return alive


def judge(
    count: Count, new: Floats, rival: Floats, alive: NDArray[np.bool_], rule: Rule
) -> NDArray[np.bool_]:
    """Add what was lost, and return in which races one was dropped that is as good as the rival."""
    ahead = 2 * lead(new, rival[:, None, :], rule.scale).mean(axis=-1) - 1
    worth = new.mean(axis=-1)
    first, best = np.arange(len(new)), worth.argmax(axis=1)
    lost = ~alive[first, best]
    better = worth[first, best] > rival.mean(axis=-1)
    count.broods += len(new)
    count.lost += int(lost.sum())
    count.better += int(better.sum())
    count.lost_better += int((lost & better).sum())
    return np.asarray((~alive & (ahead >= -1e-12)).any(axis=1))


SETTINGS = (
    Setting(discrete=False, labels=1, fresh=True),
    Setting(discrete=False, labels=4, fresh=True),
    Setting(discrete=True, labels=1, fresh=True),
    Setting(discrete=True, labels=4, fresh=True),
    Setting(discrete=False, labels=1, fresh=True, level=True),
    Setting(discrete=True, labels=1, fresh=True, level=True),
    Setting(discrete=True, labels=4, fresh=True, level=True),
    Setting(discrete=False, labels=1, fresh=False),
    Setting(discrete=False, labels=4, fresh=False),
    Setting(discrete=True, labels=1, fresh=False),
)


def one_comparison(discrete: bool, labels: int, races: int, seed: int) -> tuple[int, int]:
    """Return in how many races the bet, and a repeated t-test, refute what is true."""
    rng = np.random.default_rng(seed)
    setting = Setting(discrete, labels, fresh=True, level=True)
    rival = cases(drawn(races, 1, labels, rng), rng.normal(0.8, 1.2, (races, EXAMPLES)), setting)
    shown = order(setting, races, rng)
    other = np.take_along_axis(level_with(rival[:, 0], rival, rng), shown[:, None, :], axis=2)
    first = np.take_along_axis(rival[:, 0], shown, axis=1)
    scale: Scale = "zero_one" if discrete else "log_probability"
    before = np.s_[..., : EXAMPLES - 8]
    bet = refuted(other[before], first[before], EXAMPLES, ALPHA, scale, setting.groups)[:, 0]
    d = 2 * lead(first, other[:, 0], scale) - 1
    tested = np.zeros(races, dtype=np.bool_)
    for m in range(8, EXAMPLES, 8):
        error = d[:, :m].std(axis=1, ddof=1) / np.sqrt(m)
        tested |= (error > 0) & (d[:, :m].mean(axis=1) > t_quantile(1 - ALPHA, m - 1) * error)
    return int(bet.sum()), int(tested.sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--races", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    begun = time.perf_counter()
    print("setting | rule | runs | wrong drop, 95 % | examples | best lost | of better ones")
    for setting in SETTINGS:
        for method in ("certified", "fast", "halving"):
            config = RacingConfig(method=method, alpha=ALPHA, z=Z)
            rule = Rule(config, "zero_one" if setting.discrete else "log_probability")
            total = Count()
            races = arguments.races if method == "certified" else max(20, arguments.races // 10)
            for start in range(0, races, BLOCK):
                block = min(BLOCK, races - start)
                total.add(play(rule, setting, block, arguments.seed * races + start))
            low, high = wilson_interval(total.wrong, total.runs)
            used = total.measured / (total.broods * BIRTHS * EXAMPLES)
            print(
                f"{setting.name} | {method} | {total.runs} | {total.wrong / total.runs:.4f} "
                f"({low:.4f} to {high:.4f}) | {used:.3f} | {total.lost / total.broods:.4f} | "
                f"{total.lost_better / max(1, total.better):.4f} of {total.better}",
                flush=True,
            )
    print("one comparison, level | bet, 95 % | t-test that looks 7 times")
    for discrete in (False, True):
        for labels in (1, 4):
            bet, tested = one_comparison(discrete, labels, arguments.races, arguments.seed)
            low, high = wilson_interval(bet, arguments.races)
            name = Setting(discrete, labels, fresh=True).name
            print(
                f"{name} | {bet / arguments.races:.4f} ({low:.4f} to {high:.4f}) | "
                f"{tested / arguments.races:.4f}"
            )
    print(f"alpha {ALPHA}; {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
