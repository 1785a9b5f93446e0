"""What a run forwards, known before it is forwarded: it keeps the budget from the founders to the
test.

A policy is charged the distinct prefixes of its own prompts, whatever store and memo spare: so the
search is the same each time. With a budget in logical tokens it is charged what its prompts take if
nothing is shared; test and checks are then free.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from heapq import nlargest
from math import ceil, floor

from evoprompt.errors import UserError
from evoprompt.evolution.racing import going_on
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.weights import WHOLE, Beside, Part, Weights
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.standing import LEAST_REQUESTS, LONGER, SHARE
from evoprompt.policy import Policy
from evoprompt.records import Example
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.base import Task
from evoprompt.tasks.judge import evaluator_of

#: Validation examples that more than one finalist is asked at least.
ASKED = 16
KEY, LOGICAL_KEY = "budget.prefill_tokens", "budget.logical_tokens"


class Costs(Weights):
    """Weighs the policies of one run against its budget.

    Args:
        config: of the run.
        task: with the starting policies.
        measurer: tokenizes.
        rungs: of examples on which founders are measured, as of `of`.
        beside: as of `Weights`.
    """

    def __init__(
        self,
        config: Config,
        task: Task,
        measurer: Measurer,
        rungs: Sequence[int] = (),
        beside: Sequence[Beside] = (),
    ) -> None:
        super().__init__(config, task, measurer, beside)
        self._rungs, budget = tuple(rungs), config.budget
        self._limit = budget.logical_tokens if self.is_logical else budget.prefill_tokens

    def starting(self, task: Task, rungs: Sequence[int]) -> Costs:
        """Return the costs of this run where it starts from the policies of another task with the
        same examples. What either weighs, the other need not weigh again.
        """
        costs = Costs(self._config, task, self._measurer, rungs, self._beside)
        costs._known = self._known
        return costs

    @property
    def _checked(self) -> float:
        """The share of the tokens that is kept for checks."""
        return 0.0 if self.is_logical else SHARE

    def spent(self, ledger: Ledger) -> int:
        """Return what all phases were charged so far, tokens."""
        if self.is_logical:
            return ledger.logical
        return sum(count.floor_body_tokens for count in ledger.tokens.values())

    @cached_property
    def choice(self) -> tuple[int, tuple[Example, ...]]:
        """For how many finalists beside the baseline, and how many validation examples, room is
        kept: for as many finalists as can be asked all of them within `final.share` of the budget,
        and within what the founders leave of it; where not even one can, for one of them and the
        first examples. Calibrations are fitted on them, so few with many are better.
        """
        final, task = self._config.final, self._task
        if self._limit is None:
            return final.candidates, task.validation
        given = task.given_policies
        room = self._limit * (1 - self._checked) - self.founding(task.starting_policies)
        room = min(final.share * self._limit, room - self._beyond(task.starting_policies, None, 0))

        def fits(num: int, part: Part) -> bool:
            longest = max(self._of_validation(task.starting_policies, part))
            return num * longest + max(self._of_validation(given, part)) <= room

        for num in range(final.candidates, 0, -1):
            if fits(num, WHOLE):
                return num, task.validation
        return 1, self._first(max(1, len(task.choices or ())), lambda part: fits(1, part))

    def rest(
        self,
        finalists: Sequence[Policy],
        baseline: Policy,
        ledger: Ledger,
        prompt_tokens: int,
        share: float = 1.0,
    ) -> tuple[list[Policy], tuple[Example, ...]]:
        """Return who is asked at the end of the search, and what: as many of the finalists, and the
        baseline, as can be asked `ASKED` validation examples or more with a share of what is left;
        else the first of them and as many examples as there is room for. `prompt_tokens` as of
        `left`.
        """
        room = self.unspent(ledger, [baseline, *finalists], prompt_tokens)
        validation = self._task.validation
        for num in range(len(finalists), 1, -1):
            asked = list(dict.fromkeys([*finalists[:num], baseline]))
            if room is None or sum(self._of_validation(asked, WHOLE)) <= share * room:
                return asked, validation
            examples = self._most(asked, share * room)
            if len(examples) >= ASKED:
                return asked, examples
        asked = list(dict.fromkeys([*finalists[:1], baseline]))
        return asked, validation if room is None else self._most(asked, room)

    def _most(self, asked: Sequence[Policy], room: float) -> tuple[Example, ...]:
        """Return the first validation examples, as many as these can be asked; at least those that
        room is kept for where one finalist is asked.
        """
        least = len(self.choice[1]) if len(asked) <= 2 else 1
        return self._first(least, lambda part: sum(self._of_validation(asked, part)) <= room)

    def unspent(
        self, ledger: Ledger, finalists: Sequence[Policy], prompt_tokens: int
    ) -> int | None:
        """Return how many tokens may still be spent before the test, by two of these; None without
        a budget. `prompt_tokens` as of `left`.
        """
        if self._limit is None:
            return None
        beyond = self._beyond(finalists, None, prompt_tokens)
        return floor(self._limit * (1 - self._checked)) - self.spent(ledger) - beyond

    def beside(self, policy: Policy, examples: Sequence[Example]) -> int:
        """Return what a policy takes on examples that it can be scored on, tokens; 0 on none."""
        if not examples:
            return 0
        weight = self._measurer.weigh(policy, examples)
        return weight.logical if self.is_logical else weight.rows

    def _of_validation(self, policies: Sequence[Policy], part: Part) -> list[int]:
        evaluators = dict.fromkeys(map(evaluator_of, policies))
        verdicts = self._verdict_tokens(evaluators, "validation", part)
        late = map(self._late, policies)
        own = (self._tokens(p, "validation", part) for p in policies)
        return [*map(sum, zip(own, late, strict=True)), *verdicts]

    def _first(self, least: int, fits: Callable[[Part], bool]) -> tuple[Example, ...]:
        """Return the most of the first validation examples that fit, at least so many."""
        examples = self._task.validation
        numbers = range(min(least, len(examples)), len(examples))
        # how many of these numbers have room for one example more
        more = bisect_left(numbers, True, key=lambda n: not fits((0, n + 1)))
        return examples[: numbers.start + more]

    def check_budget(self) -> int:
        """Return what a run takes at least: founders, validation, test and checks, tokens.

        Raises:
            UserError: the budget is smaller.
        """
        founders = list(dict.fromkeys(self._task.starting_policies))
        founding = self.founding(founders)
        needed = ceil((founding + self.reserve(founders)) / (1 - self._checked))
        limit, key = self._limit, LOGICAL_KEY if self.is_logical else KEY
        if limit is not None and limit < needed:
            test = "" if self.is_logical else " and the test"
            raise UserError(
                f"{key} is {limit}, and the starting prompts, the validation{test} take "
                f"{needed} together; give {key} at least that, fewer examples "
                "(task.fitness_examples, task.validation_examples, task.test_examples), fewer "
                "starting prompts or fewer final.candidates"
            )
        return needed

    def founding(self, policies: Sequence[Policy]) -> int:
        """Return what these take at most as founders, tokens."""
        further = partial(going_on, self._config.evolution.racing)
        return self.of(policies, self._rungs, further=further)

    def room(self, founders: Sequence[Policy]) -> int | None:
        """Return what the budget has for the search where it starts from these; None without a
        budget.
        """
        return self.left(Ledger(), founders, None, 0)

    @property
    def has_room(self) -> bool:
        """Whether the budget has room for the founders, beside what comes after the search."""
        founders = self._task.starting_policies
        room = self.room(founders)
        return room is None or self.founding(founders) <= room

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
        judges = self._measurer.wanted.verdicts
        asked = {evaluator_of(policy).policy_id for policy in before} if judges else set()
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
        num, asked = self.choice
        num += baseline is None
        part = (0, len(asked)) if len(asked) < len(self._task.validation) else WHOLE
        held = self._held("validation", part, num, pool, baseline)
        return held + self._beyond(pool, baseline, prompt_tokens)

    def _beyond(self, pool: Sequence[Policy], baseline: Policy | None, prompt_tokens: int) -> int:
        """Return what of a reserve is for test and checks, and for the last measurements beside
        them; those of the baseline, and test and checks, are free with a budget in logical tokens.
        """
        if self.is_logical:
            return max(map(self._last, pool), default=0)
        fixed = 0 if baseline is None else 1
        policies = [*([] if baseline is None else [baseline]), *pool]
        checks = self._checks(list(dict.fromkeys(policies)), prompt_tokens)
        return checks + self._held("test", WHOLE, 2 - fixed, pool, baseline)

    def _held(
        self, split: str, part: Part, num: int, pool: Sequence[Policy], baseline: Policy | None
    ) -> int:
        """Return what a part of a split takes at most of so many policies of a pool, and of the
        baseline.
        """
        fixed = [] if baseline is None else [baseline]
        others = [p for p in dict.fromkeys(pool) if p not in fixed]

        def tokens(policy: Policy) -> int:
            beside = self._late(policy) if split == "validation" else self._last(policy)
            return self._tokens(policy, split, part) + beside

        total = sum(map(tokens, fixed)) + sum(nlargest(num, map(tokens, others)))
        evaluators = dict.fromkeys(map(evaluator_of, [*fixed, *others]))
        verdicts = self._verdict_tokens(evaluators, split, part)
        return total + sum(nlargest(num + len(fixed), verdicts))

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
