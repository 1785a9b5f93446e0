"""A complete job's champion in the forms that other programs take: text, JSON, a Python file that
needs nothing of this package, and the logit bias of a server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from evoprompt.backends.base import Identity, TextTokenizer
from evoprompt.backends.open import backend_of
from evoprompt.calibration import LabelCalibration
from evoprompt.errors import UserError, nearest
from evoprompt.jobs.base import Champion, complete_summary, job_of
from evoprompt.jobs.play.session import player_of
from evoprompt.jobs.rendering import rendering
from evoprompt.measurement.requests import requests_of
from evoprompt.records import Example, Query
from evoprompt.report.text import calibration_text
from evoprompt.scoring.trie import TokenRequest
from evoprompt.store.folder import RunFolder
from evoprompt.tasks.render import CONTENT_FREE, render_queries

#: The greatest bias that servers take.
MOST_BIAS = 100.0


def export(folder: Path, form: str) -> str:
    """Return the champion of a complete run or loop in a form of `FORMS`, as text.

    Raises:
        UserError: there is no such form, no champion, or the champion cannot be had in this form.
    """
    if form not in FORMS:
        raise UserError(f"there is no form '{form}'; {nearest(form, FORMS)}")
    return FORMS[form](Exported(folder, job_of(folder).champion(folder)))


@dataclass
class Exported:
    """A champion, and what is found out about it where a form needs that."""

    folder: Path
    champion: Champion

    @cached_property
    def choices(self) -> tuple[str, ...]:
        """What every input is offered; nothing where choices differ, or answers are free text."""
        if self.champion.calibration is not None:
            return tuple(self.champion.calibration.offsets)
        return player_of(self.champion).offer.choices or ()

    @cached_property
    def words(self) -> Mapping[str, str]:
        """The word for each choice."""
        return {choice: self.champion.policy.word(choice) for choice in self.choices}

    @property
    def alone(self) -> LabelCalibration | None:
        """How answers are calibrated by those who read nothing but their words."""
        return self.champion.offsets or self.champion.calibration

    @cached_property
    def identity(self) -> Identity:
        """The model."""
        return backend_of(self.champion.config).identify(self.champion.config.model)

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """Of the model."""
        return backend_of(self.champion.config).tokenizer(self.identity)

    @cached_property
    def requests(self) -> Mapping[str, tuple[Query, TokenRequest]]:
        """What is scored for each choice, after a prompt without content."""
        asked = [Example("", CONTENT_FREE, self.choices[0], self.choices)]
        found = requests_of(self.tokenizer, render_queries(self.champion.policy, asked))
        return {self.choices[query.candidate]: (query, request) for query, request in found}

    def refuse_without_choices(self, form: str) -> None:
        """Refuse a form that compares the same choices after one prompt.

        Raises:
            UserError: there are no such choices, or the policy has steps.
        """
        if self.champion.policy.steps:
            raise UserError(
                f"the champion writes answers to {len(self.champion.policy.steps)} steps before it "
                f"answers, which --to {form} cannot; take --to json or --to text"
            )
        if not self.choices:
            raise UserError(
                f"--to {form} compares choices that every input is offered, and this champion's "
                "are free text or differ by input; take --to json or --to text"
            )


def as_text(exported: Exported) -> str:
    """Return the prompt whole, then the answers, each with its word, and how they are compared."""
    champion = exported.champion
    lines = [champion.prompt, ""]
    lines += [
        f"# answer: {choice}" if word == choice else f"# answer: {choice}, written {word!r}"
        for choice, word in exported.words.items()
    ]
    if exported.alone is not None:
        lines.append(f"# {calibration_text(exported.alone)}")
    if champion.offsets is not None:
        lines.append("# the run itself read other words too: --to python and --to json have them")
    return "\n".join(lines) + "\n"


def as_json(exported: Exported) -> str:
    """Return the policy with its slots, its prompt, and how it answers, as JSON."""
    champion = exported.champion
    found = {
        "model": exported.identity.to_dict(),
        "policy": champion.policy.to_dict(),
        "prompt": champion.prompt,
        "words": exported.words,
        "compared_by": champion.answered_by,
        "calibration": champion.calibration.to_dict() if champion.calibration else None,
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def as_python(exported: Exported) -> str:
    """Return a Python file that answers as the champion does.

    Raises:
        UserError: as `Exported.refuse_without_choices`.
    """
    exported.refuse_without_choices("python")
    champion, requests = exported.champion, exported.requests
    calibration, read = exported.alone, champion.calibration
    found: dict[str, Any] = {
        "model": exported.identity.place,
        "dtype": complete_summary(RunFolder(exported.folder))["model"]["dtype"],
        **rendering(exported.tokenizer, champion.policy, [q for q, _ in requests.values()]),
        "content_free": CONTENT_FREE,
        "continuations": {
            c: query.continuation + query.end * query.is_ended for c, (query, _) in requests.items()
        },
        "compared_by": champion.answered_by,
        "temperature": calibration.temperature if calibration else 1.0,
        "offsets": dict(calibration.offsets) if calibration else {},
        "with_words": read.to_dict() if read and read.head else None,
    }
    snippet = (resources.files("evoprompt") / "jobs" / "snippet.txt").read_text("utf-8")
    return snippet.replace("@CHAMPION@", json.dumps(found, indent=2))


def as_logit_bias(exported: Exported) -> str:
    """Return what servers with OpenAI's interface take, as JSON: the bias of the token of each
    label word, o / T nats, so that the likeliest of these tokens is the answer.

    Raises:
        UserError: as `Exported.refuse_without_choices`; a label word has several tokens, answers
            are not compared by likelihood, or a bias is more than servers take.
    """
    exported.refuse_without_choices("logit-bias")
    champion = exported.champion
    if champion.answered_by != "likelihood":
        raise UserError(
            f"answers are compared by '{champion.answered_by}', which differs by input; a logit "
            "bias is the same for all of them: take --to python"
        )
    tokens = {choice: r.continuation for choice, (_, r) in exported.requests.items()}
    for choice, ids in tokens.items():
        if len(ids) > 1:
            raise UserError(
                f"the answer {choice!r} is {len(ids)} tokens of this model "
                f"({list(ids)}, written {exported.words[choice]!r}), and a logit bias is of one: "
                "give it a label word of one token (task.label_words), or take --to python"
            )
    bias = {}
    if exported.alone is not None:
        known = exported.alone
        bias = {choice: known.offsets[choice] / known.temperature for choice in tokens}
    if any(abs(nats) > MOST_BIAS for nats in bias.values()):
        raise UserError(
            f"a bias is more than the {MOST_BIAS:g} that servers take ({bias}); take --to python"
        )
    single = {choice: str(token) for choice, (token,) in tokens.items()}
    found = {
        "prompt": champion.prompt,
        "max_tokens": 1,
        "temperature": 0,
        "logit_bias": {token: bias.get(choice, 0.0) for choice, token in single.items()},
        "allowed_token_ids": [int(token) for token in single.values()],
        "answers": {token: choice for choice, token in single.items()},
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


#: Every form. A new one is a function, and a line here.
FORMS: Mapping[str, Callable[[Exported], str]] = {
    "text": as_text,
    "json": as_json,
    "python": as_python,
    "logit-bias": as_logit_bias,
}
