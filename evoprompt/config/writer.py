"""The section of a configuration that says who writes instructions."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from evoprompt.config.values import NUMBER, Section


class WriterConfig(Section):
    """Who writes instructions, for the operators that have them written."""

    #: a name or a folder as in `model.name`, which runs in this process; None is the model that the
    #: prompts are for
    model: str | None = None
    #: of a server that holds the writer, as in `workers.url`; `model` then names its tokenizer's
    url: str | None = None
    #: whether that server is sent messages (Chat Completions) in place of token ids; `model` is
    #: then its own name for the writer, by default the only one that it lists
    chat: bool = False
    #: whether what the writer takes is taken off the budget
    charged: bool = True
    #: at which it draws; 0 always takes the likeliest token
    temperature: Annotated[float, NUMBER, Field(ge=0, le=100)] = 0.8
    max_tokens: Annotated[int, NUMBER, Field(ge=4, le=2048)] = 64  #: of an instruction

    @model_validator(mode="after")
    def _chat_has_a_server(self) -> Self:
        if self.chat and self.url is None:
            raise ValueError("chat=true is of a server; give its address, writer.url")
        return self
