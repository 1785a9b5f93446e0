"""The command line. Imports nothing heavy until a command needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from evoprompt.commands import (
    Commands,
    OutOption,
    SetOption,
    UrlOption,
    curriculum_command,
    export_command,
    feedback_command,
    init_command,
    predict_command,
    robustness_command,
    serve_command,
    shots_command,
    ui_command,
)
from evoprompt.errors import UserError, printable
from evoprompt.exits import exit_status, log_safely
from evoprompt.interrupt import install_signal_handlers
from evoprompt.lookups import config_command, doctor_command, models_command, tasks_command
from evoprompt.plugins import refuse_code
from evoprompt.scaling_commands import scaling
from evoprompt.streams import take_any_text

app = typer.Typer(
    cls=Commands,
    help="Evolve prompts for open-weight language models, and see why they improve.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command("run")
def run_command(
    config: Annotated[Path, typer.Argument(help="A YAML config, or the name of one: quickstart.")],
    out: OutOption = None,
    overrides: SetOption = None,
    ray_address: Annotated[
        Optional[str],
        typer.Option(help="Join a running Ray cluster, e.g. auto or ray://host:10001."),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Tell what each worker does, generation by generation."),
    ] = False,
) -> None:
    """Evolve prompts as a config says."""
    from evoprompt.jobs.evolve.config import load_config
    from evoprompt.jobs.evolve.session import start

    extra = [f"workers.ray_address={ray_address}"] if ray_address else []
    start(load_config(config, [*(overrides or []), *extra]), out, verbose=verbose)


@app.command("resume")
def resume_command(
    run: Annotated[
        Path, typer.Argument(help="The folder of a run, a sweep or a loop that did not end.")
    ],
    overrides: Annotated[
        Optional[list[str]],
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change what changes no result: workers.* but threads, tracking.*, budget.*, and "
            "evolution.generations or loop.rounds. Repeatable.",
        ),
    ] = None,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes",
            help="Go on though data, model, configuration or packages have changed; it is recorded "
            "in provenance.json.",
        ),
    ] = False,
) -> None:
    """Go on with a run from its last committed generation, or with a loop from its last committed
    round.
    """
    from evoprompt.jobs.base import resume_folder

    raise typer.Exit(resume_folder(run, overrides or [], accept_changes=accept_changes))


@app.command("sync")
def sync_command(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders of runs, sweeps or loops."),
    ],
) -> None:
    """Tell MLflow what it was not told of runs: while its store did not answer, or after a kill.
    Exit 1 when it still does not answer.
    """
    from evoprompt.commands import show_sync

    raise typer.Exit(max([show_sync(run) for run in runs]))


@app.command("sweep")
def sweep_command(
    config: Annotated[
        Optional[Path], typer.Argument(help="A YAML sweep, or the name of one: quick.")
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(
            help="The sweep's folder; default runs/<sweep name>, numbered where it exists."
        ),
    ] = None,
    overrides: SetOption = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="List the runs with a forecast of their tokens; load no model."
        ),
    ] = False,
    resume: Annotated[
        Optional[Path],
        typer.Option(help="Go on with the sweep in this folder; failed runs are tried again."),
    ] = None,
) -> None:
    """Run a configuration over many settings, on one loaded model, and compare them. Exit 1 when a
    run failed.
    """
    from evoprompt.jobs.sweep import loop as sweep

    if (config is None) == (resume is None):
        raise UserError("give either a sweep config, or --resume with the folder of a sweep")
    if config is None:
        if out is not None or overrides or dry_run:
            raise UserError(
                "--resume goes on with a sweep as it was begun; it takes no --out, --set or "
                "--dry-run"
            )
        raise typer.Exit(1 if sweep.resume(resume or Path()) else 0)
    if dry_run:
        sweep.show_plan(config, overrides or [])
        return
    raise typer.Exit(1 if sweep.start(config, out, overrides or []) else 0)


@app.command("boost")
def boost_command(
    config: Annotated[
        Path, typer.Argument(help="A YAML config of a loop, or the name of one: quick.")
    ],
    out: Annotated[
        Optional[Path],
        typer.Option(
            help="The loop's folder; default runs/<config name>, numbered where it exists."
        ),
    ] = None,
    overrides: SetOption = None,
) -> None:
    """Let a policy answer, judge its own answers and learn from those it accepts, round after
    round; measure that against the theory.
    """
    from evoprompt.jobs.boost.config import load_boost
    from evoprompt.jobs.boost.session import start

    start(load_boost(config, overrides or []), out)


@app.command("play")
def play_command(
    run: Annotated[Path, typer.Argument(help="The folder of a complete run or loop.")],
    feedback: Annotated[
        Optional[Path],
        typer.Option(
            help="Where your feedback goes, as JSONL; default feedback.jsonl in the folder."
        ),
    ] = None,
    seed: Annotated[
        Optional[int],
        typer.Option(min=0, help="Of the options that the model writes; default: the run's."),
    ] = None,
    choices: Annotated[
        Optional[str],
        typer.Option(metavar="A,B,...", help="The answers that are possible; default: the task's."),
    ] = None,
    url: UrlOption = None,
) -> None:
    """Talk with a run's champion: it answers, judges its answer, and keeps your feedback as
    examples for a later run.
    """
    from evoprompt.jobs.play.session import play

    play(run, feedback, seed=seed, choices=choices, url=url)


app.command("feedback")(feedback_command)
app.command("init")(init_command)
app.command("tasks")(tasks_command)
app.command("config")(config_command)
app.command("doctor")(doctor_command)
app.command("export")(export_command)
app.command("predict")(predict_command)
app.command("serve")(serve_command)
app.command("shots")(shots_command)
app.command("robustness")(robustness_command)
app.command("curriculum")(curriculum_command)
app.add_typer(scaling, name="scaling")


@app.command("report")
def report_command(
    run: Annotated[Path, typer.Argument(help="The folder of a run, a sweep or a loop.")],
) -> None:
    """Make the page of a run, a sweep or a loop again, from its folder alone; or that of any
    lineage.jsonl in the documented format.
    """
    from evoprompt.jobs.base import job_of

    typer.echo(printable(str(job_of(run).report(run))))


@app.command("compare")
def compare_command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Folders of runs, or folders around them, e.g. of a sweep."
        ),
    ],
    by: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="KEY", help="A config key to group by; default: all that differ. Repeatable."
        ),
    ] = None,
    align: Annotated[
        Optional[str],
        typer.Option(
            help="tokens, evaluations, generations or seconds; default: tokens where all have them."
        ),
    ] = None,
    trait: Annotated[
        str,
        typer.Option(help="fitness (the best so far), or a trait (its mean over the selected)."),
    ] = "fitness",
    target: Annotated[
        Optional[float],
        typer.Option(
            help="The value to reach; default: the baseline's mean at the end of the range."
        ),
    ] = None,
    baseline: Annotated[
        Optional[str],
        typer.Option(
            metavar="GROUP", help="The group that others are compared with; default: the first."
        ),
    ] = None,
    out: Annotated[
        Optional[Path],
        typer.Option(
            help="The comparison's folder; default comparisons/<name> beside the runs, numbered."
        ),
    ] = None,
    mlflow: Annotated[
        bool,
        typer.Option(
            "--mlflow/--no-mlflow", help="Record the comparison in the runs' MLflow store."
        ),
    ] = True,
) -> None:
    """Compare runs: curves, final values, and which part of the evolution differs, with tests over
    seeds.
    """
    from evoprompt.jobs.compare.comparison import Settings
    from evoprompt.jobs.compare.session import compare

    compare(runs, Settings(tuple(by or ()), align, trait, target, baseline), out, mlflow=mlflow)


app.command("ui")(ui_command)


@app.command("score")
def score_command(
    input: Annotated[
        Path, typer.Option(help='JSONL, a line each: {"id", "context", "continuation"}.')
    ],
    output: Annotated[Path, typer.Option(help="Where the scores go, in the input's order.")],
    model: Annotated[
        str, typer.Option(help="An embedded model's name, a local folder, or a hub id.")
    ] = "smollm2-135m",
    stats: Annotated[
        Optional[Path], typer.Option(help="Where the counts of work go, as JSON.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[
        Optional[int], typer.Option(help="CPU threads; default: torch's choice.")
    ] = None,
    chunk_tokens: Annotated[
        Optional[int],
        typer.Option(help="The most tokens in one forward pass; default: what suits the device."),
    ] = None,
    memo: Annotated[bool, typer.Option(help="Answer from the memo what was scored before.")] = True,
    backend: Annotated[
        str, typer.Option(help="Who scores: local, ray, a plug-in's, or a server's address.")
    ] = "local",
) -> None:
    """Write log p(continuation | context) of every request."""
    from evoprompt.config.reader import check_section
    from evoprompt.config.sections import JobConfig
    from evoprompt.config.workers import workers_of
    from evoprompt.jobs.score import score_file

    about_model = {
        "name": model,
        "dtype": dtype,
        "device": device,
        "chunk_tokens": chunk_tokens,
        "prefix_store_mib": 0,
        "memo": memo,
    }
    config = check_section(
        JobConfig,
        {"model": about_model, "workers": {**workers_of(backend), "threads": threads}},
        "evoprompt score",
    )
    score_file(config, input, output, stats)


app.command("models")(models_command)


@app.callback(invoke_without_command=True)
def version_option(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    no_code: Annotated[
        bool,
        typer.Option(
            "--no-code",
            help="Refuse configurations that import code: plug-ins, module:name, files of the "
            "LM Evaluation Harness. May stand after a command, too.",
        ),
    ] = False,
) -> None:
    """Evolve prompts for open-weight language models, and see why they improve."""
    if no_code:
        refuse_code()
    if version:
        from evoprompt.about import __version__

        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line: exit 0 on success, 2 for a user's mistake, 1 for a failure, 130 after
    Ctrl-C.
    """
    install_signal_handlers()
    take_any_text()
    log_safely()
    sys.exit(exit_status(lambda: app(standalone_mode=False)))


if __name__ == "__main__":
    main()
