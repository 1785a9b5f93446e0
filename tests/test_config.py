from pathlib import Path

import pytest

from evoprompt.config.reader import dump_config
from evoprompt.errors import UserError
from evoprompt.jobs.boost.build import check_boost
from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.evolve.config import load_config

FOLDER = Path(__file__).parent.parent / "configs"
CONFIGS = sorted(p for p in FOLDER.rglob("*.yaml") if p.parent.name not in ("sweeps", "boost"))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_config_of_the_repository_loads(path: Path):
    assert load_config(path).name == path.stem


@pytest.mark.parametrize("path", sorted(FOLDER.glob("boost/*.yaml")), ids=lambda p: p.name)
def test_every_loop_of_the_repository_loads(path: Path):
    config = load_boost(path)
    assert config.name == path.stem
    check_boost(config)


def test_the_shortest_config_runs_on_defaults(tmp_path: Path):
    config = load_config(write(tmp_path, "task: {name: inbox}"))
    assert config.evolution.scheme == "plus"
    assert config.name == "c"


def test_a_config_survives_being_written(tmp_path: Path):
    config = load_config(write(tmp_path, "task: {name: inbox}\nseed: 3\nmodel: {name: x}"))
    assert load_config(write(tmp_path, dump_config(config))) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "task: {name: inbox}\nevolution: {generatons: 3}",
            "unknown key 'evolution.generatons'; did you mean 'generations'",
        ),
        ("task: {name: inbox}\nsead: 3", "unknown key 'sead'; did you mean 'seed'"),
        ("task: {name: inbox}\nseed: three", r"seed: .*integer.*given: 'three'"),
        ("seed: 1", "'task' is missing"),
        ("task: {}", "give either task.name"),
        ("task: {name: inbox, path: x}", "give either task.name"),
        (
            "task: {name: inbox}\nevolution: {scheme: comma, population: 9, children: 4}",
            "comma scheme selects 9",
        ),
        (
            "task: {name: inbox}\nevolution: {parent_selection: {weights: roulette}}",
            "parent_selection.weights",
        ),
        ("task: [", "line 1 is not YAML"),
        ("- 1", "not a mapping"),
    ],
)
def test_a_mistake_gets_a_sentence_with_the_cure(tmp_path: Path, text: str, message: str):
    with pytest.raises(UserError, match=message):
        load_config(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match="cannot read the config"):
        load_config(tmp_path / "none.yaml")


def test_overrides_go_through_the_same_schema(tmp_path: Path):
    path = write(tmp_path, "task: {name: inbox}")
    config = load_config(
        path,
        [
            "evolution.generations=3",
            "evolution.operators.demonstration_add=0",
            "task.phrases=[a, b]",
        ],
    )
    assert (config.evolution.generations, config.evolution.operators, config.task.phrases) == (
        3,
        {"demonstration_add": 0},
        ["a", "b"],
    )
    for override, message in [
        ("a.b", "dotted.key=value"),
        ("seed.x=1", "unknown key|seed"),
        ("modle.name=x", "did you mean 'model'"),
        ("seed=[", "YAML"),
    ]:
        with pytest.raises(UserError, match=message):
            load_config(path, [override])


def test_paths_are_relative_to_the_config(tmp_path: Path):
    assert (
        load_config(write(tmp_path, "task: {path: data/x.jsonl}")).task.path
        == tmp_path / "data/x.jsonl"
    )
