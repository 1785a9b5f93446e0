"""A champion that is handed on, and what is found out about it where a form needs that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from evoprompt.backends.base import Identity, TextTokenizer
from evoprompt.backends.open import backend_of
from evoprompt.calibration import LabelCalibration
from evoprompt.errors import UserError
from evoprompt.jobs.base import Champion
from evoprompt.jobs.play.session import player_of
from evoprompt.measurement.requests import requests_of
from evoprompt.records import Example, Query
from evoprompt.report.text import calibration_text
from evoprompt.scoring.trie import TokenRequest
from evoprompt.store.folder import PROVENANCE, RunFolder
from evoprompt.tasks.render import CONTENT_FREE, render_queries


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
        """The model; of one that a server held, what the job recorded: it may be gone by now."""
        recorded = (RunFolder(self.folder).read(PROVENANCE) or {}).get("model")
        if self.champion.config.workers.backend == "server" and recorded is not None:
            return Identity(recorded["name"], recorded["folder"], recorded["fingerprint"])
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
        self.refuse_steps(form)
        if not self.choices:
            raise UserError(
                f"--to {form} compares choices that every input is offered, and this champion's "
                "are free text or differ by input; take --to json or --to text"
            )

    def refuse_steps(self, form: str) -> None:
        """Refuse a form that has one prompt.

        Raises:
            UserError: the policy has steps.
        """
        if self.champion.policy.steps:
            raise UserError(
                f"the champion writes answers to {len(self.champion.policy.steps)} steps before it "
                f"answers, which --to {form} cannot; take --to json or --to text"
            )

    @property
    def not_carried(self) -> str:
        """What of how answers are compared a prompt by itself has not, a sentence; empty where it
        has all.
        """
        if not self.choices:
            return ""
        lost = [] if self.champion.answered_by == "likelihood" else [self.champion.answered_by]
        if self.alone is not None:
            lost.append(calibration_text(self.alone))
        if not lost:
            return ""
        return (
            f"not in the prompt: {'; '.join(lost)} (--to python has it; a search with "
            "fitness.calibration=off is for prompts that are used without)"
        )
