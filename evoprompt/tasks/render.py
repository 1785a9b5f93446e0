"""(Policy, Example) -> prompt: a text, or the conversation that a chat template makes a text of
(`tasks.chat`). Pure: the same arguments always give the same prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from evoprompt.conversation import Prompt
from evoprompt.examples import said
from evoprompt.policy import Demonstration, Policy, Template
from evoprompt.records import Example, Query, QueryKind
from evoprompt.tasks.chat import beginning, conversation, stands_alone, step_conversation

#: The input that carries no content; it measures what a prompt favours by itself (Zhao et al.
#: 2021).
CONTENT_FREE = "N/A"


def render_prefix(policy: Policy) -> Prompt:
    """Return what all examples share under a policy: the instruction and the demonstrations, each
    followed by the separator.
    """
    if policy.is_chat:
        return beginning(policy, _demonstrations(policy))
    instruction = policy.instruction and policy.instruction + policy.template.separator
    return instruction + _demonstrations(policy)


def _demonstrations(policy: Policy) -> str:
    """Return the demonstrations as they stand in a plain prompt."""
    template = policy.template
    return "".join(
        _input(policy, d.input)
        + template.answer_prefix.removeprefix(_before(template))
        + policy.word(d.target)
        + template.separator
        for d in policy.demonstrations
    )


def _input(policy: Policy, text: str, written: Sequence[str] = ()) -> str:
    """Return an example's input in the policy's template, up to where the answer begins; `written`
    stands after the policy's steps, one each.
    """
    template = policy.template
    asked = template.input_prefix + text + _steps(policy, written)
    return asked + template.output_prefix + _before(template)


def render_answer(policy: Policy, target: str) -> str:
    """Return an answer as it continues the prompt: the spaces that end the template's
    `answer_prefix`, unless it stands alone in its turn, then the label word.

    A prompt ends before spaces, since in most vocabularies a word's token has the space before it.
    """
    template = policy.template
    is_alone = policy.is_chat and stands_alone(policy)
    spaces = "" if is_alone else template.answer_prefix.removeprefix(_before(template))
    return spaces + policy.word(target)


def _before(template: Template) -> str:
    """Return what of `answer_prefix` stands in the prompt."""
    return template.answer_prefix.rstrip(" ")


def _steps(policy: Policy, written: Sequence[str]) -> str:
    """Return the steps that were answered, each on a line and with its answer after it."""
    between = policy.template.answer_prefix
    return "".join(
        f"\n{step}{between}{answer}" for step, answer in zip(policy.steps, written, strict=False)
    )


def render_end(policy: Policy) -> str:
    """Return what ends an answer: the separator up to its first line end, the whole of one that has
    none, or a line end where the separator is blank. A turn is ended by its template: empty.
    """
    if policy.is_chat:
        return ""
    line, line_end, _ = policy.template.separator.partition("\n")
    return line + line_end if line_end or line.strip() else "\n"


def render_stops(policy: Policy) -> tuple[str, ...]:
    """Return the texts of which each ends an answer that is written after the prompt: a line end,
    and what ends the policy's own answers on their line.
    """
    own = render_end(policy).removesuffix("\n")
    return ("\n", own) if own.strip() else ("\n",)


def render_prompt(
    policy: Policy, text: str = "{input}", written: Sequence[str] | None = None
) -> Prompt:
    """Return the whole prompt for one input; by default with placeholders, for people to read."""
    return _renderer(policy)(text, written)


def _renderer(policy: Policy) -> Callable[[str, Sequence[str] | None], Prompt]:
    """Return `render_prompt` of one policy, which makes what all inputs share once."""
    placeholders = [f"{{step {i + 1}}}" for i in range(len(policy.steps))]
    demonstrations = _demonstrations(policy)
    prefix = "" if policy.is_chat else render_prefix(policy)

    def rendered(text: str, written: Sequence[str] | None) -> Prompt:
        shown = placeholders if written is None else written
        if policy.is_chat:
            return conversation(policy, text, _steps(policy, shown), demonstrations)
        return prefix + _input(policy, text, shown)

    return rendered


def render_step(policy: Policy, text: str, written: Sequence[str]) -> Prompt:
    """Return the prompt after which the model writes its answer to the step that follows those
    already written.
    """
    template = policy.template
    steps = _steps(policy, written) + f"\n{policy.steps[len(written)]}"
    if policy.is_chat:
        return step_conversation(policy, text, steps, _demonstrations(policy))
    return render_prefix(policy) + template.input_prefix + text + steps + _before(template)


def render_queries(
    policy: Policy,
    examples: Sequence[Example],
    *,
    with_prior: bool = False,
    with_prompt: bool = False,
    written: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Query, ...]:
    """Return one query per example and candidate, and, where asked, the same continuations after a
    content-free input, and the prompt itself with that input.

    What a query is of, its fields say; their order says nothing. `written` has what stands after
    the policy's steps, by input; without it there are placeholders. Of an example with a `rest`
    each choice stands in the context, and the rest is the continuation. Of a path there are those
    of its moves.
    """
    paths = tuple(q for e in examples if e.path for q in _move_queries(policy, e))
    texts = written or {}
    kinds = [(QueryKind.CANDIDATE, None)] + (
        [(QueryKind.PRIOR, CONTENT_FREE)] if with_prior else []
    )
    rendered, end = _renderer(policy), render_end(policy)
    queries = tuple(
        Query(
            policy_id=policy.policy_id,
            example_id=example.example_id,
            candidate=index,
            kind=kind,
            context=context + answer if example.rest else context,
            continuation=example.rest or answer,
            end=end,
            is_only=example.choices is None and not example.may_go_on,
            is_partial=bool(example.rest),
        )
        for kind, replacement in kinds
        for example in examples
        if not example.path
        for text in [example.input if replacement is None else replacement]
        for context in [rendered(text, texts.get(text))]
        for index, candidate in enumerate(example.candidates)
        for answer in [render_answer(policy, candidate)]
    )
    queries += paths
    if not with_prompt:
        return queries
    whole = render_prompt(policy, CONTENT_FREE, texts.get(CONTENT_FREE))
    return (*queries, Query(policy.policy_id, "", 0, QueryKind.PROMPT, whole, ""))


def _move_queries(policy: Policy, path: Example) -> Iterator[Query]:
    """Yield the queries of a path: of each move the actions, or each instruction that is scored and
    the actions after it. The moves before it stand in the prompt as demonstrations do, after the
    policy's own.
    """
    shown, end = policy.demonstrations, render_end(policy)
    for step, move in enumerate(path.path):
        if move.is_given:
            shown = (*shown, Demonstration(move.state, move.answer))
            continue
        context = render_prompt(replace(policy, demonstrations=shown), move.state)
        asked = partial(Query, policy.policy_id, path.example_id, kind=QueryKind.MOVE, step=step)
        asks = partial(asked, is_partial=True, end=end)
        actions = (move.action, *move.others)
        if not move.scored:
            for n, action in enumerate(actions):
                yield asks(0, context=context, continuation=render_answer(policy, action), answer=n)
        for index, instruction in enumerate(move.sayings):
            begun = render_answer(policy, said(instruction))
            yield asked(index, context=context, continuation=begun)
        for index, instruction in enumerate(move.scored):
            begun = render_answer(policy, said(instruction))
            for n, action in enumerate(actions):
                yield asks(index, context=context + begun, continuation=f" {action}", answer=n)
        shown = (*shown, Demonstration(move.state, move.answer))
