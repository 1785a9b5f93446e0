"""The commands that tell what there is: this machine, tasks, keys of configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from evoprompt.errors import UserError, printable


def doctor_command(
    runs: Annotated[Path, typer.Option(help="The folder of the runs.")] = Path("runs"),
) -> None:
    """Look whether this machine has what a run needs, without a run. Exit 1 where something is
    missing.
    """
    from evoprompt.jobs.doctor import examine
    from evoprompt.report.table import Cell, Emphasis, new_table, to_rich
    from evoprompt.terminal import new_console

    marks: dict[str, Emphasis] = {"ok": "good", "note": "warning", "fails": "bad"}
    found = list(examine(runs))
    rows = [(f.what, Cell(f.mark, emphasis=marks[f.mark]), f.text) for f in found]
    new_console().print(to_rich(new_table(("", "", ""), rows, align="lll")))
    raise typer.Exit(1 if any(f.mark == "fails" for f in found) else 0)


def tasks_command(
    name: Annotated[
        Optional[str], typer.Argument(help="A task, of which examples are shown; default: all.")
    ] = None,
) -> None:
    """List the package's own tasks, or show one: its examples and the prompts it begins with."""
    from evoprompt.jobs.document import task_lines

    for line in task_lines(name):
        typer.echo(printable(line))


def config_command(
    explain: Annotated[
        Optional[str],
        typer.Option(metavar="KEY", help="Tell what a key means, takes and is by default."),
    ] = None,
    job: Annotated[
        str,
        typer.Option(
            "--of",
            metavar="COMMAND",
            help="Of which command: run, sweep, boost, shots, robustness, curriculum.",
        ),
    ] = "run",
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema, for editors.")
    ] = False,
) -> None:
    """List the keys of a configuration, or explain one; and the package's own configurations, which
    run by name.
    """
    import json

    from evoprompt.config.shipped import shipped_names
    from evoprompt.jobs.document import explain as explained
    from evoprompt.jobs.document import keys_of, listed, shipped

    if explain is not None and schema:
        raise UserError("give either --explain KEY or --schema")
    if schema:
        typer.echo(json.dumps(shipped(job), indent=1))
    elif explain is not None:
        typer.echo(explained(job, explain))
    else:
        known = keys_of(job)
        typer.echo("\n".join(listed(known, list(known))))
        names = ", ".join(shipped_names(job))
        if names:
            typer.echo(f"\nconfigurations by name (evoprompt {job} NAME): {names}")


def models_command(
    fetch: Annotated[
        Optional[str],
        typer.Option(
            help="Fetch and convert an embedded model now, rather than when it is first used."
        ),
    ] = None,
    clear_memo: Annotated[
        bool, typer.Option("--clear-memo", help="Delete the scores that are kept of earlier runs.")
    ] = False,
) -> None:
    """List the embedded models, where the cache has them, and what the memo of scores has."""
    from evoprompt.errors import nearest
    from evoprompt.scoring.memo import clear_memo as clear
    from evoprompt.scoring.memo import describe_memo
    from evoprompt.scoring.models import (
        EMBEDDED,
        embedded_folder,
        fetch_embedded,
        fetching,
        is_fetched,
        memo_file,
    )

    if fetch is not None:
        if fetch not in EMBEDDED:
            raise UserError(f"there is no embedded model '{fetch}'; {nearest(fetch, EMBEDDED)}")
        if not is_fetched(fetch):
            typer.echo(f"{fetch}: {fetching(fetch)}")
            fetch_embedded(fetch)
    if clear_memo:
        clear(memo_file())
    for name, model in EMBEDDED.items():
        missing = f"not fetched yet ({model.megabytes} MB, {model.gigabytes} GB converted)"
        typer.echo(
            f"{name}: {model.about}; {embedded_folder(name) if is_fetched(name) else missing}"
        )
    typer.echo(f"memo of scores: {describe_memo(memo_file())}")
