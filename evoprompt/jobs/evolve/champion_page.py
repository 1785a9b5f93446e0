"""What a run's page leads with: the verdict, the champion, before and after, and which answers
changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from evoprompt.errors import clip
from evoprompt.jobs.evolve.findings import trust_text
from evoprompt.jobs.evolve.predictions import Change, Confusion, Prediction, changes, confusion
from evoprompt.jobs.evolve.record import Summary
from evoprompt.jobs.evolve.showcase import Showcase, answer_lines, answered
from evoprompt.jobs.held_out import held_out_table
from evoprompt.report.diff import diff_html, is_same
from evoprompt.report.markup import anchor, copyable, folded, paragraph, preformatted, section
from evoprompt.report.table import Cell, new_table, pairs_table, to_html
from evoprompt.stats.resampling import wilson_interval

#: Changed examples that are shown at once, characters of an input, and labels of a matrix.
SHOWN, CHARACTERS, MATRIX = 8, 400, 12
#: The section that says what to do with the outcome.
ADVICE = "What to do next"
#: How an exported champion is run.
RUN_IT = paragraph('Then: python champion.py "an input" "another one"', "muted")
#: What a verdict's color says.
KINDS = {"better": "big good", "worse": "big bad"}
#: What a word of the verdict means.
CALIBRATION = (
    "Calibration takes off the model's own liking for some answers, as the labelled examples show "
    "it; it needs no further call of the model. The exported file has it, the text of a prompt by "
    "itself has not."
)
INTERVAL = "On other examples of this kind a difference would most likely lie in its interval."


def verdict(summary: Summary, rows: Sequence[Prediction], told: Sequence[str]) -> str:
    """Return in one sentence what the run came to, and what that sentence rests on.

    Args:
        summary: of the run.
        rows: its held-out answers.
        told: what to do next, the most useful first.
    """
    if summary.claim is None:
        return ""
    body = paragraph(summary.claim.text, KINDS.get(summary.claim.verdict, "big"))
    body += paragraph(_grounds(summary, rows))
    if told:
        body += f'<p><a href="#{anchor(ADVICE)}">{ADVICE}</a>: {escape(told[0])}</p>'
    return section("Verdict", body)


def _grounds(summary: Summary, rows: Sequence[Prediction]) -> str:
    """Return in plain words what the verdict rests on."""
    test, held = summary.test, summary.claim is not None and summary.claim.verdict == "baseline"
    told = "The search never saw the test examples."
    if held or not test.is_counted:
        shares = (test.baseline, test.champion)
        start, champion = (s.percent if test.is_counted else f"{s.value:.3f}" for s in shares)
        told = (
            f"On {test.num_examples} test examples that the search never saw, {test.metric} is "
            f"{start} with the best starting prompt"
        )
        told += "." if held else f" and {champion} with the champion."
    if (chance := _by_guessing(rows)) is not None and test.is_counted:
        told += f" Guessing gets {100 * chance:.0f} % of them right."
    parts = [told]
    if test.baseline_raw is not None:
        parts.append(CALIBRATION)
    if not held:
        parts.append(INTERVAL)
    return " ".join(parts)


def _by_guessing(rows: Sequence[Prediction]) -> float | None:
    """Return the share of the test examples that a guess among their choices gets right; None
    where answers are free.
    """
    nums = [len(r.choices or ()) for r in rows if r.split == "test"]
    return sum(1 / n for n in nums) / len(nums) if nums and min(nums) > 1 else None


def champion_section(shown: Showcase, summary: Summary) -> str:
    """Return the champion, whole, with what changed; where it does no better on the test than the
    best starting prompt, that prompt to be copied above it.
    """
    parts = [_better(summary, shown.export) if _is_behind(summary) else ""]
    prompt = copyable(shown.prompt, "champion-prompt", "the prompt")
    export = copyable(shown.export, "champion-export", "the command")
    parts.append(paragraph("The prompt that the search ended with.", "muted"))
    if (raw := summary.test.champion_raw) is None:
        parts += [prompt, "<h3>To use the champion in another program</h3>", export]
    else:  # what has the measured accuracy stands before what has another
        percent, start = summary.test.champion.percent, summary.test.baseline_raw
        parts += [f"<h3>With calibration ({percent} right): a file to run</h3>", export, RUN_IT]
        beside = "" if start is None else f"; the best starting prompt: {start.percent}"
        parts += [f"<h3>The text alone, uncalibrated ({raw.percent} right{beside})</h3>", prompt]
    if shown.answers:
        parts += [
            paragraph(shown.alone) if shown.alone else "",
            "<h3>Its answers, as they continue the prompt</h3>",
            copyable(answer_lines(shown.answers), "champion-answers", "the answers"),
            folded("How answers are compared", paragraph(f"{shown.compared}.")),
        ]
    if is_same(shown.changed):
        parts.append(paragraph("It is the best starting prompt itself."))
    else:
        title = "<h3>What changed against the best starting prompt</h3>"
        parts += [title, diff_html(shown.changed)]
    if (found := shown.example) is not None:
        whole = preformatted(found.prompt + found.continuation)
        right = paragraph(f"The model {answered(found.prediction)}.", "muted")
        parts.append(folded("One example, as the model gets it", whole + right))
    slots = to_html(pairs_table([(name, text) for name, text in shown.slots.items()]))
    parts.append(folded("What it consists of", slots))
    return section("Champion", "".join(parts))


def before_and_after(summary: Summary) -> str:
    """Return the held-out check, and how far the search's own numbers can be trusted."""
    test = summary.test
    labels = {
        "best starting prompt": "baseline",
        "champion": "champion",
        "difference (paired)": "difference",
    }
    note = f"On {test.num_examples} test examples that the search never saw."
    if summary.unanswered:
        note += f" {summary.unanswered} of them do not fit the champion's prompt: they are wrong."
    body = to_html(held_out_table(test, labels))
    if summary.metric is not None and (ranks := summary.metric.rank_correlation) is not None:
        body += paragraph(
            f"The search went by likelihood, and the metric {summary.metric.name} chose among "
            f"{ranks.num_policies} finalists: on {ranks.num_examples} validation examples the two "
            f"rank them with a correlation of {ranks.value:.2f} (Spearman's)."
        )
    if summary.report is not None and (text := trust_text(summary.report)):
        body += folded("How far the search's own numbers can be trusted", paragraph(text))
    return section("Before and after", body, note)


def answers_section(summary: Summary, rows: Sequence[Prediction]) -> str:
    """Return which test answers changed, what is taken for what, and how each label fares; nothing
    of a run that kept no answers.
    """
    first, last = summary.baseline.policy_id, summary.champion.policy_id
    if not any(r.split == "test" for r in rows):
        return ""
    found = changes(rows, first, last)
    mended = [c for c in found if c.is_mended]
    broken = [c for c in found if not c.is_mended]
    num = summary.test.num_examples
    right = sum(r.is_right for r in rows if (r.split, r.policy_id) == ("test", last)) - len(mended)
    told = (
        f"Of {num} test examples, {len(mended)} that the best starting prompt answers wrong are "
        f"right now, {len(broken)} that it answers right are wrong now; {right} are right and "
        f"{num - len(found) - right} wrong under both."
    )
    before, after = confusion(rows, first), confusion(rows, last)
    body = [paragraph(told), _changed("Mended", mended), _changed("Broken", broken)]
    if before is not None and after is not None:
        body += [_by_label(before, after), *_matrices(before, after)]
    body.append(_written(rows, first, last))
    return section("What changed in the test answers", "".join(body))


def _is_behind(summary: Summary) -> bool:
    """Return whether the champion is another prompt than the best starting one, and no better on
    the test.
    """
    is_same = summary.claim is None or summary.claim.verdict == "baseline"
    return not is_same and summary.test.difference.value <= 0


def _better(summary: Summary, export: str) -> str:
    """Return the best starting prompt, to be copied, and its export where it is calibrated.

    Args:
        summary: of the run.
        export: the champion's command.
    """
    test, prompt = summary.test, summary.baseline.prompt
    text = copyable(prompt, "baseline-prompt", "the starting prompt")
    right, name, parts = test.baseline.percent, "The text alone", []
    if (raw := test.baseline_raw) is not None:
        command = export.replace("> champion.py", "--baseline > baseline.py")
        calibrated = f"<h3>With calibration ({right} right): a file to run</h3>"
        parts += [calibrated, copyable(command, "baseline-export", "its command")]
        right, name = raw.percent, f"{name}, uncalibrated"
    alone = f"<h3>{name} ({right} right)</h3>" if test.is_counted else ""
    told = "Keep the best starting prompt: the champion does no better on the test."
    return "".join((paragraph(told), *parts, alone, text, "<h3>The champion</h3>"))


def _changed(title: str, found: Sequence[Change]) -> str:
    if not found:
        return ""
    heads = ("input", "right answer", "before", "now")
    rows = [
        (clip(c.after.input, CHARACTERS), c.after.target, _answer(c.before), _answer(c.after))
        for c in found
    ]
    table = to_html(new_table(heads, rows[:SHOWN], align="llll"))
    if len(rows) > SHOWN:
        more = to_html(new_table(heads, rows[SHOWN:], align="llll"))
        table += folded(f"{len(rows) - SHOWN} more", more)
    return f"<h3>{title}</h3>{table}"


def _written(rows: Sequence[Prediction], first: str, last: str) -> str:
    """Return what is written to the test examples beside the right answers, with its grades;
    nothing where answers are not written.
    """
    tested = [r for r in rows if r.split == "test" and r.grade is not None]
    before = {r.example_id: r for r in tested if r.policy_id == first}
    cells = [
        (clip(r.input, CHARACTERS), r.target, *_graded(before.get(r.example_id)), *_graded(r))
        for r in tested
        if r.policy_id == last
    ]
    if not cells:
        return ""
    heads = ("input", "right answer", "before", "grade", "now", "grade")
    table = new_table(heads, cells, align="lllrlr")
    return folded("What is written to every test example", to_html(table))


def _graded(found: Prediction | None) -> tuple[str, str]:
    if found is None or found.grade is None:
        return "no answer (too long)", ""
    said = f" ({found.feedback})" if found.feedback else ""
    return clip(found.answer or "nothing", CHARACTERS) + said, f"{found.grade:.3g}"


def _answer(found: Prediction) -> str:
    if not found.fits:
        return "no answer (too long)"
    if found.answer is None:
        other = "another text" if found.moves is None else "other moves"
        return "right" if found.is_right else other
    return found.answer


def _by_label(before: Confusion, after: Confusion) -> str:
    """Return each label's accuracy before and now, with 95 % intervals."""
    rows: list[tuple[Cell | str, ...]] = [
        (
            label,
            str(after.of(label)),
            *(_share(c.right(label), c.of(label)) for c in (before, after)),
        )
        for label in after.labels
        if after.of(label)
    ]
    table = new_table(("label", "test examples", "accuracy before", "now"), rows)
    return f"<h3>By label</h3>{to_html(table)}"


def _share(right: int, num: int) -> Cell:
    if not num:
        return Cell("")
    low, high = wilson_interval(right, num, 0.05)
    return Cell(f"{right / num:.2f}", f"[{low:.2f}, {high:.2f}]")


def _matrices(before: Confusion, after: Confusion) -> Iterator[str]:
    """Yield what is taken for what, now and, folded, before; of many labels the commonest
    mistakes.
    """
    yield f"<h3>What is taken for what</h3>{_matrix(after)}"
    yield folded("The same before, under the best starting prompt", _matrix(before))


def _matrix(found: Confusion) -> str:
    if len(found.labels) > MATRIX:
        return _mistakes(found)
    answers = [*found.labels, *([None] if any(a is None for _, a in found.counts) else [])]
    rows: list[list[Cell | str]] = [
        [label, *(_count(found, label, answer) for answer in answers)] for label in found.labels
    ]
    heads = ["right answer", *(f"answered {a}" if a is not None else "no answer" for a in answers)]
    return to_html(new_table(heads, rows))


def _count(found: Confusion, label: str, answer: str | None) -> Cell:
    num = found.counts.get((label, answer), 0)
    if label == answer:
        return Cell(str(num), emphasis="good")
    return Cell(str(num), emphasis="bad" if num else "muted")


def _mistakes(found: Confusion) -> str:
    wrong = sorted(
        ((n, pair) for pair, n in found.counts.items() if pair[0] != pair[1]),
        key=lambda each: -each[0],
    )
    rows = [
        (target, answer if answer is not None else "no answer", str(n))
        for n, (target, answer) in wrong[:MATRIX]
    ]
    note = paragraph(
        f"The commonest mistakes among {len(found.labels)} labels; "
        f"{sum(n for n, _ in wrong)} in all.",
        "muted",
    )
    return note + to_html(new_table(("right answer", "answered", "examples"), rows, align="ll"))


def baseline_section(summary: Summary) -> str:
    """Return the best starting prompt."""
    return section("Best starting prompt", preformatted(summary.baseline.prompt))


def standing_note(summary: Summary) -> str:
    """Return what was checked while the run went on."""
    text = (
        f"Price's parts add up within {summary.price_residual_max:.1g}. Standing check: "
        f"{summary.checked.told}."
    )
    return f'<p class="muted">{escape(text)}</p>'
