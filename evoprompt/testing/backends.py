"""The contract of a backend. Each function takes a backend and the configuration of a model that it
has, and raises `AssertionError` where the contract is broken.

    from evoprompt.testing.backends import check_backend

    def test_my_backend():
        check_backend(MyBackend(), ModelConfig(name="http://127.0.0.1:8000"))
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from evoprompt.backends.base import Backend, Executor, TextTokenizer, WorkUnit
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.scoring.decoding import Decoding
from evoprompt.scoring.engine import TokenScores
from evoprompt.scoring.gradient import Exchange
from evoprompt.scoring.trie import TokenRequest

#: Texts that a tokenizer has to keep, and that requests are made of.
TEXTS = ("a good film", "Text: the meal was fine\nLabel:", "42 + 1", "x")
#: Nats by which a score may differ with the company in which it is scored.
TOLERANCE = 1e-3


def check_backend(
    backend: Backend, model: ModelConfig, workers: WorkersConfig | None = None
) -> None:
    """Check the whole contract with one executor, which is closed at the end."""
    check_identity(backend, model)
    tokenizer = backend.tokenizer(backend.identify(model))
    check_tokenizer(tokenizer)
    executor = backend.open(model, workers or WorkersConfig(backend="local"))
    try:
        check_info(executor)
        check_scores(executor, tokenizer)
        check_company(executor, tokenizer)
        check_plain(executor, tokenizer)
        check_additivity(executor, tokenizer)
        check_generation(executor, tokenizer)
        check_readout(executor, tokenizer)
        check_gains(executor, tokenizer)
        executor.pin(tokenizer.encode(TEXTS[:1]))
    finally:
        executor.close()
        executor.close()  # a second call does nothing


def check_identity(backend: Backend, model: ModelConfig) -> None:
    """What answers is named, is the same each time, and is known without loading it."""
    first, second = backend.identify(model), backend.identify(model)
    assert first == second, f"identify gave {first} and then {second}"
    assert first.name == model.name, f"identify names {first.name!r}, not {model.name!r}"
    assert first.place, "identify does not say where the weights are"
    assert first.fingerprint, "identify gives no fingerprint"


def check_tokenizer(tokenizer: TextTokenizer) -> None:
    """Tokens are the same for a text in any company, and decode to the text they came from."""
    together = tokenizer.encode(TEXTS)
    alone = [tokenizer.encode([text])[0] for text in TEXTS]
    assert together == alone, "the tokens of a text depend on what is encoded with it"
    for text, tokens in zip(TEXTS, alone, strict=True):
        found = tokenizer.decode(tokens)
        assert found.strip() == text, f"{text!r} comes back as {found!r}"
    [begun], [whole] = tokenizer.encode([TEXTS[1]]), tokenizer.encode([TEXTS[1] + " fine"])
    assert whole[: len(begun)] == begun, "a prompt's tokens are no prefix of prompt and answer"
    assert isinstance(tokenizer.begin_token, int), "begin_token is no token"


def check_info(executor: Executor) -> None:
    """What the driver must know of the model is said."""
    info = executor.info()
    assert info == executor.info(), "info changes from call to call"
    assert info.window > 0, f"the model's window is {info.window} tokens"
    assert info.num_workers > 0, "nobody works"
    for name in ("dtype", "path", "reason", "placement", "device", "arithmetic"):
        assert getattr(info, name), f"info.{name} is empty"


def check_scores(executor: Executor, tokenizer: TextTokenizer) -> None:
    """Each request has a finite log-likelihood of at most 0, the same each time, and counts."""
    requests = _requests(tokenizer)
    told: list[Hashable] = []
    unit = WorkUnit("contract", requests)
    scores = executor.score([unit], lambda key, _: told.append(key))["contract"]
    assert told == ["contract"], f"on_result was called with {told}"
    assert len(scores.log_likelihood) == len(scores.is_greedy) == len(requests)
    assert np.isfinite(scores.log_likelihood).all(), "a log-likelihood is NaN or infinite"
    assert (scores.log_likelihood <= TOLERANCE).all(), "a log-likelihood is above 0"
    assert scores.count.requests == len(requests), f"{scores.count.requests} requests are counted"
    assert scores.count.floor_body_tokens > 0, "the floor of tokens is not counted"
    again = executor.score([unit], lambda *_: None)["contract"]
    np.testing.assert_allclose(again.log_likelihood, scores.log_likelihood, atol=TOLERANCE)


def check_company(executor: Executor, tokenizer: TextTokenizer) -> None:
    """A score does not depend on order, company or the number of units."""
    requests = _requests(tokenizer)
    together = _score(executor, requests)
    backwards = _score(executor, requests[::-1])
    np.testing.assert_allclose(
        backwards.log_likelihood[::-1], together.log_likelihood, atol=TOLERANCE
    )
    units = [WorkUnit(str(i), (request,)) for i, request in enumerate(requests)]
    apart = executor.score(units, lambda *_: None)
    values = [apart[unit.key].log_likelihood[0] for unit in units]
    np.testing.assert_allclose(values, together.log_likelihood, atol=TOLERANCE)


def check_plain(executor: Executor, tokenizer: TextTokenizer) -> None:
    """Sequences that are forwarded one by one have the same scores, where there is such a way."""
    requests = _requests(tokenizer)
    plain = executor.score_plain(requests)
    if plain is not None:
        together = _score(executor, requests)
        np.testing.assert_allclose(plain.log_likelihood, together.log_likelihood, atol=TOLERANCE)
        assert plain.count.requests == len(requests), "the requests are not counted"


def check_additivity(executor: Executor, tokenizer: TextTokenizer) -> None:
    """Log p(ab | c) = log p(a | c) + log p(b | ca)."""
    [tokens] = tokenizer.encode([TEXTS[1]])
    a, b, c = tokens[-2:-1], tokens[-1:], tokens[:-2]
    whole, first, second = _score(
        executor, (TokenRequest(c, a + b), TokenRequest(c, a), TokenRequest(c + a, b))
    ).log_likelihood
    assert abs(whole - first - second) < TOLERANCE, f"{whole} is not {first} + {second}"


def check_generation(executor: Executor, tokenizer: TextTokenizer) -> None:
    """What is written follows from prompt and seed, and is as likely as scoring it says."""
    prompts = tokenizer.encode(TEXTS[:2])
    requests = [Decoding(prompt, 4, 0.0, 0, ()) for prompt in prompts]
    written = executor.generate(requests)
    assert [w.drawn for w in written] == [w.drawn for w in executor.generate(requests)]
    for prompt, result in zip(prompts, written, strict=True):
        assert len(result.drawn) <= 4, "more tokens were written than were asked for"
        if result.tokens:
            scored = _score(executor, (TokenRequest(prompt, result.tokens),)).log_likelihood[0]
            assert abs(scored - result.log_likelihood) < TOLERANCE


def check_readout(executor: Executor, tokenizer: TextTokenizer) -> None:
    """The likeliest next tokens are as likely as scoring says, the likeliest first, where there is
    such a way.
    """
    contexts = tokenizer.encode(TEXTS[:2])
    read = executor.readout(contexts, 3)
    if read is None:
        return
    assert read.tokens.shape == read.log_prob.shape == (2, 3), f"the shape is {read.tokens.shape}"
    assert (np.diff(read.log_prob, axis=1) <= 0).all(), "a likelier token stands after another"
    assert read.count.requests == len(contexts), "the contexts are not counted"
    requests = [
        TokenRequest(context, (int(token),))
        for context, tokens in zip(contexts, read.tokens, strict=True)
        for token in tokens
    ]
    scored = _score(executor, requests).log_likelihood
    np.testing.assert_allclose(read.log_prob.ravel(), scored, atol=TOLERANCE)


def check_gains(executor: Executor, tokenizer: TextTokenizer) -> None:
    """A token gains nothing in its own place, and gains follow the weights, where there is such a
    way.
    """
    requests = _requests(tokenizer)[:4]  # which begin with the same text
    own, *others = (requests[0].context[1], *requests[0].continuation, *requests[1].continuation)
    weights = (1.0, 2.0, 3.0, 4.0)
    found = executor.gains(Exchange(requests, weights, (1,), (own, *others)))
    if found is None:
        return
    assert found.gain.shape == (1, 1 + len(others)), f"the shape is {found.gain.shape}"
    assert found.count.requests == len(requests), "the requests are not counted"
    assert abs(found.gain[0, 0]) < TOLERANCE, "a token in its own place gains something"
    assert np.abs(found.gain[0, 1:]).max() > 0, "nothing gains anything"
    opposite = tuple(-weight for weight in weights)
    negative = executor.gains(Exchange(requests, opposite, (1,), (own, *others)))
    assert negative is not None
    np.testing.assert_allclose(negative.gain, -found.gain, atol=TOLERANCE)


def _requests(tokenizer: TextTokenizer) -> tuple[TokenRequest, ...]:
    """Return requests that share their beginnings, as those of a policy do."""
    contexts = tokenizer.encode([TEXTS[0], TEXTS[0] + "\n" + TEXTS[1], TEXTS[2]])
    answers = tokenizer.encode([" good", " bad"], add_special_tokens=False)
    return tuple(TokenRequest(c, a) for c in contexts for a in answers)


def _score(executor: Executor, requests: Sequence[TokenRequest]) -> TokenScores:
    return executor.score([WorkUnit("contract", tuple(requests))], lambda *_: None)["contract"]
