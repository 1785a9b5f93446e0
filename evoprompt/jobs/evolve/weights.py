"""What the policies of a run weigh on its examples, and which of them can be scored at all. Each is
tokenized once.

The search looks at fitness and validation examples alone; what a child takes on the test is
estimated from its validation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from evoprompt.errors import UserError
from evoprompt.jobs.evolve.config import Config
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.units import Weight
from evoprompt.policy import Policy
from evoprompt.recent import Recent
from evoprompt.records import Example
from evoprompt.tasks.base import Task
from evoprompt.tasks.judge import evaluator_of, judgements

#: Of a split: from which example to which; None is the last.
Part = tuple[int, int | None]
WHOLE: Part = (0, None)
#: Of what is measured beside the examples: of champion and baseline alone.
LAST = 0
#: Of a policy, what it takes once beside its examples; `UserError` where it cannot be scored.
Weigh = Callable[[Policy], Weight]


@dataclass(frozen=True, slots=True)
class Beside:
    """What is measured of a policy once, beside its examples."""

    weigh: Weigh
    #: with which of its fitness examples, from 1; finalists that had fewer are measured at the end.
    #: `LAST`: champion and baseline alone are, before the test
    after: int = 1
    is_measured: Callable[[Policy], bool] = lambda _: False

    def is_late(self, policy: Policy) -> bool:
        """Return whether a policy has it before it, should it be a finalist."""
        return self.after > 1 and not self.is_measured(policy)


#: The splits that a child is weighed on.
SEEN = ("fitness", "validation")
#: Weights that are remembered: founders', and those of the policies that were weighed last.
KEPT = 4096
#: Examples that are shown of those that cannot be scored.
SHOWN = 3


class Weights:
    """Weighs the policies of one run.

    Args:
        config: of the run.
        task: with the starting policies.
        measurer: tokenizes.
        beside: what is measured of a policy beside the examples.
    """

    def __init__(
        self, config: Config, task: Task, measurer: Measurer, beside: Sequence[Beside] = ()
    ) -> None:
        self._beside = tuple(beside)
        self._config = config
        self._task = task
        self._measurer = measurer
        self._known: Recent[tuple[str, str, bool, int, int | None], Weight | None] = Recent(KEPT)
        self.is_logical = config.budget.logical_tokens is not None
        #: ids of what stands before the search: its test is weighed too
        self._founders = {p.policy_id for f in task.starting_policies for p in (f, evaluator_of(f))}

    def fits(self, policy: Policy) -> bool:
        """Return whether every prompt of a policy, and of its evaluator, can be scored with each
        candidate of the fitness and validation examples. Test examples are not looked at.
        """
        return all(self._scorable(policy, split) for split in SEEN) and self._is_free(policy)

    def _is_free(self, policy: Policy) -> bool:
        """Return whether what is measured beside the examples can be."""
        try:
            return all(each.weigh(policy).longest > 0 for each in self._beside)
        except UserError:
            return False

    def answerable(self, policy: Policy) -> tuple[Example, ...]:
        """Return the test examples that a policy, and its evaluator, can be scored on. For when
        the search is over.
        """
        kept = self._task.test
        while kept and not self._scored(policy, kept):
            wrong = len(judgements(kept)) == 2 * len(kept)
            left = tuple(
                e
                for i, e in enumerate(kept)
                if self._scored(policy, [e], judgements(kept)[2 * i : 2 * i + 2] if wrong else ())
            )
            kept = left if len(left) < len(kept) else ()
        return kept

    def _scored(
        self, policy: Policy, examples: Sequence[Example], judged: Sequence[Example] | None = None
    ) -> bool:
        try:
            self._measurer.final.weigh(policy, examples)
            if self._measurer.wanted.verdicts:
                of = judgements(examples) if judged is None else judged
                self._measurer.weigh(evaluator_of(policy), of)
                return judged is not None or len(of) == 2 * len(examples)
        except UserError:
            return False
        return True

    def fitting(self) -> Task:
        """Return the task without the starting policies that cannot be scored on every example
        with the demonstrations that were added to them, and with a note on these; the task as it
        is where all can, or none.
        """
        task = self._task
        long = [
            p
            for p in task.starting_policies
            if p in task.added
            and not (self._is_free(p) and all(self._scorable(p, s) for s in (*SEEN, "test")))
        ]
        if not long or len(long) == len(task.starting_policies):
            return task
        return task.without(
            long,
            f"{len(long)} of {len(task.starting_policies)} starting policies are left out: with "
            "the demonstrations that were added they are too long for the model, or cannot be "
            "scored on an example",
        )

    def check_founders(self) -> None:
        """Find out whether every starting policy can be scored on every example.

        Raises:
            UserError: one cannot; all examples are counted and the first are shown.
        """
        found: dict[str, str] = {}  # why, by the example's place
        for number, policy in enumerate(self._task.starting_policies, 1):
            for each in self._beside:
                each.weigh(policy)
            for split in (*SEEN, "test"):
                if not self._scorable(policy, split):
                    for place, why in self._misfits(policy, split):
                        found.setdefault(place, f"with starting policy {number}, {why}")
        if not found:
            return
        places = list(found)
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise UserError(
            f"{len(found)} example{'s' if len(found) > 1 else ''} cannot be scored: "
            f"{', '.join(places[:SHOWN])}{more}. {places[0]}: {found[places[0]]}"
        )

    def _longest(self, policy: Policy, splits: Sequence[str] = SEEN) -> int:
        """Return the tokens of the longest sequence of a policy and its evaluator."""
        asked = [(policy, False)]
        if self._measurer.wanted.verdicts:
            asked.append((evaluator_of(policy), True))
        weights = [self._weigh(p, s, judging=judging) for p, judging in asked for s in splits]
        weights += [each.weigh(policy) for each in self._beside]
        return max(weight.longest if weight is not None else 0 for weight in weights)

    def _verdict_tokens(
        self, evaluators: Iterable[Policy], split: str, part: Part = WHOLE
    ) -> list[int]:
        if not self._measurer.wanted.verdicts:
            return []
        return [self._tokens(evaluator, split, part, judging=True) for evaluator in evaluators]

    def _tokens(
        self, policy: Policy, split: str, part: Part = WHOLE, *, judging: bool = False
    ) -> int:
        """Return what a policy is charged for a part of a split, or an evaluator; for the test what
        one is that did not start the run is estimated from its validation.
        """
        if split != "test" or policy.policy_id in self._founders:
            weight = self._weigh(policy, split, part, judging=judging)
            tokens = 0 if weight is None else self._charged(weight)
            if split == "fitness" and not judging:
                end = len(self._task.fitness) if part[1] is None else part[1]
                due = (each for each in self._beside if part[0] < each.after <= end)
                tokens += sum(self._charged(each.weigh(policy)) for each in due)
            return tokens
        task, final = self._task, self._measurer.final
        shared = final.prompt_tokens(policy) if judging else final.shared_tokens(policy)
        own = self._tokens(policy, "validation", judging=judging) - shared
        return ceil(shared + max(0, own) * len(task.test) / len(task.validation))

    def _late(self, policy: Policy) -> int:
        """Return what is measured of a policy at the end, should it be a finalist, tokens."""
        return sum(self._charged(e.weigh(policy)) for e in self._beside if e.is_late(policy))

    def _last(self, policy: Policy) -> int:
        """Return what is measured of a policy at the end, should it be champion or baseline,
        tokens.
        """
        return sum(self._charged(e.weigh(policy)) for e in self._beside if e.after == LAST)

    def _charged(self, weight: Weight) -> int:
        return weight.logical if self.is_logical else weight.rows

    def _scorable(self, policy: Policy, split: str) -> bool:
        if self._weigh(policy, split) is None:
            return False
        judge = evaluator_of(policy) if self._is_judged(policy) else None
        return judge is None or self._weigh(judge, split, judging=True) is not None

    def _is_judged(self, policy: Policy) -> bool:
        return policy.evaluator is not None or self._measurer.wanted.verdicts

    def _weigh(
        self, policy: Policy, split: str, part: Part = WHOLE, *, judging: bool = False
    ) -> Weight | None:
        """Return the weight of a policy on a part of a split, or of an evaluator; None where it
        cannot be scored there.
        """

        def weigh() -> Weight | None:
            examples = self._examples(split, part, judging=judging)
            try:
                return self._of(split).weigh(policy, examples) if examples else Weight(0, 0)
            except UserError:
                return None

        return self._known.get((policy.policy_id, split, judging, *part), weigh)

    def _of(self, split: str) -> Measurer:
        """Return what measures a split."""
        return self._measurer if split == "fitness" else self._measurer.final

    def _examples(
        self, split: str, part: Part = WHOLE, *, judging: bool = False
    ) -> tuple[Example, ...]:
        examples = self._task.splits[split][slice(*part)]
        return judgements(examples) if judging else examples

    def _misfits(self, policy: Policy, split: str) -> Iterator[tuple[str, str]]:
        """Yield the place of each example that cannot be scored, and why."""
        for judging, asked in ((False, policy), (True, evaluator_of(policy))):
            if judging and not self._is_judged(policy):
                continue
            if self._weigh(asked, split, judging=judging) is not None:
                continue
            for example in self._examples(split, judging=judging):
                try:
                    self._of(split).weigh(asked, [example])
                except UserError as error:
                    place = f"{split} example '{example.example_id}'"
                    yield example.origin or place, str(error)
