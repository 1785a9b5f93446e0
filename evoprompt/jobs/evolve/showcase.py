"""A complete run's champion, whole: what has to be copied for its accuracy to be had. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evoprompt.conversation import Prompt
from evoprompt.errors import printable
from evoprompt.jobs.evolve.predictions import Prediction
from evoprompt.jobs.evolve.record import ChampionSummary, Summary
from evoprompt.policy import Policy
from evoprompt.report.diff import Piece, diff_text, is_same, word_diff
from evoprompt.report.text import calibration_text
from evoprompt.tasks.render import render_answer, render_prompt

#: The file's name.
CHAMPION = "champion.txt"

#: Where the input stands in a prompt that is shown.
INPUT = "{input}"

#: How a chat template renders a prompt, in words.
CHATS = {"turns": "the model's own, demonstrations as turns", "single": "the model's own, one turn"}


@dataclass(frozen=True, slots=True)
class Shown:
    """An example as the model gets it."""

    prompt: str
    continuation: str  #: the right answer, as it continues the prompt
    prediction: Prediction


@dataclass(frozen=True, slots=True)
class Showcase:
    """The champion of a run, for people."""

    title: str  #: of which run, on what
    claim: str  #: what the test shows; empty where that was not written
    prompt: str  #: with a placeholder for the input
    answers: Mapping[str, str]  #: each choice, as it continues the prompt; none of free text
    compared: str  #: how answers are compared
    alone: str  #: what a copied prompt alone does not have; empty where it has all
    example: Shown | None  #: None where no held-out answer is kept
    changed: tuple[Piece, ...]  #: against the best starting prompt, its answers too
    slots: Mapping[str, str]  #: what it consists of
    export: str  #: the command that gives it to other programs


def showcase_of(summary: Summary, rows: Sequence[Prediction], folder: Path) -> Showcase:
    """Return the champion of a complete run.

    Args:
        summary: of the run.
        rows: its held-out answers.
        folder: of the run, for the command.
    """
    policy = Policy.from_dict(summary.champion.policy)
    baseline = Policy.from_dict(summary.baseline.policy)
    own = [r for r in rows if r.policy_id == summary.champion.policy_id]
    choices = _choices(policy, summary, own)
    return Showcase(
        title=f"{summary.name}: {summary.model.name} on {summary.task}, seed {summary.seed}",
        claim=summary.claim.text if summary.claim else "",
        prompt=summary.champion.prompt,
        answers={choice: render_answer(policy, choice) for choice in choices},
        compared=_compared(summary.champion),
        alone=_alone(summary),
        example=_example(policy, summary.champion.prompt, own),
        changed=word_diff(
            _told(baseline, summary.baseline.prompt, choices),
            _told(policy, summary.champion.prompt, choices),
        ),
        slots=dict(_slots(policy)),
        export=f"evoprompt export {shlex.quote(str(folder))} --to python > champion.py",
    )


def showcase_text(shown: Showcase) -> str:
    """Return the champion as a text file for people."""
    return printable("\n\n".join(_parts(shown)) + "\n")


def answer_lines(answers: Mapping[str, str]) -> str:
    """Return each choice with what is written for it, a line each."""
    return "\n".join(f"{choice}: {text!r}" for choice, text in answers.items())


def _parts(shown: Showcase) -> Iterator[str]:
    yield "\n".join(text for text in (f"Champion of {shown.title}", shown.claim) if text)
    yield f"== Prompt ({{input}} is where the input stands) ==\n{shown.prompt}"
    if shown.answers:
        yield f"== Answers, as they continue the prompt ==\n{answer_lines(shown.answers)}"
        yield f"== How answers are compared ==\n{shown.compared}\n{shown.alone}".rstrip()
    if (found := shown.example) is not None:
        yield (
            f"== One example of the test, with the right answer ==\n"
            f"{found.prompt}{found.continuation}\n({answered(found.prediction)})"
        )
    if is_same(shown.changed):
        yield "== It is the best starting prompt itself =="
    else:
        marks = "[-gone-] {+new+}"
        yield f"== Against the best starting prompt: {marks} ==\n{diff_text(shown.changed)}"
    slots = "\n".join(f"{name}: {text}" for name, text in shown.slots.items())
    yield f"== What it consists of ==\n{slots}"
    yield f"== To use it in another program ==\n{shown.export}"


def _compared(champion: ChampionSummary) -> str:
    """Return how answers are compared; where other words are read too, also without them."""
    if champion.calibration is None:
        return "the likeliest answer is taken, as it is"
    whole = calibration_text(champion.calibration)
    if champion.offsets is None:
        return whole
    return f"{whole}; by the words of the answers alone: {calibration_text(champion.offsets)}"


def _alone(summary: Summary) -> str:
    """Return what whoever copies the prompt alone gets; nothing where its answers are as they
    are.
    """
    if summary.champion.calibration is None:
        return ""
    raw, first = summary.test.champion_raw, summary.test.baseline_raw
    told = "The accuracy is that of the prompt with its answers calibrated"
    if raw is None:
        return f"{told}; the prompt alone has another."
    beside = "" if first is None else f" (the best starting prompt alone: {first.percent})"
    return (
        f"{told}, as evoprompt export, predict and play do it. Whoever copies the prompt alone, "
        f"and takes the likeliest answer as it is, gets {raw.percent} of the same examples "
        f"right{beside}."
    )


def answered(found: Prediction) -> str:
    """Return in words what was answered to an example."""
    if not found.fits:
        return "it does not fit the prompt, and counts as wrong"
    if found.answer is None:
        return "answered right" if found.is_right else "answered otherwise"
    if found.grade is not None:
        said = f", of which it says: {found.feedback}" if found.feedback else ""
        return f"wrote {found.answer!r}, which the metric gives {found.grade:.3g}{said}"
    return f"answered {found.answer}, which is {'right' if found.is_right else 'wrong'}"


def _choices(policy: Policy, summary: Summary, own: Sequence[Prediction]) -> tuple[str, ...]:
    """Return what every example is offered, as far as that is known."""
    offered = {r.choices for r in own}
    if len(offered) == 1 and (choices := offered.pop()) is not None:
        return choices
    if summary.champion.calibration is not None:
        return tuple(summary.champion.calibration.offsets)
    return tuple(choice for choice, _ in policy.label_words)


def _example(policy: Policy, prompt: str, own: Sequence[Prediction]) -> Shown | None:
    """Return the first test example that is answered right, else the first of all, and none of
    paths, whose moves are asked one by one; `prompt` has a placeholder for its input.
    """
    tested = [r for r in own if r.split == "test" and r.moves is None]
    found = next((r for r in tested if r.is_right), tested[0] if tested else None)
    if found is None:
        return None
    whole: Prompt = render_prompt(policy, found.input)
    if policy.is_chat:
        before, _, after = prompt.rpartition(INPUT)
        whole = before + found.input + after
    return Shown(str(whole), render_answer(policy, found.target), found)


def _told(policy: Policy, prompt: str, choices: Sequence[str]) -> str:
    answers = answer_lines({choice: render_answer(policy, choice) for choice in choices})
    return f"{prompt}\n\n{answers}".rstrip()


def _slots(policy: Policy) -> Iterator[tuple[str, str]]:
    """Yield what a policy consists of, what is empty left out."""
    template = policy.template
    yield "instruction", policy.instruction or "none"
    yield "demonstrations", str(len(policy.demonstrations))
    between = template.output_prefix + template.answer_prefix
    yield (
        "template",
        f"{template.input_prefix!r}, the input, {between!r}, the answer, {template.separator!r}",
    )
    if policy.is_chat:
        yield "chat template", CHATS[policy.chat]
    if policy.label_words:
        yield "label words", ", ".join(f"{c} is written {w!r}" for c, w in policy.label_words)
    for number, step in enumerate(policy.steps, 1):
        yield f"step {number}", step
    if policy.evaluator is not None:
        yield "self-evaluation", str(render_prompt(policy.evaluator))
