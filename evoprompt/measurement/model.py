"""The configuration of a job -> what asks its model."""

from __future__ import annotations

from collections.abc import Callable

from evoprompt.backends.base import Identity, ModelInfo, TextTokenizer
from evoprompt.backends.open import BACKENDS, in_this_process, open_model
from evoprompt.calibration import LabelCalibration
from evoprompt.choices import COMPARISONS
from evoprompt.config.sections import JobConfig
from evoprompt.errors import UserError
from evoprompt.measurement.answers import Answering
from evoprompt.measurement.asker import Asker
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.requests import chat_template
from evoprompt.measurement.units import Wanted
from evoprompt.measurement.writer import Writer
from evoprompt.policy import Chat
from evoprompt.scoring.load import open_memo
from evoprompt.scoring.memo import Memo
from evoprompt.store.ledger import Ledger


def build_asker(
    config: JobConfig,
    *,
    answer_tokens: int,
    answered_by: str = "likelihood",
    calibration: LabelCalibration | None = None,
    verdict_calibration: LabelCalibration | None = None,
    answering: Answering | None = None,
) -> Asker:
    """Return what asks a configuration's model one thing after another, without a fleet and MLflow.

    Args:
        config: of any job.
        answer_tokens: written at most for an answer.
        answered_by: how choices are compared, a name of `choices.COMPARISONS`.
        calibration: of the answers.
        verdict_calibration: of the verdicts.
        answering: how answers are written, where a run graded them; instead of `answer_tokens`.
    """
    alone = in_this_process(config)
    model = open_model(alone)
    writer, opener = Writer(model.tokenizer, model.executor), memo_opener(alone, model.identity)
    wanted = Wanted(prior=COMPARISONS[answered_by].beyond_prior)
    measurer = Measurer(model.tokenizer, model.executor, wanted, open_memo=opener, writer=writer)
    return Asker(
        measurer,
        writer,
        Ledger(),
        answer_tokens=answer_tokens,
        answered_by=answered_by,
        calibration=calibration,
        verdict_calibration=verdict_calibration,
        answering=answering,
    )


def chats_of(mode: str, tokenizer: TextTokenizer) -> tuple[tuple[Chat, ...], list[str]]:
    """Return how each starting policy is rendered, and notes on the chat template where one is
    used, a sentence each.

    Args:
        mode: `model.chat` of a configuration.
        tokenizer: of the model.

    Raises:
        UserError: the model has no chat template, or one that refuses turns; with `auto` only
            where the template cannot be used at all.
    """
    if mode == "off" or (mode == "auto" and getattr(tokenizer, "chat", None) is None):
        return ("off",), []
    template = chat_template(tokenizer)
    if mode == "auto":
        return ("off", "turns" if template.takes_answers else "single"), template.notes
    if mode == "turns" and not template.takes_answers:
        raise UserError(
            "model.chat=turns makes demonstrations turns of answers, and the model's chat template "
            "has none; set model.chat=single"
        )
    return (mode,), template.notes  # type: ignore[return-value]  # as the configuration checked


def memo_opener(config: JobConfig, identity: Identity) -> Callable[[ModelInfo], Memo] | None:
    """Return what opens the memo once the model is loaded, or None where it is off.

    The package's backends give the same bits for the same weights; one of a plug-in may not, so its
    scores are kept apart.
    """
    own = config.workers.backend in BACKENDS
    fingerprint = identity.fingerprint + ("" if own else f" {config.workers.backend}")

    def memo(info: ModelInfo) -> Memo:
        how = {
            "dtype": info.dtype,
            "device": info.device,
            "arithmetic": info.arithmetic,
            "path": info.path,
        }
        return open_memo(
            fingerprint,
            **how,
            chunk_tokens=info.chunk_tokens,
            threads=config.workers.threads,
        )

    return memo if config.model.memo else None
