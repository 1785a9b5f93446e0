"""A dialogue with a champion: inputs in, answers out, each with how sure the model is and what its
self-evaluation says.

Knows what was said so far and what the next prompt shows of it: the policy's own demonstrations,
then the turns of the dialogue. Does not know where lines come from, how a reply is shown, or where
feedback goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp

from evoprompt.errors import UserError, nearest
from evoprompt.jobs.play.speaker import Measure, Speaker
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Example
from evoprompt.recurrence.evaluator import confidence_log_odds
from evoprompt.seeding import Stream, generator

#: Options of an input for which the task has no choices: the first different ones of so many draws,
#: at this temperature.
NUM_OPTIONS, NUM_DRAWS, TEMPERATURE = 4, 8, 0.8


@dataclass(frozen=True, slots=True)
class Offer:
    """What a task lets its policies answer."""

    #: what every input is offered; None where the model writes the options
    choices: tuple[str, ...] | None = None
    #: whether the answer is the likeliest of what is offered, as in a task with choices; else it is
    #: what the model writes first
    compares: bool = False
    refusal: str | None = None  #: the answer that holds a question for nonsense


@dataclass(frozen=True, slots=True)
class Player:
    """A champion, as it is played with."""

    policy: Policy
    evaluator: Policy | None  #: what judges an answer; None judges by the answer's own probability
    offer: Offer
    among_rivals: bool = False  #: whether it judges an answer against the others that were possible
    threshold: float = 0.0  #: log-odds from which on the self-evaluation says TRUE
    #: probability of an answer under which the policy does not give it
    abstain_below: float | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """An answer that was possible."""

    text: str
    probability: float  #: among all options; in free form per token
    log_likelihood_per_token: float  #: nats


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for an input."""

    number: int  #: of the input in this session, from 1
    input: str
    options: tuple[Option, ...]  #: the policy's answer first
    chosen: int  #: index of the answer given: the policy's, until the user chooses another
    log_odds: float  #: that the answer is right, by the self-evaluation, nats
    forgotten: int  #: earliest turns of the dialogue that did not fit the model's window any more

    @property
    def answer(self) -> Option:
        """The answer given."""
        return self.options[self.chosen]

    @property
    def probability_right(self) -> float:
        """Of the answer, by the self-evaluation: 1 / (1 + exp(-log_odds))."""
        return 1 / (1 + exp(-min(max(self.log_odds, -700.0), 700.0)))


class Dialogue:
    """A dialogue as it goes on. A turn stays in it with the answer that was given, or with the
    right one where the user told it.

    Args:
        player: answers.
        speaker: the model.
        seed: of the options that the model writes; the same inputs and choices give the same
            session.
    """

    def __init__(self, player: Player, speaker: Speaker, seed: int) -> None:
        self.player = player
        self._speaker = speaker
        self._seed = seed
        self._past: list[Demonstration] = []  # turns before the current one
        self._shown: Demonstration | None = None  # the current turn as later ones will see it
        self._is_marked = False  # the user said what the current turn's answer is
        self._attempt = 0  # at the options of the current turn
        self._number = 0  # of the current turn
        self._reply: Reply | None = None

    @property
    def reply(self) -> Reply:
        """The latest reply of this dialogue.

        Raises:
            UserError: there is none.
        """
        if self._reply is None:
            raise UserError(
                "there is no answer yet; give an input first (/say TEXT gives any text as an input)"
            )
        return self._reply

    @property
    def num_options(self) -> int:
        """How many options there are to choose from by number; 0 where the task has choices."""
        return (
            len(self._reply.options)
            if self._reply is not None and self.player.offer.choices is None
            else 0
        )

    def say(self, text: str) -> Reply:
        """Return the reply to an input. The turn before it stays in the dialogue.

        Raises:
            UserError: the prompt does not fit the model's window, or the model writes nothing; the
                dialogue is as it was then.
        """
        past = [*self._past, *([self._shown] if self._shown is not None else [])]
        reply = self._ask(text, past, self._number + 1, 0)
        self._past, self._number, self._attempt, self._is_marked = past, reply.number, 0, False
        return self._give(reply)

    def again(self) -> Reply:
        """Return the reply with other options. What the user said of the answer before stays in the
        dialogue until he chooses one.

        Raises:
            UserError: as `say`; there is no reply yet, or the task has choices.
        """
        text = self.reply.input
        if self.player.offer.choices is not None:
            raise UserError(
                "the choices are the task's, and no others are written; /again goes with tasks "
                "whose answers are free text"
            )
        self._attempt += 1
        return self._give(self._ask(text, self._past, self._number, self._attempt))

    def choose(self, number: int) -> Reply:
        """Return the reply with another of its options as the answer, which goes into the
        dialogue.
        """
        chosen = self.reply.options[number]
        self._is_marked = False
        return self._give(
            replace(
                self.reply,
                chosen=number,
                log_odds=self._log_odds(self.reply.input, chosen, self.reply.options),
            )
        )

    def mark(self, is_right: bool, target: str | None = None) -> str | None:
        """Take what the user says of the answer into the dialogue; return the right answer, where
        it is known now.

        A wrong answer leaves the dialogue, or the right one takes its place. Of two choices the
        other one is right.

        Raises:
            UserError: the target is not among the choices, or is the answer.
        """
        answer, choices = self.reply.answer.text, self.player.offer.choices
        if is_right:
            target = answer
        elif target is not None:
            target = matching(target, choices) if choices is not None else target
            if target == answer:
                raise UserError(
                    f"'{target}' is the answer that was given; say good where it is right"
                )
        elif choices is not None and len(choices) == 2:
            target = choices[1 - choices.index(answer)]
        self._shown, self._is_marked = (
            (Demonstration(self.reply.input, target) if target is not None else None),
            True,
        )
        return target

    def begin_anew(self) -> None:
        """Forget all turns."""
        self._past, self._shown, self._is_marked, self._reply = [], None, False, None

    def prompt(self) -> str:
        """Return the prompt of the latest input, or that of any where there is none yet."""
        if self._reply is None:
            return self._speaker.shown(self.player.policy)
        return self._speaker.prompt(
            self._remembering(self._past[self._reply.forgotten :]), self._reply.input
        )

    def _give(self, reply: Reply) -> Reply:
        self._reply = reply
        if not self._is_marked:
            self._shown = Demonstration(reply.input, reply.answer.text)
        return reply

    def _remembering(self, turns: Sequence[Demonstration]) -> Policy:
        policy = self.player.policy
        return replace(policy, demonstrations=(*policy.demonstrations, *turns))

    def _ask(self, text: str, past: Sequence[Demonstration], number: int, attempt: int) -> Reply:
        offer = self.player.offer
        named = offer.choices or ((offer.refusal,) if offer.refusal is not None else ())
        fitting = (
            f
            for f in range(len(past))
            if self._speaker.fits(self._remembering(past[f:]), text, named)
        )
        forgotten = next(fitting, len(past))
        policy = self._remembering(past[forgotten:])
        answers = offer.choices or self._options(policy, text, number, attempt)
        options = weigh(
            answers,
            self._speaker.measure(policy, text, answers),
            compares=offer.compares,
            keep_first=not (offer.compares or attempt),
        )
        return Reply(number, text, options, 0, self._log_odds(text, options[0], options), forgotten)

    def _options(self, policy: Policy, text: str, number: int, attempt: int) -> tuple[str, ...]:
        """Return different answers that the model writes, the refusal last; the first attempt
        begins with the likeliest tokens' answer.
        """
        refusal = self.player.offer.refusal
        last = (refusal,) if refusal is not None else ()
        seeds = [
            int(s)
            for s in generator(self._seed, Stream.PLAY, number, attempt).integers(
                2**31, size=NUM_DRAWS
            )
        ]
        written = (
            self._speaker.write(policy, text, temperature=0.0, seeds=[0]) if attempt == 0 else []
        )
        written += self._speaker.write(policy, text, temperature=TEMPERATURE, seeds=seeds)
        different = [t for t in dict.fromkeys(written) if t and t not in last]
        found = (*different[: NUM_OPTIONS - len(last)], *last)
        if not found:
            raise UserError("the model writes nothing after this input; say it in other words")
        return found

    def _log_odds(self, text: str, option: Option, options: Sequence[Option]) -> float:
        if self.player.evaluator is not None:
            rivals = [o.text for o in options if o != option] if self.player.among_rivals else []
            return self._speaker.log_odds(self.player.evaluator, text, option.text, rivals)
        return float(confidence_log_odds(option.probability))


def weigh(
    answers: Sequence[str], measures: Sequence[Measure], *, compares: bool, keep_first: bool
) -> tuple[Option, ...]:
    """Return the options by probability, the greatest first.

    With l_c the log-likelihood of answer c, p_c its prior and n_c its tokens, the probability is
    exp(l_c - p_c) / sum_c exp(l_c - p_c) where answers are compared with each other, and exp(l_c /
    n_c) where they are not. Equal ones keep their order.

    Args:
        answers: different ones.
        measures: of each.
        compares: see above.
        keep_first: whether the first answer stays the first, whatever its probability.
    """
    beyond = [m.log_likelihood - m.prior for m in measures]
    best = max(beyond)
    total = sum(exp(b - best) for b in beyond)
    per_token = [m.log_likelihood / max(1, m.num_tokens) for m in measures]
    probability = [
        exp(b - best) / total if compares else exp(p)
        for b, p in zip(beyond, per_token, strict=True)
    ]
    options = [Option(a, p, t) for a, p, t in zip(answers, probability, per_token, strict=True)]
    cut = 1 if keep_first else 0
    first, rest = options[:cut], options[cut:]
    return (*first, *sorted(rest, key=lambda o: -o.probability))


def offer_of(examples: Sequence[Example]) -> Offer:
    """Return what a task's examples let its policies answer.

    Where their choices differ, the one choice that all of them have is the refusal: no other answer
    suits every question.
    """
    if not examples or any(e.choices is None for e in examples):
        return Offer()
    offered = {frozenset(e.candidates) for e in examples}
    if len(offered) == 1:
        return Offer(choices=examples[0].choices, compares=True)
    common = frozenset.intersection(*offered)
    return Offer(compares=True, refusal=min(common) if len(common) == 1 else None)


def why_abstain(player: Player, reply: Reply) -> str | None:
    """Return why the policy would not give its answer, or None where it would."""
    if player.abstain_below is not None and reply.answer.probability < player.abstain_below:
        return (
            f"the answer's probability {reply.answer.probability:.3f} is below "
            f"{player.abstain_below:g}"
        )
    if reply.log_odds < player.threshold:
        return "the self-evaluation says FALSE"
    return None


def matching(given: str, choices: Sequence[str]) -> str:
    """Return the choice that was meant: letter case and outer spaces aside.

    Raises:
        UserError: it is none of them.
    """
    for choice in choices:
        if choice.strip().lower() == given.strip().lower():
            return choice
    raise UserError(f"'{given}' is not among the choices; {nearest(given, choices)}")
