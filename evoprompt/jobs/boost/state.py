"""The self-evaluation loop as pure functions: which answers are accepted, what the buffer holds,
and what the next context shows.

    answers, verdicts --judge--> Judged --accept--> accepted --buffer--> Buffer --choose--> context
    of the next round

Nothing here sees a right answer: what the loop knows of its answers is what the model says of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

import numpy as np

from evoprompt.policy import Demonstration, Policy
from evoprompt.seeding import Stream, generator


@dataclass(frozen=True, slots=True)
class Judged:
    """A question with the model's own answer, and what the model says of it."""

    round: int
    question_id: str
    input: str
    answer: str
    probability: float  #: of the answer, among the choices or per token of what was written
    log_odds: float  #: log p(TRUE) - log p(FALSE) that the evaluator gives to the answer, nats
    accepted: bool = False
    abstained: bool = False

    @property
    def pair(self) -> Demonstration:
        """The question and its answer as the context shows them."""
        return Demonstration(self.input, self.answer)

    @property
    def words(self) -> frozenset[str]:
        """The question's words, in lower case."""
        return frozenset(self.input.lower().split())


@dataclass(frozen=True, slots=True)
class LoopState:
    """The loop after a round. It is the checkpoint."""

    seed: int
    round: int = 0
    buffer: tuple[Judged, ...] = ()  #: accepted and kept, oldest first
    context: tuple[Judged, ...] = ()  #: those of the buffer that the prompt shows, in its order
    believed: tuple[
        float, ...
    ] = ()  #: by round that gave answers, the error rate that the model itself expects of them
    #: of the work so far, distinct prefixes once and what was written, whatever store and memo
    #: spared: the budget counts them
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Buffer:
    """What becomes of accepted pairs. How it changes the error rate is in
    `recurrence.imitation.CONTEXTS`.
    """

    words: str  #: for what it holds, as the page says it
    #: (all pairs, oldest round first, the newest round's number, the least number) -> those kept
    kept: Callable[[Sequence[Judged], int, int], Sequence[Judged]]


#: Every buffer. A new one is a line here, and one there.
BUFFERS: Mapping[str, Buffer] = {
    "replace": Buffer(
        "the newest round's accepted answers",
        lambda pairs, newest, least: pairs[-max(newest, least) :],
    ),
    "accumulate": Buffer("all accepted answers", lambda pairs, newest, least: pairs),
}


def batch_of(num_questions: int, size: int, seed: int, round_number: int) -> list[int]:
    """Return the indices of a round's questions (rounds count from 1), all different: a part of one
    random order of all questions.

    When no whole batch is left of an order another one begins, so at least `num_questions - size +
    1` questions are asked before any comes again. The same arguments give the same batch, whatever
    happened before.

    Raises:
        ValueError: there are fewer questions than a batch has.
    """
    if num_questions < size:
        raise ValueError(
            f"batch_of(num_questions={num_questions}, size={size}): expected at least as many "
            f"questions as a batch has"
        )
    turn, part = divmod(round_number - 1, num_questions // size)
    order = generator(seed, Stream.QUESTIONS, turn).permutation(num_questions)
    return [int(i) for i in order[part * size : (part + 1) * size]]


def abstain(judged: Sequence[Judged], least_probability: float | None) -> tuple[Judged, ...]:
    """Return the answers, those below a probability marked as abstained: they are given to nobody
    and never accepted.
    """
    return tuple(
        replace(j, abstained=least_probability is not None and j.probability < least_probability)
        for j in judged
    )


def accept(
    judged: Sequence[Judged], *, threshold: float | None, share: float
) -> tuple[Judged, ...]:
    """Return the answers, the accepted marked.

    Args:
        judged: of a round.
        threshold: accept log-odds above this; None accepts a share instead.
        share: of the answers that did not abstain, those with the greatest log-odds (rounded to a
            whole number of them; ties in order).

    An answer whose log-odds are NaN is never accepted, nor is it one of those of the share.
    """
    given = [i for i, j in enumerate(judged) if not j.abstained and not isnan(j.log_odds)]
    if threshold is not None:
        chosen = {i for i in given if judged[i].log_odds > threshold}
    else:
        ranked = sorted(given, key=lambda i: -judged[i].log_odds)
        chosen = set(ranked[: round(share * len(given))])
    return tuple(replace(j, accepted=i in chosen) for i, j in enumerate(judged))


def believed_error(judged: Sequence[Judged]) -> float:
    """Return the mean of p(FALSE) / (p(TRUE) + p(FALSE)) over the answers that did not abstain: the
    error rate that the model expects.

    It is not an estimate of the error rate unless the evaluator is calibrated. Answers whose
    log-odds are NaN are left out. NaN where none is left.
    """
    log_odds = np.array([j.log_odds for j in judged if not j.abstained and not isnan(j.log_odds)])
    return float(np.mean(np.exp(-np.logaddexp(0.0, log_odds)))) if len(log_odds) else nan


def fill_buffer(
    buffer: Sequence[Judged], judged: Sequence[Judged], kind: str, least: int
) -> tuple[Judged, ...]:
    """Return the buffer after a round. Of a question that was answered again only the newest answer
    stays.

    `accumulate` appends what was accepted. `replace` holds the newest round's accepted answers
    alone; where they are fewer than `least`, those of the rounds before make up the number. `kind`
    is a name of `BUFFERS`.
    """
    accepted = [j for j in judged if j.accepted]
    newest = {j.question_id: j for j in (*buffer, *accepted)}
    merged = sorted(
        newest.values(), key=lambda j: j.round
    )  # stable: in order of entry within a round
    return tuple(BUFFERS[kind].kept(merged, len(accepted), least))


def choose(
    buffer: Sequence[Judged],
    rule: str,
    most: int,
    max_tokens: int,
    num_tokens: Callable[[Judged], int],
    rng: np.random.Generator,
) -> tuple[Judged, ...]:
    """Return the pairs that the context shows, in its order: chosen by the rule while they fit,
    then shuffled.

    - `newest`: the latest accepted; `confident`: those with the greatest log-odds.
    - `diverse`: each time the one whose words differ most from those chosen (greatest least Jaccard
      distance), from the most confident on.
    - `balanced`: the most confident of each answer in turn, so that no answer crowds out the
      others.

    Args:
        buffer: oldest first.
        rule: a name of `RULES`, see above.
        most: pairs at most.
        max_tokens: of all chosen together; a pair that does not fit any more is passed over.
        num_tokens: of a pair as it is shown.
        rng: for the order in the prompt, so that the rule's order does not put the same answer next
            to the question each time.
    """
    chosen: list[Judged] = []
    left = max_tokens
    for judged in RULES[rule](buffer):
        if len(chosen) == most:
            break
        cost = num_tokens(judged)
        if cost <= left:
            chosen.append(judged)
            left -= cost
    return tuple(chosen[i] for i in rng.permutation(len(chosen)))


def word_distance(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Jaccard distance: the share of all words of both that are only in one."""
    return 1 - len(one & other) / max(1, len(one | other))


def in_context(policy: Policy, context: Sequence[Judged]) -> Policy:
    """Return the policy that shows these pairs after its own demonstrations."""
    return replace(policy, demonstrations=(*policy.demonstrations, *(j.pair for j in context)))


def goes_on(state: LoopState, *, rounds: int, patience: int, max_tokens: int | None) -> bool:
    """Return whether there is another round: not after `rounds`, beyond the budget, or `patience`
    rounds without a lower believed error.

    A round that believes nothing (NaN) is none of these rounds, wherever it stands.
    """
    if state.round >= rounds or (max_tokens is not None and state.tokens >= max_tokens):
        return False
    known = [error for error in state.believed if not isnan(error)]
    latest, before = known[-patience:], known[:-patience]
    return not before or min(latest) < min(before)


def _newest(buffer: Sequence[Judged]) -> list[Judged]:
    return list(reversed(buffer))


def _confident(buffer: Sequence[Judged]) -> list[Judged]:
    return sorted(buffer, key=lambda j: -j.log_odds)


def _balanced(buffer: Sequence[Judged]) -> list[Judged]:
    turns: dict[str, int] = {}
    ranked = []
    for place, judged in enumerate(_confident(buffer)):
        turns[judged.answer] = turns.get(judged.answer, -1) + 1
        ranked.append((turns[judged.answer], place, judged))
    return [judged for _, _, judged in sorted(ranked, key=lambda r: r[:2])]


def _diverse(buffer: Sequence[Judged]) -> list[Judged]:
    """Return them so that each is the farthest from those before it, the most confident first."""
    judged = _confident(buffer)
    words = [j.words for j in judged]
    left, ranked = list(range(len(judged))), []
    nearest = np.full(len(judged), np.inf)
    while left:
        best = max(left, key=lambda i: (nearest[i], -i))
        left.remove(best)
        ranked.append(judged[best])
        for i in left:
            nearest[i] = min(nearest[i], word_distance(words[i], words[best]))
    return ranked


#: Every order in which pairs are offered to the context. A new one is a function and a line here.
RULES: Mapping[str, Callable[[Sequence[Judged]], list[Judged]]] = {
    "newest": _newest,
    "confident": _confident,
    "diverse": _diverse,
    "balanced": _balanced,
}
