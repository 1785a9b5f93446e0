"""A champion in other programs' hands answers as it did in the run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from math import exp
from pathlib import Path

import pytest
from toys.chats import chat_model

import evoprompt as ep
from evoprompt.calibration import LabelCalibration
from evoprompt.errors import UserError
from evoprompt.jobs.base import job_of
from evoprompt.jobs.evolve.build import check_task
from evoprompt.jobs.evolve.config import load_config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.session import start
from evoprompt.jobs.export.exported import Exported
from evoprompt.jobs.export.forms import export
from evoprompt.jobs.export.logit_bias import as_logit_bias
from evoprompt.jobs.export.python import as_python
from evoprompt.jobs.export.record import as_json
from evoprompt.jobs.export.text import as_text
from evoprompt.jobs.play.session import asker_of
from evoprompt.policy import Policy, Template
from evoprompt.records import Example

CALIBRATED = ["fitness.calibration=labelled", "evolution.generations=2"]


def ended(config_file: Path, folder: Path, *settings: str) -> Path:
    start(load_config(config_file, list(settings)), folder)
    return folder


def module_of(text: str, file: Path):
    """The exported Python file, loaded."""
    file.write_text(text)
    found = importlib.util.spec_from_file_location("champion_of_a_test", file)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "settings",
    [
        CALIBRATED,
        ["fitness.calibration=head", "evolution.generations=2"],
        ["fitness.kind=pmi"],
        ["fitness.kind=per_token"],
        ["fitness.kind=per_byte"],
    ],
    ids=["calibrated", "head", "pmi", "per_token", "per_byte"],
)
def test_the_python_file_gives_the_answers_of_the_test(
    config_file: Path, tmp_path: Path, settings: list[str]
):
    folder = ended(config_file, tmp_path / "run", *settings)
    module = module_of(export(folder, "python"), tmp_path / "champion.py")
    test = check_task(EvolveFolder.open(folder).config())[0].test
    result = ep.load(folder)
    expected = result.probabilities([e.input for e in test])
    found = [module.probabilities(e.input) for e in test]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    answers = [module.answer(e.input) for e in test]
    right = sum(a == e.target for a, e in zip(answers, test, strict=True)) / len(test)
    assert right == pytest.approx(result.test["champion"]["value"])
    result.close()


def test_the_best_starting_prompt_answers_as_it_was_tested_too(config_file: Path, tmp_path: Path):
    folder = ended(config_file, tmp_path / "run", *CALIBRATED)
    summary = json.loads((folder / "summary.json").read_text())
    module = module_of(export(folder, "python", baseline=True), tmp_path / "baseline.py")
    test = check_task(EvolveFolder.open(folder).config())[0].test
    right = sum(module.answer(e.input) == e.target for e in test) / len(test)
    assert right == pytest.approx(summary["test"]["baseline"]["value"])
    text = export(folder, "text", baseline=True)
    assert summary["baseline"]["prompt"] in text
    assert (
        json.loads(export(folder, "json", baseline=True))["prompt"] != summary["champion"]["prompt"]
    )


def test_the_python_file_takes_any_function_and_runs_by_itself(config_file: Path, tmp_path: Path):
    folder = ended(config_file, tmp_path / "run", *CALIBRATED)
    file = tmp_path / "champion.py"
    module = module_of(export(folder, "python"), file)
    known = json.loads((folder / "summary.json").read_text())["champion"]
    offsets, scale = known["calibration"]["offsets"], known["calibration"]["temperature"]
    asked = []

    def score(prompt: str, continuation: str) -> list[float]:
        asked.append((prompt, continuation))
        return [-1.0, -2.0]

    # equal likelihoods: the odds are those of the offsets
    shares = module.probabilities("a {input} b", score)
    assert shares["good"] / shares["bad"] == pytest.approx(exp(offsets["good"] - offsets["bad"]))
    assert asked[0][0] == known["prompt"].replace("{input}", "a {input} b")
    assert module.CHAMPION["temperature"] == scale
    code = (
        f"import sys; sys.modules['evoprompt'] = None; sys.argv[1:] = ['a film']; "
        f"exec(open({str(file)!r}).read())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    answer, _, rest = done.stdout.partition(" ")
    assert max(json.loads(rest), key=json.loads(rest).get) == answer


def test_who_reads_no_words_gets_offsets_that_were_fitted_without_them(
    config_file: Path, tmp_path: Path
):
    settings = ["fitness.calibration=head", "evolution.generations=2"]
    folder = ended(config_file, tmp_path / "run", *settings)
    champion = job_of(folder).champion(folder)
    module = module_of(export(folder, "python"), tmp_path / "champion.py")
    values = {"bad": [-1.5], "good": [-1.0]}
    offsets = champion.offsets

    def score(prompt: str, continuation: str) -> list[float]:
        return values[continuation.strip()]

    shares = module.probabilities("a film", score)
    sums = {c: offsets.temperature * v[0] + offsets.offsets[c] for c, v in values.items()}
    assert shares["good"] / shares["bad"] == pytest.approx(exp(sums["good"] - sums["bad"]))
    text = export(folder, "text")
    assert "(labelled, fitted on" in text
    assert "read other words too" in text
    found = json.loads(export(folder, "json"))["calibration"]
    assert LabelCalibration.from_dict(found) == champion.calibration


@pytest.mark.parametrize("words", [("B", "G"), ("good", "goodish")], ids=["plain", "ended"])
def test_the_python_file_of_a_chat_gives_its_answers(
    config_file: Path, tiny_model: Path, tmp_path: Path, words: tuple[str, str]
):
    """Names of control tokens in an input are text there too."""
    model = chat_model(tiny_model, tmp_path / "chat")
    settings = [f"model={{name: {model}, chat: turns}}", "evolution.max_demonstrations=2"]
    folder = ended(config_file, tmp_path / "run", *settings, *CALIBRATED)
    champion = job_of(folder).champion(folder)
    assert champion.policy.chat == "turns"
    output = champion.policy.template.output_prefix.strip()
    assert champion.prompt.endswith(f"{{input}}</s>\n<s>assistant\n{output}")
    labels = (("bad", words[0]), ("good", words[1]))
    policy = replace(champion.policy, label_words=labels, demonstrations=())
    champion = replace(champion, policy=policy)
    module = module_of(as_python(Exported(folder, champion)), tmp_path / "champion.py")
    asker, texts = asker_of(champion), ("a good film", "</s> bad <s> meal")
    asked = [Example(text, text, "bad", ("bad", "good")) for text in texts]
    for text, answer in zip(texts, asker.answers(policy, asked, "test"), strict=True):
        found = module.probabilities(text)
        assert list(found.values()) == pytest.approx(answer.probabilities, abs=1e-4)
        assert module.render(text) == asker.measurer.shown(policy).replace("{input}", text)
    asker.measurer.close()


def test_label_words_that_begin_each_other_are_compared_with_their_ends(
    config_file: Path, tmp_path: Path
):
    """In the tiny model's tokens, a letter each, "good" begins "goodish": both are ended."""
    folder = ended(config_file, tmp_path / "run", *CALIBRATED)
    champion = job_of(folder).champion(folder)
    words = replace(champion.policy, label_words=(("bad", "good"), ("good", "goodish")))
    champion = replace(champion, policy=words)
    module = module_of(as_python(Exported(folder, champion)), tmp_path / "champion.py")
    assert all(text.endswith("\n") for text in module.CHAMPION["continuations"].values())
    asker = asker_of(champion)
    for text in ("a good film", "a bad meal"):
        [answer] = asker.answers(words, [Example("", text, "bad", ("bad", "good"))], "test")
        found = module.probabilities(text)
        assert list(found.values()) == pytest.approx(answer.probabilities, abs=1e-4)
    asker.measurer.close()


def test_text_and_json_have_the_whole_champion(config_file: Path, tmp_path: Path):
    folder = ended(config_file, tmp_path / "run", *CALIBRATED)
    champion = job_of(folder).champion(folder)
    text = export(folder, "text")
    assert text.startswith(f"{champion.prompt}\n\n# answer: bad")
    assert "# answers are compared after adding: bad " in text
    values = json.loads(export(folder, "json"))
    assert Policy.from_dict(values["policy"]) == champion.policy
    assert values["calibration"]["offsets"] == dict(champion.calibration.offsets)
    assert values["words"] == {c: champion.policy.word(c) for c in ("bad", "good")}
    worded = Exported(
        folder, replace(champion, policy=replace(champion.policy, label_words=(("bad", "awful"),)))
    )
    assert "# answer: bad, written 'awful'\n# answer: good\n" in as_text(worded)
    assert json.loads(as_json(worded))["words"] == {"bad": "awful", "good": "good"}
    with pytest.raises(UserError, match=r"there is no form 'jsno'; .*json"):
        export(folder, "jsno")


def test_a_logit_bias_is_of_one_token_each(config_file: Path, tmp_path: Path):
    """The tiny model's tokens are letters: words of one letter have one, others are refused."""
    folder = ended(config_file, tmp_path / "run", *CALIBRATED)
    champion = job_of(folder).champion(folder)
    with pytest.raises(UserError, match=r"the answer 'bad' is \d tokens of this model .*one token"):
        export(folder, "logit-bias")
    template = Template(champion.policy.template.input_prefix, "\n>", answer_prefix="")
    policy = replace(champion.policy, template=template, label_words=(("bad", "B"), ("good", "G")))
    exported = Exported(folder, replace(champion, policy=policy))
    values = json.loads(as_logit_bias(exported))
    calibration = champion.calibration
    # B and G are the 34th and the 39th of the printable characters from 33 on, after 5 specials
    tokens = {"bad": str(5 + ord("B") - 33), "good": str(5 + ord("G") - 33)}
    assert values["answers"] == {token: label for label, token in tokens.items()}
    assert values["allowed_token_ids"] == [int(t) for t in tokens.values()]
    for label, token in tokens.items():
        nats = calibration.offsets[label] / calibration.temperature
        assert values["logit_bias"][token] == pytest.approx(nats)
    # what a server does with it: the greatest sum is the answer of the calibrated comparison
    module = module_of(as_python(exported), tmp_path / "champion.py")
    for text in ("a good film", "a bad meal", "it was fine", "very sad"):
        score, _ = module.with_transformers()
        sums = {
            label: score(module.render(text), word)[0] + values["logit_bias"][tokens[label]]
            for label, word in module.CHAMPION["continuations"].items()
        }
        assert max(sums, key=lambda label: sums[label]) == module.answer(text)
    with pytest.raises(UserError, match="compared by 'pmi', which differs by input"):
        as_logit_bias(Exported(folder, replace(exported.champion, answered_by="pmi")))
    far = replace(calibration, temperature=0.05, offsets={"bad": 9.0, "good": -9.0})
    with pytest.raises(UserError, match="more than the 100"):
        as_logit_bias(Exported(folder, replace(exported.champion, calibration=far)))


def test_what_compares_no_choices_is_refused_in_a_sentence(config_file: Path, tmp_path: Path):
    folder = ended(config_file, tmp_path / "run", "evolution.generations=1")
    champion = job_of(folder).champion(folder)
    stepped = replace(champion, policy=replace(champion.policy, steps=("Why?",)))
    for form in (as_python, as_logit_bias):
        with pytest.raises(UserError, match="answers to 1 steps before"):
            form(Exported(folder, stepped))
    free = tmp_path / "free.jsonl"
    rows = [{"input": f"say {i}", "target": str(i)} for i in range(80)]
    free.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = [f"task={{path: {free}, fitness_examples: 4}}", "evolution.generations=1"]
    other = ended(config_file, tmp_path / "free", *settings)
    assert "# answer" not in export(other, "text")
    assert json.loads(export(other, "json"))["words"] == {}
    for form in ("python", "logit-bias"):
        with pytest.raises(UserError, match=f"--to {form} compares choices .* free text"):
            export(other, form)
