from pathlib import Path

import pytest

from evoprompt.api.task import as_overrides
from evoprompt.config.reader import dump_config
from evoprompt.errors import UserError
from evoprompt.jobs.boost.build import check_boost
from evoprompt.jobs.boost.config import load_boost
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.shots.config import load_shots

FOLDER = Path(__file__).parent.parent / "configs"
OTHERS = ("sweeps", "boost", "shots", "curriculum")  #: folders of other commands' configurations
CONFIGS = sorted(p for p in FOLDER.rglob("*.yaml") if p.parent.name not in OTHERS)


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


@pytest.mark.parametrize("path", sorted(FOLDER.glob("shots/*.yaml")), ids=lambda p: p.name)
def test_every_measurement_by_demonstrations_of_the_repository_loads(path: Path):
    assert load_shots(path).name == path.stem


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
        (
            "task: {name: inbox}\ngenerations: 5",
            r"unknown key 'generations'; did you mean 'evolution\.generations'\?",
        ),
        (
            "task: {name: inbox}\ntemperature: 5",
            r"did you mean .*'evolution\.parent_selection\.temperature' or .*'writer\.temperature'",
        ),
        ("task: inbox", r"task is a section of keys, not a value.*write task: \{name: inbox\}"),
        ("task: {name: inbox}\nfinal: 3", "final is a section .*its keys are: candidates, share"),
        ("task: {name: inbox}\nevolution: {mating: yes}", "yes"),
        ("task: {name: inbox}\nseed: three", r"seed: .*integer.*given: 'three'"),
        ("seed: 1", "'task' is missing"),
        ("task: {}", "give either task.name"),
        ("task: {name: inbox, path: x}", "give either task.name"),
        (
            "task: {name: inbox}\nevolution: {scheme: comma, population: 9, children: 4}",
            "comma scheme selects 9",
        ),
        (
            "task: {name: inbox}\nevolution: {population: 1, restart: {patience: 2}}",
            "with a population of 1 there are none",
        ),
        (
            "task: {name: inbox}\nevolution: {stop: {patience: 2}, restart: {patience: 2}}",
            "never begins anew after 2 of them",
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task:\n  name: inbox\n  phrses: [a]", "line 3: unknown key 'task.phrses'; did you mean"),
        ("task: {name: inbox}\nseed: three", "line 2: seed: .*integer"),
        (
            "task:\n  name: inbox\n  phrases:\n  - a\n  - 5",
            "line 5: task.phrases.1: 5 is not a text",
        ),
        ("task: {name: inbox, phrases: [true]}", "True is not a text.* quotes"),
        ("task:\n  name: inbox\n  label_words:\n    1.5: [a]", "line 4: the key '1.5' is not a"),
        ("1: x\ntask: {name: inbox}", "line 1: unknown key '1'"),
        ('task: {path: "a\\0b"}', "is no path"),
        ("task: {path: ''}", "is no path"),
        ('task: {name: inbox, phrases: ["\\ud800"]}', "line 1: half a surrogate pair"),
        (
            "task: {name: inbox}\n" + "\n".join(f"k{n}: 1" for n in range(100)),
            "and 95 more mistakes",
        ),
    ],
)
def test_a_mistake_has_its_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(UserError, match=message) as caught:
        load_config(write(tmp_path, text))
    assert len(str(caught.value)) < 2000


def test_a_mistake_of_an_override_has_no_line_of_the_file(tmp_path: Path):
    path = write(tmp_path, "task: {name: inbox}\nseed: 1")
    with pytest.raises(UserError) as caught:
        load_config(path, ["seed=x"])
    assert "line" not in str(caught.value)
    for override, message in [
        ("name=no", "no without quotes is true or false"),
        ("task.phrases=[&a [*a]]", "stands inside"),
        ("seed={a: 1, a: 2}", "stands twice"),
        ("task." * 100 + "x=1", "a key of 101 parts"),
        ("name=" + "[" * 10000, "more than 40 deep"),
        ("name=\ud800", "not a YAML value"),
        ("seed=" + "9" * 30, "seed: "),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            load_config(path, [override])
        assert len(str(caught.value)) < 1000


def test_an_emoji_is_read_as_json_writes_it(tmp_path: Path):
    config = load_config(write(tmp_path, 'task: {name: inbox, phrases: ["\\ud83d\\udc4d"]}'))
    assert config.task.phrases == ["👍"]
    text = "👍\u2028\x85\x00 é"
    (override,) = as_overrides({"task.phrases": [text]})
    assert load_config(write(tmp_path, "task: {name: inbox}"), [override]).task.phrases == [text]


def test_a_model_folder_is_found_from_the_config_and_from_anywhere_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Beside the config first, then where the program runs; a name that is no folder stays."""
    (tmp_path / "sub" / "m").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sub" / "c.yaml"
    path.write_text("task: {name: inbox}\nmodel: {name: ./m}")
    assert load_config(path).model.name == str(tmp_path / "sub" / "m")
    for given, expected in [
        ("m", str(tmp_path / "sub" / "m")),
        ("here", str(tmp_path / "here")),
        ("smollm2-135m", "smollm2-135m"),
        ("owner/name", "owner/name"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
    ]:
        assert load_config(path, [f"model.name={given}"]).model.name == expected
    (tmp_path / "sub" / "smollm2-135m").mkdir()
    assert load_config(path, ["model.name=smollm2-135m"]).model.name == "smollm2-135m"
