"""The Python API: ten lines to a champion, the same run as the command line's, every example."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from toys.tiny_models import save_quick_model

import evoprompt as ep
from evoprompt.jobs.base import job_of
from evoprompt.jobs.play.dialogue import Dialogue
from evoprompt.jobs.play.session import player_of, speaker_of
from evoprompt.scoring import models

ROOT = Path(__file__).parents[1]
#: What keeps a run of the tiny model short.
SHORT = {
    **{"evolution.generations": 2, "evolution.children": 4, "model.memo": False},
    **{"task.fitness_examples": 8, "task.validation_examples": 8, "task.test_examples": 10},
}


def pairs(task_file: Path) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in task_file.read_text().splitlines()]
    return [(row["input"], row["target"]) for row in rows]


@pytest.mark.slow
def test_ten_lines_lead_from_examples_to_a_champion(tiny_model, task_file, tmp_path):
    task = ep.Task.from_examples(pairs(task_file))
    result = ep.evolve(task, model=str(tiny_model), tokens=60_000, seed=0, settings=SHORT)
    assert "{input}" in result.champion.prompt
    assert set(result.predict(["a good film", "a bad meal"])) <= {"good", "bad"}
    assert result.test["num_examples"] == 10
    assert result.plot().svg.startswith("<svg")
    kept = result.save(tmp_path / "kept")
    again = ep.load(tmp_path / "kept")
    result.close()
    assert not result.folder.exists()
    assert again.champion.policy == kept.champion.policy
    assert again.predict(["a good film"]) == kept.predict(["a good film"])
    assert again.report().exists(), "a folder that was moved is whole: its examples are in it"
    again.close()
    kept.close()


@pytest.mark.slow
def test_a_config_file_gives_the_lineage_that_the_command_line_gives(config_file, tmp_path):
    result = ep.evolve(config_file, out=tmp_path / "api", settings={"seed": 3})
    command = [sys.executable, "-m", "evoprompt.cli", "run", str(config_file), "--set", "seed=3"]
    subprocess.run([*command, "--out", str(tmp_path / "cli")], check=True, capture_output=True)
    for name in ("lineage.jsonl", "measurements.jsonl"):
        assert (result.folder / name).read_bytes() == (tmp_path / "cli" / name).read_bytes()
    settings = [(p / "config.yaml").read_text() for p in (result.folder, tmp_path / "cli")]
    assert settings[0] == settings[1]


def test_probabilities_are_of_all_choices_and_the_answer_is_the_likeliest(tiny_model, task_file):
    task = ep.Task.from_examples(pairs(task_file), choices=["good", "bad"])
    result = ep.evolve(task, model=str(tiny_model), settings=SHORT)
    [shares] = result.probabilities(["a good film"])
    assert list(shares) == ["good", "bad"]
    assert sum(shares.values()) == pytest.approx(1)
    assert result.predict(["a good film"]) == [max(shares, key=lambda a: shares[a])]
    result.close()


def test_a_callback_sees_every_generation_and_ends_the_search(tiny_model, task_file, tmp_path):
    seen = []

    def stop_after_one(line):
        seen.append(line["generation"])
        return line["generation"] < 1

    task = ep.Task.from_examples(pairs(task_file))
    settings = {**SHORT, "evolution.generations": 5}
    result = ep.evolve(task, model=str(tiny_model), settings=settings, on_generation=stop_after_one)
    assert seen == [0, 1]
    assert result.summary["generations"] == 1
    result.close()


def test_targets_become_choices_where_they_come_again_and_free_text_where_not():
    assert ep.Task.from_examples([("a", "x"), ("b", "y")] * 2).examples[0]["choices"] == ["x", "y"]
    assert ep.Task.from_examples([("a", "x"), ("b", "y")]).examples[0]["choices"] is None
    with_own = ep.Task.from_examples([{"input": "a", "target": "x", "choices": ["x", "z"]}])
    assert with_own.examples[0]["choices"] == ["x", "z"]
    with pytest.raises(ep.UserError, match="neither a pair"):
        ep.Task.from_examples(["ab"])


def test_what_does_not_go_together_is_said_and_leaves_no_folder(tiny_model, task_file, tmp_path):
    task = ep.Task.from_examples(pairs(task_file)[:3], choices=["good", "bad"])
    with pytest.raises(ep.UserError, match="split is empty"):
        ep.evolve(task, model=str(tiny_model), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ep.UserError, match="did you mean 'children'"):
        ep.evolve(task, model=str(tiny_model), settings={"evolution.childen": 3})


@pytest.mark.slow
def test_scores_are_those_of_the_command_line(tiny_model, tmp_path):
    rows = [{"id": "a", "context": "a good", "continuation": " film"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, "-m", "evoprompt.cli", "score", "--model", str(tiny_model)]
    files = ["--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl")]
    subprocess.run([*command, *files, "--no-memo"], check=True, capture_output=True)
    line = json.loads((tmp_path / "out.jsonl").read_text())
    settings = {"model.memo": False}
    [score] = ep.score([("a good", " film")], model=str(tiny_model), settings=settings)
    assert (score.log_likelihood, score.num_tokens, score.is_greedy) == (
        line["log_likelihood"],
        line["num_tokens"],
        line["is_greedy"],
    )


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda task: ep.Task.from_examples([]), "needs examples"),
        (lambda task: ep.Task.from_examples([1, 2]), "neither a pair"),
        (lambda task: ep.Task.from_examples([("a", "x"), (None, "y")]), "example 2: 'input' must"),
        (lambda task: ep.Task.from_examples([("a", 1)]), """example 1: 'target' .*quotes: "1" """),
        (lambda task: ep.Task.from_examples([("a", object())]), "example 1: .* JSON"),
        (lambda task: ep.Task.from_examples([("a\ud800", "x")]), "half a surrogate pair"),
        (lambda task: ep.Task.from_examples([{"input": "a", "label": "x"}]), "mean 'target'"),
        (lambda task: ep.evolve([("a", "b")]), "give ep.Task.from_examples"),
        (lambda task: ep.evolve(task, operators=[object()]), "has no 'name'"),
        (lambda task: ep.Evolution([("a", "b")]), "give ep.Task.from_examples"),
        (lambda task: ep.evolve(task, backend=str), "which is no backend"),
    ],
)
def test_a_mistake_costs_a_sentence(task_file, mistake, said):
    with pytest.raises(ep.UserError, match=said):
        mistake(ep.Task.from_file(task_file))


def test_a_text_is_not_taken_for_a_list_and_a_closed_result_says_so(tiny_model, task_file):
    task = ep.Task.from_examples(pairs(task_file))
    result = ep.evolve(task, model=str(tiny_model), settings=SHORT)
    with pytest.raises(ep.UserError, match="takes a list of inputs"):
        result.predict("a good film")
    result.close()
    with pytest.raises(ep.UserError, match="is gone"):
        _ = result.test


@pytest.mark.parametrize("answers", ["batch", "pmi", "likelihood"])
def test_a_loop_predicts_as_it_answered_and_as_play_does(boost_file, tmp_path, answers):
    settings = {"loop.rounds": 1, "loop.answers": answers, "loop.judge": "rivals"}
    result = ep.boost(boost_file, out=tmp_path / "loop", settings=settings)
    champion = job_of(result.folder).champion(result.folder)
    talk = Dialogue(player_of(champion), speaker_of(champion), 0)
    texts = ["a good film", "a bad meal"]
    for text, shares in zip(texts, result.probabilities(texts), strict=True):
        talk.begin_anew()
        reply = talk.say(text)
        assert shares == pytest.approx({o.text: o.probability for o in reply.options}, abs=1e-5)
    raw = replace(champion, calibration=None, answered_by="likelihood")
    other = Dialogue(player_of(raw), speaker_of(raw), 0).say(texts[0]).answer.probability
    told = max(result.probabilities(texts[:1])[0].values())
    assert (abs(other - told) < 1e-5) == (answers == "likelihood"), "power twin: freed of something"
    assert result.plot().svg.startswith("<svg")
    result.close()


class TestAskAndTell:
    """A scorer of one's own: the number of demonstrations, less a little for the instruction."""

    @staticmethod
    def worth(policy: ep.Policy) -> float:
        return len(policy.demonstrations) - 0.01 * len(policy.instruction)

    def population(self, task_file: Path, **settings) -> ep.Evolution:
        return ep.Evolution(ep.Task.from_file(task_file), seed=1, settings=settings)

    def test_the_fittest_are_found_and_price_adds_up(self, task_file):
        population = self.population(task_file)
        for _ in range(8):
            population.tell([self.worth(policy) for policy in population.ask()])
        assert population.generation == 7
        assert len(population.best.birth.policy.demonstrations) >= 6
        assert population.ranked()[0][1] == population.best.evaluation.fitness
        for line in population.history.lines[1:]:
            assert abs(line.price["fitness"].residual) < 1e-12
        chance = self.population(task_file)
        rng = np.random.default_rng(0)
        for _ in range(8):
            chance.tell([float(rng.random()) for _ in chance.ask()])
        assert len(chance.best.birth.policy.demonstrations) < len(
            population.best.birth.policy.demonstrations
        ), "power twin: without selection on it, demonstrations do not pile up"

    def test_asking_twice_gives_the_same_and_a_state_goes_on_as_the_run_would(self, task_file):
        population = self.population(task_file)
        assert population.ask() == population.ask()
        population.tell([self.worth(p) for p in population.ask()])
        again = ep.Evolution(ep.Task.from_file(task_file), seed=1, state=population.state)
        assert [p.policy_id for p in again.ask()] == [p.policy_id for p in population.ask()]

    def test_operators_that_add_demonstrations_are_drawn_more_where_they_adapt(self, task_file):
        def added(method: str) -> float:
            given = {"method": method, "floor": 0.0}
            population = self.population(task_file, **{"evolution.adaptation": given})
            for _ in range(8):
                population.tell([self.worth(policy) for policy in population.ask()])
            gains = [gain.gain >= 1 for brood in population.history.gains for gain in brood]
            return float(np.mean(gains))

        assert added("matching") > added("off")
        assert added("pursuit") > added("off")

    def test_what_only_runs_can_do_is_refused(self, task_file):
        with pytest.raises(ep.UserError, match="are for runs"):
            self.population(task_file, **{"evolution.restart.patience": 2})

    def test_scores_by_example_serve_lexicase_selection(self, task_file):
        lexicase = {"evolution.parent_selection": {"method": "epsilon_lexicase"}}
        population = self.population(task_file, **lexicase)
        rng = np.random.default_rng(0)
        for _ in range(3):
            population.tell([rng.random(5) for _ in population.ask()])
        assert len(population.best.evaluation.case_fitness) == 5

    @pytest.mark.parametrize("wrong", [[], [float("nan")] * 4, [[1.0, 2.0], 1.0, 1.0, 1.0]])
    def test_scores_that_do_not_fit_are_refused_and_lose_nothing(self, task_file, wrong):
        population = self.population(task_file)
        asked = population.ask()
        with pytest.raises(ep.UserError):
            population.tell(wrong)
        assert population.ask() == asked
        population.tell([self.worth(p) for p in asked])


@pytest.mark.slow
def test_every_public_name_has_an_example_that_runs(task_file, tmp_path, monkeypatch):
    """A tiny model stands for the embedded one, so that no number in an example is its own, and the
    configurations are made short.
    """
    monkeypatch.chdir(tmp_path)
    copytree(ROOT / "configs", "configs")
    for name, long, short in (
        ("quickstart.yaml", "fitness_examples: 64", "fitness_examples: 24"),
        ("boost/quick.yaml", "rounds: 4", "rounds: 4\n  measure_imitation: 0"),
    ):
        text = Path("configs", name).read_text()
        assert long in text
        Path("configs", name).write_text(text.replace(long, short) + "tracking: {enabled: false}\n")
    (tmp_path / "mine.jsonl").write_text(task_file.read_text())
    builtin = ROOT / "evoprompt" / "tasks" / "builtin"
    texts = [path.read_text() for path in sorted(builtin.glob("*.json*"))]
    folder = save_quick_model(tmp_path / "model", texts)
    monkeypatch.setattr(models, "is_fetched", lambda name: True)
    monkeypatch.setattr(models, "embedded_folder", lambda name: folder)
    task = ep.Task.builtin("inbox", settings={"test_examples": 10})
    ep.evolve(task, out="runs/quickstart", settings=SHORT)
    examples = [
        *("evolve", "boost", "sweep", "compare", "score", "Evolution", "Result"),
        *("Task.from_examples", "Task.from_file", "Task.builtin"),
    ]
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    for name in examples:
        thing = ep
        for part in name.split("."):
            thing = getattr(thing, part)
        [test] = finder.find(thing, name, module=False, globs={})
        assert test.examples, f"ep.{name} has no example"
        assert runner.run(test).failed == 0, f"the example of ep.{name} fails"


def test_every_public_name_is_documented_and_found():
    for name in ep._PLACES:
        assert getattr(ep, name).__doc__, f"ep.{name} says nothing of itself"
        assert name in dir(ep)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ep.nonsense
