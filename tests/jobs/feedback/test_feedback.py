"""Remarks from a command to the fitness of a later run, with a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evoprompt.errors import UserError
from evoprompt.fitness.remarks import read_remarks
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.feedback_page import feedback_metrics
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.session import resume, start
from evoprompt.jobs.feedback import session
from evoprompt.jobs.feedback.grounding import features_named
from evoprompt.jobs.feedback.reading import Reading

pytestmark = pytest.mark.usefixtures("no_pages")

SHORTER = '{"id": "a", "kind": "imperative", "value": 1, "features": {"prompt_tokens": -1}}\n'


@pytest.fixture
def remarks_file(tmp_path: Path) -> Path:
    file = tmp_path / "remarks.jsonl"
    file.write_text(SHORTER)
    return file


def run(config: Path, out: Path, *overrides: str) -> bytes:
    start(load_config(config, ["evolution.generations=2", *overrides]), out)
    return (out / "lineage.jsonl").read_bytes()


@pytest.mark.pages
@pytest.mark.slow
def test_remarks_steer_a_run_and_without_strength_change_no_byte_of_its_lineage(
    config_file: Path, tmp_path: Path, remarks_file: Path
):
    plain = run(config_file, tmp_path / "plain")
    place = f"path: {remarks_file}"
    assert run(config_file, tmp_path / "zero", f"feedback={{{place}, strength: 0}}") == plain
    assert not (tmp_path / "zero" / "feedback.json").exists()
    steered = run(config_file, tmp_path / "steered", f"feedback={{{place}, strength: 3}}")
    lines = [[json.loads(row) for row in text.splitlines()] for text in (plain, steered)]
    tokens = [
        min(row["traits"]["prompt_tokens"] for row in rows if row["selected"]) for rows in lines
    ]
    champion = [
        json.loads((tmp_path / name / "summary.json").read_text())["champion"]["prompt"]
        for name in ("plain", "steered")
    ]
    assert len(champion[1]) <= len(champion[0])
    assert tokens[1] <= tokens[0]
    # the shift itself: 3 * weight * (log2(1 + tokens) - that of the first), weight 2/3 shorter
    first = lines[1][0]
    assert first["traits"]["preference"] == 0
    same = {row["policy_id"]: row for row in lines[0]}
    for row in lines[1]:
        if row["policy_id"] in same and row["generation"] == same[row["policy_id"]]["generation"]:
            before = same[row["policy_id"]]["traits"]["fitness"]
            shift = row["traits"]["fitness"] - before
            assert shift == pytest.approx(row["traits"]["preference"], abs=2e-6)  # both are rounded
    page = (tmp_path / "steered" / "report.html").read_text()
    assert "shorter prompts may be wanted" in page
    assert "What remarks asked for" not in (tmp_path / "plain" / "report.html").read_text()
    told = EvolveFolder.open(tmp_path / "steered").read("feedback.json")
    assert feedback_metrics(told)["feedback/weight_of_prompt_tokens"] == pytest.approx(-2 / 3)


def test_a_changed_file_of_remarks_is_refused_when_a_run_goes_on(
    config_file: Path, tmp_path: Path, remarks_file: Path
):
    run(config_file, tmp_path / "run", f"feedback={{path: {remarks_file}}}")
    (tmp_path / "run" / "summary.json").unlink()
    remarks_file.write_text(SHORTER + SHORTER.replace('"a"', '"b"'))
    with pytest.raises(UserError, match=r"feedback\.path"):
        resume(tmp_path / "run")


def test_what_is_said_is_kept_once_and_a_dialogue_needs_no_label(
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    run(config_file, tmp_path / "run")
    found = {"Shorter!": Reading("imperative", 0.9, -0.2), "Odd.": Reading("descriptive", 0.6, -1)}
    monkeypatch.setattr(session, "_readings", lambda _, texts, __: [found[t] for t in texts])
    dialogue = tmp_path / "feedback.unlabelled.jsonl"
    dialogue.write_text('{"id": "7-1", "target": null, "feedback": "wrong", "note": "Odd."}\n')
    for _ in range(2):
        session.give_feedback(tmp_path / "run", ["Shorter!"], dialogue)
    kept = read_remarks(tmp_path / "run" / "remarks.jsonl")
    assert [(r.remark, r.kind, r.value) for r in kept] == [
        ("Shorter!", "imperative", 1.0),
        ("(wrong)", "evaluative", -1.0),
        ("Odd.", "descriptive", -1.0),
    ]
    assert kept[0].features == {"prompt_tokens": -1.0}
    assert kept[2].features == {}
    out = capsys.readouterr().out
    assert "3 were kept before" in out
    assert "shorter prompts" in out
    assert len((tmp_path / "run" / "remarks.jsonl").read_text().splitlines()) == 3


def test_a_model_reads_remarks(config_file: Path, tmp_path: Path, long_model: Path):
    """Whole, with a random model: what comes back are probabilities, and they are kept."""
    run(config_file, tmp_path / "run", f"model.name={long_model}", "evolution.generations=1")
    session.give_feedback(tmp_path / "run", ["Use more examples."])
    [kept] = read_remarks(tmp_path / "run" / "remarks.jsonl")
    assert 1 / 3 <= kept.probability <= 1
    assert -1 <= kept.sentiment <= 1


def test_nothing_said_or_nothing_told_is_refused(config_file: Path, tmp_path: Path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text(SHORTER.replace('{"prompt_tokens": -1}', "{}"))
    with pytest.raises(UserError, match="tells anything"):
        run(config_file, tmp_path / "run", f"feedback={{path: {empty}}}")
    assert not (tmp_path / "run").exists()
    empty.write_text('{"id": "a", "kind": "odd", "value": 1, "features": {}}\n')
    with pytest.raises(UserError, match=r"line 1: 'kind' is one of"):
        read_remarks(empty)


@pytest.mark.parametrize(
    ("text", "kind", "features"),
    [
        ("Make it shorter.", "imperative", {"prompt_tokens": -1}),
        ("The prompt is too long.", "descriptive", {"prompt_tokens": 1}),
        ("It is too long.", "imperative", {"prompt_tokens": -1}),
        ("Don't use so many examples.", "imperative", {"num_demonstrations": -1}),
        ("There are not enough examples.", "descriptive", {"num_demonstrations": -1}),
        ("A longer instruction!", "imperative", {"instruction_words": 1}),
        ("Use more varied examples.", "imperative", {"demonstration_diversity": 1}),
        ('Say "movie" in it.', "imperative", {"word:movie": 1}),
        ('Avoid the word "review".', "imperative", {"word:review": -1}),
        ('Answer "good".', "imperative", {"label:good": 1}),
        ("Mention the customer.", "imperative", {"word:customer": 1}),
        ("Hello there.", "descriptive", {}),
        ("Make it less wordy.", "imperative", {"prompt_tokens": -1}),
        ("Fewer details.", "imperative", {"prompt_tokens": -1}),
        ("Less detail, please.", "imperative", {"prompt_tokens": -1}),
        ("Use a less verbose instruction", "imperative", {"instruction_words": -1}),
        ("Get rid of the long introduction.", "imperative", {"prompt_tokens": -1}),
        ("Don't make it too short.", "imperative", {"prompt_tokens": 1}),
        ("It should not be longer.", "imperative", {"prompt_tokens": -1}),
        ("It shouldn't be longer.", "imperative", {"prompt_tokens": -1}),
        ("No long prompts, please.", "imperative", {"prompt_tokens": -1}),
        ("No, make it longer.", "imperative", {"prompt_tokens": 1}),
        ("Use fewer similar examples.", "imperative", {"demonstration_diversity": 1}),
        ("No more examples!", "imperative", {"num_demonstrations": -1}),
        ("It has hardly any examples.", "descriptive", {"num_demonstrations": -1}),
        ('Call it "good", not "bad".', "imperative", {"label:good": 1, "label:bad": -1}),
        ('Say "mail" instead of "text".', "imperative", {"word:mail": 1, "word:text": -1}),
        ('Instead of "text", say "mail".', "imperative", {"word:mail": 1, "word:text": -1}),
        ("Say ’mail’, not ’text’.", "imperative", {"word:mail": 1, "word:text": -1}),  # noqa: RUF001
        ('Say \ue0007 and "mail".', "imperative", {"word:mail": 1}),
        ('Don\'t say "text", say "mail".', "imperative", {"word:mail": 1, "word:text": -1}),
    ],
)
def test_words_name_features(text: str, kind: str, features: dict[str, float]):
    found = features_named(text, kind, {"good", "bad"}, {"customer"})  # type: ignore[arg-type]
    found = {n: v for n, v in found.items() if n != "num_demonstrations" or len(features) == 1}
    assert {n: v for n, v in found.items() if n in features} == features
    assert bool(found) == bool(features)
