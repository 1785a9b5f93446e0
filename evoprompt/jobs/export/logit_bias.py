"""A champion as the logit bias of a server."""

from __future__ import annotations

import json

from evoprompt.errors import UserError
from evoprompt.jobs.export.exported import Exported

#: The greatest bias that servers take.
MOST_BIAS = 100.0


def as_logit_bias(exported: Exported) -> str:
    """Return what servers with OpenAI's interface take, as JSON: the bias of the token of each
    label word, o / T nats, so that the likeliest of these tokens is the answer.

    Raises:
        UserError: as `Exported.refuse_without_choices`; a label word has several tokens, answers
            are not compared by likelihood, or a bias is more than servers take.
    """
    exported.refuse_without_choices("logit-bias")
    champion = exported.champion
    if champion.answered_by != "likelihood":
        raise UserError(
            f"answers are compared by '{champion.answered_by}', which differs by input; a logit "
            "bias is the same for all of them: take --to python"
        )
    tokens = {choice: r.continuation for choice, (_, r) in exported.requests.items()}
    for choice, ids in tokens.items():
        if len(ids) > 1:
            raise UserError(
                f"the answer {choice!r} is {len(ids)} tokens of this model "
                f"({list(ids)}, written {exported.words[choice]!r}), and a logit bias is of one: "
                "give it a label word of one token (task.label_words), or take --to python"
            )
    bias = {}
    if exported.alone is not None:
        known = exported.alone
        bias = {choice: known.offsets[choice] / known.temperature for choice in tokens}
    if any(abs(nats) > MOST_BIAS for nats in bias.values()):
        raise UserError(
            f"a bias is more than the {MOST_BIAS:g} that servers take ({bias}); take --to python"
        )
    single = {choice: str(token) for choice, (token,) in tokens.items()}
    found = {
        "prompt": champion.prompt,
        "max_tokens": 1,
        "temperature": 0,
        "logit_bias": {token: bias.get(choice, 0.0) for choice, token in single.items()},
        "allowed_token_ids": [int(token) for token in single.values()],
        "answers": {token: choice for choice, token in single.items()},
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"
