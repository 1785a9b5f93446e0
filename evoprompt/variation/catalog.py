"""Every operator of the package, and names -> operators. A new one is a file of this folder and a
line of `OPERATORS`.
"""

from __future__ import annotations

from collections.abc import Mapping

from evoprompt.errors import UserError
from evoprompt.plugins import find
from evoprompt.variation.balanced import (
    DemonstrationBalance,
    DemonstrationOrder,
    DemonstrationSet,
    DemonstrationSwapInLabel,
)
from evoprompt.variation.base import Operator, mistakes
from evoprompt.variation.credit import DemonstrationAddBest
from evoprompt.variation.editors import EDITORS
from evoprompt.variation.edits import ChatChange
from evoprompt.variation.evaluator import EvaluatorChange
from evoprompt.variation.learning import (
    InstructionFromHistory,
    InstructionInduce,
    InstructionReflect,
)
from evoprompt.variation.proposed import LabelWordFromModel, TokenSubstitute
from evoprompt.variation.recombine import DemonstrationUnion, UniformCrossover
from evoprompt.variation.rewriting import (
    InstructionCrossover,
    InstructionDifference,
    InstructionMutate,
    InstructionParaphrase,
)
from evoprompt.variation.steps import StepAdd, StepDrop
from evoprompt.variation.stuffing import ContextStuffing
from evoprompt.variation.wording import (
    InstructionSentenceAdd,
    InstructionSentenceDrop,
    InstructionSynonym,
    InstructionWordDrop,
)

#: Every operator with its default weight. Those of weight 0 are asked for by name: they make the
#: model write or measure more than scoring needs, or were not shown to pay. The order is part of
#: what is drawn: a new one goes to the end, so that lineages stay what they were.
OPERATORS: tuple[tuple[Operator, float], ...] = (
    *EDITORS,
    (UniformCrossover(), 1.0),
    (StepAdd(), 0.0),
    (StepDrop(), 0.0),
    (EvaluatorChange(), 0.0),
    (ContextStuffing(), 0.0),
    (DemonstrationBalance(), 1.0),
    (DemonstrationSwapInLabel(), 2.0),
    (DemonstrationOrder(), 0.5),
    (DemonstrationSet(), 1.5),
    (InstructionParaphrase(), 0.0),
    (InstructionCrossover(), 0.0),
    (InstructionDifference(), 0.0),
    (InstructionInduce(), 0.0),
    (InstructionFromHistory(), 0.0),
    (InstructionMutate(), 0.0),
    (InstructionReflect(), 0.0),
    (InstructionWordDrop(), 0.0),
    (InstructionSentenceDrop(), 0.0),
    (InstructionSentenceAdd(), 0.0),
    (InstructionSynonym(), 0.0),
    (DemonstrationAddBest(), 0.0),
    (LabelWordFromModel(), 0.0),
    (TokenSubstitute(), 0.0),
    (DemonstrationUnion(), 1.0),
    (ChatChange(), 0.0),
)


def drawn_operators(given: Mapping[str, float], where: str) -> list[tuple[Operator, float]]:
    """Return the operators of positive weight with their weights: the package's in the order of the
    table, then others in the order in which they were given.

    Args:
        given: weights by name: of the package, of a plug-in, or "module:Operator". The package's
            that are not named have their default weight; a plug-in's are not drawn.
        where: the weights were given, for errors.

    Raises:
        UserError: nothing stands for a name, whatever its weight; what does is not an operator; or
            two of positive weight have one name in the lineage.
    """
    own = {operator.name: operator for operator, _ in OPERATORS}
    weights = {operator.name: weight for operator, weight in OPERATORS} | dict(given)
    drawn: dict[str, tuple[Operator, float]] = {}
    for key, weight in weights.items():
        operator = _checked(find("operator", key, own, where), key, where)
        if weight > 0 and operator.name in drawn:
            raise UserError(
                f"{where} has two operators that are '{operator.name}' in the lineage, '{key}' the "
                f"second; give one of them the weight 0 or another name"
            )
        if weight > 0:
            drawn[operator.name] = operator, weight
    return list(drawn.values())


def _checked(operator: Operator, key: str, where: str) -> Operator:
    if found := mistakes(operator):
        raise UserError(f"{where}: '{key}' cannot be used as an operator: {'; '.join(found)}")
    return operator
