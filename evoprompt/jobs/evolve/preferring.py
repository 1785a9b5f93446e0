"""Remarks of before -> what a run prefers, and what its folder has of that."""

from __future__ import annotations

from evoprompt.errors import UserError
from evoprompt.fitness.preference import Preference, features_of, wishes_of
from evoprompt.fitness.remarks import read_remarks
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.folder import FEEDBACK
from evoprompt.measurement.measure import Measurer
from evoprompt.policy import Policy
from evoprompt.seeding import Stream, generator
from evoprompt.store.folder import RunFolder
from evoprompt.tasks.base import Task


def check_feedback(config: Config) -> None:
    """Find out whether the remarks that a configuration names tell anything.

    Raises:
        UserError: they cannot be read, or tell nothing of any trait.
    """
    if config.feedback is None:
        return
    if not any(remark.features for remark in read_remarks(config.feedback.path)):
        raise UserError(
            f"feedback.path: no remark of {config.feedback.path} tells anything of a trait; add "
            f"some with evoprompt feedback, or leave the section out"
        )


def preference_of(config: Config, task: Task, measurer: Measurer) -> Preference | None:
    """Return what remarks of before add to the fitness; None where there are none, or they are
    given no strength.
    """
    asked = config.feedback
    if asked is None or not asked.strength:
        return None
    wishes = wishes_of(read_remarks(asked.path), pragmatic=asked.pragmatic)
    weights = wishes.posterior.mean
    if asked.use == "draw":
        weights = wishes.posterior.draw(generator(config.seed, Stream.FEEDBACK))
    reference = features_in(task.given_policies[0], measurer, task)
    return Preference(wishes, weights, asked.strength, reference)


def features_in(policy: Policy, measurer: Measurer, task: Task) -> dict[str, float]:
    """Return the features of a policy in a task (`fitness.preference.features_of`)."""
    return features_of(policy, measurer.prompt_tokens(policy), task.choices or ())


def record_preference(folder: RunFolder, preference: Preference | None) -> None:
    """Write into a run's folder what it prefers, where it prefers anything."""
    if preference is None:
        return
    wishes = preference.wishes
    used = dict(zip(wishes.names, preference.weights.tolist(), strict=True))
    rows = [
        {
            "feature": wish.feature,
            "mean": wish.mean,
            "sd": wish.sd,
            "remarks": wish.remarks,
            "weight": used[wish.feature],
        }
        for wish in wishes.each()
    ]
    covariance = wishes.posterior.covariance.tolist()
    told = {"strength": preference.strength, "remarks": wishes.num_remarks, "wishes": rows}
    folder.write(FEEDBACK, {**told, "features": list(wishes.names), "covariance": covariance})
