"""The words of a run's page, for those who do not study evolution."""

from __future__ import annotations

from collections.abc import Mapping

#: What each term means, in the order in which the page meets them.
TERMS: Mapping[str, str] = {
    "champion": "The prompt that the search ended with: the best of its finalists on the "
    "validation examples. It goes to the test once.",
    "best starting prompt": "Of the prompts that the search was given the one with the highest "
    "fitness. Its answers are compared in the same way as the champion's.",
    "point": "A hundredth of accuracy: one more right answer of a hundred.",
    "fitness": "The number that selection goes by, higher is better: by default the log of the "
    "probability that the model gives to the right answer among the choices, in the mean over the "
    "examples.",
    "nats": "The unit of log-probabilities: -0.69 nats is a probability of one half, -2.3 nats of "
    "one tenth, 0 is certainty.",
    "births": "Prompts that came into a generation, by an operator or as a parent that stays; also "
    "those that did not survive.",
    "operator": "What makes a new prompt of one or two others, e.g. by adding a demonstration.",
    "selected": "The births that are kept, and may be parents of the next generation.",
    "change": "Of the mean over the selected, from the first generation to the last.",
    "selection in reproduction": "How much of the change comes from which parents had more "
    "children: the covariance of a trait with the number of children.",
    "transmission": "How much of the change comes from children that differ from their parents, "
    "over all births.",
    "selection in the race": "How much of the change comes from births that were given up after a "
    "few examples.",
    "selection in survival": "How much of the change comes from which births were kept.",
    "measuring again": "How much of the change comes from the same prompts on other or more "
    "examples.",
    "immigration": "How much of the change comes from births without parents.",
    "heritability": "How much of what selection among parents gained is found again in their "
    "children; 1 is all of it. It is not shown where selection was too weak to tell.",
    "mean effect": "By how much a child's fitness is above its parents' in the mean.",
    "better than the best parent": "The share of children that are fitter than their fittest "
    "parent.",
    "slope": "By how much fitter a child is whose parents are fitter by one; 1 is all of it.",
    "bias": "By how much the operator moves fitness, whoever was selected.",
    "drift": "What of selection is chance: few are drawn, so what happens is not what is expected.",
    "effective population size": "The size of a population without selection that would lose its "
    "variety as fast.",
    "last common ancestor": "The prompt that all of the last generation descend from.",
    "Price's equation": "Splits the change of a mean exactly into what selection did and what "
    "transmission did.",
    "calibration": "What is added to each answer's log-likelihood so that a prompt's favour for "
    "some labels does not decide.",
    "interval": "95 % unless said otherwise: a range made so that it holds the true value in 95 of "
    "100 such runs.",
}
