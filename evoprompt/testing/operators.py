"""The contract of an operator, for those of this package and of others.

    from evoprompt.testing.operators import check_operator

    def test_my_operator():
        check_operator(MyOperator())

A child is a valid policy or None, is made of its parents and the materials, differs from its parent
in the operator's slot alone, and follows from the arguments and the generator. Knows nothing of how
children are selected or scored.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import TypeVar

import numpy as np

from evoprompt.policy import SLOTS, Demonstration, Policy, Template
from evoprompt.records import Credit, Materials, Mistake, Tried
from evoprompt.tasks.judge import DEFAULT_EVALUATOR, FALSE, TRUE, evaluator_of
from evoprompt.variation.base import Need, Operator, mistakes, pick, policy_of

T = TypeVar("T")


class ExampleAuthor:
    """Writes what follows from its arguments alone; half of what it writes is a help. Implements
    `authors.Author`.
    """

    def write_input(self, policy: Policy, shown: Sequence[str], seed: int) -> str | None:
        """Return a text that tells the seed."""
        return f"written {seed % 1000}"

    def label(self, policy: Policy, text: str) -> str:
        """Return the first choice."""
        return "a"

    def gain(self, before: Policy, after: Policy, held_out: Sequence[Demonstration]) -> float:
        """Return 1 or 0, by the length of the last demonstration."""
        return float(len(after.demonstrations[-1].input) % 2)


class ExampleWriter:
    """Writes a sentence that tells the seed and the prompt's length; every fifth time nothing.
    Implements `authors.TextWriter`.
    """

    def write(self, prompt: str, seed: int) -> str | None:
        """Return the sentence."""
        return f"Sort {seed % 1000} by {len(prompt)}." if seed % 5 else None


class ExampleReader:
    """Proposes words that follow from the policy alone. Implements `authors.Reader`."""

    def words(self, policy: Policy) -> dict[str, tuple[str, ...]]:
        """Return a word for each choice, and one for both."""
        return {"a": ("upper", "both"), "b": ("lower", "both")}

    def exchanges(self, policy: Policy) -> tuple[Policy, ...]:
        """Return the policy with another first word, where it has one."""
        first, _, rest = policy.instruction.partition(" ")
        others = (f"{word} {rest}".rstrip() for word in ("Order", "Rank"))
        return tuple(replace(policy, instruction=text) for text in others) if first else ()


def example_materials(parents: Sequence[Policy] = ()) -> Materials:
    """Return materials of a task with the choices a and b, with everything that an operator can
    need; what is known of the population is known of these parents.
    """
    judging = Materials(
        phrases=("Doubt.",),
        demonstrations=(
            Demonstration("text 0\nProposed answer: a", TRUE),
            Demonstration("text 0\nProposed answer: b", FALSE),
        ),
        templates=(DEFAULT_EVALUATOR.template, Template("", "\nSo:")),
        label_words={TRUE: (TRUE, "yes"), FALSE: (FALSE, "no")},
        max_demonstrations=2,
        choices=((TRUE, FALSE),),
    )
    return Materials(
        phrases=("Look twice.", "Be kind."),
        demonstrations=tuple(Demonstration(f"text {i}", "ab"[i % 2]) for i in range(16)),
        templates=(Template(), Template("Q: ", "\nA:"), Template("", ":", "\n", "")),
        label_words={"a": ("a", "first", "one"), "b": ("b", "second", "one")},
        max_demonstrations=4,
        steps=("Who?", "Why?", "When?", "Where?"),
        evaluator=judging,
        author=ExampleAuthor(),
        choices=(("a", "b"),),
        credit=Credit({Demonstration("text 0", "a"): 0.5, Demonstration("text 3", "b"): -1.0}, 0.5),
        synonyms=(("sort", "classify"), ("quick", "fast", "swift")),
        reader=ExampleReader(),
        writer=ExampleWriter(),
        history=(Tried(Policy("Sort the mail."), 60), Tried(Policy("Sort."), 40)),
        mistakes=tuple(
            Mistake(p.policy_id, f"asked {i}", *("ab" if i % 2 else "ba"))
            for p in parents
            for i in range(4)
        ),
        chats=("off", "turns", "single"),
    )


def example_policy(rng: np.random.Generator) -> Policy:
    """Return a random policy made of the example materials; each slot is often empty."""
    materials = example_materials()
    clause = Policy("Doubt.", template=Template("", "\nSo:"), label_words=((TRUE, "yes"),))
    return Policy(
        instruction=pick(("", "Sort.", "Sort the mail. Be quick, please."), rng),
        demonstrations=_some(materials.demonstrations, 4, rng),
        template=pick(materials.templates, rng),
        label_words=pick(((), (("a", "first"),), (("a", "one"), ("b", "second"))), rng),
        steps=_some(materials.steps, 3, rng),
        evaluator=pick((None, clause), rng),
        chat=pick(materials.chats, rng),
    )


def check_operator(operator: Operator, cases: int = 200) -> None:
    """Check the whole contract over random example policies, with all materials and with none.

    Raises:
        AssertionError: the contract is broken; the message says in what, and for which parents.
    """
    check_declaration(operator)
    for parents, seed in example_matings(operator, cases):
        check_child(operator, parents, example_materials(parents), seed)
        check_child(operator, parents, Materials(), seed)


def example_matings(operator: Operator, cases: int) -> Iterator[tuple[tuple[Policy, ...], int]]:
    """Yield so many pairs of an operator's parents and the seed of its generator; the same ones
    each time.
    """
    for seed in range(cases):
        rng = np.random.default_rng([seed, 1])
        yield tuple(example_policy(rng) for _ in range(operator.num_parents)), seed


def check_declaration(operator: Operator) -> None:
    """Check that `name`, `num_parents`, `slot` and `needs` are there and mean something."""
    found = mistakes(operator)
    _require(not found, f"{operator!r}: {'; '.join(found)}")


def check_child(
    operator: Operator, parents: Sequence[Policy], materials: Materials, seed: int
) -> None:
    """Check the child that an operator makes of these parents by the generator of a seed."""
    child = child_of(operator, parents, materials, seed)
    if child is None:
        return
    where = f"{operator.name} (seed {seed}) made {child} of {list(parents)}"
    check_valid(child, parents, materials, where)
    check_sources(child, parents, materials, where, written=Need.AUTHOR in operator.needs)
    if operator.slot is not None:
        changed = {s.name for s in SLOTS if _differs(s.name, child, parents[0])}
        _require(changed <= {operator.slot}, f"{where}: its slot is {operator.slot}")


def child_of(
    operator: Operator, parents: Sequence[Policy], materials: Materials, seed: int
) -> Policy | None:
    """Return the child; check that the same arguments always make it, whatever was made between,
    and are left as they were.
    """
    where = f"{operator.name} (seed {seed}) of {list(parents)}"
    before = copy.deepcopy((list(parents), _parts(materials)))
    child, _, again = (
        policy_of(operator.apply(parents, materials, np.random.default_rng(s)))
        for s in (seed, seed + 1, seed)
    )
    _require((list(parents), _parts(materials)) == before, f"{where}: its arguments were changed")
    _require(child == again, f"{where}: not a function of its arguments and the generator")
    _require(child is None or isinstance(child, Policy), f"{where}: {child!r} is no policy")
    return child


def check_valid(
    child: Policy, parents: Sequence[Policy], materials: Materials, where: str = ""
) -> None:
    """Check that a child survives its canonical JSON, shows no more demonstrations than there may
    be, none twice, no step twice, and has a word of its own for each choice.
    """
    again = Policy.from_dict(json.loads(child.canonical_json))
    _require(again == child, f"{where}: its canonical JSON is read as another policy, {again}")
    hash(child)  # a list in the place of a tuple is refused
    shown, most = child.demonstrations, max(len(p.demonstrations) for p in parents)
    _require(
        len(shown) <= max(most, materials.max_demonstrations), f"{where}: too many demonstrations"
    )
    _require(len(set(shown)) == len(shown), f"{where}: it shows a demonstration twice")
    _require(len(set(child.steps)) == len(child.steps), f"{where}: it has a step twice")
    words = [child.word(choice) for choice in materials.label_words]
    _require(len(set(words)) == len(words), f"{where}: two choices have one word")


def check_sources(
    child: Policy,
    parents: Sequence[Policy],
    materials: Materials,
    where: str = "",
    *,
    written: bool = False,
) -> None:
    """Check that what is in a child's slots is a parent's or of the materials.

    The instruction may be any text, which operators write (`check_words` is for those that do
    not), and demonstrations where an author wrote them.
    """
    known = {d for p in parents for d in p.demonstrations} | set(materials.demonstrations)
    _require(written or set(child.demonstrations) <= known, f"{where}: unknown demonstrations")
    templates = [*materials.templates, *(p.template for p in parents)]
    _require(child.template in templates, f"{where}: unknown template")
    banks = [materials.label_words]
    if materials.reader is not None:
        banks += [materials.reader.words(parent) for parent in parents]
    words = {(c, w) for bank in banks for c, some in bank.items() for w in some}
    words |= {pair for p in parents for pair in p.label_words}
    _require(set(child.label_words) <= words, f"{where}: unknown label words")
    steps = {*materials.steps, *(step for p in parents for step in p.steps)}
    _require(set(child.steps) <= steps, f"{where}: unknown steps")
    chats = {*materials.chats, *(p.chat for p in parents)}
    _require(child.chat in chats, f"{where}: unknown rendering")
    if child.evaluator not in [None, *(p.evaluator for p in parents)]:
        _require(materials.evaluator is not None, f"{where}: unknown evaluator")
        judges, judging = [evaluator_of(p) for p in parents], materials.evaluator or Materials()
        check_valid(evaluator_of(child), judges, judging, where)
        check_sources(evaluator_of(child), judges, judging, where)


def check_words(child: Policy, parents: Sequence[Policy], materials: Materials) -> None:
    """Check that each word of a child's instruction, in any case, stands in a parent's, in a phrase
    of the materials or among their synonyms.
    """
    texts = [*materials.phrases, *(p.instruction for p in parents), *chain(*materials.synonyms)]
    unknown = _words(child.instruction) - {word for text in texts for word in _words(text)}
    _require(not unknown, f"{child} has words of neither its parents nor the materials: {unknown}")


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def _differs(slot: str, child: Policy, parent: Policy) -> bool:
    return bool(getattr(child, slot) != getattr(parent, slot))


def _parts(materials: Materials) -> list[object]:
    """Return everything of materials that an operator could change: who writes is not compared."""
    judging = [] if materials.evaluator is None else _parts(materials.evaluator)
    pools = (
        *(materials.phrases, materials.demonstrations, materials.templates, materials.steps),
        *(materials.history, materials.mistakes, materials.choices, materials.synonyms),
    )
    gains = {} if materials.credit is None else materials.credit.gains
    tables = (dict(materials.label_words), dict(gains))
    return [*pools, *tables, materials.max_demonstrations, judging]


def _some(items: Sequence[T], most: int, rng: np.random.Generator) -> tuple[T, ...]:
    chosen = rng.choice(len(items), size=int(rng.integers(most + 1)), replace=False)
    return tuple(items[int(i)] for i in chosen)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
