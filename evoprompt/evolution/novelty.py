"""What a policy is known as: a child that is known as one that was scored already is not new."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable
from typing import Literal

from evoprompt.policy import Policy

Novelty = Literal["id", "set"]


class Names:
    """What policies are known as: those of before, wherever they are kept, and what is added.

    Args:
        before: is not changed.
        own: what is added at once.
    """

    def __init__(self, before: Container[str], own: Iterable[str] = ()) -> None:
        self._before, self._own = before, set(own)

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._before

    def update(self, names: Iterable[str]) -> None:
        """Add names."""
        self._own.update(names)


def known_as(policy: Policy, novelty: Novelty) -> str:
    """Return by what a policy is looked up among those that were scored.

    Args:
        policy: any.
        novelty: `id`: by its content alone, which is its id. `set`: by its content in small letters
            with each run of white space as one space, demonstrations as a set; so policies are
            known as one that differ in order, case or white space only. Steps are in their order.
    """
    return policy.policy_id if novelty == "id" else _digest(_content(policy))


def _content(policy: Policy) -> list[object]:
    template = policy.template
    around = (template.input_prefix, template.output_prefix, template.answer_prefix)
    return [
        _plain(policy.instruction),
        sorted([_plain(d.input), _plain(d.target)] for d in policy.demonstrations),
        [*map(_plain, around), _plain(template.separator)],
        sorted([choice, _plain(word)] for choice, word in policy.label_words),
        [_plain(step) for step in policy.steps],
        None if policy.evaluator is None else _content(policy.evaluator),
    ]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _digest(content: list[object]) -> str:
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
