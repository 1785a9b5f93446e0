"""A written answer and a right one -> how right it is, from 0 to 1. Pure; no model.

A new metric is a function here and a line in `METRICS`. Where an example has several right answers
the best counts (`fitness.grading`).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from importlib import import_module
from typing import Any

from evoprompt.config.metric import MetricConfig
from evoprompt.errors import UserError

#: An answer and a right one -> from 0 to 1.
Metric = Callable[[str, str], float]

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)
DIGITS = str.maketrans("", "", string.digits)
#: A number in a text; a sign counts where no word or number stands right before it.
NUMBER = re.compile(
    r"(?:(?<![\w)])[-+])?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?=\.\d))(?:\.\d+)?(?:[eE][-+]?\d{1,4})?"
)
MINUS = "\u2212"  #: as typesetters write it
#: A letter that is an answer: in parentheses, before a sign that ends it, or alone.
LETTERS: tuple[re.Pattern[str], ...] = (
    re.compile(r"\(([A-Z])\)"),
    re.compile(r"(?<![\w'])([A-Z])(?=[).:,]|\s*$)"),
    re.compile(r"(?<![\w'])([A-Z])(?!\w)"),
)


def normalized_text(text: str) -> str:
    """Return a text in small letters, without punctuation and the articles a, an and the, and with
    single spaces. Source: the evaluation of SQuAD (Rajpurkar et al. 2016).
    """
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def exact(answer: str, gold: str) -> float:
    """Return 1 where the answer is the right one but for outer white space."""
    return float(answer.strip() == gold.strip())


def exact_match_metric(config: MetricConfig) -> Metric:
    """Return what gives 1 where both are one text after what is to be ignored is taken out of them;
    outer white space of either does not count. Source: `lm_eval.api.metrics`, which has it from the
    package evaluate.
    """

    def plain(text: str) -> str:
        text = text.strip()
        for pattern in config.regexes_to_ignore:
            text = re.sub(pattern, "", text)
        text = text.lower() if "case" in config.ignore else text
        text = text.translate(PUNCTUATION) if "punctuation" in config.ignore else text
        return text.translate(DIGITS) if "numbers" in config.ignore else text

    return lambda answer, gold: float(plain(answer) == plain(gold))


def normalized(answer: str, gold: str) -> float:
    """Return 1 where both are the same text normalized; of a right answer of which nothing would be
    left ("A", "%"), in small letters without outer white space.
    """
    if not (right := normalized_text(gold)):
        return float(answer.strip().lower() == gold.strip().lower())
    return float(normalized_text(answer) == right)


def contains(answer: str, gold: str) -> float:
    """Return 1 where the right answer stands in the answer as whole words, both normalized; what
    is left empty by that has to stand there as it is.
    """
    if not (right := normalized_text(gold)):
        return float(gold.strip() in answer)
    return float(f" {right} " in f" {normalized_text(answer)} ")


def f1(answer: str, gold: str) -> float:
    """Return 2 P R / (P + R) of the tokens of both, normalized, with P the share of the answer's
    tokens that the right one has too, R the other way round; 0 where they share none, and
    `normalized` where one has no token. Source: as `normalized_text`.
    """
    written, right = normalized_text(answer).split(), normalized_text(gold).split()
    if not written or not right:
        return normalized(answer, gold)
    shared = sum((Counter(written) & Counter(right)).values())
    return 2 * shared / (len(written) + len(right))


def numbers(text: str) -> list[Decimal]:
    """Return the numbers in a text, in order: `1,000` is 1000, `1000.0` too."""
    return [Decimal(n.replace(",", "")) for n in NUMBER.findall(text.replace(MINUS, "-"))]


def number_metric(config: MetricConfig) -> Metric:
    """Return what gives 1 where the last (or the first) number of the answer is that of the right
    one, exactly; 0 where the answer has none.
    """
    place = -1 if config.which == "last" else 0

    def number(answer: str, gold: str) -> float:
        found, right = numbers(answer), numbers(gold)
        if not right:
            raise ValueError(f"the right answer {gold!r} has no number")
        return float(bool(found) and found[place] == right[place])

    return number


def choice_metric(config: MetricConfig) -> Metric:
    """Return what gives 1 where the first option that stands in the answer, as whole words and in
    any case, is the one of the right answer; 0 where none does. Letters are looked for in
    parentheses first, then before a sign that ends them.
    """
    patterns, options = LETTERS, sorted(config.options, key=len, reverse=True)
    if options:
        either = "|".join(re.escape(option.strip()) for option in options)
        patterns = (re.compile(rf"(?<!\w)({either})(?!\w)", re.IGNORECASE),)

    def option_of(text: str) -> str | None:
        matches = (pattern.search(text) for pattern in patterns)
        return next((found[1].lower() for found in matches if found), None)

    def choice(answer: str, gold: str) -> float:
        if (right := option_of(gold)) is None:
            raise ValueError(f"the right answer {gold!r} has none of the options")
        return float(option_of(answer) == right)

    return choice


@cache
def _rouge_scorer() -> Any:
    try:
        package = import_module("rouge_score.rouge_scorer")
    except ImportError:
        raise UserError(
            "the metric 'rouge_l' needs the package rouge-score, which is not installed here: "
            "pip install 'evoprompt[rouge]'; or take the metric f1"
        ) from None
    return package.RougeScorer(["rougeL"], use_stemmer=False)


def rouge_l(answer: str, gold: str) -> float:
    """Return the F measure of the longest common subsequence of words, without stemming. Source:
    Lin 2004, by the package rouge-score.

    Raises:
        UserError: the package is not installed.
    """
    return float(_rouge_scorer().score(gold, answer)["rougeL"].fmeasure)


#: Every metric of the package that a function of an answer and a right one gives.
METRICS: Mapping[str, Callable[[MetricConfig], Metric]] = {
    "exact": lambda _: exact,
    "exact_match": exact_match_metric,
    "normalized": lambda _: normalized,
    "contains": lambda _: contains,
    "number": number_metric,
    "choice": choice_metric,
    "f1": lambda _: f1,
    "rouge_l": lambda _: rouge_l,
}


def best(metric: Metric, answer: str, golds: Sequence[str]) -> float:
    """Return what the metric gives with the right answer that suits the answer best."""
    return max(metric(answer, gold) for gold in golds)
