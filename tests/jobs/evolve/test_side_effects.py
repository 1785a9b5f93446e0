"""Runs that look at what their prompts do to other tasks: the penalty is what the files say, comes
off the fitness, is paid from the budget, resumes to the same bytes, and has its place on the page.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "experiments"))
from check_price import check

from evoprompt.config.side_effects import SideEffectsConfig
from evoprompt.errors import UserError
from evoprompt.fitness.side_effects import change, mean_change, scale_of
from evoprompt.jobs.evolve.build import Parts, build, check_task
from evoprompt.jobs.evolve.config import Config, load_config
from evoprompt.jobs.evolve.folder import LINEAGE, SIDE_EFFECTS, EvolveFolder
from evoprompt.jobs.evolve.metrics import generation_metrics
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.jobs.evolve.side_effects import reference_of
from evoprompt.jobs.sweep.forecast import _side_effects
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.store.folder import PROVENANCE, SUMMARY
from evoprompt.tasks.auxiliary import auxiliaries_of, before
from evoprompt.tasks.render import render_prompt

pytestmark = pytest.mark.usefixtures("no_pages")

INSTANT = ("workers.backend=toys.instant:InstantBackend", "task.starting_demonstrations=[0,1,2]")
LOOKS = ("side_effects={tasks: [questions], random: 2, examples: 5, suffixes: 2}",)
PENALISED = (*LOOKS, "side_effects.coefficient=0.5")
#: With a model that shares what prompts begin with, and a small window.
SHORT = ("task.starting_demonstrations=[0,1]", "evolution.generations=1")
RACE = ("evolution.racing.method=halving", "evolution.racing.first=2", "evolution.generations=3")


def rows(folder: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(shared_config: Path) -> Path:
    folder = shared_config.with_name("whole")
    start(load_config(shared_config, [*INSTANT, *RACE, *PENALISED]), folder)
    return folder


def test_fitness_is_that_without_less_the_penalty_that_the_file_says(finished: Path):
    folder, looked = EvolveFolder.open(finished), rows(finished, SIDE_EFFECTS)
    assert check(finished)[0] < 1e-12
    values = {
        r["policy_id"]: {a: np.array(v) for a, v in r["log_likelihood"].items()} for r in looked
    }
    assert all({v.shape for v in found.values()} == {(1, 5), (2, 5)} for found in values.values())
    births = rows(finished, LINEAGE)
    founders = [b["policy_id"] for b in births if b["generation"] == 0]
    scales = {a: scale_of([values[p][a] for p in founders]) for a in values[founders[0]]}
    penalties = {}
    for policy_id, found in values.items():
        changes = [change(v, values[founders[0]][a], round(scales[a], 6)) for a, v in found.items()]
        penalties[policy_id] = max(0.0, mean_change(changes).both)
    assert penalties[founders[0]] == 0.0
    assert max(penalties.values()) > 0.1
    config = folder.config()
    plain = build_plain(config)
    measured = folder.measurements()
    for birth in births:
        penalty = penalties[birth["policy_id"]]
        assert birth["traits"]["side_effects"] == pytest.approx(penalty, abs=2e-6)
        scores = measured[birth["policy_id"]].first(birth["examples"])
        policy = Policy.from_dict(birth["policy"])
        worth = plain.interpret(policy, scores)[0].fitness
        assert birth["fitness"] == pytest.approx(worth - 0.5 * penalty, abs=3e-6)
        assert birth["traits"]["fitness"] == birth["fitness"]


def build_plain(config: Config) -> Parts:
    """Return the parts of the same run that does not look."""
    return build(config.model_copy(update={"side_effects": None}), Path("nowhere"))


def test_it_resumes_to_the_same_bytes(finished: Path, config_file: Path, tmp_path: Path):
    parted = tmp_path / "parted"
    overrides = [*INSTANT, *RACE, *PENALISED]
    start(load_config(config_file, [*overrides, "evolution.generations=1"]), parted)
    (parted / SUMMARY).unlink()
    resume(parted, ["evolution.generations=3"])
    for name in (LINEAGE, SIDE_EFFECTS):
        assert (parted / name).read_bytes() == (finished / name).read_bytes()
    once = [r["policy_id"] for r in rows(finished, SIDE_EFFECTS)]
    assert len(set(once)) == len(once)


def test_page_metrics_and_costs_tell_of_it(finished: Path):
    folder, summary = EvolveFolder.open(finished), json.loads((finished / SUMMARY).read_text())
    assert summary["tokens"]["by_phase"]["side_effects"] > 0
    assert "side_effects" in summary["champion"]["traits"]
    line = folder.generations()[-1]
    told = generation_metrics(line)
    assert told["side_effects/coefficient"] == 0.5
    assert told["side_effects/decrease"] == line.side_effects.decrease
    page = (finished / "report.html").read_text()
    assert page.count(">Side effects</h2>") == 1
    assert "random-2" in page
    assert "0.5 times it is taken off the fitness" in page


@pytest.mark.slow
@pytest.mark.pages
def test_a_coefficient_that_rises_counts_in_selection_and_whole_in_the_fitness(
    config_file: Path, tmp_path: Path
):
    """Over 4 generations that rise until the end selection takes off 0, 0, a third and two thirds
    of .5. Policies that both runs have are worth the same. With a coefficient that outweighs all
    else, who survives the first generation is who does without one.
    """
    short = [*INSTANT, "evolution.generations=3"]
    rises = [*short, *PENALISED, "side_effects.until=1"]
    start(load_config(config_file, rises), tmp_path / "rises")
    told = [line.side_effects for line in EvolveFolder.open(tmp_path / "rises").generations()]
    assert [round(each.coefficient, 6) for each in told] == [0.0, 0.0, 0.166667, 0.333333]
    assert check(tmp_path / "rises")[0] < 1e-12
    page = (tmp_path / "rises" / "report.html").read_text()
    assert "Selection took 0 times it off among the starting prompts and 0.333333 times" in page
    for name, more in (
        ("without", []),
        ("at once", [*LOOKS, "side_effects.coefficient=1000"]),
        ("later", [*LOOKS, "side_effects.coefficient=1000", "side_effects.until=1"]),
    ):
        few = ["evolution.generations=1", "evolution.population=2"]
        start(load_config(config_file, [*short, *few, *more]), tmp_path / name)
    kept = {
        name: {
            b["policy_id"]
            for b in rows(tmp_path / name, LINEAGE)
            if b["generation"] == 1 and b["selected"]
        }
        for name in ("without", "at once", "later")
    }
    assert kept["later"] == kept["without"]
    assert kept["at once"] != kept["without"]
    worth = [
        {b["policy_id"]: b["fitness"] for b in rows(tmp_path / name, LINEAGE)}
        for name in ("at once", "later")
    ]
    shared = worth[0].keys() & worth[1].keys()
    assert len(shared) >= 3
    assert all(worth[0][key] == worth[1][key] for key in shared)


@pytest.mark.pages
def test_without_a_coefficient_the_search_is_the_same_and_the_trait_is_there(
    config_file: Path, tmp_path: Path
):
    short = [*INSTANT, "evolution.generations=2"]
    start(load_config(config_file, short), tmp_path / "without")
    start(load_config(config_file, [*short, *LOOKS]), tmp_path / "with")
    without, looks = (rows(tmp_path / name, LINEAGE) for name in ("without", "with"))
    for birth in looks:
        assert birth["traits"].pop("side_effects") >= 0
    assert looks == without
    assert not (tmp_path / "without" / SIDE_EFFECTS).exists()
    assert "side_effects" not in json.loads((tmp_path / "without" / PROVENANCE).read_text())
    assert "Side effects</h2>" not in (tmp_path / "without" / "report.html").read_text()


def test_a_budget_pays_for_it(config_file: Path, tmp_path: Path):
    looks = load_config(config_file, [*SHORT, "side_effects={random: 2, examples: 3}"])
    parts = build(looks, tmp_path)
    policy = parts.task.starting_policies[1]
    plain = build_plain(looks).costs.of([policy])
    weight = parts.side_effects.weigh(policy)
    assert parts.costs.of([policy]) == plain + weight.rows
    # the forecast of a run that is not begun says the same
    tokenizer = parts.measurer.tokenizer
    told = _side_effects(looks, parts.task, tokenizer)
    weights = [parts.side_effects.weigh(p).rows for p in parts.task.starting_policies]
    assert told == (tuple(weights), 2)
    # in each further rung it is not measured again
    assert parts.costs.of([policy], (8,), begin=4) == build_plain(looks).costs.of(
        [policy], (8,), begin=4
    )
    # what is charged when it is measured is what was forecast
    start(looks, tmp_path / "run")
    folder = EvolveFolder.open(tmp_path / "run")
    checkpoint = folder.restore()
    weights = [
        parts.side_effects.weigh(Policy.from_dict(p)).rows
        for p in {b["policy_id"]: b["policy"] for b in rows(folder.path, LINEAGE)}.values()
    ]
    assert checkpoint.ledger.tokens["side_effects"].floor_body_tokens == sum(weights)
    assert parts.costs.check_budget() > build_plain(looks).costs.check_budget()


def test_a_policys_prompt_stands_before_the_auxiliary_tasks_own():
    template = Template("Text: ", "\nTone:", "\n\n")
    policy = Policy("Say.", (Demonstration("it", "x"),), template, label_words=(("x", "good"),))
    prompt = Policy("Ask.", (), Template("Q: ", "\nA:", "\n"))
    shown = render_prompt(before(policy, prompt), "who?")
    assert shown == "Say.\n\nText: it\nTone: good\nAsk.\nQ: who?\nA:"
    # inaction: nothing before it leaves the auxiliary task as it is
    assert before(Policy(), prompt) == prompt
    assert before(Policy("Say."), Policy()).instruction == "Say."


def test_variants_and_scales_of_a_config(config_file: Path, tmp_path: Path):
    config = SideEffectsConfig(tasks=("questions",), scale=2.0)
    measured = {"a": {"questions": np.zeros((1, 4))}, "b": {"questions": np.full((1, 4), -3.0)}}
    reference = reference_of(config, measured, ["a", "b"])
    [found] = reference.changes(measured, "b").values()
    assert (found.decrease, found.increase) == (1.5, 0.0)
    unscaled = config.model_copy(update={"scale": None})
    # Q = 0 and -3: a standard deviation of 3 / sqrt(2)
    assert reference_of(unscaled, measured, ["a", "b"]).scales["questions"] == 2.12132
    with pytest.raises(UserError, match="give side_effects.scale in nats"):
        reference_of(unscaled, measured, ["a"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("{}", "give auxiliary tasks"),
        ("{tasks: [sense, sense]}", "there twice"),
        ("{tasks: [sense], variant: less}", "variant"),
        ("{tasks: [sense], examples: 1}", "examples"),
    ],
)
def test_a_config_that_cannot_be_is_refused(config_file: Path, values: str, message: str):
    with pytest.raises(UserError, match=message):
        load_config(config_file, [f"side_effects={values}"])


def test_auxiliaries_that_cannot_be_are_refused(config_file: Path, task_file: Path):
    task, _ = check_task(load_config(config_file))
    with pytest.raises(UserError, match="neither a file nor a task of the package"):
        auxiliaries_of(SideEffectsConfig(tasks=("/nowhere.jsonl",)), task)
    with pytest.raises(UserError, match="that the prompts are made for"):
        auxiliaries_of(SideEffectsConfig(tasks=(str(task_file),)), task)
    found = auxiliaries_of(SideEffectsConfig(random=2, examples=3), task)
    assert [len({e.target for e in a.examples}) for a in found] == [3, 3]
    assert found[0].examples != found[1].examples
    assert found == auxiliaries_of(SideEffectsConfig(random=2, examples=3), task)


def test_a_small_file_gives_all_its_examples_and_that_is_said(config_file: Path, tmp_path: Path):
    """14 lines, of which a task would search on two."""
    words = ("ash", "beech", "cedar", "elm", "fir", "gum", "hazel", "ivy", "kauri", "larch")
    words = (*words, "maple", "nut", "oak", "pine")
    lines = [{"input": f"a {word} by the road", "target": word} for word in words]
    (tmp_path / "small.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    section = "side_effects={tasks: [small.jsonl], examples: 16, suffixes: 9}"
    task, _ = check_task(config := load_config(config_file, [section]))
    [small] = auxiliaries_of(config.side_effects, task)
    assert sorted(e.input for e in small.examples) == sorted(line["input"] for line in lines)
    assert "the auxiliary task 'small' has 14 examples of 16" in task.notes
    assert f"the auxiliary task 'small' has {len(small.prompts)} prompts of 9" in task.notes


def test_an_auxiliary_that_is_nowhere_is_found_out_before_anything_starts(config_file: Path):
    with pytest.raises(UserError, match="nosuch' is neither a file nor a task"):
        check_task(load_config(config_file, ["side_effects={tasks: [nosuch]}"]))


def test_a_path_is_seen_from_the_configurations_folder(config_file: Path, tmp_path: Path):
    config = load_config(config_file, ["side_effects={tasks: [sense, other.jsonl]}"])
    assert config.side_effects.tasks == ("sense", str((tmp_path / "other.jsonl").resolve()))
