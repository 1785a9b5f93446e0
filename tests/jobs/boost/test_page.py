"""What the page and the metrics of a self-evaluation loop say, from hand-made folders: complete,
unfinished, and without labels.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from matplotlib.figure import Figure

from evoprompt.errors import UserError
from evoprompt.jobs.boost import figures as boost_figures
from evoprompt.jobs.boost.config import BoostConfig
from evoprompt.jobs.boost.folder import RECURRENCE, BoostFolder
from evoprompt.jobs.boost.metrics import boost_description, recurrence_metrics
from evoprompt.jobs.boost.page import verdict_text, write_boost_page
from evoprompt.jobs.boost.record import RoundLine, RoundVerdict
from evoprompt.store.folder import SUMMARY

BEFORE: dict[str, Any] = {
    "round": 0,
    "error_rate": 0.45,
    "ci": [0.36, 0.55],
    "predicted": None,
    "predicted_ci": None,
    "sensitivity": 0.75,
    "sensitivity_ci": [0.6, 0.85],
    "specificity": 0.625,
    "specificity_ci": [0.5, 0.75],
    "ln_lambda": {"value": 0.693, "standard_error": 0.25},
    "evaluator_counts": {"accepted_right": 9, "num_right": 12, "accepted_wrong": 3, "num_wrong": 8},
    "buffer_size": 0,
    "buffer_error_rate": None,
    "context_size": 0,
    "context_error_rate": None,
    "context_ids": [],
    "answered": 0,
    "accepted": 0,
    "abstained": 0,
    "batch_error_rate": None,
    "believed_error": None,
    "threshold": None,
    "imitation": None,
    "verdict": None,
    "tokens": 1000,
    "time_ms": 0,
    "seconds": 2.5,
}
FIRST = BEFORE | {
    "round": 1,
    "error_rate": 0.35,
    "ci": [0.27, 0.44],
    "predicted": 0.3125,
    "predicted_ci": [0.11, 0.57],
    "sensitivity": 0.7,
    "sensitivity_ci": [0.5, 0.84],
    "specificity": 0.6,
    "specificity_ci": [0.4, 0.77],
    "ln_lambda": {"value": 0.5, "standard_error": 0.3},
    "buffer_size": 16,
    "buffer_error_rate": 0.375,
    "context_size": 8,
    "context_error_rate": 0.25,
    "answered": 28,
    "accepted": 16,
    "abstained": 4,
    "batch_error_rate": 0.5,
    "believed_error": 0.3,
    "verdict": {"inside": True, "failed": [], "surprise_z": 0.4},
    "tokens": 12345,
    "seconds": 12.3,
}
SECOND = FIRST | {
    "round": 2,
    "error_rate": 0.6,
    "ci": [0.5, 0.69],
    "predicted": 0.2,
    "predicted_ci": [0.05, 0.5],
    "believed_error": 0.22,
    "tokens": 23456,
    "verdict": {"inside": False, "failed": ["imitation partial"], "surprise_z": 3.25},
}
LINES = [BEFORE, FIRST, SECOND]
#: Keys of a line that labels or a judge are needed for; the loop may know none of them.
NULLABLE = [
    name for name, kind in get_type_hints(RoundLine).items() if type(None) in get_args(kind)
]
NEED_LABELS = (
    *(
        "error_rate",
        "ci",
        "predicted",
        "predicted_ci",
        "sensitivity",
        "sensitivity_ci",
        "specificity",
        "specificity_ci",
        "ln_lambda",
    ),
    *("buffer_error_rate", "context_error_rate", "batch_error_rate", "verdict"),
)
BLIND = [line | dict.fromkeys(NEED_LABELS) for line in LINES]

COMPLETE: dict[str, Any] = {
    "name": "loop",
    "rounds": 2,
    "test": {
        "metric": "error_rate",
        "num_examples": 100,
        "baseline": {"value": 0.45, "ci": [0.36, 0.55]},
        "champion": {"value": 0.6, "ci": [0.5, 0.69]},
        "difference": {"value": 0.15, "ci": [0.02, 0.28]},
    },
    "coverage": {
        "coverage": [0.25, 0.5, 0.75, 1.0],
        "error_rate": [0.0, 0.5, 1 / 3, 0.25],
        "area": 0.2708,
    },
    "notes": ["The sum of 1.38 is more than 1.", "Round 2 is outside & alone."],
    "champion": {"prompt": "Sort.\n\nInput: <late>\nOutput: work", "policy": {}, "policy_id": "p"},
    "evaluator": {"prompt": "Is it right? TRUE or FALSE.", "policy": {}},
    "model": {"name": "smollm2-135m"},
    "task": "inbox",
    "seed": 7,
    "buffer": "replace",
    "judge": "clause",
    "tokens": {"total": 34567},
    "seconds": {"total": 30.0},
}
UNKNOWN = "There are no labels, so the error rate cannot be known."


def loop_folder(
    path: Path, lines: list[dict[str, Any]], summary: dict[str, Any] | None = None, **config: Any
) -> BoostFolder:
    """A folder as a loop leaves it."""
    folder = BoostFolder.create(path / "loop", "loop")
    folder.begin(BoostConfig.model_validate({"task": {"name": "inbox"}, "seed": 7} | config), {})
    if lines:
        folder.commit_lines({RECURRENCE: lines}, {})
    if summary is not None:
        folder.write(SUMMARY, summary)
    return folder


def rounds(lines: list[dict[str, Any]]) -> list[RoundLine]:
    return [RoundLine.from_dict(line) for line in lines]


def read(path: Path) -> str:
    """The page's text; a space is a space."""
    return path.read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")


def titles(text: str) -> list[str]:
    return re.findall("<h2[^>]*>(.*?)</h2>", text)


def table_rows(text: str) -> list[list[str]]:
    """The cells of the table by round, its head first."""
    text = text[text.index(">By round</h2>") :]
    rows = re.findall("<tr>(.*?)</tr>", text[: text.index("</table>")])
    return [re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures as they are before they become text."""
    monkeypatch.setattr(boost_figures, "svg", lambda figure: figure)


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made but not written as text, which takes most of the time."""
    monkeypatch.setattr(boost_figures, "svg", lambda figure: "<svg></svg>")


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a complete loop."""
    return read(write_boost_page(loop_folder(tmp_path_factory.mktemp("complete"), LINES, COMPLETE)))


def series(figure: Figure, label: str, panel: int = 0) -> tuple[list[float], list[float]]:
    """The points of a labelled line, those that are not known left out."""
    handles, labels = figure.axes[panel].get_legend_handles_labels()
    handle = next(h for h, text in zip(handles, labels, strict=True) if text.startswith(label))
    line = handle[0] if hasattr(handle, "lines") else handle
    points = np.array([line.get_xdata(), line.get_ydata()], dtype=float)
    x, y = points[:, np.isfinite(points).all(axis=0)].tolist()
    return x, y


def test_a_complete_loop_has_every_section_and_figure(complete: str):
    figures = ["Error by round", "The evaluator", "Acceptance", "Coverage against error at the end"]
    assert titles(complete) == [
        "Outcome",
        *figures,
        "By round",
        "Final prompt",
        "The evaluator&#x27;s prompt",
    ]
    assert complete.count("<svg") == complete.count("</svg>") == 4
    assert "smollm2-135m on task inbox, seed 7: 2 rounds, 34,567 tokens." in complete
    assert "Buffer: replace (the newest round&#x27;s accepted answers). Judge: clause" in complete


def test_the_outcome_has_the_error_before_and_after_and_what_must_be_known_of_it(complete: str):
    for value in (
        "0.450",
        "[0.360, 0.550]",
        "0.600",
        "[0.500, 0.690]",
        "+0.150",
        "[+0.020, +0.280]",
        "On 100 test examples",
        "error rate",
    ):
        assert value in complete
    assert "The loop raised the error" in complete
    assert (
        "<p>The sum of 1.38 is more than 1.</p><p>Round 2 is outside &amp; alone.</p>" in complete
    )


@pytest.mark.usefixtures("blank")
@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ([-0.2, -0.01], "lowered the error"),
        ([0.01, 0.2], "raised the error"),
        ([-0.1, 0.1], "No effect is shown"),
    ],
)
def test_the_conclusion_goes_by_the_interval_of_the_difference(
    tmp_path: Path, bounds: list[float], said: str
):
    summary = COMPLETE | {"test": COMPLETE["test"] | {"difference": {"value": 0.0, "ci": bounds}}}
    text = read(write_boost_page(loop_folder(tmp_path, LINES), summary))
    assert [
        s for s in ("lowered the error", "raised the error", "No effect is shown") if s in text
    ] == [said]


def test_a_row_of_the_table_has_what_a_round_measured_beside_what_was_predicted(complete: str):
    # ln Lambda 0.5 with standard error 0.3: 0.5 -+ 1.96 * 0.3 = -0.09 to 1.09. Of 28 answers given
    # and 4 not, 16 were accepted.
    head, before, first, second = table_rows(complete)
    assert head == [
        "round",
        "error rate",
        "predicted",
        "s",
        "c",
        "ln Λ",
        "accepted",
        "buffer",
        "wrong in context",
        "believed error",
        "verdict",
    ]
    assert before == [
        "0",
        "0.45 [0.36, 0.55]",
        "",
        "0.75 [0.60, 0.85]",
        "0.62 [0.50, 0.75]",
        "0.69 [0.20, 1.18]",
        "",
        "0",
        "",
        "",
        "",
    ]
    assert first == [
        *(
            "1",
            "0.35 [0.27, 0.44]",
            "0.31 [0.11, 0.57]",
            "0.70 [0.50, 0.84]",
            "0.60 [0.40, 0.77]",
            "0.50 [-0.09, 1.09]",
        ),
        *("16 of 28, 4 abstained", "16", "25% of 8", "0.30", "inside (z = +0.4)"),
    ]
    assert second[-1] == "outside (z = +3.2): imitation partial"


def test_only_the_assumptions_that_failed_are_explained(complete: str):
    assert "imitation partial: the answers are not wrong as often as their context." in complete
    assert "evaluator changed:" not in complete
    assert "buffer saturated:" not in complete


def test_a_verdict_says_what_failed_or_that_nothing_is_known_to():
    assert verdict_text(None) == ""
    assert verdict_text(RoundVerdict(True, (), None)) == "inside"
    assert (
        verdict_text(RoundVerdict(True, ("imitation partial",), None))
        == "inside, but imitation partial"
    )
    assert verdict_text(RoundVerdict(False, (), None)) == "outside: no assumption refuted"
    both = RoundVerdict(False, ("evaluator changed", "buffer saturated"), None)
    assert verdict_text(both) == "outside: evaluator changed, buffer saturated"


def test_prompts_are_shown_as_they_are(complete: str):
    assert "<pre>Sort.\n\nInput: &lt;late&gt;\nOutput: work</pre>" in complete
    assert "<pre>Is it right? TRUE or FALSE.</pre>" in complete


@pytest.mark.usefixtures("blank")
def test_the_final_prompt_says_whether_a_context_was_ever_built(tmp_path: Path, complete: str):
    text = read(
        write_boost_page(
            loop_folder(
                tmp_path,
                [BEFORE, FIRST | {"context_size": 0, "context_error_rate": None}],
                COMPLETE,
            )
        )
    )
    assert "The policy as it began: no context was built." in text
    assert "The policy with the 8 pairs of the last context." in complete


@pytest.mark.usefixtures("blank")
def test_where_confidence_judges_there_is_no_prompt_of_an_evaluator(tmp_path: Path):
    text = read(
        write_boost_page(loop_folder(tmp_path, LINES, COMPLETE, loop={"judge": "confidence"}))
    )
    assert "TRUE or FALSE" not in text
    assert "Judge: confidence (the probability of the answer itself)" in text


@pytest.mark.usefixtures("blank")
def test_where_the_evaluator_is_asked_of_every_choice_its_prompt_is_shown_too(tmp_path: Path):
    text = read(write_boost_page(loop_folder(tmp_path, LINES, COMPLETE, loop={"judge": "rivals"})))
    assert "Is it right? TRUE or FALSE." in text
    assert "against that of the other choices" in text


@pytest.mark.usefixtures("blank")
def test_a_summary_that_is_given_is_shown_as_the_one_that_is_written(tmp_path: Path):
    folder = loop_folder(tmp_path, LINES)
    given = read(write_boost_page(folder, COMPLETE))
    folder.write(SUMMARY, COMPLETE)
    assert given == read(write_boost_page(folder))


def test_an_unfinished_loop_shows_what_it_has_committed(tmp_path: Path):
    path = write_boost_page(loop_folder(tmp_path, LINES[:2]))
    text = read(path)
    assert path == tmp_path / "loop" / "report.html"
    assert "This loop has not ended; what follows is what it has committed.</p>" in text
    assert titles(text) == ["Error by round", "The evaluator", "Acceptance", "By round"]
    assert "seed 7: 1 round, 12,345 tokens." in text


def test_a_loop_that_is_only_measured_so_far_has_no_acceptance(tmp_path: Path):
    text = read(write_boost_page(loop_folder(tmp_path, LINES[:1])))
    assert titles(text) == ["Error by round", "The evaluator", "By round"]


def test_without_labels_the_page_says_what_cannot_be_known_and_draws_only_the_rest(tmp_path: Path):
    summary = COMPLETE | {"test": None, "coverage": None, "notes": [UNKNOWN], "task": None}
    text = read(
        write_boost_page(loop_folder(tmp_path, BLIND, summary, task=None, questions="asked.jsonl"))
    )
    assert UNKNOWN in text
    assert titles(text)[:4] == ["Outcome", "Believed error by round", "Acceptance", "By round"]
    assert "on the questions of asked.jsonl, seed 7" in text
    assert table_rows(text) == [
        ["round", "accepted", "buffer", "believed error"],
        ["0", "", "0", ""],
        *(
            ["1", "16 of 28, 4 abstained", "16", "0.30"],
            ["2", "16 of 28, 4 abstained", "16", "0.22"],
        ),
    ]
    assert "measured on the test examples" not in text


@pytest.mark.usefixtures("blank")
def test_an_unfinished_loop_without_labels_says_so_too(tmp_path: Path):
    blind = read(write_boost_page(loop_folder(tmp_path / "blind", BLIND)))
    assert (
        "There are no labels, so that error rate, sensitivity and specificity cannot be known."
        in blind
    )
    assert "There are no labels" not in read(
        write_boost_page(loop_folder(tmp_path / "seeing", LINES))
    )


@pytest.mark.usefixtures("blank")
@pytest.mark.parametrize(
    "null",
    [*([name] for name in NULLABLE), NULLABLE],
    ids=lambda names: names[0] if len(names) == 1 else "all",
)
def test_a_number_that_is_null_leaves_a_gap(tmp_path: Path, null: list[str]):
    text = read(
        write_boost_page(loop_folder(tmp_path, [line | dict.fromkeys(null) for line in LINES]))
    )
    table = [cell for row in table_rows(text) for cell in row]
    assert not any(re.search(r"\b(None|nan|null)\b", cell) for cell in table)


@pytest.mark.usefixtures("blank")
def test_a_round_in_which_all_answers_were_withheld_accepts_none_of_none(tmp_path: Path):
    silent = FIRST | {"answered": 0, "accepted": 0, "abstained": 32, "buffer_size": 0}
    _, _, row = table_rows(read(write_boost_page(loop_folder(tmp_path, [BEFORE, silent]))))
    assert row[6:8] == ["32 abstained", "0"]


def test_a_loop_without_a_round_is_refused_with_the_way_on(tmp_path: Path):
    with pytest.raises(
        UserError, match="has not committed a round yet; go on with it: evoprompt resume"
    ):
        write_boost_page(loop_folder(tmp_path, []))


@pytest.mark.usefixtures("drawn")
def test_the_error_figure_draws_what_is_believed_of_a_round_where_its_answers_were_given():
    # The answers of round 1 are given before any context, at 0; those of round 2 with the context
    # that round 1 led to, at 1.
    figure = boost_figures.error_figure(rounds(LINES))
    assert series(figure, "believed") == ([0, 1], [0.3, 0.22])
    assert series(figure, "measured") == ([0, 1, 2], [0.45, 0.35, 0.6])
    assert series(figure, "predicted") == ([1, 2], [0.3125, 0.2])
    assert series(figure, "wrong share") == ([1, 2], [0.25, 0.25])


@pytest.mark.usefixtures("drawn")
def test_the_band_and_the_bars_are_the_intervals_themselves():
    axes = boost_figures.error_figure(rounds(LINES)).axes[0]
    band, bars = axes.collections
    corners = {
        tuple(np.round(point, 6)) for path in band.get_paths() for point in path.vertices.tolist()
    }
    assert corners == {(1, 0.11), (1, 0.57), (2, 0.05), (2, 0.5)}
    ends = [np.round(segment[:, 1], 6).tolist() for segment in bars.get_segments()]
    assert ends == [[0.36, 0.55], [0.27, 0.44], [0.5, 0.69]]


@pytest.mark.usefixtures("drawn")
def test_the_evaluator_is_drawn_by_round_and_in_the_plane_with_the_line():
    figure = boost_figures.evaluator_figure(rounds(LINES))
    assert series(figure, "sensitivity")[1] == [0.75, 0.7, 0.7]
    assert series(figure, "specificity")[1] == [0.625, 0.6, 0.6]
    _, plane = figure.axes
    line, path = plane.lines
    assert np.add(line.get_xdata(), line.get_ydata()).tolist() == [1, 1]
    assert path.get_xydata().tolist() == [[0.625, 0.75], [0.6, 0.7], [0.6, 0.7]]


@pytest.mark.usefixtures("drawn")
def test_the_bars_of_a_round_are_all_its_answers():
    # 28 answers given, 16 of them accepted, and 4 withheld: 16 + 12 + 4 = 32.
    axes = boost_figures.acceptance_figure(rounds(LINES)).axes[0]
    heights = {c.get_label(): [bar.get_height() for bar in c] for c in axes.containers}
    assert heights == {"accepted": [16, 16], "rejected": [12, 12], "abstained": [4, 4]}
    assert [bar.get_y() + bar.get_height() for bar in axes.containers[-1]] == [32, 32]


@pytest.mark.usefixtures("drawn")
def test_coverage_ends_at_the_error_rate_of_all_answers():
    figure = boost_figures.coverage_figure(COMPLETE["coverage"])
    assert series(figure, "all answers: 0.250")[1] == [0.25, 0.25]
    assert series(figure, "the most confident") == (
        [0.25, 0.5, 0.75, 1.0],
        [0.0, 0.5, pytest.approx(1 / 3), 0.25],
    )


def test_figures_of_nothing_are_none():
    empty = [line | dict.fromkeys(NULLABLE) for line in LINES]
    assert boost_figures.error_figure(rounds(empty)) is None
    assert boost_figures.evaluator_figure(rounds(empty)) is None
    assert boost_figures.acceptance_figure(rounds(LINES[:1])) is None


def test_the_metrics_of_a_round_are_its_line():
    # Acceptance: 16 of the 28 answers that were given.
    assert recurrence_metrics(RoundLine.from_dict(FIRST)) == {
        "error_rate/measured": 0.35,
        "error_rate/measured_low": 0.27,
        "error_rate/measured_high": 0.44,
        "error_rate/predicted": 0.3125,
        "error_rate/predicted_low": 0.11,
        "error_rate/predicted_high": 0.57,
        "judge/sensitivity": 0.7,
        "judge/specificity": 0.6,
        "judge/log_likelihood_ratio": 0.5,
        "judge/acceptance": pytest.approx(4 / 7),
        "judge/abstained": 4,
        "judge/answers_kept": 16,
        "error_rate/of_answers_kept": 0.375,
        "error_rate/believed_by_the_model": 0.3,
        "error_rate/deviation_in_sd": 0.4,
        "cost/tokens": 12345,
        "cost/seconds": 12.3,
    }


def test_what_is_not_known_is_no_metric():
    [unknown] = rounds([FIRST | dict.fromkeys(NULLABLE)])
    assert recurrence_metrics(unknown) == {
        "judge/acceptance": pytest.approx(4 / 7),
        "judge/abstained": 4,
        "judge/answers_kept": 16,
        "cost/tokens": 12345,
        "cost/seconds": 12.3,
    }
    [unsure] = rounds([FIRST | {"verdict": {"inside": True, "failed": [], "surprise_z": None}}])
    assert "error_rate/deviation_in_sd" not in recurrence_metrics(unsure)
    assert "judge/acceptance" not in recurrence_metrics(RoundLine.from_dict(BEFORE))


def test_a_finished_loop_is_described_in_markdown():
    text = boost_description(COMPLETE)
    assert (
        "| before | 0.450 | 0.360 to 0.550 |\n| after | 0.600 | 0.500 to 0.690 |\n| difference | "
        "0.150 | 0.020 to 0.280 |\n" in text
    )
    assert text.startswith(
        "Self-evaluation: error rate on 100 examples\n\n|  | error rate | interval "
        "|\n|---|---|---|\n"
    )
    assert (
        "\n\n- The sum of 1.38 is more than 1.\n- Round 2 is outside & alone.\n\nFinal "
        "prompt\n\n```\nSort." in text
    )


def test_a_loop_without_labels_is_described_by_what_cannot_be_known():
    text = boost_description(COMPLETE | {"test": None, "notes": [UNKNOWN]})
    assert text == f"- {UNKNOWN}\n\nFinal prompt\n\n```\n{COMPLETE['champion']['prompt']}\n```\n"
