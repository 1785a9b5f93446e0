"""A bonus for narrated steps: it counts in selection alone, falls as it is told to, and leaves the
fitness, Price's equation and the choice of the champion as they are.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "experiments"))
from check_price import check

from evoprompt.config.evolution import SelectionConfig, ShapingConfig
from evoprompt.errors import UserError
from evoprompt.evolution.candidates import candidates_of, worth_of
from evoprompt.evolution.schedule import bonus_at
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import LINEAGE, EvolveFolder, state_dict, state_of
from evoprompt.jobs.evolve.metrics import generation_metrics
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.policy import Policy
from evoprompt.records import FOUND, Birth, Evaluation, Member, State
from evoprompt.selection.select import select_survivors
from evoprompt.store.folder import SUMMARY

pytestmark = pytest.mark.usefixtures("no_pages")

CONFIG = """
model: {name: instant, memo: false}
task: {name: gridworld, difficulty: 1, instructions: marginal, starting_demonstrations: [0, 1, 2],
  fitness_examples: 6, validation_examples: 4, test_examples: 4}
evolution: {population: 3, children: 4, generations: 4, max_demonstrations: 3,
  examples: {first: null}, racing: {method: "off"}}
workers: {backend: "toys.instant:InstantBackend"}
tracking: {enabled: false}
"""


def run(folder: Path, *settings: str) -> EvolveFolder:
    path = folder / "grid.yaml"
    path.write_text(CONFIG)
    start(load_config(path, settings), folder / "run")
    return EvolveFolder(folder / "run")


@pytest.fixture(scope="module")
def annealed(tmp_path_factory: pytest.TempPathFactory) -> EvolveFolder:
    folder = tmp_path_factory.mktemp("shaped")
    return run(folder, "evolution.shaping={weight: 8.0, until: 0.5}")


def births(folder: EvolveFolder) -> list[dict]:
    return [json.loads(line) for line in (folder.path / LINEAGE).read_text().splitlines()]


def member(name: str, cases: tuple[float, ...], bonus: tuple[float, ...] = ()) -> Member:
    fitness = sum(cases) / len(cases)
    traits = {"fitness": fitness, "prompt_tokens": 1.0}
    found = Evaluation(fitness, cases, traits, len(cases), case_bonus=bonus)
    return Member(Birth(name, Policy(name), (), (), FOUND), found)


def test_the_weight_falls_in_a_line_to_zero_or_stays():
    falling = ShapingConfig(weight=2.0, until=0.5)
    assert [bonus_at(p, falling) for p in (0.0, 0.25, 0.5, 1.0)] == [2.0, 1.0, 0.0, 0.0]
    assert bonus_at(1.0, ShapingConfig(weight=2.0)) == 2.0


def test_selection_sees_the_bonus_and_the_fitness_stays():
    a, b = member("a", (-1.0, -3.0), (-0.5, -1.5)), member("b", (-2.0, -3.0), (0.0, -0.2))
    assert (worth_of(a, 0.0), worth_of(b, 0.0)) == (-2.0, -2.5)
    # -2 - 1 and -2.5 - 0.1
    assert (worth_of(a, 1.0), worth_of(b, 1.0)) == (-3.0, -2.6)
    seen = candidates_of([a, b], 1.0)
    assert seen.fitness.tolist() == [-3.0, -2.6]
    assert seen.case_fitness.tolist() == [[-1.5, -4.5], [-2.0, -3.2]]
    assert seen.traits["fitness"].tolist() == [-2.0, -2.5]
    plain = candidates_of([a, b])
    assert plain.case_fitness.tolist() == [[-1.0, -3.0], [-2.0, -3.0]]


def test_a_bonus_that_all_share_chooses_nobody_else_and_another_does():
    cases = np.random.default_rng(1).normal(size=(6, 4)).round(6)
    plain = [member(f"{i}", tuple(row)) for i, row in enumerate(cases.tolist())]

    def survivors(members: list[Member], weight: float) -> list[int]:
        chosen = SelectionConfig(method="truncation")
        rng = np.random.default_rng(0)
        return sorted(select_survivors(candidates_of(members, weight), 2, chosen, rng))

    def with_bonus(values: np.ndarray) -> list[Member]:
        return [
            replace(m, evaluation=replace(m.evaluation, case_bonus=tuple(row)))
            for m, row in zip(plain, values.tolist(), strict=True)
        ]

    best = survivors(plain, 0.0)
    assert survivors(with_bonus(np.full((6, 4), -0.7)), 5.0) == best
    others = [i for i in range(6) if i not in best][:2]
    rows = np.where(np.isin(np.arange(6), others)[:, None], 0.0, -9.0) * np.ones((6, 4))
    assert survivors(with_bonus(rows), 5.0) == others


@pytest.mark.slow
def test_a_run_selects_by_fitness_and_weighted_bonus(annealed: EvolveFolder):
    lines, told = annealed.generations(), births(annealed)
    weights = [line.shaping.weight for line in lines if line.shaping is not None]
    # before each of the founders and four generations 0, 0, 1/4, 2/4 and 3/4 are done
    assert weights == [8.0, 8.0, 4.0, 0.0, 0.0]
    for line, weight in list(zip(lines, weights, strict=True))[1:]:
        own = [b for b in told if b["generation"] == line.generation]
        first = {b["policy_id"]: b for b in reversed(own)}.values()
        worth = {b["policy_id"]: b["fitness"] + weight * b["traits"]["named_steps"] for b in first}
        kept = {b["policy_id"] for b in own if b["selected"]}
        best = sorted(worth, key=lambda p: -worth[p])[: len(kept)]
        assert kept == set(best)
        assert generation_metrics(line)["shaping/weight"] == weight


@pytest.mark.pages
def test_the_fitness_is_what_counts_and_prices_parts_add_up(annealed: EvolveFolder):
    assert check(annealed.path)[0] < 1e-12
    assert "named_steps" in annealed.generations()[1].account.price
    measured = annealed.measurements()
    for birth in births(annealed):
        scores = measured[birth["policy_id"]]
        per_token = scores.log_likelihood[0, :, 0] / scores.num_tokens[0, :, 0]
        assert birth["fitness"] == pytest.approx(per_token.mean(), abs=2e-6)
        said = np.nanmean(scores.said[0], axis=1).mean()
        assert birth["traits"]["named_steps"] == pytest.approx(said, abs=2e-6)
    page = (annealed.path / "report.html").read_text("utf-8")
    assert ">Narrated steps<" in page


@pytest.mark.slow
def test_it_resumes_to_the_same_bytes(tmp_path: Path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "part").mkdir()
    falling = "evolution.shaping={weight: 2.0, until: 0.7}"
    whole = run(tmp_path / "whole", falling, "evolution.generations=3")
    parted = run(tmp_path / "part", falling, "evolution.generations=1")
    (parted.path / SUMMARY).unlink()
    resume(parted.path, ["evolution.generations=3"])
    lines = [line.shaping for line in whole.generations()]
    # before the founders and generation 1 nothing is done, then 1/3 and 2/3
    assert len({line.weight for line in lines if line is not None}) == 3
    assert [line.shaping for line in parted.generations()] == lines
    for name in (LINEAGE, "measurements.jsonl"):
        assert (parted.path / name).read_bytes() == (whole.path / name).read_bytes()


#: What the page says, and what it is in full.
WAYS = {
    "shaping: {weight: 1.0, until: 0.8}": ["evolution.shaping={weight: 1.0, until: 0.8}"],
    "shaping: {weight: 1.0}, stop: {patience: 2}": [
        "evolution.shaping={weight: 1.0}",
        "evolution.stop={patience: 2}",
    ],
    "task.stages: true": [
        "task.stages=true",
        "evolution.shaping={weight: 1.0}",
        "evolution.survival_selection.method=epsilon_lexicase",
        "evolution.parent_selection.method=epsilon_lexicase",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_ways_of_the_page_run(way: str, tmp_path: Path):
    page = Path(__file__).parents[3] / "docs" / "trajectories.md"
    assert f"`{way}`" in page.read_text("utf-8")
    lines = run(tmp_path, *WAYS[way]).generations()
    assert all(line.shaping is not None for line in lines)
    assert "stop" not in way or len(lines) < 5


@pytest.mark.slow
@pytest.mark.pages
def test_without_a_weight_nothing_is_added(tmp_path: Path):
    plain = run(tmp_path, "evolution.generations=1")
    assert all(line.shaping is None for line in plain.generations())
    assert ">Narrated steps<" not in (plain.path / "report.html").read_text("utf-8")
    assert "case_bonus" not in (plain.path / "checkpoint.json").read_text("utf-8")


def test_a_bonus_goes_with_the_checkpoint():
    state = State(0, 1, (member("a", (-1.0,), (-0.5,)), member("b", (-1.0,))))
    assert state_of(json.loads(json.dumps(state_dict(state)))) == state


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["task.instructions=off"], r"give task\.instructions joint or marginal"),
        (["task.instructions=written"], r"give task\.instructions joint or marginal"),
        (["task.written=true", "task.instruction_draws=1"], "leave one of the two out"),
    ],
)
def test_what_has_no_steps_in_words_is_refused(settings: list[str], message: str):
    with pytest.raises(UserError, match=message):
        load_config(Path("gridworld"), ["evolution.shaping.weight=1", *settings])


def test_a_bonus_that_falls_has_a_weight_to_fall_from():
    with pytest.raises(ValueError, match=r"until=0.5 .* and weight is 0; give a weight"):
        ShapingConfig(until=0.5)
