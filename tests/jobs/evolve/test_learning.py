"""Labels that are bought at the end, worked by hand, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from evoprompt.jobs.evolve import learning
from evoprompt.jobs.evolve.budget import Costs
from evoprompt.policy import Policy
from evoprompt.records import Example

CHAMPION, BASELINE = Policy("best"), Policy("first")
EXAMPLES = tuple(Example(f"e{n}", f"text {n}", "good", ("good", "bad")) for n in range(4))


class Left(Costs):
    """25 tokens, of which an example takes ten; weighing none is an error, as it is of a policy."""

    def __init__(self) -> None:
        self.is_logical, self._measurer = False, self

    def weigh(self, policy: Policy, examples: Sequence[Example]) -> SimpleNamespace:
        assert examples
        return SimpleNamespace(rows=10 * len(examples))

    def unspent(self, ledger: object, finalists: object, prompt_tokens: int) -> int:
        return 25


def test_a_champion_that_has_met_all_leaves_labels_to_the_baseline(monkeypatch):
    """All four examples are measured of the champion and two of the baseline: 25 tokens are left
    and an example takes ten, so both others are bought of the baseline and nothing of the champion.
    """
    bought = {}

    def measure(measurer, policies, asked, ledger, phase, watcher):
        bought[policies[0]] = [e.example_id for e in asked]
        return {policies[0].policy_id: "more"}

    monkeypatch.setattr(learning, "measure", measure)
    parts = SimpleNamespace(
        calibrator=SimpleNamespace(is_used=True),
        costs=Left(),
        measurer=SimpleNamespace(without_verdicts=lambda: None, fits=lambda p, e: True),
        task=SimpleNamespace(
            choices=("good", "bad"), validation=(), fitness=EXAMPLES, spare=(), pool=()
        ),
        config=SimpleNamespace(final=SimpleNamespace(labels=100)),
    )
    met = {CHAMPION: 4, BASELINE: 2}
    journal = SimpleNamespace(num_measured=met.__getitem__, ledger=None, longest_prompt=10)
    none = SimpleNamespace(gold=np.zeros(0, dtype=np.int64))
    validated = {p.policy_id: none for p in met}
    watcher = SimpleNamespace(phase=lambda name, num: None)
    found = learning.learn_more(parts, journal, CHAMPION, BASELINE, validated, watcher)
    assert bought == {BASELINE: ["e2", "e3"]}
    assert found == {CHAMPION.policy_id: (none,), BASELINE.policy_id: (none, "more")}
