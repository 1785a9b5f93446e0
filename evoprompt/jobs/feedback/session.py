"""Remarks about a run's champion, or another of its policies: read by its model, kept in a file,
and what all that is kept there asks for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evoprompt.errors import UserError
from evoprompt.fitness.preference import (
    WORD,
    difference,
    features_of,
    wanted,
    wishes_of,
    words_of,
)
from evoprompt.fitness.remarks import REMARKS, Remark, append_remarks, read_remarks
from evoprompt.jobs.base import identify, job_of
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.feedback.grounding import features_named
from evoprompt.jobs.feedback.reading import WAY, Reading, read
from evoprompt.jobs.feedback.source import Said, said_in
from evoprompt.measurement.features import feature_words
from evoprompt.measurement.model import build_asker
from evoprompt.policy import Policy
from evoprompt.terminal import PlainConsole, short_path


def give_feedback(
    run: Path,
    texts: Sequence[str],
    file: Path | None = None,
    *,
    policy: str | None = None,
    about: str = "prompt",
    to: Path | None = None,
    url: str | None = None,
) -> None:
    """Read remarks, keep them, and say what all that are kept ask for.

    Args:
        run: folder of a complete run.
        texts: remarks.
        file: of remarks, one a line, or what `evoprompt play` writes.
        policy: id of the policy that they are about; the champion's by default.
        about: prompt or answer.
        to: file that keeps them; by default `remarks.jsonl` in the folder.
        url: of a server that holds the run's model.

    Raises:
        UserError: there is no complete run or no remark, or a file cannot be read or written.
    """
    console = PlainConsole(soft_wrap=not sys.stdout.isatty())
    champion = job_of(run).champion(run).at(url)
    rows = _rows(run)
    own = _row(rows, policy or champion.policy.policy_id, run)
    said = said_in(texts, file, own["policy_id"], about)
    target = to if to is not None else run / REMARKS
    kept = read_remarks(target) if target.exists() else []
    new = [each for each in said if each.id not in {remark.id for remark in kept}]
    if len(new) < len(said):
        console.print(f"note: {len(said) - len(new)} were kept before, and count once")
    asked = [each.text for each in new if each.value is None]
    readings = _readings(champion.config, asked, console) if asked else []
    remarks = _remarks(new, iter(readings), own, rows, run)
    for remark in remarks:
        console.print(line_of(remark))
    append_remarks(target, remarks)
    for wish in wishes_of([*kept, *remarks]).each():
        console.print(wish.text)
    console.print(
        f"{len(remarks)} kept in {short_path(target)}; a run takes them as feedback: "
        f"{{path: {short_path(target)}}}"
    )


def line_of(remark: Remark) -> str:
    """Return what was made of a remark, in a line."""
    value = {True: 1.0, False: -1.0}[remark.value >= 0]
    told = [wanted(name, value * direction) for name, direction in remark.features.items()]
    what = "; ".join(told[:4]) + (f"; and {len(told) - 4} more" if len(told) > 4 else "")
    found = what or "names no trait of a prompt, and changes nothing"
    return f'"{remark.remark}": {remark.kind} ({remark.probability:.2f}): {found}'


def _rows(run: Path) -> list[dict[str, Any]]:
    if not (run / "lineage.jsonl").exists():
        raise UserError(f"{run} has no lineage.jsonl: remarks are about policies of a run")
    return [dict(row) for row in EvolveFolder.open(run).lines("lineage.jsonl")]


def _row(rows: Sequence[dict[str, Any]], policy_id: str, run: Path) -> dict[str, Any]:
    found = [row for row in rows if row["policy_id"] == policy_id]
    if not found:
        raise UserError(f"the run in {run} has no policy {policy_id}; its lineage.jsonl has all")
    return found[-1]


def _readings(config: Any, texts: Sequence[str], console: PlainConsole) -> list[Reading]:
    identify(config, console)
    asker = build_asker(config, answer_tokens=1)
    try:
        asker.measurer.features = feature_words(asker.measurer.tokenizer) if WAY == "head" else ()
        found = read(texts, asker)
        console.print(f"{asker.ledger.token_summary().total:,} tokens forwarded")
        return found
    finally:
        asker.measurer.close()


def _remarks(
    said: Sequence[Said],
    readings: Any,
    own: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    run: Path,
) -> list[Remark]:
    labels, vocabulary = _labels(run), _vocabulary(rows)
    apart = _difference(own, rows[0], labels)
    policy = Policy.from_dict(own["policy"])
    words = {policy.word(label).strip().lower() for label in labels} | {x.lower() for x in labels}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = []
    for each in said:
        if each.value is not None:
            reading = Reading("evaluative", 1.0, each.value)
        else:
            reading = next(readings)
        named = features_named(each.text, reading.kind, words, vocabulary)
        # a verdict that names no trait is about all by which the policy differs
        features = named if named or reading.kind != "evaluative" else apart
        value = 1.0 if reading.kind == "imperative" else reading.sentiment
        found.append(
            Remark(
                each.id,
                each.text,
                run.resolve().name,
                own["policy_id"],
                "answer" if each.about == "answer" else "prompt",
                reading.kind,
                round(reading.probability, 6),
                round(reading.sentiment, 6),
                round(value, 6),
                features,
                now,
            )
        )
    return found


def _difference(
    own: dict[str, Any], first: dict[str, Any], labels: Sequence[str]
) -> dict[str, float]:
    """Return the features of what a verdict is about, beyond those of the run's first starting
    prompt, without the single words: one verdict tells too little of so many.
    """
    one, other = (
        features_of(Policy.from_dict(row["policy"]), int(row["traits"]["prompt_tokens"]), labels)
        for row in (own, first)
    )
    apart = difference(one, other).items()
    return {name: round(value, 6) for name, value in apart if not name.startswith(WORD)}


def _labels(run: Path) -> tuple[str, ...]:
    """Return the labels of a run's task, from its folder; none where choices differ."""
    offered = {each.choices or () for each in EvolveFolder.open(run).predictions()}
    return offered.pop() if len(offered) == 1 else ()


def _vocabulary(rows: Sequence[dict[str, Any]]) -> set[str]:
    """Return the words that some instructions of a run have and others have not, of four letters
    at least.
    """
    policies = {row["policy_id"]: Policy.from_dict(row["policy"]) for row in rows}
    each = [set(words_of(policy.instruction)) for policy in policies.values()]
    common = set.intersection(*each) if each else set()
    return {word for words in each for word in words - common if len(word) > 3}
