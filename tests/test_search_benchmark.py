"""The benchmark of searches: what a ledger charges, what baselines find, what tables say."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from toys.instant import ByteTokenizer, InstantExecutor

from evoprompt.backends.base import Identity, WorkUnit
from evoprompt.backends.open import OpenModel
from evoprompt.policy import Demonstration, Policy
from evoprompt.records import Example, TokenCount
from evoprompt.scoring.engine import TokenScores

sys.path.insert(0, str(Path(__file__).parent.parent))
from experiments.benchmarks.search import __main__ as command
from experiments.benchmarks.search import ledger, record, tables
from experiments.benchmarks.search.ledger import Bench, Ledger, Scores, SpentError
from experiments.benchmarks.search.ours import OURS
from experiments.benchmarks.search.tasks import BenchTask, load

MAGIC = "orchid"  #: a demonstration with this word makes the right answer likelier


class MagicExecutor(InstantExecutor):
    """Favours `bad` by 2 nats whatever is asked; with the magic word in a demonstration, what ends
    in the word's own number is told apart by 4 nats.
    """

    def score(
        self, units: Sequence[WorkUnit], on_result: Callable[[Hashable, TokenScores], None]
    ) -> dict[Hashable, TokenScores]:
        decode, found = ByteTokenizer().decode, {}
        for unit in units:
            values = []
            for request in unit.requests:
                prompt, answer = decode(request.context), decode(request.continuation).strip()
                shown, _, asked = prompt.rpartition("Input: ")
                is_good = asked.split("\n")[0].endswith("good")
                knows = MAGIC in shown and (answer == "good") == is_good
                values.append(-8.0 + 2.0 * (answer == "bad") + 4.0 * knows)
            count = TokenCount(body_tokens=len(unit.requests))
            found[unit.key] = TokenScores(np.array(values), np.array(values) > -3, count)
        return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task of 200 + 30 examples; the input tells the answer, and one in twenty has the word."""
    folder = tmp_path_factory.mktemp("data") / "toy"
    folder.mkdir()
    for split, size in {"train": 200, "test": 30}.items():
        rows = [
            {
                "input": f"{split} {i} {MAGIC if i % 20 < 2 else 'rose'} {('bad', 'good')[i % 2]}",
                "target": ("bad", "good")[i % 2],
                "choices": ["bad", "good"],
            }
            for i in range(size)
        ]
        (folder / f"mood.{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    known = {"toy/mood": {"list": ["Good or bad?", "Judge.", "What is it?"]}}
    (folder.parent / "instructions.json").write_text(json.dumps(known))
    return folder.parent


@pytest.fixture
def task(data: Path) -> BenchTask:
    return load("toy/mood", data)


def bench_of(task: BenchTask, executor: InstantExecutor, budget: float = 1e9) -> Bench:
    model = OpenModel(Identity("toy", "nowhere", "toy"), ByteTokenizer(), executor)
    bench = Bench(model, task, "toy", _chat=SimpleNamespace(chat_template=None))
    bench.begin(budget)
    return bench


def test_a_policy_and_an_example_are_charged_once_without_sharing(task: BenchTask):
    bench = bench_of(task, InstantExecutor())
    policy = Policy(instruction="Hm?")
    one, two = Example("1", "ab", "bad", ("bad", "good")), Example("2", "c", "bad", ("bad", "good"))
    # bytes of "Hm?\n\nInput: ab\nOutput:" are 22, one fewer with "c"; of " bad" and " good" 4 + 5
    bench.scores(policy, [one])
    assert (bench.ledger.context, bench.ledger.answers) == (22, 9)
    bench.scores(policy, [one, two])
    assert (bench.ledger.context, bench.ledger.answers, bench.ledger.total) == (43, 18, 61)
    assert bench.cost(policy, [one, two]) == 61
    bench.scores(policy, [two])
    bench.test(policy)
    assert bench.ledger.total == 61


def test_what_was_scored_in_an_earlier_run_is_charged_again_and_not_forwarded(task: BenchTask):
    bench = bench_of(task, InstantExecutor())
    bench.scores(task.starting[0], task.task.fitness)
    first = bench.ledger
    bench.begin(1e9)
    bench.scores(task.starting[0], task.task.fitness)
    assert bench.ledger.total == first.total > 0
    assert (first.prefill > 0, bench.ledger.prefill) == (True, 0)


def test_what_cannot_be_paid_for_is_not_measured(task: BenchTask):
    bench = bench_of(task, InstantExecutor(), budget=60)
    one = Example("1", "ab", "bad", ("bad", "good"))
    two = Example("2", "c", "bad", ("bad", "good"))
    policy = Policy(instruction="Hm?")
    with pytest.raises(SpentError):
        bench.scores(policy, [one, two])  # 61, as above
    assert bench.ledger.total == 0
    assert bench.ledger.refused
    bench.scores(policy, [one])
    assert bench.ledger.total == 31


def test_writing_is_charged_with_what_it_is_asked(task: BenchTask):
    bench = bench_of(task, InstantExecutor(), budget=200)
    [text] = bench.write(["abc"], [1])  # ten letters, always
    assert (bench.ledger.asked, bench.ledger.written, len(text)) == (3, 10, 10)
    with pytest.raises(SpentError):
        bench.write(["a" * 60], [1])  # 60 + at most 128 > 187


def test_development_examples_come_in_turns_in_an_order_of_the_seed(task: BenchTask):
    for seed in range(3):
        examples = task.development(seed)
        assert {e.target for e in examples[:2]} == {"bad", "good"}
        assert sum(e.target == "bad" for e in examples[:16]) == 8
    ids = [[e.example_id for e in task.development(s)] for s in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]
    assert sorted(ids[0]) == sorted(ids[2])


@pytest.mark.parametrize("name", OURS)
def test_a_baseline_keeps_to_its_budget_and_follows_from_its_seed(task: BenchTask, name: str):
    found = []
    for seed in (0, 0, 1):
        bench = bench_of(task, InstantExecutor(), budget=20_000)
        found.append(OURS[name](bench, seed))
        assert 0.5 * 20_000 < bench.ledger.total <= 20_000
        assert found[-1] in bench.measured
    assert found[0] == found[1]


def test_halving_ends_with_fewer_on_more_examples(task: BenchTask):
    bench = bench_of(task, InstantExecutor(), budget=100_000)
    found = OURS["random_demonstrations"](bench, 0)
    sizes = [len(seen) for seen in bench.measured.values()]
    counts = [sum(s >= n for s in sizes) for n in (8, 16, 32, 64)]
    # half of those before, rounded up; the last rung may be broken off
    assert counts[1] == (counts[0] + 1) // 2
    assert counts[2] == (counts[1] + 1) // 2
    assert len(bench.measured[found]) == max(sizes)


def test_balanced_sets_have_each_label_as_often(task: BenchTask):
    bench = bench_of(task, InstantExecutor(), budget=30_000)
    OURS["random_demonstrations"](bench, 0)
    for policy in bench.measured:
        shown = [d.target for d in policy.demonstrations]
        assert len(shown) in (4, 8)
        assert shown.count("bad") == shown.count("good")
    bench.begin(30_000)
    OURS["random_unbalanced"](bench, 0)
    counts = [[d.target for d in p.demonstrations].count("bad") for p in bench.measured]
    assert len(set(counts)) > 2


def test_a_set_that_tells_the_answers_apart_is_found(task: BenchTask):
    bench = bench_of(task, MagicExecutor(), budget=60_000)
    found = OURS["random_demonstrations"](bench, 0)
    assert any(MAGIC in d.input for d in found.demonstrations)
    row = record.record(record.Key("x", "toy/mood", 0, 60_000, "toy"), bench, found, 0.0)
    # raw: bad has -6 + 4 or -6, good -8 or -8 + 4: right either way; the favour is what is left
    assert row["accuracy"] == {"raw": 1.0, "batch": 1.0, "labelled": 1.0}


def test_zero_shot_takes_the_best_starting_prompt_on_as_many_examples_as_can_be_paid(
    task: BenchTask,
):
    bench = bench_of(task, InstantExecutor(), budget=6_000)
    OURS["zero_shot"](bench, 0)
    sizes = {len(seen) for seen in bench.measured.values()}
    assert set(bench.measured) == set(task.starting)
    assert max(sizes) - min(sizes) in (0, 8)


def test_offsets_take_a_favour_out():
    # the right choice has one nat more than the other, and the first choice 3 more than its due
    gold = np.array([0, 1] * 10)
    values = np.zeros((20, 2))
    values[np.arange(20), gold] += 1.0
    values[:, 0] += 3.0
    scores = Scores(values, np.ones((20, 2), int), np.zeros(20, bool), gold, np.zeros((20, 0)))
    fitted = record.calibrations(SimpleNamespace(task=SimpleNamespace(is_shared=True)), scores)  # type: ignore[arg-type]
    assert record.accuracy(scores, None) == 0.5
    assert record.accuracy(scores, fitted["labelled"]) == 1.0
    assert record.nats(scores, None) == pytest.approx(
        (np.log(1 / (1 + np.exp(-4))) + np.log(1 / (1 + np.exp(2)))) / 2
    )


def test_without_choices_likelihood_is_per_token_and_accuracy_is_what_the_model_writes():
    scores = Scores(
        np.array([[-4.0], [-1.0]]),
        np.array([[2], [1]]),
        np.array([True, False]),
        np.array([0, 0]),
        np.zeros((2, 0)),
    )
    assert record.nats(scores, None) == -1.5  # (-4/2 - 1/1) / 2
    assert record.accuracy(scores, None) == 0.5


def test_results_are_read_again_and_a_line_that_was_broken_off_is_done_anew(tmp_path: Path):
    file = tmp_path / "results.jsonl"
    rows = [dict(contender="x", task="t", seed=s, budget=1, model="m", value=s) for s in range(2)]
    record.append(file, rows[0])
    with file.open("a") as stream:
        stream.write('{"contender": "x", "ta')
    assert record.read(file) == [rows[0]]
    record.append(file, rows[1])
    assert record.read(file) == rows
    assert len(file.read_text().splitlines()) == 2


def test_a_run_that_is_there_is_not_done_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opened = []

    def opening(task: BenchTask, model: str, **_: object) -> Bench:
        opened.append(task.name)
        return bench_of(task, InstantExecutor())

    monkeypatch.setattr(command, "open_bench", opening)
    out = tmp_path / "results.jsonl"
    arguments = ["run", "--data", str(data), "--out", str(out), "--tasks", "toy/mood"]
    arguments += ["--budget", "8000", "--model", "toy"]
    command.main([*arguments, "--seeds", "0", "--contenders", "zero_shot"])
    command.main([*arguments, "--seeds", "0", "1", "--contenders", "zero_shot", "random_raw"])
    assert len(out.read_text().splitlines()) == 4
    command.main([*arguments, "--seeds", "0", "1", "--contenders", "zero_shot", "random_raw"])
    assert len(out.read_text().splitlines()) == 4
    assert len(opened) == 2
    row = record.read(out)[0]
    assert Policy.from_dict(row["policy"]) in load("toy/mood", data).starting
    assert len(row["test"]["gold"]) == 30


def result(contender: str, task: str, seed: int, right: Sequence[int]) -> dict[str, object]:
    """A line whose test examples are right or wrong as given, with gold 0 of two choices."""
    return {
        "contender": contender, "task": task, "seed": seed, "budget": 10, "model": "m",
        "tokens": {"total": 9}, "calibration": {},
        "test": {
            "log_likelihood": [[-1.0, -2.0] if r else [-2.0, -1.0] for r in right],
            "num_tokens": [[1, 1]] * len(right), "is_greedy": [False] * len(right),
            "gold": [0] * len(right),
        },
    }  # fmt: skip


def test_tables_have_means_over_seeds_and_paired_differences():
    rows = [
        result("a", "s", 0, [1, 1, 1, 1]), result("a", "s", 1, [1, 1, 0, 0]),
        result("b", "s", 0, [1, 1, 0, 0]), result("b", "s", 1, [1, 1, 1, 0]),
        result("b", "t", 0, [1, 1, 0, 0]),
    ]  # fmt: skip
    text = tables.report(rows, "b")
    assert "| a | 0.750 0.750 0.750, 2 |  | 9 |" in text
    assert "| b | 0.625 0.625 0.625, 2 | 0.500 0.500 0.500, 1 | 9 |" in text
    # on s by seed: +.5 and -.25; t is not shared
    [line] = [r for r in text.splitlines() if r.startswith("| a, calibrated")]
    assert line.startswith("| a, calibrated | +0.125 [-0.250, +0.500] | 1 of 2 |")


def test_runs_by_another_unit_are_runs_and_a_table_of_their_own():
    old = result("a", "s", 0, [1, 1, 1, 0])
    other = old | {"unit": record.FORWARDED}
    assert record.Key.of(old) == record.Key.of(old | {"unit": record.LOGICAL})
    assert record.Key.of(old) != record.Key.of(other)
    heads = [r for r in tables.report([old, other], "a").splitlines() if r.startswith("## ")]
    assert [head.split(", ")[1].split(" ", 1)[1] for head in heads] == [
        "logical tokens",
        "forwarded tokens",
    ]


def test_one_run_has_no_interval_over_tasks_and_seeds():
    rows = [result("a", "s", 0, [1, 1, 1, 0]), result("b", "s", 0, [1, 0, 0, 0])]
    [line] = [r for r in tables.report(rows, "b").splitlines() if r.startswith("| a, calibrated")]
    assert line.startswith("| a, calibrated | +0.500, one run | 0 of 1 | +0.500 [")


def test_the_bootstrap_over_tasks_draws_tasks_and_seeds():
    # tasks at 0 and 1, their seeds alike: the mean of two draws is 0, 1/2 or 1, at the ends with
    # probability 1/4 each, so the ends of the interval are 0 and 1
    apart = {"s": [np.zeros(3), np.zeros(3)], "t": [np.ones(3), np.ones(3)]}
    assert tables.over_tasks_and_seeds(apart) == (0.5, 0.0, 1.0)
    # one task, seeds at 0 and 1: the same
    assert tables.over_tasks_and_seeds({"s": [np.zeros(3), np.ones(3)]}) == (0.5, 0.0, 1.0)
    # twin: were seeds and tasks not drawn, nothing would vary
    assert tables.over_tasks_and_seeds({"s": [np.full(3, 0.5)]}) == (0.5, 0.5, 0.5)


def test_the_bootstrap_of_a_task_draws_the_examples_that_seeds_share():
    # each seed differs on the same half of 100 examples: sd of the mean is .5 / 10
    half = np.array([0.0, 1.0] * 50)
    mean, low, high = tables.over_seeds_and_examples([half, half])
    assert mean == 0.5
    assert high - low == pytest.approx(2 * 1.96 * 0.05, rel=0.1)


def test_a_ledger_counts_all_kinds():
    found = Ledger(100, context=10, answers=5, asked=20, written=30, prefill=1000)
    assert (found.total, found.left) == (65, 35)
    found.check(35)
    with pytest.raises(SpentError):
        found.check(36)


@pytest.mark.slow
def test_the_package_s_own_search_spends_as_the_ledger_counts(
    task: BenchTask, tiny_model: Path, tmp_path: Path
):
    from experiments.benchmarks.search.product import Product

    config = tmp_path / "small.yaml"
    config.write_text(
        "evolution: {population: 3, children: 3, generations: 3, racing: {method: off}, "
        "examples: {first: null}}\nfinal: {labels: 115}\n"
    )
    bench = ledger.open_bench(task, str(tiny_model))
    bench.begin(200_000)
    search = Product(tmp_path / "runs", config)
    policy = search(bench, 1)
    assert 0 < bench.ledger.total <= 200_000
    # the champion was measured on all fitness and validation examples, and on some of the pool
    measured = [*task.task.fitness, *task.task.validation]
    assert set(bench.measured[policy]) >= {e.example_id for e in measured}
    assert len(bench.measured[policy]) == 115
    assert bench.cost(policy, measured) < bench.ledger.total
    assert bench.elsewhere > 3
    row = record.record(record.Key("x", "toy/mood", 1, 200_000, "toy"), bench, policy, 0.0)
    folder = next((tmp_path / "runs").iterdir())
    summary = json.loads((folder / "summary.json").read_text())
    assert row["tokens"]["total"] == summary["tokens"]["logical"]
    assert row["accuracy"]["head"] == pytest.approx(summary["test"]["champion"]["value"])
    offsets = summary["test"]["champion_offsets"]["value"]
    assert row["accuracy"]["labelled"] == pytest.approx(offsets)
    # what is there is taken as it is
    changed = (folder / "lineage.jsonl").stat().st_mtime_ns
    bench.begin(200_000)
    assert search(bench, 1) == policy
    assert (folder / "lineage.jsonl").stat().st_mtime_ns == changed


def test_a_run_by_another_unit_is_not_taken_for_one_that_is_there(task: BenchTask, tmp_path: Path):
    from experiments.benchmarks.search.contenders import contender

    bench, places = bench_of(task, InstantExecutor(), budget=20_000), []
    for forwarded in (False, True):
        arguments = SimpleNamespace(forwarded=forwarded, out=tmp_path / "results.jsonl")
        search = contender("evoprompt", arguments)  # type: ignore[arg-type]
        places.append(search.place(bench, 1).name)  # type: ignore[attr-defined]
    named = ["evoprompt-toy-mood-20000-1", "evoprompt-toy-mood-20000-prefill_tokens-1"]
    assert places == named


@pytest.mark.slow
def test_forwarded_tokens_are_the_package_s_own_budget_alone(
    task: BenchTask, tiny_model: Path, tmp_path: Path
):
    from experiments.benchmarks.search.contenders import contender

    arguments = SimpleNamespace(forwarded=True, out=tmp_path / "results.jsonl")
    bench = ledger.open_bench(task, str(tiny_model))
    bench.begin(20_000)
    contender("evoprompt", arguments)(bench, 1)  # type: ignore[arg-type]
    assert 0 < bench.ledger.prefill <= 20_000 < bench.ledger.total
    with pytest.raises(SystemExit, match="evoprompt's own searches, not zero_shot: leave it out"):
        contender("zero_shot", arguments)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["evoprompt_ga", "evoprompt_de", "opro", "capo", "gepa"])
def test_a_peer_keeps_to_the_ledger_and_improves_on_nothing_it_did_not_measure(
    task: BenchTask, name: str, tmp_path: Path
):
    pytest.importorskip("gepa" if name == "gepa" else "promptolution")
    from experiments.benchmarks.search.contenders import contender

    template = tmp_path / "de.txt"
    template.write_text("<prompt1> <prompt2> <prompt3> <prompt0>")
    arguments = SimpleNamespace(
        de_template=template, forwarded=False, out=tmp_path / "results.jsonl"
    )
    found = []
    for _ in range(2):
        bench = bench_of(task, InstantExecutor(), budget=40_000)
        found.append(contender(name, arguments)(bench, 3))  # type: ignore[arg-type]
        assert 0.5 * 40_000 < bench.ledger.total <= 40_000
        assert bench.ledger.written > 0
        assert found[-1] in bench.measured
    assert found[0] == found[1]
    assert len(bench.measured) > len(task.starting)
    if name == "capo":
        assert any(p.demonstrations for p in bench.measured)
        pool = {Demonstration(e.input, e.target) for e in task.task.pool}
        assert all(set(p.demonstrations) <= pool for p in bench.measured)
