"""Files of a folder that somebody changed so that they are still JSON: one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evoprompt.errors import UserError, quoted


@contextmanager
def in_form(place: Path) -> Iterator[None]:
    """Refuse content whose keys, types, shapes or numbers are not those that are written.

    For code whose only input is what files have: what fails in it fails by them.

    Args:
        place: the file, or the folder.

    Raises:
        UserError: the content has another form, or does not go together.
    """
    try:
        yield
    except UserError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        StopIteration,
        TypeError,
        ValueError,
    ) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise UserError(
            f"{place} is damaged: what is in it has not the form in which it is written, or does "
            f"not go together ({quoted(what)}); put back what was changed"
        ) from error
