"""`evoprompt compare`: groups, warnings, errors, the files it writes, and that its numbers are
those of the run folders.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from math import fsum
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from rich.console import Console

from evoprompt import cli
from evoprompt.config.reader import dump_config
from evoprompt.errors import UserError
from evoprompt.jobs.compare import figures
from evoprompt.jobs.compare.comparison import Comparison, Settings, comparison_dict
from evoprompt.jobs.compare.comparison import compare_runs as compare_all
from evoprompt.jobs.compare.page import write_comparison
from evoprompt.jobs.compare.session import compare, comparison_metrics, print_comparison
from evoprompt.jobs.evolve.config import check_config, load_config
from evoprompt.jobs.evolve.session import start

TERMS = {
    "reproduction selection",
    "transmission",
    "remeasurement",
    "immigration",
    "survival selection",
}


def write_run(
    folder: Path,
    config: dict,
    *,
    step: float = 0.1,
    generations: int = 6,
    cost: int = 1000,
    complete: bool = True,
) -> Path:
    """Write a run in which fitness grows by about `step` a generation: three selected, three
    children by two operators.
    """
    checked = check_config(
        {"task": {"name": "inbox"}, "tracking": {"enabled": False}} | config, "test"
    )
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(checked))
    births = write_lineage(folder, checked.seed, step, generations)
    lines = [
        {
            "generation": g,
            "island": 0,
            "tokens": {"total": cost * (g + 1) // 2, "floor": cost * (g + 1)},
            "seconds": 1.5 * (g + 1),
        }
        for g in range(generations + 1)
    ]
    (folder / "generations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sizes = {
        name: (folder / name).stat().st_size for name in ("lineage.jsonl", "generations.jsonl")
    }
    (folder / "checkpoint.json").write_text(json.dumps({"sizes": sizes}))
    if complete:
        best = max(b["fitness"] for b in births)
        right = 0.5 + 0.04 * checked.seed
        part = {"value": right, "ci": [right - 0.1, right + 0.1]}
        gained = {"value": right + step, "ci": [right + step - 0.1, right + step + 0.1]}
        summary = {
            "fitness": {"kind": "label_normalized", "best": best},
            "test": {"baseline": part, "champion": gained, "difference": gained},
        }
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def write_lineage(folder: Path, seed: int, step: float, generations: int) -> list[dict]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    births: list[dict] = []
    alive: list[dict] = []
    for g in range(generations + 1):
        new = (
            [born(g, 3 + i, -2 + 0.05 * rng.normal(), {}, "found") for i in range(3)]
            if g == 0
            else []
        )
        for i, parent in enumerate(alive):
            other = alive[int(rng.integers(3))]
            new.append(
                born(
                    g,
                    i,
                    parent["fitness"],
                    {parent["birth_id"]: 1.0},
                    "survive",
                    parent["policy_id"],
                )
            )
            value = parent["fitness"] + step + 0.02 * rng.normal()
            shares = (
                {parent["birth_id"]: 1.0}
                if other is parent or i
                else {parent["birth_id"]: 0.5, other["birth_id"]: 0.5}
            )
            new.append(born(g, 3 + i, value, shares, ("edit", "cross")[len(shares) - 1]))
        alive = sorted(new, key=lambda b: -b["fitness"])[:3]
        for birth in alive:
            birth["selected"] = True
        births += new
    (folder / "lineage.jsonl").write_text("".join(json.dumps(b) + "\n" for b in births))
    return births


def born(
    generation: int,
    place: int,
    fitness: float,
    shares: dict[str, float],
    operator: str,
    policy: str | None = None,
) -> dict:
    name = f"{generation}.0.{place}"
    return {
        "generation": generation,
        "island": 0,
        "birth_id": name,
        "policy_id": policy or name,
        "parent_ids": list(shares),
        "shares": list(shares.values()),
        "operator": operator,
        "selected": False,
        "fitness": fitness,
        "traits": {"fitness": fitness, "prompt_tokens": 10.0 + generation},
        "policy": {"instruction": "x"},
    }


def sweep(folder: Path, seeds: int = 3, **options: object) -> Path:
    """Two schemes, the second faster, with the same seeds."""
    for scheme, step in (("plus", 0.1), ("comma", 0.2)):
        for seed in range(seeds):
            write_run(
                folder / f"{scheme}-{seed}",
                {"seed": seed, "name": f"{scheme}-{seed}", "evolution": {"scheme": scheme}},
                step=step,
                **options,
            )
    return folder


def group(comparison: Comparison, name: str):
    return next(g for g in comparison.groups if g.group.name == name)


# --- groups


def test_runs_that_differ_in_seed_and_name_alone_are_replicates_and_all_else_makes_groups(
    tmp_path: Path,
):
    comparison = compare_all([sweep(tmp_path)], Settings())
    assert comparison.keys == ["evolution.scheme"]
    assert [g.group.name for g in comparison.groups] == [
        "scheme=comma",
        "scheme=plus",
    ]  # by name inside a folder
    assert [[r.record.seed for r in g.runs] for g in comparison.groups] == [[0, 1, 2]] * 2
    assert comparison.settings.baseline == "scheme=comma"
    assert comparison.settings.align == "tokens"
    assert comparison.warnings == []


def test_groups_are_by_the_given_key_or_section_whatever_else_differs(tmp_path: Path):
    for i, (population, chunk) in enumerate([(4, 32), (4, 64), (5, 32)]):
        write_run(
            tmp_path / f"r{i}",
            {"seed": i, "model": {"chunk_tokens": chunk}, "evolution": {"population": population}},
        )
    assert len(compare_all([tmp_path], Settings()).groups) == 3
    comparison = compare_all([tmp_path], Settings(by=("evolution.population",)))
    assert [(g.group.name, len(g.runs)) for g in comparison.groups] == [
        ("population=4", 2),
        ("population=5", 1),
    ]
    assert [g.group.name for g in compare_all([tmp_path], Settings(by=("model",))).groups] == [
        "chunk_tokens=32",
        "chunk_tokens=64",
    ]


def test_a_key_that_only_some_runs_have_makes_groups(tmp_path: Path):
    write_run(tmp_path / "a", {})
    write_run(tmp_path / "b", {"evolution": {"operators": {"label_word_change": 2.0}}})
    assert [g.group.name for g in compare_all([tmp_path], Settings()).groups] == [
        "label_word_change=default",
        "label_word_change=2.0",
    ]


def test_the_baseline_is_the_first_group_or_the_one_named_by_its_label_or_its_value(tmp_path: Path):
    sweep(tmp_path)
    for given in ("scheme=plus", "plus"):
        comparison = compare_all([tmp_path], Settings(baseline=given))
        assert comparison.settings.baseline == "scheme=plus"
        assert {t.group for t in comparison.tests} == {"scheme=comma"}
    assert (
        compare_all([tmp_path / "plus-1", tmp_path / "comma-1"], Settings()).settings.baseline
        == "scheme=plus"
    )


def test_the_same_seeds_are_paired_and_others_are_not(tmp_path: Path):
    sweep(tmp_path)
    assert all(t.paired for t in compare_all([tmp_path], Settings()).tests)
    shutil.rmtree(tmp_path / "plus-2")
    assert not any(t.paired for t in compare_all([tmp_path], Settings()).tests)


def test_two_runs_of_one_seed_in_a_group_are_said_and_not_paired(tmp_path: Path):
    for name, scheme in (("a", "plus"), ("b", "plus"), ("c", "comma"), ("d", "comma")):
        write_run(tmp_path / name, {"evolution": {"scheme": scheme}})
    comparison = compare_all([tmp_path], Settings())
    assert not any(t.paired for t in comparison.tests)
    assert sum("several runs of seed 0" in w for w in comparison.warnings) == 2


def test_a_run_is_taken_once_and_copies_among_artifacts_never(tmp_path: Path):
    sweep(tmp_path, seeds=1)
    shutil.copytree(tmp_path / "plus-0", tmp_path / "mlartifacts" / "1" / "run")
    comparison = compare_all([tmp_path, tmp_path / "plus-0", tmp_path], Settings())
    assert sum(len(g.runs) for g in comparison.groups) == 2


# --- numbers


def test_the_curve_is_the_best_birth_so_far_and_a_traits_is_the_mean_of_the_selected(
    tmp_path: Path,
):
    sweep(tmp_path, seeds=1)
    rows = [
        json.loads(line)
        for line in (tmp_path / "plus-0" / "lineage.jsonl").read_text().splitlines()
    ]
    [run] = group(compare_all([tmp_path], Settings()), "scheme=plus").runs
    assert run.curve.y.tolist() == [
        max(r["fitness"] for r in rows if r["generation"] <= g) for g in range(7)
    ]
    assert run.curve.x.tolist() == [
        1000.0 * (g + 1) for g in range(7)
    ]  # the floor, not what was forwarded
    [run] = group(
        compare_all([tmp_path], Settings(trait="prompt_tokens", align="evaluations")), "scheme=plus"
    ).runs
    assert run.curve.y[0] == 10
    assert run.curve.x.tolist() == [
        3.0 * (g + 1) for g in range(7)
    ]  # survivors are not scored again
    assert (
        run.values["final"]
        == fsum(
            r["traits"]["prompt_tokens"] for r in rows if r["generation"] == 6 and r["selected"]
        )
        / 3
    )


def test_all_runs_are_compared_up_to_where_the_shortest_ends_and_this_is_said(tmp_path: Path):
    write_run(tmp_path / "short", {"seed": 1}, generations=2, complete=False)
    write_run(tmp_path / "long", {"seed": 2}, generations=8)
    comparison = compare_all([tmp_path], Settings())
    assert comparison.range == (1000, 3000)
    assert any(
        "up to 3,000 tokens, where short, which is unfinished ends" in w
        for w in comparison.warnings
    )
    for run in comparison.groups[0].runs:
        assert run.values["final"] == run.curve.y[2]
        assert run.price.change == pytest.approx(run.record.mean[2] - run.record.mean[0], abs=1e-12)
    assert len(comparison.tests) == 0, "one group has nothing to be tested against"


def test_runs_whose_costs_do_not_meet_are_aligned_by_generations_unless_tokens_are_asked_for(
    tmp_path: Path,
):
    """A memo can make a later run end, in tokens, before an earlier one has its founders."""
    write_run(tmp_path / "dear", {"name": "dear"}, cost=100_000)
    write_run(tmp_path / "cheap", {"name": "cheap"}, cost=10)
    comparison = compare_all([tmp_path], Settings())
    assert comparison.settings.align == "generations"
    assert comparison.range == (0, 6)
    assert "no tokens in common, and are aligned by generations" in " ".join(comparison.warnings)
    with pytest.raises(UserError, match="no tokens in common: one ends before another begins"):
        compare_all([tmp_path], Settings(align="tokens"))


def test_the_terms_of_a_run_add_up_to_its_change_and_operators_to_transmission(tmp_path: Path):
    for result in compare_all([sweep(tmp_path)], Settings()).groups:
        for run in result.runs:
            assert set(run.price.terms) == TERMS
            assert fsum(run.price.terms.values()) == pytest.approx(
                run.record.mean[-1] - run.record.mean[0], abs=1e-12
            )
            assert fsum(run.price.operators.values()) == pytest.approx(
                run.price.terms["transmission"], abs=1e-12
            )
            assert abs(run.price.residual) < 1e-12


def test_a_target_that_is_never_reached_is_censored_and_counted_so(tmp_path: Path):
    sweep(tmp_path)
    comparison = compare_all([tmp_path], Settings(target=-1.2, baseline="plus"))
    reached = {
        g.group.name: [np.isfinite(r.values["time_to_target"]) for r in g.runs]
        for g in comparison.groups
    }
    assert reached == {"scheme=comma": [True] * 3, "scheme=plus": [False] * 3}
    [test] = [t for t in comparison.tests if t.quantity == "time_to_target"]
    assert test.difference is None
    assert (test.superiority, test.p_value) == (0.0, 0.25)
    metrics = comparison_metrics(comparison)
    assert metrics["reached_target/scheme-plus"] == 0
    assert "time_to_target/scheme-plus" not in metrics
    saved = comparison_dict(comparison)
    assert [
        r["values"]["time_to_target"]
        for g in saved["groups"]
        for r in g["runs"]
        if g["name"] == "scheme=plus"
    ] == [None] * 3


def test_an_unfinished_run_is_read_to_its_last_commit_without_touching_it(tmp_path: Path):
    write_run(tmp_path / "a", {"seed": 0}, complete=False)
    write_run(tmp_path / "b", {"seed": 1})
    with (tmp_path / "a" / "lineage.jsonl").open("a") as file:
        file.write('{"generation": 7, "island"')  # a kill in the middle of a line
    before = (tmp_path / "a" / "lineage.jsonl").read_bytes()
    [result] = compare_all([tmp_path], Settings()).groups
    assert [r.record.cost["generations"][-1] for r in result.runs] == [6, 6]
    assert [r.record.complete for r in result.runs] == [False, True]
    assert (tmp_path / "a" / "lineage.jsonl").read_bytes() == before


def test_another_programs_lineage_is_compared_by_generations_and_known_by_its_folder(
    tmp_path: Path,
):
    for name in ("ga-seed0", "ga-seed1", "de-seed0", "de-seed1"):
        write_lineage(tmp_path / name, int(name[-1]), 0.1 if name < "e" else 0.2, 5)
    comparison = compare_all([tmp_path], Settings())
    assert comparison.settings.align == "generations"
    assert [g.group.name for g in comparison.groups] == ["folder=de", "folder=ga"]
    assert all(t.paired for t in comparison.tests)
    assert {t.quantity for t in comparison.tests} == {"mean_height", "final", "time_to_target"}
    with pytest.raises(
        UserError, match="does not record tokens; align by generations or evaluations"
    ):
        compare_all([tmp_path], Settings(align="tokens"))


def test_a_restart_is_immigration(tmp_path: Path):
    for name, seed in (("a-0", 0), ("a-1", 1)):
        births = write_lineage(tmp_path / name, seed, 0.1, 1)
        births += [born(2, i, -3.0 - i, {}, "restart") | {"selected": i < 2} for i in range(3)]
        (tmp_path / name / "lineage.jsonl").write_text(
            "".join(json.dumps(b) + "\n" for b in births)
        )
    for run in compare_all([tmp_path], Settings()).groups[0].runs:
        before = run.record.mean[1]
        assert run.price.terms["immigration"] == pytest.approx(
            -4.0 - before
        )  # the mean of -3, -4, -5
        assert fsum(run.price.terms.values()) == pytest.approx(-3.5 - run.record.mean[0], abs=1e-12)


# --- what is shown and written


def test_the_page_stands_alone_and_its_figures_are_well_formed(tmp_path: Path):
    folder = compare(
        [sweep(tmp_path / "runs")],
        Settings(),
        None,
        mlflow=False,
        console=Console(file=(tmp_path / "out").open("w"), width=100),
    )
    assert folder == tmp_path / "runs" / "comparisons" / "by-scheme"
    page = (folder / "comparison.html").read_text()
    figures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(figures) == 4
    for figure in figures:
        ElementTree.fromstring(figure)
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', page), (
        "the page needs something from elsewhere"
    )
    for heading in (
        "Curves",
        "Groups",
        "Why the populations changed",
        "What each operator transmitted",
        "Runs",
    ):
        assert f">{heading}</h2>" in page
    # of three seeds nothing can be significant
    assert "No group is shown to differ from scheme=comma." in page
    again = compare(
        [tmp_path / "runs"],
        Settings(),
        None,
        mlflow=False,
        console=Console(file=(tmp_path / "out").open("w"), width=100),
    )
    assert again.name == "by-scheme-2"


def test_a_group_that_differs_is_told_first_and_few_runs_have_the_range_of_their_parts(
    tmp_path: Path,
):
    """Eight pairs, all in one direction: p = 2/2^8, and times four tests .03."""
    many = compare_all([sweep(tmp_path / "many", seeds=8)], Settings())
    page = write_comparison(many, tmp_path).read_text()
    assert "Against scheme=comma, of scheme=plus the area under the curve / range is lower" in page
    few = compare_all([sweep(tmp_path / "few", seeds=2)], Settings())
    group = few.groups[0]
    own = [run.price.terms["transmission"] for run in group.runs]
    assert figures.parts(group, "price/transmission") == own
    assert own[0] != own[1]


def test_the_numbers_are_plain_json_and_the_same_as_the_records(tmp_path: Path):
    comparison = compare_all([sweep(tmp_path)], Settings())
    saved = json.loads(json.dumps(comparison_dict(comparison), allow_nan=False))
    plus = next(g for g in saved["groups"] if g["name"] == "scheme=plus")
    assert plus["estimates"]["final"]["value"] == pytest.approx(
        np.mean([r["values"]["final"] for r in plus["runs"]])
    )
    assert plus["estimates"]["accuracy_before"]["value"] == pytest.approx(0.54)  # 0.50, 0.54, 0.58
    assert [r["price"]["change"] for r in plus["runs"]] == [
        r.price.change for r in group(comparison, "scheme=plus").runs
    ]
    assert saved["range"] == [1000, 7000]


def test_three_seeds_are_said_to_be_too_few(tmp_path: Path):
    with (tmp_path / "out").open("w") as file:
        print_comparison(Console(file=file, width=100), compare_all([sweep(tmp_path)], Settings()))
    text = " ".join((tmp_path / "out").read_text().split())
    assert (
        "With 3 pairs of seeds, the least p-value that a rank test can give is 0.25: no "
        "difference can be significant at 0.05" in text
    )
    assert "A single test takes 6 seeds a group, these 4 with Holm's adjustment 8" in text


def test_the_tables_fit_a_hundred_columns(tmp_path: Path):
    sweep(tmp_path)
    with (tmp_path / "out").open("w") as file:
        print_comparison(Console(file=file, width=100), compare_all([tmp_path], Settings()))
    lines = (tmp_path / "out").read_text().splitlines()
    assert max(map(len, lines)) <= 100
    assert any(
        re.match(r"scheme=plus +-1\.\d{3} +-1\.\d{3} +0\.54 +0\.64 ", line) for line in lines
    )
    assert any(line.startswith("seeds 0-2") for line in lines)


def test_what_is_not_recorded_in_mlflow_is_said_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    sweep(tmp_path / "runs", seeds=1)
    for tracked, reason in (
        (None, "none of the runs was tracked there"),
        ({"run_id": "of another tracker"}, "none of the runs was tracked there"),
        ({"tracking_uri": "http://x:1"}, "set MLFLOW_TRACKING_URI=http://x:1"),
    ):
        if tracked:
            (tmp_path / "runs" / "plus-0" / "tracking.json").write_text(
                json.dumps({"run_id": "1", "experiment_id": "1"} | tracked)
            )
        with (tmp_path / "out").open("w") as file:
            compare([tmp_path / "runs"], Settings(), None, console=Console(file=file, width=100))
        text = (tmp_path / "out").read_text()
        assert "MLflow: not recorded" in text
        assert reason in text
        assert not (tmp_path / "runs" / "mlflow.db").exists()


def test_groups_by_a_section_in_which_no_run_differs_are_one(tmp_path: Path):
    assert [
        g.group.name
        for g in compare_all([sweep(tmp_path, seeds=1)], Settings(by=("model",))).groups
    ] == ["all runs"]


# --- mistakes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            Settings(by=("evolution.schema",)),
            "no run has this key; did you mean 'evolution.scheme'",
        ),
        (Settings(trait="promt_tokens"), "did you mean 'prompt_tokens'"),
        (Settings(align="hours"), "expected one of tokens, evaluations, generations, seconds"),
        (Settings(baseline="scheme=pluss"), "did you mean 'scheme=plus'"),
    ],
)
def test_an_unknown_word_names_the_nearest_valid_one(
    tmp_path: Path, settings: Settings, message: str
):
    with pytest.raises(UserError, match=re.escape(message)):
        compare_all([sweep(tmp_path, seeds=1)], settings)


def test_fewer_than_two_runs_or_a_folder_without_any_is_a_mistake(tmp_path: Path):
    write_run(tmp_path / "one", {})
    with pytest.raises(UserError, match="at least two runs, and 1 was given"):
        compare_all([tmp_path / "one"], Settings())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty has no run in it"):
        compare_all([tmp_path / "one", tmp_path / "empty"], Settings())
    with pytest.raises(UserError, match="nowhere does not exist"):
        compare_all([tmp_path / "nowhere"], Settings())


def test_a_broken_lineage_is_named_with_its_fault(tmp_path: Path):
    write_lineage(tmp_path / "a-0", 0, 0.1, 3)
    births = write_lineage(tmp_path / "a-1", 1, 0.1, 3)
    births[-1]["shares"] = [0.4]
    (tmp_path / "a-1" / "lineage.jsonl").write_text("".join(json.dumps(b) + "\n" for b in births))
    with pytest.raises(
        UserError, match=r"a-1 cannot be used: the shares of birth 3\.0\.5 sum to 0\.4"
    ):
        compare_all([tmp_path], Settings())
    (tmp_path / "a-1" / "lineage.jsonl").write_text("{\n")
    with pytest.raises(UserError, match="line 1: not JSON"):
        compare_all([tmp_path], Settings())


def test_different_tasks_are_a_warning(tmp_path: Path):
    write_run(tmp_path / "a", {"task": {"name": "inbox"}})
    write_run(tmp_path / "b", {"task": {"path": "/elsewhere.jsonl"}})
    assert any(
        "different tasks (/elsewhere.jsonl, inbox)" in w
        for w in compare_all([tmp_path], Settings()).warnings
    )


# --- whole


@pytest.mark.slow
def test_real_runs_are_compared_by_the_command_with_their_own_accounts_and_in_their_store(
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    runs = tmp_path / "runs"
    for scheme in ("plus", "comma"):
        overrides = [
            f"evolution.scheme={scheme}",
            "evolution.generations=3",
            f"tracking.enabled={json.dumps(scheme == 'plus')}",
        ]
        start(load_config(config_file, overrides), runs / scheme)
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "evoprompt",
            "compare",
            str(runs),
            "--out",
            str(tmp_path / "out"),
            "--by",
            "evolution.scheme",
        ],
    )
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "Against the baseline scheme=comma" in out
    saved = json.loads((tmp_path / "out" / "comparison.json").read_text())
    for result in saved["groups"]:
        [run] = result["runs"]
        lines = [
            json.loads(line)
            for line in (Path(run["folder"]) / "generations.jsonl").read_text().splitlines()
        ]
        lines = [
            line for line in lines if line["tokens"]["floor"] <= saved["range"][1] and line["price"]
        ]
        accounts = [line["price"]["fitness"] for line in lines]
        assert run["price"]["change"] == pytest.approx(
            fsum(a["change"] for a in accounts), abs=1e-12
        )
        assert run["price"]["terms"]["survival selection"] == pytest.approx(
            fsum(a["survival"]["selection"] for a in accounts), abs=1e-12
        )
        selection = fsum(a["reproduction"]["selection"] for a in accounts)
        assert run["price"]["terms"]["reproduction selection"] == pytest.approx(
            selection, abs=1e-12
        )
        for operator, value in run["price"]["operators"].items():
            assert value == pytest.approx(
                fsum(a["transmission_by_operator"].get(operator, 0.0) for a in accounts), abs=1e-12
            )
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow.db'}")
    identity = json.loads((runs / "plus" / "tracking.json").read_text())
    own = client.get_experiment_by_name("evoprompt comparisons").experiment_id
    found = client.search_runs([own], "tags.`evoprompt.kind` = 'comparison'")
    assert [r.data.tags["evoprompt.compared_runs"] for r in found] == [identity["run_id"]]
    assert {"final/scheme-plus", "price_fitness/covariance_survival/scheme-comma"} <= set(
        found[0].data.metrics
    )
    assert "run/comparison.html" in {
        a.path for a in client.list_artifacts(found[0].info.run_id, "run")
    }


def test_a_mistake_on_the_command_line_is_one_sentence_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").write_text("keep")
    sweep(tmp_path / "runs", seeds=1)
    for arguments, message in (
        ([tmp_path / "runs" / "plus-0"], "at least two runs"),
        ([tmp_path / "runs", "--out", tmp_path / "used"], "is in use"),
    ):
        monkeypatch.setattr(sys, "argv", ["evoprompt", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 2
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error
    assert [p.name for p in (tmp_path / "used").iterdir()] == ["mine.txt"]


def test_a_config_that_was_written_is_the_one_that_is_read(tmp_path: Path):
    folder = write_run(
        tmp_path / "a", {"seed": 4, "evolution": {"operators": {"label_word_change": 0.5}}}
    )
    assert yaml.safe_load((folder / "config.yaml").read_text())["evolution"]["operators"] == {
        "label_word_change": 0.5
    }
