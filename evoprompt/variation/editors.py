"""The operators that edit one slot with a task's own materials: those of a policy, and of its
self-evaluation clause, which is a policy too. A new one is a file of this folder and a line here.
"""

from __future__ import annotations

from evoprompt.policy import SLOTS
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

#: With their default weights. Demonstrations are the strongest genes of small models, so they are
#: drawn most, those that heed labels (`variation.balanced`) before these.
EDITORS: tuple[tuple[Operator, float], ...] = (
    (DemonstrationAdd(), 1.0),
    (DemonstrationSwap(), 1.0),
    (DemonstrationDrop(), 0.5),
    (DemonstrationReorder(), 0.5),
    (InstructionInsert(), 0.25),
    (InstructionReplace(), 0.25),
    (InstructionDelete(), 0.5),
    (InstructionSwap(), 0.1),
    (LabelWordChange(), 1.0),
    (TemplateChange(), 0.75),
)


def evaluator_edits() -> list[Operator]:
    """Return what edits a self-evaluation clause: the operators of one slot that a clause has which
    need nothing beside a task's materials, in the order of the table.
    """
    slots = [slot.name for slot in SLOTS if slot.in_evaluator]
    return [o for o, _ in EDITORS if o.slot in slots and o.num_parents == 1 and not o.needs]
