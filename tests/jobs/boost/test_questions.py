"""The data of a loop: nothing of the test is asked, labels do not choose the questions, and what is
odd is said.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.jobs.boost.questions import asked_of

LABELS = ["ham", "spam"]


def written(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps({"choices": LABELS, **row}) + "\n" for row in rows))
    return str(path)


def mails(count: int, spam_every: int, kind: str = "mail") -> list[dict]:
    return [{"input": f"{kind} {n}", "target": LABELS[n % spam_every == 0]} for n in range(count)]


def test_questions_are_not_chosen_by_their_labels_unless_that_is_asked(tmp_path: Path):
    task = {
        "path": written(tmp_path / "x.jsonl", mails(1000, 10)),
        "demonstration_pool": 60,
        "fitness_examples": 40,
    }
    for extra, spam in (({}, 10), ({"balance": "balanced"}, 46)):
        # 100 questions: a tenth, or half of each split as far as there are so many (24 and 20 of a
        # hundred spam are in the two splits: 22 to 30 and 20)
        asked = asked_of(BoostConfig.model_validate({"task": {**task, **extra}}))
        found = Counter(e.target for e in asked.questions)
        assert found.total() == 100
        assert abs(found["spam"] - spam) <= 6, extra


def test_a_question_of_the_test_is_not_asked(tmp_path: Path):
    test = mails(30, 2, "test")
    task = {
        "path": written(tmp_path / "x.jsonl", mails(100, 2)),
        "test_path": written(tmp_path / "t.jsonl", test),
    }
    rows = [{"input": f"  {row['input']} "} for row in test[:5]] + [{"input": "an own one"}]
    questions = written(tmp_path / "q.jsonl", rows)
    asked = asked_of(BoostConfig.model_validate({"task": task, "questions": questions}))
    assert [e.input for e in asked.questions] == ["an own one"]
    assert asked.notes == (
        "a question has an input of the test and is used in the test alone: 5 times (first "
        f"{questions}:1 and {task['test_path']}:1)",
    )


def test_questions_with_two_targets_are_told_and_the_last_counts(tmp_path: Path):
    rows = [
        {"input": "a", "target": "ham"},
        {"input": "a", "target": "spam"},
        {"input": "b", "target": "ham"},
        {"input": "c"},
    ]
    questions = written(tmp_path / "q.jsonl", rows)
    asked = asked_of(BoostConfig.model_validate({"questions": questions}))
    assert [e.target for e in asked.questions] == ["spam", "ham", ""]
    [note] = asked.notes
    assert note.endswith(f"and another target: 1 time (first {questions}:2 and {questions}:1)")
    account = asked.account()
    assert account["notes"] == [note]
    assert account["questions"]["examples"] == 3
    assert account["questions"]["labels"] == {"ham": 0.5, "spam": 0.5}
    assert asked.summary() == "      3 questions      ham 0.50, spam 0.50"
