"""What a job is, and what every job begins and ends with: its folder, its provenance, its
champion.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rich.console import Console

from evoprompt.backends.base import Identity
from evoprompt.backends.open import backend_of
from evoprompt.calibration import LabelCalibration
from evoprompt.config.sections import JobConfig
from evoprompt.errors import InexactScoringError, UserError
from evoprompt.jobs.provenance import SCORING, provenance
from evoprompt.measurement.answers import Answering
from evoprompt.measurement.model import chats_of
from evoprompt.plugins import find, may_import, names
from evoprompt.policy import Policy
from evoprompt.scoring.models import fetching, is_fetched
from evoprompt.store.folder import CONFIG, PROVENANCE, SUMMARY, TRACKING, RunFolder
from evoprompt.store.form import in_form
from evoprompt.terminal import new_console
from evoprompt.tracking.courier import sync_hint

F = TypeVar("F", bound=RunFolder)
C = TypeVar("C", bound=JobConfig)

#: Of a sweep, in the folder around the folders of its runs.
SWEEP = "sweep.json"

#: Every job of the package that has a folder. A new one is a folder here and a line before the
#: last: that one takes every folder with a configuration that nobody else owns.
JOBS: Mapping[str, str] = {
    "sweep": "evoprompt.jobs.sweep.job:SweepJob",
    "boost": "evoprompt.jobs.boost.job:BoostJob",
    "shots": "evoprompt.jobs.shots.job:ShotsJob",
    "robustness": "evoprompt.jobs.robustness.job:RobustnessJob",
    "curriculum": "evoprompt.jobs.curriculum.job:CurriculumJob",
    "evolve": "evoprompt.jobs.evolve.job:EvolveJob",
}


@dataclass(frozen=True, slots=True)
class Champion:
    """What a complete job leaves to be used: what answers, what judges the answers, and how."""

    config: JobConfig
    policy: Policy
    evaluator: Policy | None  #: None judges an answer by its own probability
    questions: Path | None = None  #: asked beside the task's
    answer_tokens: int = 24  #: written at most for an answer
    answered_by: str = "likelihood"  #: how choices are compared, a name of `choices.COMPARISONS`
    among_rivals: bool = False  #: whether an answer is judged against the others that were possible
    threshold: float = 0.0  #: log-odds from which on the judge says TRUE
    abstain_below: float | None = None  #: probability of an answer under which it is not given
    calibration: LabelCalibration | None = None  #: of the answers; None compares them as they are
    offsets: LabelCalibration | None = None  #: the same without a head, where it has one
    verdict_calibration: LabelCalibration | None = None  #: of the judge's verdicts
    answering: Answering | None = None  #: how answers are written, where they were graded
    #: nats that the judge's log-odds have for each choice
    verdict_prior: Mapping[str, float] | None = None
    #: the whole prompt as the model reads it, with a placeholder for the input
    prompt: str = ""
    #: the best starting prompt, which answers likewise; None where the job keeps none
    baseline: Champion | None = None

    @property
    def label_words(self) -> Mapping[str, str]:
        """The word that stands for each choice, where it is another."""
        return dict(self.policy.label_words)

    def at(self, url: str | None) -> Champion:
        """Return it with its model behind the server of an address; None leaves it where it is."""
        if url is None:
            return self
        there = {"backend": "server", "url": url}
        workers = self.config.workers.model_copy(update=there)
        return replace(self, config=self.config.model_copy(update={"workers": workers}))


class Job(Protocol):
    """What a user can have done in a folder. Imports nothing heavy until it is asked for
    something.
    """

    def owns(self, folder: Path) -> bool:
        """Return whether this job made a folder."""

    def start(self, config: Path, overrides: list[str], out: Path | None) -> int:
        """Do what a config file says, in a new folder; return the exit status."""

    def resume(
        self, folder: Path, overrides: Sequence[str] = (), *, accept_changes: bool = False
    ) -> int:
        """Go on with what did not end, with other settings where they change no result; return
        the exit status. Where what a result depends on has changed, only with `accept_changes`.
        """

    def sync(self, folder: Path) -> list[Exception]:
        """Tell the tracker all that it was not told of a folder; return why that was not possible,
        nothing where it knows all.
        """

    def report(self, folder: Path) -> Path:
        """Write the page of a folder again, from what is in it alone; return its path."""

    def champion(self, folder: Path) -> Champion:
        """Return the champion of a complete folder.

        Raises:
            UserError: it is not complete, or the job has no champion.
        """


def job_of(folder: Path) -> Job:
    """Return the job that made a folder.

    Raises:
        UserError: no job did, or the one that did is not installed.
    """
    *first, last = JOBS
    others = [name for name in names("job", JOBS) if name not in JOBS] if may_import() else []
    for name in (*first, *others, last):
        job: Job = find("job", name, JOBS, "jobs")
        if job.owns(folder):
            return job
    raise UserError(
        f"there is no run in {folder}: it has no {CONFIG} that a job here knows; give the folder "
        f"that evoprompt run printed"
    )


def resume_folder(folder: Path, overrides: Sequence[str], *, accept_changes: bool) -> int:
    """Go on with what did not end in a folder; return the exit status.

    Raises:
        UserError: no job made the folder, it is complete, what it depends on has changed, or its
            job can only go on as it was begun.
    """
    job = job_of(folder)
    if not overrides and not accept_changes:
        return job.resume(folder)
    try:
        inspect.signature(job.resume).bind(folder, overrides, accept_changes=accept_changes)
    except TypeError:
        raise UserError(
            f"the job of {folder} goes on as it was begun: it takes no --set and no "
            f"--accept-changes; leave them out"
        ) from None
    return job.resume(folder, overrides, accept_changes=accept_changes)


def sync_folder(folder: Path) -> list[Exception]:
    """Tell the tracker all that it was not told of a folder; return why that was not possible,
    nothing where it knows all.

    Raises:
        UserError: no job made the folder, or this job tells nobody.
    """
    job = job_of(folder)
    if not hasattr(job, "sync"):
        raise UserError(f"there is nothing to tell of {folder}: its job has no tracker")
    return job.sync(folder)


def champion_policy(folder: Path) -> Policy:
    """Return what answers in the end in a complete run, or in a loop with the context that it ended
    with.

    Raises:
        UserError: as `Job.champion`.
    """
    return job_of(folder).champion(folder).policy


def complete_summary(folder: RunFolder) -> Mapping[str, Any]:
    """Return the summary of a complete folder.

    Raises:
        UserError: it is not complete.
    """
    summary: Mapping[str, Any] | None = folder.read(SUMMARY)
    if summary is None:
        raise UserError(
            f"the run in {folder.path} is not complete, so it has no champion yet; go on with "
            f"it: evoprompt resume {folder.path}"
        )
    return summary


def sync_owned(folder: F, config: C, sync: Callable[[C, F], Exception | None]) -> list[Exception]:
    """Tell the tracker all that it was not told of a folder, while nobody else writes in it; return
    why that was not possible, nothing where it knows all.

    Raises:
        UserError: nobody is told of it, or another process writes in it.
    """
    if not config.tracking.enabled:
        raise UserError(f"nobody is told of {folder.path}: its tracking.enabled is false")
    with folder.owned():
        reason = sync(config, folder)
    return [] if reason is None else [reason]


def page_of(folder: F, write: Callable[[F], Path]) -> Path:
    """Write the page of a folder, complete or not, from what is in it alone; return its path.

    Raises:
        UserError: nothing is committed in it, or it is damaged.
    """
    if not folder.has_commit:
        raise UserError(f"nothing is committed in {folder.path} yet; there is nothing to report")
    with in_form(folder.path):
        return write(folder)


def begin(
    kind: type[F],
    config: JobConfig,
    out: Path | None,
    data: Mapping[str, object],
    console: Console | None = None,
) -> F:
    """Return a new folder that says what is done in it, and with what data; the model is fetched
    before, where it has to be.
    """
    identity = identify(config, console or new_console())
    folder = kind.create(out, config.name)
    try:
        folder.begin(config, provenance(config, identity, data))
    except BaseException:
        folder.ownership.leave()
        raise
    return folder


def tell_data(console: Console, summary: str, notes: Iterable[str]) -> None:
    """Print how many examples there are for what, and what is to be known of them."""
    for text in (summary, *(f"note: {note}" for note in notes)):
        console.print(text, soft_wrap=True)


def identify(config: JobConfig, console: Console) -> Identity:
    """Return what answers for a configuration; where it has to be fetched first, that is said and
    done. What its chat template refuses is said, where one is used.

    Raises:
        UserError: as `Backend.identify` and `chats_of`.
    """
    if not is_fetched(config.model.name):
        console.print(f"{config.model.name}: {fetching(config.model.name)}")
    backend = backend_of(config)
    identity = backend.identify(config.model)
    if config.model.chat != "off":
        for note in chats_of(config.model.chat, backend.tokenizer(identity))[1]:
            console.print(f"note: {note}", soft_wrap=True)
    return identity


def begin_again(folder: RunFolder, config: C, found: InexactScoringError, *kept: str) -> C:
    """Put aside all that a job has measured; return its configuration, and have it in the folder,
    as one that forwards every sequence by itself.

    Args:
        folder: of the job.
        config: that found its scores wrong.
        found: why.
        kept: files of the folder that the configuration names.

    Raises:
        InexactScoringError: every sequence was forwarded by itself already, which is a bug.
    """
    if config.model.scoring == "plain":
        raise found
    values, begun = folder.config_values(), folder.read(PROVENANCE)
    folder.set_aside(CONFIG, PROVENANCE, *kept)
    values["model"]["scoring"] = "plain"
    again = type(config).model_validate(values)
    plain = {**begun.get("config", {}), "model": values["model"]}
    begun.pop(SCORING, None)
    folder.begin(again, {**begun, "config": plain, "begun_again": str(found)})
    return plainly(config)


def plainly(config: C) -> C:
    """Return the configuration with every sequence forwarded by itself."""
    return config.model_copy(update={"model": config.model.model_copy(update={"scoring": "plain"})})


def begun_again(found: Exception) -> str:
    """Return what is said where the standing check found a wrong score."""
    return (
        f"{found}; so no score of this run is kept: it begins again and forwards every sequence "
        f"by itself (model.scoring=plain), which is slower and exact"
    )


@contextmanager
def going_on(folder: RunFolder, *, accept_changes: bool) -> Iterator[None]:
    """Be the one that goes on with a folder; two that begin at once do not both end it.

    Raises:
        UserError: another process writes in it, it is complete, or what was told to MLflow is
            damaged; nothing is changed then.
    """
    folder.accepts_changes = accept_changes
    with folder.owned():
        folder.read(TRACKING)  # before lines that were never committed are cut off
        if folder.is_complete:
            raise UserError(
                f"the run in {folder.path} is complete; its result is in {SUMMARY}, and evoprompt "
                f"report {folder.path} makes its page again{sync_hint(folder)}"
            )
        yield


@contextmanager
def taken_away(folder: RunFolder, *files: str) -> Iterator[None]:
    """Give the folder back in the end; take it away again, with these files of the job, where the
    user's mistake comes out before anything is committed in it.
    """
    away = False
    try:
        yield
    except UserError:
        away = not folder.has_commit
        if away:
            _take_away(folder, files)
        raise
    finally:
        folder.ownership.leave()
        if away and not any(folder.path.iterdir()):
            folder.path.rmdir()


def home(run: Path) -> Path:
    """Return the folder whose MLflow store a run is in: the one around it, or for a run of a sweep
    the one around the sweep.
    """
    return run.parent.parent if (run.parent / SWEEP).exists() else run.parent


def parent_run(run: Path) -> str | None:
    """Return the id of the MLflow run of the sweep that a run belongs to."""
    if not (run.parent / SWEEP).exists():
        return None
    identity: Mapping[str, str] = RunFolder(run.parent).read(TRACKING) or {}
    return identity.get("run_id")


def _take_away(folder: RunFolder, files: Sequence[str] = ()) -> None:
    """Remove the files that a run wrote before its first generation."""
    for name in (CONFIG, PROVENANCE, TRACKING, *files):
        (folder.path / name).unlink(missing_ok=True)
