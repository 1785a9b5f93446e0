"""Who writes and reads for a run's operators: demonstrations, instructions, and words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from evoprompt.authors import TextWriter
from evoprompt.backends.base import Identity
from evoprompt.backends.open import in_this_process, open_model
from evoprompt.backends.server.chat import ChatServer
from evoprompt.config.sections import JobConfig, WorkersConfig
from evoprompt.evolution.engine import Strategy
from evoprompt.fitness.base import Fitness
from evoprompt.jobs.evolve.config import Config
from evoprompt.measurement.allowance import Allowance, Uncharged
from evoprompt.measurement.author import author_of
from evoprompt.measurement.chat_writer import ChatTextWriter
from evoprompt.measurement.measure import Measurer
from evoprompt.measurement.reader import ModelReader
from evoprompt.measurement.text_writer import ModelTextWriter
from evoprompt.measurement.units import Wanted
from evoprompt.measurement.writer import Writer
from evoprompt.records import TokenCount
from evoprompt.tasks.base import Task
from evoprompt.variation.base import Need, Operator, needs_of
from evoprompt.variation.catalog import OPERATORS, drawn_operators

#: The key of the operators' weights.
OPERATORS_KEY = "evolution.operators"


@dataclass(frozen=True, slots=True)
class Writers:
    """What those who write have in common."""

    allowance: Allowance  #: what they may take, and took
    held: list[Callable[[], None]] = field(default_factory=list)  #: ends each of what they hold

    def allow(self, left: int | None) -> None:
        """Allow half of the tokens that the budget leaves, since what is written has to be measured
        too; None ends the limit.
        """
        self.allowance.allow(None if left is None else left // 2)

    def take_count(self) -> TokenCount:
        """As `Allowance.take_count`."""
        return self.allowance.take_count()

    def close(self) -> None:
        """End what they hold."""
        for end in self.held:
            end()


def drawn_of(config: Config) -> list[tuple[Operator, float]]:
    """Return the operators of a configuration that are drawn, with their weights.

    Raises:
        UserError: as `drawn_operators`.
    """
    evolution = config.evolution
    others = [operator.name for operator, _ in OPERATORS]
    unnamed = dict.fromkeys(others, 0.0) if evolution.other_operators == "none" else {}
    return drawn_operators(unnamed | evolution.operators, OPERATORS_KEY)


def writer_config(config: Config) -> JobConfig | None:
    """Return the configuration of a writer of instructions that is another model, in this process
    or on a server; None where it is the run's own, is sent messages, or nobody writes any.
    """
    needs = needs_of(operator for operator, _ in drawn_of(config))
    name, url = config.writer.model, config.writer.url
    if (name is None and url is None) or Need.WRITER not in needs or config.writer.chat:
        return None
    other = {} if name is None else {"name": name, "revision": None, "adapter": None}
    changed: dict[str, object] = {"model": config.model.model_copy(update=other)}
    if url is not None:
        changed["workers"] = WorkersConfig(backend="server", url=url)
    elif config.workers.backend == "server":  # which holds one model, and not this one
        changed["workers"] = WorkersConfig(backend="local", threads=None)
    return in_this_process(config.model_copy(update=changed))


def identity_of_writer(config: Config) -> Identity | None:
    """Return who writes instructions where they are written by messages; None where nobody does.

    Raises:
        UserError, MachineError: the server cannot be asked.
    """
    if not config.writer.chat or Need.WRITER not in needs_of(o for o, _ in drawn_of(config)):
        return None
    server = ChatServer(str(config.writer.url), config.writer.model)
    server.close()
    return server.identity


def with_writers(
    strategy: Strategy,
    config: Config,
    task: Task,
    fitness: Fitness,
    writer: Writer,
    measuring: Callable[[Wanted], Measurer],
) -> tuple[Strategy, Writers | None]:
    """Return the strategy with those who write for its operators, and what these have in common;
    None where nobody writes.

    Args:
        strategy: its operators say whom they need.
        config: of the run.
        task: whose examples an author writes.
        fitness: by whose comparison the author labels.
        writer: of the run's own model.
        measuring: what is wanted -> who measures it with the run's own model.

    Raises:
        UserError: another model that is to write cannot be opened.
    """
    needs = needs_of(strategy.operators.values())
    writers = Writers(Allowance(logical=config.budget.logical_tokens is not None))
    materials = strategy.materials
    if Need.AUTHOR in needs:
        labelling = measuring(Wanted(prior=fitness.comparison.beyond_prior))
        author = author_of(task, labelling, writer, fitness.comparison, writers.allowance)
        materials = replace(materials, author=author)
        writers.held.append(labelling.close)
    if Need.WRITER in needs:
        materials = replace(materials, writer=_text_writer(config, writer, writers))
    if Need.READER in needs:
        pool = task.pool if task.choices else ()
        materials = replace(
            materials, reader=ModelReader(measuring(Wanted()), pool, writers.allowance)
        )
    if not needs & {Need.AUTHOR, Need.WRITER, Need.READER}:
        return strategy, None
    return replace(strategy, materials=materials), writers


def _text_writer(config: Config, own: Writer, writers: Writers) -> TextWriter:
    """Return who writes instructions; `own` writes with the run's model."""
    how = config.writer
    account = writers.allowance if how.charged else Uncharged(writers.allowance)
    if how.chat:
        server = ChatServer(str(how.url), how.model)
        writers.held.append(server.close)
        return ChatTextWriter(server, how.temperature, how.max_tokens, account)
    if (other := writer_config(config)) is not None:
        model = open_model(other)
        own = Writer(model.tokenizer, model.executor)
        writers.held.append(model.executor.close)
    return ModelTextWriter(own, how.temperature, how.max_tokens, account)
