"""A complete run or loop, to be looked at, kept and used."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evoprompt.errors import UserError

if TYPE_CHECKING:
    from evoprompt.jobs.base import Champion
    from evoprompt.measurement.asker import Asker


@dataclass(frozen=True)
class Picture:
    """A figure as SVG text; notebooks show it."""

    svg: str = field(repr=False)

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> Path:
        """Write the figure to a file; return its path."""
        file = Path(path)
        file.write_text(self.svg, encoding="utf-8")
        return file


@dataclass
class Result:
    """A complete run or loop, read from its folder alone.

    Examples:
        >>> import evoprompt as ep
        >>> result = ep.load("runs/quickstart")
        >>> result.summary["seed"]
        0
    """

    folder: Path
    _asker: Asker | None = field(default=None, repr=False)
    _temporary: Any = field(default=None, repr=False)  #: takes the folder away with this object

    @property
    def summary(self) -> Mapping[str, Any]:
        """What `summary.json` has.

        Raises:
            UserError: the folder is gone.
        """
        if not self.folder.exists():
            raise UserError(
                f"{self.folder} is gone: it was a temporary folder, and the result was closed; "
                "save it first, or give evolve an out"
            )
        from evoprompt.store.folder import SUMMARY, RunFolder

        found: Mapping[str, Any] = RunFolder(self.folder).read(SUMMARY)
        return found

    @property
    def test(self) -> Mapping[str, Any]:
        """The held-out check: baseline, champion and their difference, with intervals."""
        found: Mapping[str, Any] = self.summary["test"]
        return found

    @property
    def champion(self) -> Champion:
        """The policy that the run ended with, its prompt, and how it answers."""
        from evoprompt.jobs.base import job_of

        return job_of(self.folder).champion(self.folder)

    def predict(self, inputs: Sequence[str]) -> list[str]:
        """Return the champion's answer to each input: the likeliest choice, or what the model
        writes where the task has none. The model is loaded once.

        Raises:
            UserError: a prompt does not fit the model's window.
        """
        return [max(shares, key=lambda a: shares[a]) for shares in self.probabilities(inputs)]

    def probabilities(self, inputs: Sequence[str]) -> list[dict[str, float]]:
        """Return the probability of each choice for each input, calibrated as the champion's
        answers are; in free form that of the answer alone, per token.

        Raises:
            UserError: the inputs are one text, or a prompt does not fit the model's window.
        """
        from evoprompt.jobs.play.session import asker_of, player_of
        from evoprompt.records import Example

        if isinstance(inputs, str):
            raise UserError(f"predict takes a list of inputs; for one give [{inputs!r}]")
        champion = self.champion
        if self._asker is None:
            self._asker = asker_of(champion)
        choices = player_of(champion).offer.choices
        target = choices[0] if choices else "?"
        asked = [Example(str(i), text, target, choices) for i, text in enumerate(inputs)]
        answers = self._asker.answers(champion.policy, asked, "predict")
        if choices is None:
            return [{a.text: a.probability} for a in answers]
        return [dict(zip(choices, a.probabilities, strict=True)) for a in answers]

    def plot(self) -> Picture:
        """Return the fitness by generation, or a loop's error rate by round.

        Raises:
            UserError: nothing of a loop's error is known.
        """
        from evoprompt.jobs.boost.figures import error_figure
        from evoprompt.jobs.boost.folder import BoostFolder
        from evoprompt.jobs.evolve.figures import fitness_figure
        from evoprompt.jobs.evolve.folder import LINEAGE, EvolveFolder

        if "fitness" in self.summary:
            folder = EvolveFolder.open(self.folder)
            accounts = [line.account for line in folder.generations()]
            kind = self.summary["fitness"]["kind"]
            return Picture(fitness_figure(accounts, folder.lines(LINEAGE), kind))
        figure = error_figure(BoostFolder.open(self.folder).rounds())
        if figure is None:
            raise UserError(f"nothing is known of the error of the loop in {self.folder}")
        return Picture(figure)

    def report(self) -> Path:
        """Write the page again; return its path."""
        from evoprompt.jobs.base import job_of

        return job_of(self.folder).report(self.folder)

    def save(self, path: str | Path) -> Result:
        """Copy the folder, e.g. out of a temporary one; return the result there.

        Raises:
            UserError: the path is in use.
        """
        target = Path(path)
        if target.exists():
            raise UserError(f"{target} exists, and nothing is overwritten; give another path")
        shutil.copytree(self.folder, target)
        return load(target)

    def close(self) -> None:
        """Give the model back, and take a temporary folder away."""
        if self._asker is not None:
            self._asker.measurer.close()
            self._asker = None
        if self._temporary is not None:
            self._temporary.cleanup()


def load(path: str | Path) -> Result:
    """Return the result in a folder.

    Raises:
        UserError: no job made the folder, or it is not complete.
    """
    from evoprompt.jobs.base import job_of

    folder = Path(path).resolve()
    job_of(folder).champion(folder)
    return Result(folder)
