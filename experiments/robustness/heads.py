"""Does a head that is fitted under changes too bear others, on the same champion?

    python experiments/robustness/heads.py runs/robust/inbox-without-0 runs/robust/sst2-without-0

Of each run's champion: a head that is fitted on fitness and validation examples, and one that is
fitted on 24 validation examples under five changes too. Both answer the test examples as they are
and under the changes of `study.py`, which neither was fitted on. What the changes take is not in
the run's budget.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from evoprompt.calibration import apply, fitted
from evoprompt.config.robustness import UnderChangesConfig
from evoprompt.jobs.evolve.under_changes import asked_of, sources_of
from evoprompt.jobs.play.session import asker_of
from evoprompt.jobs.robustness.session import planned
from evoprompt.jobs.robustness.study import load_study, variants
from evoprompt.policy import Policy
from evoprompt.records import Example, LabelScores
from evoprompt.stats.resampling import paired_bootstrap_interval

SOURCES = ("format", "input_distractor", "paraphrase", "input_casing", "order")
NUM_CHANGED, DRAWS = 24, 5


def compared(folder: Path) -> list[np.ndarray]:
    """Return of a champion's plain head and of the other which test examples are right as they are,
    and their means over sources of whether they are right under all draws: shape (2, example) each.
    """
    settings = [f"sources=[{','.join(SOURCES)}]", f"draws={DRAWS}", "examples=48", "attack.edits=0"]
    study = load_study(planned(folder, settings))
    asker = asker_of(replace(study.champion, config=study.config))
    own, task, measurer = study.subjects[-1], study.task, asker.measurer
    assert own.calibration is not None, "its answers are calibrated"
    assert own.calibration.head is not None, "by a head"
    measurer.features = own.calibration.head.words

    def scored(policy: Policy, examples: tuple[Example, ...]) -> LabelScores:
        found = measurer.measure([policy], examples, lambda _: None, asker.ledger.timed)
        return found[policy.policy_id][0]

    try:
        plain = [scored(own.policy, task.fitness), scored(own.policy, task.validation)]
        few = task.validation[:NUM_CHANGED]
        config = UnderChangesConfig(sources=SOURCES, draws=DRAWS)
        asked = asked_of(own.policy, few, config, sources_of(config, task), study.config.seed)
        given = [(policy, few) for policy in asked.prompts.values()]
        num = len(few)
        given += [
            (own.policy, asked.inputs[i * num : (i + 1) * num]) for i in range(len(asked.draws))
        ]
        ids = tuple(e.example_id for e in few)
        changed = [replace(scored(*each), example_ids=ids) for each in given]
        heads = fitted(plain, "head"), fitted(plain, "head", changed)
        as_it_is = scored(own.policy, study.test)
        under = [
            [scored(v.policy, v.examples) for v in variants(study, own.policy, s)] or [as_it_is]
            for s in SOURCES
        ]
    finally:
        measurer.close()

    def right(number: int, scores: LabelScores) -> np.ndarray:
        calibrated = apply(heads[number], scores).calibrated
        assert calibrated is not None
        return (calibrated[0].argmax(axis=1) == scores.gold).astype(float)

    clean = np.array([right(i, as_it_is) for i in (0, 1)])
    worst = [np.mean([np.min([right(i, s) for s in d], axis=0) for d in under], 0) for i in (0, 1)]
    return [clean, np.array(worst)]


def main() -> None:
    """Print each champion, and the differences over all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    changes: list[list[np.ndarray]] = [[], []]
    for folder in parser.parse_args().runs:
        both = compared(folder)
        told = [" -> ".join(f"{100 * v:.1f}" for v in values.mean(axis=1)) for values in both]
        print(f"{folder.name}: as it is {told[0]}; worst of {DRAWS} {told[1]}", flush=True)
        for rows, values in zip(changes, both, strict=True):
            rows.append(values[1] - values[0])
    for name, rows in zip(("as it is", "worst"), changes, strict=True):
        joined = np.concatenate(rows)
        low, high = paired_bootstrap_interval(joined, np.random.default_rng(0))
        print(f"{name}: {100 * joined.mean():+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] points")


if __name__ == "__main__":
    main()
