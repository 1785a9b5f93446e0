"""A policy that hangs on a word of its instruction is found brittle, and one that does not is not;
a search for harm finds the word.
"""

from __future__ import annotations

import pytest
from toys.instant import ByteTokenizer
from toys.keyed import CUE, KeyedExecutor

from evoprompt.config.sections import JobConfig
from evoprompt.jobs.base import Champion
from evoprompt.jobs.robustness.analysis import Findings, findings_of
from evoprompt.jobs.robustness.attack import distance, search
from evoprompt.jobs.robustness.config import AttackConfig, RobustnessConfig
from evoprompt.jobs.robustness.loop import measure_unit
from evoprompt.jobs.robustness.record import ATTACK, Cell
from evoprompt.jobs.robustness.study import CHAMPION, Study, Subject
from evoprompt.measurement.asker import Asker
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Policy
from evoprompt.records import Example, Materials
from evoprompt.store.ledger import Ledger
from evoprompt.tasks.banks import GENERAL_SYNONYMS, GENERAL_TEMPLATES
from evoprompt.tasks.base import Task
from evoprompt.variation.perturbations import Sources

SEEDS = range(20)
POLICY = Policy("Decide which label fits the text.")
SOURCES = Sources(
    Materials(templates=GENERAL_TEMPLATES, choices=(("good", "bad"),), synonyms=GENERAL_SYNONYMS),
    label_synonyms={"bad": ("poor",)},
)


def examples(num: int) -> tuple[Example, ...]:
    return tuple(
        Example(f"e{n}", f"{n} {('fine', CUE)[n % 2]}", ("good", "bad")[n % 2], ("good", "bad"))
        for n in range(num)
    )


def found_in(
    key: str, seed: int, favour: float = 0.0, freed: bool = False
) -> tuple[Findings, list[Cell]]:
    """What is found of a policy whose model needs a key in the prompt."""
    names = ("label_synonyms", "paraphrase", "typos", "distractor", "casing")
    attack = AttackConfig(edits=2, candidates=8, freed=freed)
    config = RobustnessConfig(run="run", seed=seed, sources=names, draws=3, attack=attack)
    task = Task("toy", (), examples(4), examples(8), examples(16), (POLICY,))
    subject = Subject(CHAMPION, POLICY, None)
    champion = Champion(JobConfig(), POLICY, None)
    parts = (task, champion, (subject,), SOURCES, task.test, task.validation, ())
    study = Study(config, *parts)
    tokenizer, executor = ByteTokenizer(), KeyedExecutor(key, favour)
    asker = Asker(Measurer(tokenizer, executor), Writer(tokenizer, executor), Ledger())
    cells: list[Cell] = []
    for own, source in study.units:
        cells += measure_unit(study, asker, own, source, cells)[0]
    return findings_of(cells, seed), cells


@pytest.mark.parametrize("seed", SEEDS)
def test_the_planted_flaw_is_found_and_persists_with_other_words(seed: int):
    findings, cells = found_in("Decide", seed)
    [plain] = findings.plain
    assert plain.accuracy == 1
    effects = {e.source: e for e in findings.effects}
    # without the key half of the answers are wrong, the bad ones
    assert effects[ATTACK].is_brittle
    assert effects[ATTACK].drop.value == 0.5
    [attack] = [cell for cell in cells if cell.source == ATTACK]
    assert "Decide" not in attack.policy["instruction"]
    assert attack.edits
    assert not effects["label_synonyms"].is_brittle
    [kept] = findings.persistence
    assert kept.num_flipped == 8
    assert (kept.share.value, kept.twin.value) == (1, 0)  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_policy_without_the_flaw_is_not_brittle(seed: int):
    findings, cells = found_in("", seed)
    assert len(findings.effects) == 6
    assert [e.is_brittle for e in findings.effects] == [False] * 6
    assert {e.flip_rate.value for e in findings.effects} == {0}
    [kept] = findings.persistence
    assert (kept.num_flipped, kept.share) == (0, None)
    # nothing does harm, so nothing is changed
    [attack] = [cell for cell in cells if cell.source == ATTACK]
    assert (attack.edits, attack.policy) == ((), POLICY.to_dict())


@pytest.mark.parametrize("seed", range(5))
def test_a_favour_that_moves_is_told_from_what_is_read(seed: int):
    """Without its key the model favours good by three nats, and tells inputs apart as before."""
    findings, cells = found_in("Decide", seed, favour=3.0)
    [attack] = [e for e in findings.effects if e.source == ATTACK]
    assert (attack.drop.value, attack.freed_drop.value) == (0.5, 0)
    assert (attack.is_brittle, attack.is_brittle_freed) == (True, False)
    _, cells = found_in("Decide", seed, favour=3.0, freed=True)
    assert [cell.edits for cell in cells if cell.source == ATTACK] == [()]
    # power twin: where less is read, that is found too
    _, cells = found_in("Decide", seed, freed=True)
    assert all(cell.edits for cell in cells if cell.source == ATTACK)


def test_an_attack_stays_within_its_bounds():
    def worth(policy: Policy) -> float:
        return -float(len(policy.instruction))  # the longer the worse

    def tokens(policy: Policy) -> list[int]:
        return list(policy.instruction.encode())

    for bound in (5, 20, 60):
        config = AttackConfig(edits=3, candidates=6, tokens=bound)
        policy, edits = search(POLICY, SOURCES, config, 1, worth, tokens)
        assert 1 <= len(edits) <= 3
        assert 0 < distance(tokens(POLICY), tokens(policy)) <= bound
        again = search(POLICY, SOURCES, config, 1, worth, tokens)
        assert again == (policy, edits)


def test_each_source_has_its_turn_in_an_attack():
    tried: list[Policy] = []

    def worth(policy: Policy) -> float:
        tried.append(policy)
        return 0.0

    config = AttackConfig(edits=1, candidates=3, sources=("format", "distractor", "typos"))
    assert search(POLICY, SOURCES, config, 5, worth, lambda policy: [0] * 300)[1] == ()
    [first, *others] = tried
    assert first == POLICY
    assert sum(p.template != POLICY.template for p in others) == 1
    changed = [p.instruction for p in others if p.instruction != POLICY.instruction]
    assert len(changed) == 2
    assert sum(POLICY.instruction in text for text in changed) == 1  # a sentence more


def test_tokens_that_differ_are_counted_once():
    assert distance((1, 2, 3, 4), (1, 9, 9, 9, 3)) == 3 + 1  # 2 -> 9 9 9, and 4 left out
    assert distance((1, 2), (1, 2)) == 0
