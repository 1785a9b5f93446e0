"""Text that may be shown and kept: without the passwords and tokens that addresses carry."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import unquote, unquote_plus

MASK = "***"
#: Variables whose value is a secret as a whole.
SECRET_VARIABLES = (
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "DATABRICKS_TOKEN",
    "DATABRICKS_CLIENT_SECRET",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "PGPASSWORD",
    "EVOPROMPT_API_KEY",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "OPENAI_API_KEY",
    "RAY_AUTH_TOKEN",
)
#: Variables whose value is an address that may carry secrets.
ADDRESS_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_BACKEND_STORE_URI")
#: A secret as short as this is masked only where it stands by itself.
SHORT = 5

#: `scheme://user:password@`; the password may have any character but white space and quotes.
_USER = re.compile(r"(?<=://)([^\s/@:\"'<>]*):(?!\d+/)([^\s\"'<>]+)@")
#: `https://token@`: of the schemes whose user by itself is a token.
_BARE = re.compile(r"(?<=http://|ttps://)([^\s/@:\"'<>]+)@")
_QUERY = re.compile(
    r"(?i)(?<=[?&;])([\w.-]*"
    r"(?:token|passw|pwd|secret|api_?key|access_?key|credential|signature|sig\b|auth)[\w.-]*)="
    r"([^&;#\s\"'<>]+)"
)
_HEADER = re.compile(r"(?i)\b(Bearer|Basic)\s+([A-Za-z0-9._~+/=-]{6,})")


def without_secrets(text: str) -> str:
    """Return text with `***` for every password and token: those in addresses, in the headers of
    requests, and those that the environment has, also where they stand by themselves.
    """
    for secret in sorted(set(_known()), key=len, reverse=True):
        pattern = re.escape(secret)
        text = re.sub(
            pattern if len(secret) > SHORT else rf"(?<!\w){pattern}(?!\w)", lambda _: MASK, text
        )
    text = _USER.sub(rf"\1:{MASK}@", text)
    text = _BARE.sub(f"{MASK}@", text)
    text = _QUERY.sub(rf"\1={MASK}", text)
    return _HEADER.sub(rf"\1 {MASK}", text)


def _known() -> Iterator[str]:
    """Yield the secrets of the environment, as they are written in addresses and as they are."""
    for name in SECRET_VARIABLES:
        if secret := os.environ.get(name):
            yield secret
    for name in ADDRESS_VARIABLES:
        address = os.environ.get(name, "")
        found = [m[2] for pattern in (_USER, _QUERY) for m in pattern.finditer(address)]
        found += [m[1] for m in _BARE.finditer(address)]
        for secret in found:
            yield from {secret, unquote(secret), unquote_plus(secret)}
