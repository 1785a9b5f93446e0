"""(Policy, Example) -> text. Pure: the same arguments always give the same prompt."""

from __future__ import annotations

from collections.abc import Sequence

from evoprompt.policy import Policy
from evoprompt.records import Example, Query, QueryKind

#: The input that carries no content; it measures what a prompt favours by itself (Zhao et al. 2021).
CONTENT_FREE = "N/A"


def render_prefix(policy: Policy) -> str:
    """Return what all examples share under a policy: the instruction and the demonstrations, each followed by the separator."""
    template = policy.template
    blocks = [policy.instruction] if policy.instruction else []
    blocks += [render_input(policy, d.input) + render_answer(policy, d.target) for d in policy.demonstrations]
    return "".join(block + template.separator for block in blocks)


def render_input(policy: Policy, text: str) -> str:
    """Return an example's input in the policy's template, up to where the answer begins."""
    return policy.template.input_prefix + text + policy.template.output_prefix


def render_answer(policy: Policy, target: str) -> str:
    """Return an answer as it continues the prompt: a space, then the label word."""
    return " " + policy.word(target)


def render_prompt(policy: Policy, text: str = "{input}") -> str:
    """Return the whole prompt for one input; by default with a placeholder, for people to read."""
    return render_prefix(policy) + render_input(policy, text)


def render_queries(policy: Policy, examples: Sequence[Example], *, with_prior: bool = False) -> tuple[Query, ...]:
    """Return one query per example and candidate, and, where asked, the same continuations after a content-free input.

    Order: example, then candidate; the prior's queries after all others.
    """
    kinds = [(QueryKind.CANDIDATE, None)] + ([(QueryKind.PRIOR, CONTENT_FREE)] if with_prior else [])
    return tuple(
        Query(
            policy_id=policy.policy_id,
            example_id=example.example_id,
            candidate=index,
            kind=kind,
            context=render_prompt(policy, example.input if replacement is None else replacement),
            continuation=render_answer(policy, candidate),
        )
        for kind, replacement in kinds
        for example in examples
        for index, candidate in enumerate(example.candidates)
    )
