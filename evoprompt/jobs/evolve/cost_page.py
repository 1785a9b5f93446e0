"""What a run cost, and how it is repeated: a section of its page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from evoprompt.config.reader import dump_config
from evoprompt.jobs.evolve.config import Config
from evoprompt.jobs.evolve.folder import EvolveFolder
from evoprompt.jobs.evolve.record import Summary
from evoprompt.report.markup import copyable, folded, paragraph, preformatted, section
from evoprompt.report.table import Cell, new_table, pairs_table, to_html
from evoprompt.store.folder import CONFIG, PROVENANCE
from evoprompt.terminal import clock


def cost_section(folder: EvolveFolder, summary: Summary) -> str:
    """Return tokens and time by phase, and the command, seed, versions and configuration."""
    return section(
        "What it cost, and how to repeat it",
        _cost(summary) + _repeat(folder, folder.config(), folder.read(PROVENANCE) or {}),
    )


def _cost(summary: Summary) -> str:
    tokens = summary.tokens
    rows = [(phase, f"{count:,}") for phase, count in tokens.by_phase.items()]
    rows.append(("all", f"{tokens.total:,}"))
    spared = (
        f" The prefix store spared {tokens.stored:,} more, and the memo of earlier runs answered "
        f"{tokens.memo_requests:,} of {tokens.requests:,} requests."
        if tokens.stored or tokens.memo_requests
        else ""
    )
    note = paragraph(
        f"{summary.generations} generations, {summary.policies_scored} prompts scored, "
        f"{tokens.total:,} tokens forwarded, {tokens.generated:,} of them written by the model, in "
        f"{clock(summary.seconds.get('total', 0.0))}.{spared}"
        if summary.seconds
        else f"{summary.generations} generations, {summary.policies_scored} prompts scored, "
        f"{tokens.total:,} tokens forwarded, {tokens.generated:,} of them written by the "
        f"model.{spared}"
    )
    parts = [to_html(new_table(("phase", "tokens"), rows))]
    if summary.seconds:
        times = [(n, f"{s:.1f}") for n, s in summary.seconds.items() if s >= 0.05]
        parts.append(to_html(new_table(("phase", "seconds"), times)))
    return note + f'<div class="row">{"".join(parts)}</div>'


def _repeat(folder: EvolveFolder, config: Config, begun: Mapping[str, Any]) -> str:
    """Return what is needed to have the same run again."""
    command = f"evoprompt run {shlex.quote(str(folder.path / CONFIG))}"
    commit, packages = begun.get("git_commit"), begun.get("packages", {})
    pairs: list[tuple[str, Cell | str]] = [
        ("seed", str(config.seed)),
        ("model", f"{config.model.name}, {begun.get('model', {}).get('fingerprint', '')}"),
        (
            "evoprompt",
            f"{begun.get('evoprompt', '')}{f', commit {commit}' if commit else ''}",
        ),
        ("python", str(begun.get("python", ""))),
        ("packages", ", ".join(f"{name} {version}" for name, version in packages.items())),
        ("machine", ", ".join(str(v) for v in begun.get("machine", {}).values())),
    ]
    return (
        copyable(command, "repeat-command", "the command")
        + folded("Seed and versions", to_html(pairs_table(pairs)))
        + folded("Configuration", preformatted(dump_config(config)))
    )
