"""Every operator of the package. A new one is a file of this folder and a line here."""

from __future__ import annotations

from evoprompt.variation.base import Operator
from evoprompt.variation.demonstrations import (
    DemonstrationAdd,
    DemonstrationDrop,
    DemonstrationReorder,
    DemonstrationSwap,
)
from evoprompt.variation.edits import (
    InstructionDelete,
    InstructionInsert,
    InstructionReplace,
    InstructionSwap,
    LabelWordChange,
    TemplateChange,
)
from evoprompt.variation.evaluator import EvaluatorChange
from evoprompt.variation.recombine import UniformCrossover
from evoprompt.variation.steps import StepAdd, StepDrop
from evoprompt.variation.stuffing import ContextStuffing

#: Every operator with its default weight. Demonstrations are the strongest genes of small models,
#: so they are drawn most. Those of weight 0 make the model write or measure more than scoring
#: needs, and are asked for by name.
OPERATORS: tuple[tuple[Operator, float], ...] = (
    (DemonstrationAdd(), 3.0),
    (DemonstrationSwap(), 3.0),
    (DemonstrationDrop(), 1.0),
    (DemonstrationReorder(), 1.5),
    (InstructionInsert(), 0.5),
    (InstructionReplace(), 0.5),
    (InstructionDelete(), 0.5),
    (InstructionSwap(), 0.25),
    (LabelWordChange(), 1.5),
    (TemplateChange(), 1.0),
    (UniformCrossover(), 2.0),
    (StepAdd(), 0.0),
    (StepDrop(), 0.0),
    (EvaluatorChange(), 0.0),
    (ContextStuffing(), 0.0),
)
