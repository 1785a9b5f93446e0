"""What a run forwards, known before it is forwarded: it keeps the budget from the founders to the
test.

A policy is charged the distinct prefixes of its own prompts, whatever store and memo spare: so the
search is the same each time. With a budget in logical tokens it is charged what its prompts take if
nothing is shared; test and checks are then free. The search looks at fitness and validation
examples alone; what a child takes on the test is estimated from its validation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from heapq import nlargest
from math import ceil, floor

from evoprompt.errors import UserError
from evoprompt.evolution.racing import going_on
from evoprompt.jobs.evolve.config import Config
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.standing import LEAST_REQUESTS, LONGER, SHARE
from evoprompt.measurement.units import Weight
from evoprompt.policy import Policy
from evoprompt.records import Example, State
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.base import Task
from evoprompt.tasks.judge import evaluator_of, judgements

#: Of a split: from which example to which; None is the last.
Part = tuple[int, int | None]
WHOLE: Part = (0, None)

#: The splits that a child is weighed on.
SEEN = ("fitness", "validation")
#: Examples that are shown of those that cannot be scored.
SHOWN = 3
KEY, LOGICAL_KEY = "budget.prefill_tokens", "budget.logical_tokens"


def goes_on(config: Config, state: State, seconds: float) -> bool:
    """Return whether there is a next generation, and time for it; `seconds` were spent so far."""
    limit = config.budget.seconds
    return state.generation < config.evolution.generations and (limit is None or seconds < limit)


class Costs:
    """Weighs the policies of one run; each is tokenized once."""

    def __init__(self, config: Config, task: Task, measurer: Measurer) -> None:
        self._config = config
        self._task = task
        self._measurer = measurer
        self._known: dict[tuple[str, str, bool, int, int | None], Weight | None] = {}
        budget = config.budget
        self._logical = budget.logical_tokens is not None
        self._limit = budget.logical_tokens if self._logical else budget.prefill_tokens
        #: ids of what stands before the search: its test is weighed too
        self._founders = {p.policy_id for f in task.starting_policies for p in (f, evaluator_of(f))}

    def fits(self, policy: Policy) -> bool:
        """Return whether every prompt of a policy, and of its evaluator, can be scored with each
        candidate of the fitness and validation examples. Test examples are not looked at.
        """
        return all(self._scorable(policy, split) for split in SEEN)

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
            self._measurer.weigh(policy, examples)
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
            if p in task.added and not all(self._scorable(p, s) for s in (*SEEN, "test"))
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

    @property
    def _checked(self) -> float:
        """The share of the tokens that is kept for checks."""
        return 0.0 if self._logical else SHARE

    def spent(self, ledger: Ledger) -> int:
        """Return what all phases were charged so far, tokens."""
        if self._logical:
            return ledger.logical
        return sum(count.floor_body_tokens for count in ledger.tokens.values())

    @cached_property
    def validation(self) -> tuple[Example, ...]:
        """The validation examples for which room is kept: the first ones, as many as the starting
        policies' prompts allow where finalists take their share of the budget.
        """
        final = self._config.final
        if self._limit is None:
            return self._task.validation
        room, founders = final.share * self._limit, self._task.starting_policies
        least = max(1, len(self._task.choices or ()))
        num = final.candidates + 1
        return self._first(
            least, lambda part: num * max(self._of_validation(founders, part)) <= room
        )

    def rest(self, finalists: Sequence[Policy], left: int | None) -> tuple[Example, ...]:
        """Return the validation examples that the finalists are asked: those for which room was
        kept, and as many more as what the search left has room for.
        """
        least = len(self.validation)
        if left is None:
            return self.validation
        kept = sum(self._of_validation(finalists, (0, least)))
        return self._first(
            least, lambda part: sum(self._of_validation(finalists, part)) - kept <= left
        )

    def _of_validation(self, policies: Sequence[Policy], part: Part) -> list[int]:
        evaluators = dict.fromkeys(map(evaluator_of, policies))
        verdicts = self._verdict_tokens(evaluators, "validation", part)
        return [*(self._tokens(p, "validation", part) for p in policies), *verdicts]

    def _first(self, least: int, fits: Callable[[Part], bool]) -> tuple[Example, ...]:
        """Return the most of the first validation examples that fit, at least so many."""
        examples = self._task.validation
        numbers = range(min(least, len(examples)), len(examples))
        # how many of these numbers have room for one example more
        more = bisect_left(numbers, True, key=lambda n: not fits((0, n + 1)))
        return examples[: numbers.start + more]

    def check_budget(self, rungs: Sequence[int] = ()) -> int:
        """Return what a run takes at least: founders, validation, test and checks, tokens. `rungs`
        as of `of`.

        Raises:
            UserError: the budget is smaller.
        """
        founders = list(dict.fromkeys(self._task.starting_policies))
        founding = self.founding(founders, rungs)
        needed = ceil((founding + self.reserve(founders)) / (1 - self._checked))
        limit, key = self._limit, LOGICAL_KEY if self._logical else KEY
        if limit is not None and limit < needed:
            test = "" if self._logical else " and the test"
            raise UserError(
                f"{key} is {limit}, and the starting prompts, the validation{test} take "
                f"{needed} together; give {key} at least that, fewer examples "
                "(task.fitness_examples, task.validation_examples, task.test_examples), fewer "
                "starting prompts or fewer final.candidates"
            )
        return needed

    def founding(self, policies: Sequence[Policy], rungs: Sequence[int]) -> int:
        """Return what these take at most as founders, tokens."""
        return self.of(policies, rungs, further=partial(going_on, self._config.evolution.racing))

    def room(self, founders: Sequence[Policy]) -> int | None:
        """Return what the budget has for the search where it starts from these; None without a
        budget.
        """
        return self.left(Ledger(), founders, None, 0)

    def left(
        self, ledger: Ledger, pool: Sequence[Policy], baseline: Policy | None, prompt_tokens: int
    ) -> int | None:
        """Return how many tokens the search may still take where the finalists will be of this
        pool; None without a budget. `prompt_tokens` has the longest prompt before an input so far.
        """
        if self._limit is None:
            return None
        reserve = self.reserve(pool, baseline, prompt_tokens)
        return floor(self._limit * (1 - self._checked)) - self.spent(ledger) - reserve

    def of(
        self,
        policies: Sequence[Policy],
        rungs: Sequence[int] = (),
        *,
        begin: int = 0,
        further: Callable[[int], int] = int,
        before: Iterable[Policy] = (),
    ) -> int:
        """Return what these policies take at most on the fitness examples, tokens.

        Args:
            policies: measured on the first `rungs[0]` examples; some of them go on to the first
                `rungs[1]`, and so on.
            rungs: ascending; none stands for all examples at once.
            begin: examples on which they were measured already.
            further: of so many, how many go on at most; by default all.
            before: policies whose evaluators were asked already.
        """
        asked = {evaluator_of(policy).policy_id for policy in before}
        new = {e.policy_id: e for e in map(evaluator_of, policies) if e.policy_id not in asked}
        total, num = 0, len(policies)
        for end in rungs or (len(self._task.fitness),):
            part = (begin, None if end == len(self._task.fitness) else end)
            answers = (self._tokens(p, "fitness", part) for p in policies)
            verdicts = self._verdict_tokens(new.values(), "fitness", part)
            total += sum(nlargest(num, answers)) + sum(nlargest(num, verdicts))
            begin, num = end, further(num)
        return total

    def reserve(
        self, pool: Sequence[Policy], baseline: Policy | None = None, prompt_tokens: int = 0
    ) -> int:
        """Return what validation, test and checks take at most when the search ends, tokens.

        Args:
            pool: of them the finalists will be.
            baseline: the best starting policy; of the pool where it is not known yet.
            prompt_tokens: of the longest prompt before an input that was measured.
        """
        finalists, tested = self._config.final.candidates, 0 if self._logical else 2
        fixed = [] if baseline is None else [baseline]
        others = [p for p in dict.fromkeys(pool) if p not in fixed]
        evaluators = list(dict.fromkeys(map(evaluator_of, [*fixed, *others])))
        total = 0
        splits = {"validation": finalists} | ({"test": tested - len(fixed)} if tested else {})
        for split, num in splits.items():
            asked, whole = len(self.validation), len(self._task.validation)
            part = (0, asked) if split == "validation" and asked < whole else WHOLE
            total += sum(self._tokens(p, split, part) for p in fixed)
            total += sum(nlargest(num, (self._tokens(p, split, part) for p in others)))
            verdicts = self._verdict_tokens(evaluators, split, part)
            total += sum(nlargest(num + len(fixed), verdicts))
        return total + (0 if self._logical else self._checks([*fixed, *others], prompt_tokens))

    def _checks(self, policies: Sequence[Policy], prompt_tokens: int) -> int:
        """Return what the standing check takes at most beside its `SHARE`: its least requests, the
        last of them with all that is asked with it, and each prompt that is `LONGER` than those
        before. Lengths that grow so from a to b sum up to less than (b - a) / (1 - 1 / LONGER).
        """
        splits = (self._task.fitness, self._task.validation, self._task.test)
        width = max(2, *(len(e.candidates) for split in splits for e in split))
        first = max(self._longest(p, ("fitness",)) for p in self._task.starting_policies)
        lengths = [(self._longest(p), self._measurer.prompt_tokens(p)) for p in policies]
        tail = max(length - shared for length, shared in lengths)
        last = max(first, prompt_tokens + tail, *(length for length, _ in lengths))
        return ceil((LEAST_REQUESTS + width) * last + width * (last - first) / (1 - 1 / LONGER))

    def _longest(self, policy: Policy, splits: Sequence[str] = SEEN) -> int:
        """Return the tokens of the longest sequence of a policy and its evaluator."""
        asked = [(policy, False)]
        if self._measurer.wanted.verdicts:
            asked.append((evaluator_of(policy), True))
        weights = [self._weigh(p, s, judging=judging) for p, judging in asked for s in splits]
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
            return 0 if weight is None else weight.logical if self._logical else weight.rows
        shared, task = self._measurer.prompt_tokens(policy), self._task
        own = self._tokens(policy, "validation", judging=judging) - shared
        return ceil(shared + max(0, own) * len(task.test) / len(task.validation))

    def _scorable(self, policy: Policy, split: str) -> bool:
        judged = policy.evaluator is not None or self._measurer.wanted.verdicts
        return self._weigh(policy, split) is not None and (
            not judged or self._weigh(evaluator_of(policy), split, judging=True) is not None
        )

    def _weigh(
        self, policy: Policy, split: str, part: Part = WHOLE, *, judging: bool = False
    ) -> Weight | None:
        """Return the weight of a policy on a part of a split, or of an evaluator; None where it
        cannot be scored there.
        """
        key = (policy.policy_id, split, judging, *part)
        if key not in self._known:
            examples = self._examples(split, part, judging=judging)
            weight = Weight(0, 0)
            try:
                weight = self._measurer.weigh(policy, examples) if examples else weight
            except UserError:
                self._known[key] = None
            else:
                self._known[key] = weight
        return self._known[key]

    def _examples(
        self, split: str, part: Part = WHOLE, *, judging: bool = False
    ) -> tuple[Example, ...]:
        examples = self._task.splits[split][slice(*part)]
        return judgements(examples) if judging else examples

    def _misfits(self, policy: Policy, split: str) -> Iterator[tuple[str, str]]:
        """Yield the place of each example that cannot be scored, and why."""
        for judging, asked in ((False, policy), (True, evaluator_of(policy))):
            if self._known.get((asked.policy_id, split, judging, *WHOLE), 0) is not None:
                continue
            for example in self._examples(split, judging=judging):
                try:
                    self._measurer.weigh(asked, [example])
                except UserError as error:
                    place = f"{split} example '{example.example_id}'"
                    yield example.origin or place, str(error)
