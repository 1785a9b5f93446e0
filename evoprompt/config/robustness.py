"""What prompts are worth under changes that leave their meaning: the section `robustness`."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from evoprompt.config.values import Count, Few, Probability, Section


class UnderChangesConfig(Section):
    """Changes of wording and inputs under which a policy is measured once, on the first fitness
    examples. What it is worth under the worst of them is a trait, `under_changes`, which can count
    in the fitness or be an objective of selection.
    """

    #: what changes, in turn (`evoprompt robustness` has the table): by default what leaves the
    #: words for labels
    sources: Annotated[tuple[str, ...], Field(min_length=1)] = (
        *("format", "input_distractor", "paraphrase", "input_casing", "order"),
    )
    draws: Few = 5  #: changes in all, of which the worst counts
    #: fitness examples, the first ones; 0: no policy is measured under changes but for
    #: `calibration_examples`
    examples: Count = 8
    #: of the fitness examples that a policy is measured on before it is measured under changes: 1
    #: is each when it is new, more spares those that a race gives up before, more than
    #: `task.fitness_examples` is none but the finalists, which always are
    after: Few = 1
    #: of what a policy is worth under the worst change in its fitness, from 0, where it is a trait
    #: alone, to 1; also in the choice of the champion
    weight: Probability = 0.0
    #: validation examples, the first ones, on which champion and baseline are measured under the
    #: changes too, and their heads fitted (`fitness.calibration=head`), so that what is read does
    #: not hang on one wording; 0 is none
    calibration_examples: Count = 0
    #: words that mean the same, by choice; the task's label words where none are given
    label_synonyms: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    #: what a choice means, in several words, by choice
    label_descriptions: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    paraphrases: tuple[str, ...] = ()  #: whole instructions that mean the same

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.sources)) < len(self.sources):
            raise ValueError(f"sources has a name twice: {', '.join(self.sources)}")
        if not self.examples and (self.weight or not self.calibration_examples):
            wanted = "weight counts" if self.weight else "calibration_examples is 0 too"
            raise ValueError(f"examples is 0, so nobody is measured under changes, and {wanted}")
        return self
