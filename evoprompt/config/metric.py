"""How a written answer counts: the sections `fitness.metric` and `final.metric`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from evoprompt.config.filters import Expression, FilterConfig
from evoprompt.config.task import PolicyConfig
from evoprompt.config.values import NUMBER, Extent, Section


def _stop(text: str) -> str:
    if not text:
        raise ValueError("a stop text is empty, and would end every answer before it begins")
    return text


#: What exact_match may leave out of account.
Ignored = Literal["case", "punctuation", "numbers"]
#: Keys that go with one metric.
OWN_KEYS = {
    "which": "number",
    "options": "choice",
    "judge": "judge",
    "ignore": "exact_match",
    "regexes_to_ignore": "exact_match",
}
#: The metric that a task has itself.
OWN = "own"


class MetricConfig(Section):
    """What the model writes as an answer, and what number that gets: 1 is right, 0 is wrong.

    It is taken where `fitness.kind` is `metric`, in the search and on validation and test; as
    `final.metric` it chooses among the finalists and tests them after a search by likelihood.
    """

    #: exact, exact_match (the LM Evaluation Harness's), normalized (SQuAD's), contains, number,
    #: choice, f1 (of tokens, SQuAD's), rouge_l, judge, own (of task.lm_eval: as the task says), a
    #: plug-in's, or "module:function" of (answer, example) that returns a number, or a number and a
    #: text
    name: str = "exact"
    #: regular expression: the first match's first group, or the match where it has none, is the
    #: answer; where nothing matches the answer is empty
    extract: Expression | None = None
    #: instead of `extract`: filters of the LM Evaluation Harness, one after another
    filters: list[FilterConfig] = []
    ignore: list[Ignored] = []  #: of `exact_match`: what is not compared
    regexes_to_ignore: list[Expression] = []  #: of `exact_match`: what is taken out of both texts
    which: Literal["last", "first"] = "last"  #: of `number`: which of the numbers in the answer
    #: of `choice`: what an answer may be, the first of which in the text is taken; by default the
    #: capital letters A to Z, alone or in parentheses
    options: list[str] = []
    #: of `judge`: the prompt that says TRUE or FALSE of an answer, as a policy's self-evaluation
    #: clause; by default the package's
    judge: PolicyConfig | None = None
    #: that are written at most
    max_tokens: Annotated[int, NUMBER, Field(ge=1, le=4096)] = 24
    #: at which the answer is drawn, by the run's seed and the example; 0 takes the likeliest token
    temperature: Annotated[float, NUMBER, Field(ge=0, le=100)] = 0.0
    #: texts that end an answer; by default a line end, and what ends the prompt's own answers
    stops: list[Annotated[str, AfterValidator(_stop)]] | None = None
    seconds: Extent = 10.0  #: that a function of your own may take for one answer

    @model_validator(mode="after")
    def _own_keys(self) -> Self:
        for key, name in OWN_KEYS.items():
            given = getattr(self, key) != type(self).model_fields[key].default
            if given and self.name != name:
                raise ValueError(f"{key} goes with the metric '{name}', and this is '{self.name}'")
        if any(not option.strip() for option in self.options):
            raise ValueError("options has one that is blank; leave it out")
        if self.filters and self.extract is not None:
            raise ValueError("give either extract or filters")
        return self
