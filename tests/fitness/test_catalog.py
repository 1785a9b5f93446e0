"""Kinds of fitness and traits by name: the package's, a module's, a plug-in's; and what stands in
their way.
"""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from evoprompt.config.sections import FitnessConfig
from evoprompt.errors import UserError
from evoprompt.fitness.base import Fitness
from evoprompt.fitness.catalog import KINDS, fitness_of
from evoprompt.fitness.traits import extra_traits
from evoprompt.jobs.evolve.build import check_task
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.page import run_fitness, write_page
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.testing.fitness import check_fitness, drawn_scores

pytestmark = pytest.mark.usefixtures("no_pages")

OWN = '''
from dataclasses import dataclass

@dataclass(frozen=True)
class Doubled:
    """2 l_y."""

    name: str = "doubled"
    needs_prior: bool = True
    needs_choices: bool = False

    def cases(self, scores):
        assert scores.prior is not None
        return 2 * scores.of_gold(scores.log_likelihood)

class NotFinite(Doubled):
    def cases(self, scores):
        return super().cases(scores) / 0.0

def shouting(policy, scores):
    return float(policy.instruction.count("!"))
'''


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's beside the config."""
    (tmp_path / "own_measures.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_measures", raising=False)
    return "own_measures"


@pytest.fixture
def plug_in(own_module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that offers the module's things by name."""
    points = metadata.EntryPoints(
        (
            metadata.EntryPoint("fitness.doubled", f"{own_module}:Doubled", "evoprompt"),
            metadata.EntryPoint("trait.shouting", f"{own_module}:shouting", "evoprompt"),
        )
    )
    monkeypatch.setattr(metadata, "entry_points", lambda **wanted: points.select(**wanted))


def fitness(kind: str, *, has_choices: bool = True, **settings: float) -> Fitness:
    return fitness_of(FitnessConfig(kind=kind, **settings), has_choices=has_choices)


def test_a_kind_stands_under_its_own_name():
    assert list(KINDS) == [
        *("sum", "per_token", "per_byte", "label_normalized", "pmi", "accuracy"),
        "metric",
    ]
    assert all(fitness(name).kind is kind for name, kind in KINDS.items())


def test_auto_is_settled_by_the_task():
    assert fitness("auto").name == "label_normalized"
    assert fitness("auto", has_choices=False).name == "per_token"


def test_a_fitness_says_what_has_to_be_measured():
    needs = {name: (kind.needs_prior, kind.needs_choices) for name, kind in KINDS.items()}
    assert {name for name, (prior, _) in needs.items() if prior} == {"pmi"}
    assert {name for name, (_, choices) in needs.items() if choices} == {"label_normalized", "pmi"}
    assert not fitness("sum").needs_verdicts
    assert fitness("sum", self_evaluation=0.5).needs_verdicts


def test_each_policy_is_charged_its_own_prompt():
    scores = drawn_scores(0, num_policies=2)
    free = fitness("sum").cases(scores)
    charged = fitness("sum", prompt_token_penalty=0.5).cases(scores, [3, 8])
    np.testing.assert_allclose(charged, free - np.array([[1.5], [4.0]]))
    np.testing.assert_array_equal(fitness("sum", prompt_token_penalty=0.5).cases(scores), free)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("smu", "fitness.kind has no fitness 'smu'; did you mean 'sum'"),
        (
            "zzz",
            "valid are: accuracy, auto, label_normalized, metric, per_byte, per_token, pmi, sum[.]",
        ),
        ("none_such:X", "fitness.kind: 'none_such:X' cannot be imported"),
        ("os:path", "which is no fitness: it takes name, needs_prior"),
    ],
)
def test_a_wrong_kind_is_refused_before_the_run(config_file: Path, kind: str, message: str):
    with pytest.raises(UserError, match=message):
        check_task(load_config(config_file, [f"fitness.kind={kind}"]))


def test_a_kind_that_is_not_finite_is_named(own_module: str):
    with (
        pytest.raises(UserError, match=r"fitness 'own_measures:NotFinite' gives .* 15 numbers"),
        np.errstate(divide="ignore"),
    ):
        fitness(f"{own_module}:NotFinite").cases(drawn_scores(0, with_prior=True))


def test_what_was_not_measured_is_said():
    with pytest.raises(ValueError, match="'pmi' needs the candidates' prior"):
        fitness("pmi").cases(drawn_scores(0))
    with pytest.raises(ValueError, match="'label_normalized' compares choices"):
        fitness("label_normalized").cases(drawn_scores(0, num_choices=1))


@pytest.mark.parametrize("name", ["own_measures:Doubled", "doubled"])
def test_a_fitness_of_ones_own_carries_a_run_and_is_found_again(
    config_file: Path, tmp_path: Path, plug_in: None, name: str
):
    check_fitness(fitness(name).kind)
    run = tmp_path / "run"
    short = [f"fitness.kind={name}", "evolution.generations=1"]
    assert start(load_config(config_file, short), run)["fitness"]["kind"] == name
    folder = EvolveFolder.open(run)
    measured = folder.measurements()
    for birth in folder.lines("lineage.jsonl"):
        scores = measured[birth["policy_id"]]
        expected = 2 * scores.of_gold(scores.log_likelihood).mean()
        assert birth["fitness"] == pytest.approx(expected, abs=1e-6)
    assert run_fitness(folder, folder.summary()).name == name
    assert name in write_page(folder).read_text()
    # And a run that goes on.
    (run / "summary.json").unlink()
    assert resume(run, ["evolution.generations=2"])["generations"] == 2


def test_a_run_whose_plug_in_is_gone_says_so(
    config_file: Path, tmp_path: Path, plug_in: None, monkeypatch: pytest.MonkeyPatch
):
    start(
        load_config(config_file, ["fitness.kind=doubled", "evolution.generations=1"]),
        tmp_path / "run",
    )
    monkeypatch.setattr(metadata, "entry_points", lambda **_: metadata.EntryPoints(()))
    with pytest.raises(UserError, match=r"no fitness 'doubled'.*not installed here, install it"):
        write_page(EvolveFolder.open(tmp_path / "run"))


def test_traits_of_ones_own_are_found_by_place_and_by_name(
    config_file: Path, tmp_path: Path, plug_in: None
):
    overrides = [
        "traits.extra={a: 'own_measures:shouting', b: shouting}",
        "task.starting_policies=[{instruction: 'Now!!'}]",
        "evolution.generations=1",
    ]
    start(load_config(config_file, overrides), tmp_path / "run")
    births = [
        json.loads(line) for line in (tmp_path / "run" / "lineage.jsonl").read_text().splitlines()
    ]
    assert births[0]["traits"]["a"] == births[0]["traits"]["b"] == 2
    assert all(b["traits"]["a"] == b["policy"].get("instruction", "").count("!") for b in births)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("none_such:f", r"traits.extra.own: 'none_such:f' cannot be imported .*PYTHONPATH=[.]"),
        ("math:none", r"traits.extra.own: 'math:none' cannot be imported"),
        ("nobody", r"traits.extra.own has no trait 'nobody'; none is installed[.] Of a plug-in"),
    ],
)
def test_a_trait_that_cannot_be_found_is_refused(place: str, message: str):
    with pytest.raises(UserError, match=message):
        extra_traits({"own": place})
