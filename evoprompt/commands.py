"""The commands of installed plug-ins beside the package's own, and the options that many share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from typer.core import TyperGroup

from evoprompt.errors import UserError, printable

OutOption = Annotated[
    Optional[Path],
    typer.Option(help="The folder; default runs/<config name>, numbered where it exists."),
]
PlanOption = Annotated[
    bool,
    typer.Option("--dry-run", help="List what would be measured, with its tokens, and stop."),
]
SetOption = Annotated[
    Optional[list[str]],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a config key, e.g. evolution.generations=5; paths are read from the "
        "config's folder. Repeatable.",
    ),
]
#: Refuses configurations that import code, whatever the command.
NO_CODE_OPTION = "--no-code"
UrlOption = Annotated[
    Optional[str],
    typer.Option(help="Of a server that holds the run's model; default: who scored in the run."),
]


class Commands(TyperGroup):
    """The commands that are written out, and one for each other job, of plug-ins too.

    Jobs are looked for when a command is none of those, so that the others begin fast.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the options that stand before a command, and `--no-code` wherever it stands."""
        if NO_CODE_OPTION in args:
            args = [NO_CODE_OPTION, *(arg for arg in args if arg != NO_CODE_OPTION)]
        return list(super().parse_args(ctx, args))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each command with its whole first sentence, on as many lines as it takes."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, _first_sentence(c.help)) for name, c in commands if c and not c.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a name, or None."""
        own = super().get_command(ctx, cmd_name)
        return own if own is not None else _job_command(cmd_name)


def show_sync(run: Path) -> int:
    """Tell the tracker of a run what it was not told, and say how that went; return 0 where it
    knows all, 1 where it does not answer.

    Raises:
        UserError: there is no such run, or its store cannot be used.
    """
    from evoprompt.jobs.base import sync_folder

    reasons = sync_folder(run)
    for reason in reasons:
        if isinstance(reason, UserError):
            raise UserError(f"{run}: {reason}")
        typer.echo(f"evoprompt: {run}: {reason}", err=True)
    if not reasons:
        typer.echo(f"{run}: MLflow has all of it")
    return 1 if reasons else 0


def ui_command(
    runs: Annotated[Path, typer.Option(help="The folder that holds the runs.")] = Path("runs"),
    host: Annotated[
        str,
        typer.Option(
            help="The address to listen on; anything but this machine's own opens the store to "
            "others."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 5000,
    view: Annotated[
        Optional[str],
        typer.Option(
            help="fitness, price, recurrence, cost or sweep; default: that of what ran last."
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open it, where there is a screen.")
    ] = True,
) -> None:
    """Open MLflow's pages on the runs, at the dashboard of what ran last."""
    import os

    from evoprompt.tracking.server import serve

    if not os.environ.get("MLFLOW_TRACKING_URI") and not (runs / "mlflow.db").exists():
        raise UserError(
            f"there is no MLflow store in {runs} (no mlflow.db); make a run first, or name the "
            f"folder with --runs"
        )
    raise typer.Exit(serve(runs, host, port, view, browser=browser))


def _makes_folder(out: Path | None, *, dry_run: bool) -> bool:
    """Return whether a job makes its folder: unless it is only listed, which takes none.

    Raises:
        UserError: a folder is given for a list.
    """
    if dry_run and out is not None:
        raise UserError("--dry-run makes no folder; leave --out out")
    return not dry_run


def shots_command(
    config: Annotated[Path, typer.Argument(help="A YAML config, or the name of one: quick.")],
    out: OutOption = None,
    overrides: SetOption = None,
    dry_run: PlanOption = False,
) -> None:
    """Measure models on tasks by the number of demonstrations, drawn, chosen or evolved."""
    from evoprompt.jobs.shots.config import load_shots
    from evoprompt.jobs.shots.session import show_plan, start

    read = load_shots(config, overrides or [])
    if _makes_folder(out, dry_run=dry_run):
        start(read, out)
    else:
        show_plan(read)


def robustness_command(
    run: Annotated[Path, typer.Argument(help="The folder of a complete run.")],
    out: Annotated[
        Optional[Path],
        typer.Option(help="The folder; default runs/robustness-<run>, numbered where it exists."),
    ] = None,
    overrides: SetOption = None,
    dry_run: PlanOption = False,
) -> None:
    """Measure a run's champion and baseline under changes that leave the meaning as it is, and
    search the change that does most harm.
    """
    from evoprompt.jobs.robustness.session import show_plan, start

    if _makes_folder(out, dry_run=dry_run):
        start(run, overrides or [], out)
    else:
        show_plan(run, overrides or [])


def curriculum_command(
    config: Annotated[Path, typer.Argument(help="A YAML config, or the name of one: levels.")],
    out: OutOption = None,
    overrides: SetOption = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say about how many tokens it would take, and stop."),
    ] = False,
) -> None:
    """Evolve prompts for several regions, with examples from where there is regret."""
    from evoprompt.jobs.curriculum.config import load_curriculum
    from evoprompt.jobs.curriculum.session import show_forecast, start

    read = load_curriculum(config, overrides or [])
    if _makes_folder(out, dry_run=dry_run):
        start(read, out)
    else:
        show_forecast(read)


def export_command(
    run: Annotated[Path, typer.Argument(help="The folder of a complete run or loop.")],
    form: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORM",
            help="text (the prompt and its answers), json, python (a file that answers as the "
            "champion does and needs nothing of evoprompt), chat (messages) or logit-bias (both "
            "for servers with OpenAI's interface), lm-eval (a task), dspy, gepa, mlflow.",
        ),
    ] = "text",
    baseline: Annotated[
        bool,
        typer.Option(
            "--baseline", help="The best starting prompt instead, calibrated as it was tested."
        ),
    ] = False,
) -> None:
    """Print a run's champion in a form that other programs take."""
    from evoprompt.jobs.export.forms import export

    text = export(run, form, baseline=baseline)
    # a terminal acts on some characters; a file or another program gets them as they are
    typer.echo(printable(text) if sys.stdout.isatty() else text, nl=False)


def init_command(
    file: Annotated[
        str,
        typer.Argument(help="Examples: JSONL, JSON, CSV, TSV, Parquet, or hf://owner/name/config."),
    ],
    out: Annotated[
        Optional[Path],
        typer.Option("--out", "-o", help="The config to write; default: beside the file."),
    ] = None,
    model: Annotated[
        str, typer.Option(help="An embedded model's name, a local folder, or a hub id.")
    ] = "smollm2-135m",
    input: Annotated[
        Optional[str],
        typer.Option(help="The column of the inputs, or a text with columns in braces."),
    ] = None,
    target: Annotated[Optional[str], typer.Option(help="The column of the answers.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a config.")] = False,
) -> None:
    """Look at a file of examples, and write a config for it that runs as it is."""
    from evoprompt.jobs.base import tell_data
    from evoprompt.jobs.init import init
    from evoprompt.terminal import new_console, program, short_path

    fields = {"input": input, "target": target}
    written, task = init(file, out, model=model, fields=fields, force=force)
    console = new_console()
    tell_data(console, task.summary(), task.notes)
    name = short_path(written)
    console.print(f"written: {name}; read it, then: {program()} run {name}", soft_wrap=True)


def feedback_command(
    run: Annotated[Path, typer.Argument(help="The folder of a complete run.")],
    remarks: Annotated[
        Optional[list[str]],
        typer.Argument(metavar="REMARK...", help='What you say, e.g. "Shorter, please."'),
    ] = None,
    file: Annotated[
        Optional[Path],
        typer.Option(help="Of remarks, one a line, or the feedback that evoprompt play keeps."),
    ] = None,
    policy: Annotated[
        Optional[str], typer.Option(metavar="ID", help="What it is about; default: the champion.")
    ] = None,
    about: Annotated[str, typer.Option(help="prompt, or answer: one of its answers.")] = "prompt",
    to: Annotated[
        Optional[Path],
        typer.Option(help="Where remarks are kept; default remarks.jsonl in the folder."),
    ] = None,
    url: UrlOption = None,
) -> None:
    """Say in words what is good or bad in a run's champion, for later runs to go by."""
    from evoprompt.jobs.feedback.session import give_feedback

    if about not in ("prompt", "answer"):
        raise UserError(f"--about {about}: expected prompt or answer")
    give_feedback(run, remarks or [], file, policy=policy, about=about, to=to, url=url)


def predict_command(
    run: Annotated[Path, typer.Argument(help="The folder of a complete run or loop.")],
    file: Annotated[
        str,
        typer.Argument(
            help="Inputs: a file as task.path takes it, read by the run's own task.fields, or text "
            "with an input a line; - is the standard input."
        ),
    ] = "-",
    output: Annotated[
        Optional[Path], typer.Option(help="Where the answers go, as JSONL; default: printed.")
    ] = None,
    form: Annotated[
        Optional[str],
        typer.Option(
            "--format",
            metavar="FORM",
            help="Of the inputs: lines, jsonl, json, csv, tsv, parquet; default: found out.",
        ),
    ] = None,
    url: UrlOption = None,
) -> None:
    """Answer inputs as a run's champion does, with probabilities, a line of JSON each."""
    from evoprompt.jobs.predict import predict

    predict(run, file, output, form, url)


def serve_command(
    run: Annotated[Path, typer.Argument(help="The folder of a complete run or loop.")],
    port: Annotated[int, typer.Option(help="Of this machine; 0 takes a free one.")] = 8000,
    url: UrlOption = None,
) -> None:
    """Answer other tools on 127.0.0.1 as a run's champion does, by OpenAI's interface."""
    from evoprompt.jobs.serve import serve

    serve(run, port, typer.echo, url)


def _first_sentence(text: str | None) -> str:
    first, stop, _ = " ".join((text or "").split()).partition(". ")
    return first + stop.strip()


def _job_command(name: str) -> Any:
    """Return the command that starts a job, or None where there is no such job."""
    from evoprompt.jobs.base import JOBS
    from evoprompt.plugins import find, names

    if name not in names("job", JOBS):
        return None
    job = find("job", name, JOBS, "evoprompt")
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @single.command(name, help=job.start.__doc__)
    def start(
        config: Annotated[Path, typer.Argument(help="The job's config.")],
        out: Annotated[Optional[Path], typer.Option(help="The job's folder.")] = None,
        overrides: SetOption = None,
    ) -> None:
        raise typer.Exit(job.start(config, list(overrides or []), out))

    return typer.main.get_command(single)
