"""What the model writes after the steps of a policy, one step after another, before the prompt is
whole. Knows nothing of likelihoods.

It writes the likeliest tokens, so what it writes follows from the prompt alone: nothing is written
twice while it is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from evoprompt.backends.base import TextTokenizer
from evoprompt.conversation import Prompt
from evoprompt.measurement.requests import encode_prompts
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Policy
from evoprompt.records import TokenCount
from evoprompt.scoring.trie import TokenRequest, count_rows
from evoprompt.tasks.render import render_step

#: Written at most after a step.
STEP_TOKENS = 24
#: Tokens by which a prompt may grow where what was written is joined to it.
JOIN_SLACK = 16
#: Prompts of which is remembered what was written after them.
REMEMBERED = 8192

#: What stands after the steps of a policy, one text each, by input.
StepAnswers = dict[str, tuple[str, ...]]


class StepWriter:
    """Answers the steps of one policy at a time, so that what is written does not depend on which
    policies are measured together.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._known: dict[Prompt, str] = {}  # what was written, by prompt

    def write(self, policy: Policy, texts: Iterable[str]) -> tuple[StepAnswers, TokenCount]:
        """Return what the model writes after the policy's steps for each input, and what that cost.

        The floor is that of the policy's own prompts, whether they were remembered or not.

        Raises:
            UserError: a prompt is longer than the model's window.
        """
        answers: StepAnswers = dict.fromkeys(texts, ())
        count = TokenCount()
        for _ in policy.steps:
            prompts = {text: render_step(policy, text, done) for text, done in answers.items()}
            count += self._write_new(list(prompts.values()))
            answers = {text: (*done, self._known[prompts[text]]) for text, done in answers.items()}
        for old in list(self._known)[: max(0, len(self._known) - REMEMBERED)]:
            del self._known[old]
        return answers, count

    def _write_new(self, prompts: Sequence[Prompt]) -> TokenCount:
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._known]
        written = self._writer.write(new, max_tokens=STEP_TOKENS) if new else []
        self._known |= {prompt: w.text.strip() for prompt, w in zip(new, written, strict=True)}
        tokenizer = self._writer.tokenizer
        answers = tokenizer.encode([self._known[prompt] for prompt in prompts])
        return replace(
            sum((w.count for w in written), TokenCount()),
            floor_body_tokens=_rows(tokenizer, prompts),
            logical_tokens=sum(map(len, (*encode_prompts(tokenizer, prompts), *answers))),
        )


def blank_answers(policy: Policy, texts: Iterable[str]) -> StepAnswers:
    """Return empty answers to the policy's steps: what is known of the prompts before anything is
    written.
    """
    return {text: ("",) * len(policy.steps) for text in texts}


def most_tokens(tokenizer: TextTokenizer, policy: Policy, texts: Sequence[str]) -> int:
    """Return the tokens that answering a policy's steps, and reading the answers, adds to its own
    prompts with `blank_answers`, at most.

    With k steps, n inputs and T = `STEP_TOKENS`: the distinct prefixes of the prompts of step j,
    each with j answers before it, for j = 0 to k - 1, and the k answers in the whole prompts. 0
    without steps.
    """
    k = len(policy.steps)
    rows = sum(
        _rows(tokenizer, [render_step(policy, text, ("",) * j) for text in texts]) for j in range(k)
    )
    return rows + (k * (k - 1) // 2 + k) * STEP_TOKENS * len(texts)


def most_logical(tokenizer: TextTokenizer, policy: Policy, texts: Sequence[str]) -> int:
    """Return what `most_tokens` is where nothing is shared: every step's prompt, with the answers
    before it and its own.
    """
    total = 0
    for j in range(len(policy.steps)):
        prompts = [render_step(policy, text, ("",) * j) for text in texts]
        total += sum(map(len, encode_prompts(tokenizer, prompts)))
        # the answers before it, its own, and its own in the whole prompt
        total += (j + 2) * STEP_TOKENS * len(texts)
    return total


def _rows(tokenizer: TextTokenizer, prompts: Sequence[Prompt]) -> int:
    return count_rows([TokenRequest(t, (0,)) for t in encode_prompts(tokenizer, prompts)])
