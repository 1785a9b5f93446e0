"""The commands below `evoprompt scaling`. Imports nothing heavy until one is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

scaling = typer.Typer(
    help="Fit how performance depends on a model's loss, and what a better one costs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@scaling.callback()
def _scaling() -> None:
    """Fit how performance depends on a model's loss, and what a better one costs."""


@scaling.command("fit")
def fit_command(
    table: Annotated[
        Optional[list[str]],
        typer.Argument(
            help="CSV with columns benchmark, model, loss, score, and chance, best, category, "
            "setting, metric, error, parameters, pfdays where known; gpt3: the GPT-3 paper's, "
            "which is the default; or folders of runs or of evoprompt shots."
        ),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(help="The folder; default runs/scaling/<table>, numbered where it exists."),
    ] = None,
    setting: Annotated[
        Optional[str],
        typer.Option(help="Rows of this setting; of gpt3: few-shot; of shots the context."),
    ] = None,
    losses: Annotated[
        Optional[Path],
        typer.Option(help="Of folders: a CSV with columns model and loss, nats per token."),
    ] = None,
    loss: Annotated[str, typer.Option(help="The column of the loss, nats per token.")] = "loss",
    best: Annotated[
        float, typer.Option(help="The most that can be scored, where no column says it.")
    ] = 100.0,
    target: Annotated[
        float, typer.Option(help="The performance asked for: 0 is chance, 1 the best.")
    ] = 0.9,
    price: Annotated[
        Optional[float], typer.Option(help="Dollars per FLOP; default 3.2e-18.")
    ] = None,
) -> None:
    """Fit lines and logistic curves of performance against loss, see which benchmarks do not
    follow, and what it takes to reach a target.
    """
    from evoprompt.jobs.scaling.analysis import DOLLARS_PER_FLOP
    from evoprompt.jobs.scaling.session import fit_scaling

    dollars = DOLLARS_PER_FLOP if price is None else price
    fit_scaling(
        table or ("gpt3",),
        out,
        losses=losses,
        setting=setting,
        loss=loss,
        best=best,
        target=target,
        dollars_per_flop=dollars,
    )


@scaling.command("samples")
def samples_command(
    table: Annotated[
        list[str],
        typer.Argument(
            help="CSV with columns model, samples and a loss or score, a row for each measurement; "
            "parameters, flop and seed where known; or folders of runs or of evoprompt shots."
        ),
    ],
    out: Annotated[
        Optional[Path],
        typer.Option(help="The folder; default runs/scaling/samples-<table>, numbered."),
    ] = None,
    performance: Annotated[
        str,
        typer.Option(help="The column: loss, lower is better, or any other, higher is better."),
    ] = "loss",
    target: Annotated[
        Optional[list[float]],
        typer.Option(help="A performance that is asked for; repeat it for several."),
    ] = None,
    setting: Annotated[
        Optional[str], typer.Option(help="Of shots, the context; default: the only one.")
    ] = None,
) -> None:
    """Tell how many samples models of different sizes need to reach the same performance, and which
    size is best for a compute.
    """
    from evoprompt.jobs.scaling.samples_session import compare_samples

    compare_samples(table, out, performance=performance, targets=target or (), context=setting)
