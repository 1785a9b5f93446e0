"""The loop with a buffer of finite size, exactly: a Markov chain over the number of wrong pairs in
it.

    wrong pairs F in the buffer of K --answer, judge, accept K--> F' ~ Binomial(K, h(g(F / K)))

Under perfect imitation this is the haploid Wright-Fisher model with selection: a buffer without
errors and one of errors only are final, and even an evaluator that is better than chance can end in
the second.

Knows probabilities. An accumulated buffer has more states than K + 1: for it see `forecast`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evoprompt.arrays import Floats
from evoprompt.recurrence.error_rate import impurity
from evoprompt.recurrence.imitation import PERFECT, Imitation
from evoprompt.stats.proportions import binomial_probabilities


@dataclass(frozen=True, slots=True)
class BufferChain:
    """The law of the number of wrong pairs in a replaced buffer of K, from round to round."""

    error_rate: float  #: before the first round, without any context
    #: distribution of the number of wrong pairs after the first round, shape (K + 1,)
    first: Floats
    #: from a number of wrong pairs (row) to the next round's (column), shape (K + 1, K + 1)
    transition: Floats
    imitation: Imitation

    @property
    def size(self) -> int:
        """K."""
        return len(self.first) - 1

    def distributions(self, num_rounds: int) -> Floats:
        """Return the distribution of the number of wrong pairs after each round, shape (num_rounds,
        K + 1).
        """
        law = [self.first]
        for _ in range(num_rounds - 1):
            law.append(law[-1] @ self.transition)
        return np.array(law[:num_rounds]).reshape(num_rounds, self.size + 1)

    def expected_error_rates(self, num_rounds: int) -> Floats:
        """Return the expected error rates of the answers before the first round and after each,
        shape (num_rounds + 1,).
        """
        answers = self.imitation.error_rate(np.arange(self.size + 1) / self.size)
        return np.concatenate([[self.error_rate], self.distributions(num_rounds) @ answers])

    def collapse_probability(self) -> float:
        """Return the probability that the buffer ends with errors only, whenever that happens; 0
        where that state is not final.

        With T the states that are not final and P the transition, u_T = (I - P_TT)^-1
        P_T,all-wrong. Source: Kemeny and Snell 1960, ch. 3.
        """
        final = self.transition.diagonal() == 1
        reached = np.zeros(self.size + 1)
        if not final[-1]:
            return 0.0
        reached[-1] = 1.0
        passing = ~final
        stay = np.eye(int(passing.sum())) - self.transition[np.ix_(passing, passing)]
        reached[passing] = np.linalg.solve(stay, self.transition[passing, -1])
        return float(self.first @ reached)


def buffer_chain(
    size: int,
    error_rate: float,
    sensitivity: float,
    specificity: float,
    *,
    imitation: Imitation = PERFECT,
) -> BufferChain:
    """Return the chain of a replaced buffer: every round answers until `size` of its answers are
    accepted, and these replace the buffer.

    Where no answer could be accepted any more, the buffer stays as it is.

    Args:
        size: K, at least 1.
        error_rate: e_0, of the answers before the first round.
        sensitivity: probability that a right answer is accepted.
        specificity: probability that a wrong answer is rejected.
        imitation: the line from the wrong share of the buffer to the answers' error rate.

    Raises:
        ValueError: a rate outside [0, 1], a size below 1, or rates under which the first round
            accepts nothing.
    """
    if size < 1:
        raise ValueError(f"buffer_chain(size={size}): expected a buffer of at least 1 pair")
    first = impurity(error_rate, sensitivity, specificity)
    if np.isnan(first):
        raise ValueError(
            f"error rate {error_rate}, sensitivity {sensitivity}, specificity {specificity}: no "
            f"answer is ever accepted, so there is no buffer"
        )
    accepted = impurity(imitation.error_rate(np.arange(size + 1) / size), sensitivity, specificity)
    stuck = np.isnan(accepted)
    transition = binomial_probabilities(size, np.where(stuck, 0.0, accepted))
    transition[stuck] = np.eye(size + 1)[stuck]
    return BufferChain(
        float(error_rate), binomial_probabilities(size, first), transition, imitation
    )
