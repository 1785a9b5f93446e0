"""What a user of `evoprompt play` types, and what is shown to him. Pure: text in, text out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from evoprompt.errors import UserError, nearest
from evoprompt.jobs.play.dialogue import Player, Reply, why_abstain

#: Characters of the bar of a probability of 1.
BAR = 24

HELP = r"""any line          an input; the champion answers it
any line \        the input goes on in the next line
good              the answer is right
wrong             the answer is wrong, and leaves the dialogue
wrong: ANSWER     the answer is wrong, and this right one takes its place
/note TEXT        keep a note on the answer
0, 1, 2, ...      choose one of the options that the model wrote
/again            have it write other options
/go               go on with the answer as the next input, as in a story
/say TEXT         give a text as an input that would be taken for a command
/new              begin a new dialogue; earlier turns are forgotten
/prompt           show the whole prompt of the latest input
/help, /quit"""


class Act(StrEnum):
    """What a line asks for."""

    SAY = "say"
    CHOOSE = "choose"
    GOOD = "good"
    WRONG = "wrong"
    NOTE = "note"
    AGAIN = "again"
    GO = "go"
    NEW = "new"
    PROMPT = "prompt"
    HELP = "help"
    QUIT = "quit"


_COMMANDS = (Act.SAY, Act.NOTE, Act.AGAIN, Act.GO, Act.NEW, Act.PROMPT, Act.HELP, Act.QUIT)


@dataclass(frozen=True, slots=True)
class Line:
    """A line, understood."""

    act: Act
    text: str = ""  #: the input, the right answer, the note, or the number of an option


def parse(line: str, num_options: int) -> Line | None:
    """Return what a line asks for; None for an empty one.

    Args:
        line: as typed.
        num_options: to choose from by number; 0 where there are none, and a number is an input.

    Raises:
        UserError: an unknown command, a command without its text, or a number that is no option's.
    """
    text = line.strip()
    if not text:
        return None
    if text.startswith("/"):
        return _command(text)
    if text.lower() == "good":
        return Line(Act.GOOD)
    if text.lower().split(":")[0].strip() == "wrong":
        return Line(Act.WRONG, text.partition(":")[2].strip())
    if num_options and text.isascii() and text.isdigit():
        if int(text) >= num_options:
            there = "0 is the only one" if num_options == 1 else f"choose 0 to {num_options - 1}"
            raise UserError(
                f"there is no option {text}; {there} (/say {text} gives it as an input)"
            )
        return Line(Act.CHOOSE, text)
    return Line(Act.SAY, text)


def _command(text: str) -> Line:
    name, _, rest = text[1:].partition(" ")
    names = [c.value for c in _COMMANDS]
    if name not in names:
        raise UserError(
            f"there is no command '/{name}' ({nearest(name, names)}); an input that begins with "
            f"/ is given by /say"
        )
    if name in (Act.SAY, Act.NOTE) and not rest.strip():
        raise UserError(f"/{name} needs a text after it")
    return Line(Act(name), rest.strip())


def reply_lines(player: Player, reply: Reply, *, bars: bool) -> list[tuple[str, str]]:
    """Return a reply as lines with the style of each.

    Args:
        player: who answered.
        reply: of it.
        bars: whether probabilities of choices have bars beside them.
    """
    lines = (
        [
            (
                f"the first {_turns(reply.forgotten)} no longer fit the model's window and are "
                f"not shown to it",
                "yellow",
            )
        ]
        if reply.forgotten
        else []
    )
    lines += [
        (line, "bold" if i == reply.chosen else "")
        for i, line in enumerate(_option_lines(player, reply, bars))
    ]
    lines.append((f"answer: {reply.answer.text}", "bold"))
    if reply.answer.text == player.offer.refusal:
        lines.append(("this is the task's refusal: the question is held for nonsense", ""))
    verdict = "TRUE" if reply.log_odds >= player.threshold else "FALSE"
    rivals = " (against the other options)" if player.among_rivals else ""
    how = rivals if player.evaluator is not None else " (the answer's own probability)"
    against = f", TRUE from {player.threshold:+.2f}" if player.threshold else ""
    lines.append(
        (
            f"self-evaluation{how}: {verdict}, log-odds {reply.log_odds:+.2f}{against}, "
            f"probability right {reply.probability_right:.3f}",
            "",
        )
    )
    why = why_abstain(player, reply)
    if why is not None:
        lines.append((f"would abstain: {why}", "yellow"))
    return lines


def _option_lines(player: Player, reply: Reply, bars: bool) -> list[str]:
    if player.offer.choices is None:
        compared = player.offer.compares
        return [
            f"  {i}) {o.text}  ({f'probability {o.probability:.3f}, ' if compared else ''}"
            f"{o.log_likelihood_per_token:.2f} nats per token)"
            for i, o in enumerate(reply.options)
        ]
    width = max(len(o.text) for o in reply.options)
    drawn = ["  " + "█" * round(BAR * o.probability) if bars else "" for o in reply.options]
    return [
        f"  {o.text:<{width}}  {o.probability:.3f}{bar}".rstrip()
        for o, bar in zip(reply.options, drawn, strict=True)
    ]


def _turns(number: int) -> str:
    return f"{number} turn{'s' if number != 1 else ''}"
