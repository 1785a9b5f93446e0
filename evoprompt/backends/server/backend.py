"""Scores and writes by a model that a server holds (`workers.backend: server`)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoprompt.backends.base import Identity, ModelInfo
from evoprompt.backends.local import folder_identity
from evoprompt.backends.server.client import Client, nonsense
from evoprompt.backends.server.dialects import DIALECTS, OWNERS, Dialect, Read
from evoprompt.backends.server.executor import ServerExecutor
from evoprompt.backends.server.weights import known_weights
from evoprompt.config.sections import ModelConfig, WorkersConfig
from evoprompt.errors import UserError, quoted
from evoprompt.scoring.models import memo_file, resolve_model
from evoprompt.scoring.tokenizer import Tokenizer

#: What a server is asked before anything is scored.
TEXT, ANSWERS = "The meal was fine.", (" good", " bad")
#: After what else it is asked for these answers, so that its weights are known again.
TEXTS = ("A train that is late is", "Yes or no? It rains, and the street is dry:", "1, 2, 3,")
#: Where is remembered what was heard of a server's weights: beside the memo.
HEARD = "servers.json"
#: What is said of how it is scored, by whether the server tells what it forwarded.
TOLD = "the server computes"
UNTOLD = f"{TOLD}; it does not tell what its cache spared, so tokens are counted as if all had been"
#: Prompts that a server is sent at once where `workers.count` is not given: a server of llama.cpp
#: has few slots, and one that two units take turns in has forgotten each other's beginning.
AT_ONCE = {"llama.cpp": 1, "echo": 4, "vllm": 8, "sglang": 8}


@dataclass(frozen=True, slots=True)
class Served:
    """The model that a server holds, as it lists it."""

    dialect: Dialect
    name: str
    listed: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServerBackend:
    """A model behind HTTP. Implements `base.Backend`."""

    workers: WorkersConfig | None = None

    def at(self, workers: WorkersConfig) -> ServerBackend:
        """Return the backend of these workers.

        Raises:
            UserError: they have no address.
        """
        if workers.url is None:
            raise UserError(
                "workers.backend=server needs workers.url, the server's address, like "
                "http://127.0.0.1:8000"
            )
        return ServerBackend(workers)

    def identify(self, model: ModelConfig) -> Identity:
        """Return the folder of the tokenizer, and a fingerprint of it, the dialect and the name by
        which the server has its model: a server tells nothing of its weights.

        Raises:
            UserError, MachineError: there is no such folder, no server, or no such model there.
        """
        if model.adapter is not None:
            raise UserError(
                f"model.adapter={model.adapter} is merged where the weights are loaded, and here a "
                "server computes; start the server with the merged weights and leave it out"
            )
        folder = folder_identity(model)
        client = self._client()
        try:
            found = served(client, self._known(), model.name)
        finally:
            client.close()
        told = f"server {found.dialect.name} {found.name} {folder.fingerprint}"
        return Identity(model.name, folder.place, hashlib.sha256(told.encode()).hexdigest()[:32])

    def tokenizer(self, identity: Identity) -> Tokenizer:
        """Return the tokenizer in the folder that `model.name` names."""
        return Tokenizer(Path(identity.place))

    def open(self, model: ModelConfig, workers: WorkersConfig) -> ServerExecutor:
        """Ask the server for a few log-probabilities, and return what asks it for more.

        Raises:
            UserError, MachineError: the server does not answer, holds another model, or gives no
                log-probabilities of given tokens.
        """
        folder = resolve_model(model.name, model.revision)
        client = Client(workers.url or "")
        try:
            found = served(client, workers, model.name)
            reads = _try(client, found, Tokenizer(folder), model.name)
            window = found.dialect.window(client, found.listed) or _window(folder)
        except BaseException:
            client.close()
            raise
        # of the memo: where it is, what the server says of its weights, and which these are
        about = f"{client.url} {found.name} {json.dumps(_lasting(found.listed))}"
        heard = [value for read in reads for value in read.log_prob]
        weights = known_weights(memo_file().with_name(HEARD), about, heard)
        at_once = workers.count or AT_ONCE[found.dialect.name]
        info = ModelInfo(
            window=window,
            dtype="server",
            path=found.dialect.name,
            reason=UNTOLD if any(read.sent < 0 for read in reads) else TOLD,
            num_workers=at_once,
            placement=f"the server {client.url}",
            device="server",
            chunk_tokens=1,
            arithmetic=f"{about} {weights}",
        )
        return ServerExecutor(client, found.dialect, found.name, info)

    def _client(self) -> Client:
        return Client(self._known().url or "")

    def _known(self) -> WorkersConfig:
        if self.workers is None:
            raise ValueError("a ServerBackend is of workers: ServerBackend().at(workers)")
        return self.workers


def served(client: Client, workers: WorkersConfig, name: str) -> Served:
    """Return which model of a server is meant, and its dialect.

    Raises:
        UserError, MachineError: there is no server, none of models, or several that may be meant.
    """
    answer = client.get("/v1/models")
    if answer is None:
        raise UserError(
            f"the server {client.url} has no /v1/models, so it is none of models; look at "
            "workers.url"
        )
    try:
        rows = {str(row["id"]): dict(row) for row in answer["data"]}
    except (KeyError, TypeError, ValueError):
        raise nonsense(client.url, "/v1/models", answer) from None
    wanted = workers.served_model or (name if name in rows else None)
    if wanted is None and len(rows) == 1:
        [wanted] = rows
    if wanted not in rows:
        raise UserError(
            f"the server {client.url} has the models {', '.join(map(quoted, rows)) or 'none'}, not "
            f"{quoted(wanted or name)}; set workers.served_model to one of them"
        )
    kind = workers.dialect
    if kind == "auto":
        kind = OWNERS.get(str(rows[wanted].get("owned_by")), "echo")  # type: ignore[assignment]
    return Served(DIALECTS[kind], wanted, rows[wanted])


def _try(client: Client, found: Served, tokenizer: Tokenizer, name: str) -> list[Read]:
    """Return what the server says of some tokens, by which its weights are known again.

    Raises:
        UserError: the server's model reads other tokens than the tokenizer, or does not tell the
            log-probabilities of given ones.
    """
    [plain] = tokenizer.encode([TEXT], add_special_tokens=False)
    if not found.dialect.is_read_as(client, found.name, TEXT, plain):
        raise UserError(
            f"the server's model {quoted(found.name)} has other tokens for {TEXT!r} than the "
            f"tokenizer of model.name={quoted(name)}; set model.name to the model that the server "
            "holds, or start the server with that model"
        )
    answers = tokenizer.encode(ANSWERS, add_special_tokens=False)
    tokens = tuple(dict.fromkeys(answer[0] for answer in answers))
    texts = [plain, *tokenizer.encode(TEXTS, add_special_tokens=False)]
    return [found.dialect.read(client, found.name, text, tokens) for text in texts]


def _window(folder: Path) -> int:
    """Return the window that a model's folder says, for a server that says none."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text = config.get("text_config") or config
    return int(text.get("max_position_embeddings") or text.get("n_positions") or 2048)


def _lasting(listed: dict[str, Any]) -> dict[str, Any]:
    """Return what a server says of its model without what changes when it starts anew."""
    meta = listed.get("meta") or {}
    told = {"root": listed.get("root"), **{k: meta[k] for k in ("size", "ftype") if k in meta}}
    return dict(sorted(told.items()))
