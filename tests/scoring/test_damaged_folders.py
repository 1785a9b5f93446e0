"""Whatever is wrong with a file of a model folder: its scores are those of the sound folder or of
what the file now says, or it is refused in a line that names the folder, and nothing is left
behind.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evoprompt.backends.local import LocalBackend
from evoprompt.config.sections import ModelConfig
from evoprompt.errors import UserError
from evoprompt.scoring.load import load_scorer
from evoprompt.scoring.trie import TokenRequest

pytestmark = pytest.mark.slow
BYTES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "empty": lambda old, _: b"",
    "half": lambda old, _: old[: len(old) // 2],
    "all but the last byte": lambda old, _: old[:-1],
    "random bytes": lambda old, draw: draw.randbytes(300),
    "a list": lambda old, _: b"[]",
    "null": lambda old, _: b"null",
    "a text": lambda old, _: b'"x"',
    "a number": lambda old, _: b"3",
    "an empty object": lambda old, _: b"{}",
    "no UTF-8": lambda old, _: b'{"a": "\xe9"}',
}
VALUES = (None, "x", -1, 0, [], {}, 1.5, [None], 10**12)
FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)


def score(folder: Path) -> float | str:
    """Return a score with a model folder, or in which words it was refused."""
    try:
        config, backend = ModelConfig(name=str(folder), chunk_tokens=64), LocalBackend()
        tokenizer = backend.tokenizer(backend.identify(config))
        scorer = load_scorer(config, 1)
        [tokens] = tokenizer.encode(["Is it good? yes"])
        request = TokenRequest((tokenizer.begin_token, *tokens[:-1]), tokens[-1:])
        return float(scorer.score([request]).log_likelihood[0])
    except UserError as error:
        return str(error)


def damage(folder: Path, draw: random.Random) -> str:
    """Damage a file, and say how."""
    file = folder / draw.choice(FILES)
    kind = draw.choice(["missing", "bytes", "value", "value"])
    if kind == "missing":
        file.unlink()
        return f"{file.name} missing"
    if kind == "bytes" or file.suffix != ".json":
        name = draw.choice(list(BYTES))
        file.write_bytes(BYTES[name](file.read_bytes(), draw))
        return f"{file.name}: {name}"
    content = json.loads(file.read_text())
    key, value = draw.choice(list(content)), draw.choice(VALUES)
    file.write_text(json.dumps(content | {key: value}))
    return f"{file.name}: {key} = {value}"


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_folder_is_scored_or_refused_by_name(tiny_model: Path, tmp_path: Path, seed: int):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    how = damage(folder, random.Random(seed))
    before = sorted((file.name, file.stat().st_size) for file in folder.iterdir())
    found = score(folder)
    assert sorted((file.name, file.stat().st_size) for file in folder.iterdir()) == before
    if isinstance(found, str):
        assert str(folder) in found, how
        assert "\n" not in found, how
        assert len(found) < 700 + len(str(folder)), how
    else:
        assert np.isfinite(found), how
        assert found < 0, how


def test_the_sound_folder_is_scored(tiny_model: Path):
    assert isinstance(score(tiny_model), float)
