"""Where MLflow's store is, whether it can be used, and in a sentence what is wrong with it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evoprompt.errors import UserError
from evoprompt.masking import MASK, without_secrets
from evoprompt.store.names import refuse_links
from evoprompt.tracking.base import StoreDownError

SQLITE = "sqlite:///"
#: The folder of artifacts beside an SQLite store.
ARTIFACTS = "mlartifacts"
#: Seconds that a database has to answer a first question.
PROBE_SECONDS = 5
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
#: What installs the module that a database's address asks for.
DRIVERS = {
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "pymysql": "pymysql",
    "pyodbc": "pyodbc",
    "psycopg": "'psycopg[binary]' (or psycopg2-binary, with an address postgresql+psycopg2://)",
}
#: Names of the exceptions, and what texts have in them, where an address is wrong.
WRONG_ADDRESS = (
    *("NoSuchModuleError", "ArgumentError", "InvalidUrlException", "InvalidURL"),
    *("UnsupportedModelRegistryStoreURIException", "InvalidSchema", "MissingSchema"),
)
WRONG_ADDRESS_SIGNS = (
    *("unsupported uri", "invalid database engine", "file store"),
    "filesystem tracking backend",
)
MEND = "mend MLFLOW_TRACKING_URI or set tracking.enabled=false"


def default_uri(runs: Path) -> str:
    """Return the store to use: MLFLOW_TRACKING_URI where it is set, else SQLite in the folder of
    the runs.
    """
    return _absolute(os.environ.get("MLFLOW_TRACKING_URI") or beside(runs))


def beside(runs: Path) -> str:
    """Return the SQLite store in the folder of the runs.

    Raises:
        UserError: it, or the folder of its artifacts, is a link.
    """
    refuse_links([runs / "mlflow.db", runs / ARTIFACTS])
    return f"{SQLITE}{runs.resolve() / 'mlflow.db'}"


def candidates(runs: Path, known: str | None) -> list[str]:
    """Return the stores that a run may be in, the likeliest first: the environment's, the one that
    it is known to be in, the one beside the runs, where their folder may have been moved.

    Args:
        runs: the folder of the runs.
        known: as `tracking.json` has it, without secrets; None for a run that begins.

    Raises:
        StoreDownError: the store that is known needs a password that the environment does not
            have, or would get one that is not known to be for it.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI")
    if known is None:
        return [default_uri(runs)]
    found = [_absolute(given)] if given else []
    if MASK not in known and not _would_get_secrets(known):
        found.append(known)
    if database_file(beside(runs)).exists():
        found.append(beside(runs))
    if not found:
        raise StoreDownError(
            f"the run is in {known}; set MLFLOW_TRACKING_URI to that, with its password"
        )
    return list(dict.fromkeys(found))


def _would_get_secrets(address: str) -> bool:
    """Return whether MLflow would send the environment's token or password to a server that only a
    folder names, which may be from somebody else.
    """
    secrets = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD")
    return address.startswith(("http://", "https://")) and any(map(os.environ.get, secrets))


def database_file(uri: str) -> Path:
    """Return the file of an SQLite store."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0])


def probe(uri: str, *, may_be_new: bool = True) -> None:
    """Ask a database once whether it can be written to, and a server whether it answers at all.

    Raises:
        UserError: its driver is missing, its address is wrong, it cannot be opened.
        StoreDownError: it does not answer, it is locked, or its file is gone.
    """
    if uri.startswith(("http://", "https://")):
        _ask_server(uri)
    if uri.partition(":")[0].partition("+")[0] not in DATABASES:
        return
    import sqlalchemy

    is_sqlite = uri.startswith("sqlite")
    if is_sqlite and not may_be_new and not database_file(uri).exists():
        raise StoreDownError(f"the store {uri} is gone")
    if is_sqlite:
        _check_folder(database_file(uri))
    with explained(uri):
        arguments = {"timeout": PROBE_SECONDS} if is_sqlite else {}
        if uri.startswith("postgresql"):
            arguments = {"connect_timeout": PROBE_SECONDS}
        engine = sqlalchemy.create_engine(uri, connect_args=arguments)
        try:
            with engine.connect() as connection:
                if is_sqlite:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                connection.rollback()
        finally:
            engine.dispose()


def _ask_server(uri: str) -> None:
    """Notice in a few seconds that nobody answers; whatever is answered, MLflow's client judges."""
    import requests

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=PROBE_SECONDS, allow_redirects=False)
    except (requests.Timeout, requests.ConnectionError) as error:
        raise explain(error, uri) from None
    except requests.RequestException:
        pass


def _check_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the MLflow store {SQLITE}{file} cannot be made: {error.strerror} ({error.filename}); "
            f"{MEND}"
        ) from None


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Raise what MLflow and its databases raise as `StoreDownError` or `UserError`, in a
    sentence.
    """
    try:
        yield
    except (UserError, StoreDownError):
        raise
    except Exception as error:  # noqa: BLE001 (whatever a client raises, it is the store's)
        raise explain(error, uri) from None


def explain(error: BaseException, uri: str) -> Exception:
    """Return a failure of a store in a sentence: `UserError` where trying again cannot help,
    `StoreDownError` where it may.
    """
    chain = list(_chain(error))
    text = " ".join(str(e) for e in chain)
    store = f"the MLflow store {without_secrets(uri)}"
    for wrong, reason in (
        (_missing_driver(chain), "needs a driver that is not installed: pip install {}"),
        (_wrong_address(chain, text), f"is no address that MLflow knows ({{}}); {MEND}"),
        (_refusal(text, error), "does not let this user in ({}); set MLFLOW_TRACKING_USERNAME and "
         "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, or tracking.enabled=false"),
        (_no_mlflow(text), f"answers, but not as an MLflow server does ({{}}); {MEND}"),
        (_other_schema(text, uri), "was made by another version of MLflow; back it up, then "
         "run: mlflow db upgrade {}"),
        (_deleted(text), "has this {} among what was deleted; restore it (mlflow experiments "
         "restore, mlflow runs restore), or set tracking.experiment or tracking.enabled=false"),
        (_unusable(text), f"cannot be opened ({{}}); {MEND}"),
    ):  # fmt: skip
        if wrong is not None:
            return UserError(f"{store} {reason.format(without_secrets(wrong))}")
    down = _down(chain, text, error)
    if down is not None:
        return StoreDownError(f"{store} {down}")
    return UserError(f"{store} refuses this: {without_secrets(_first_line(text))}; {MEND}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def _is(chain: list[BaseException], *names: str) -> bool:
    return any(cls.__name__ in names for e in chain for cls in type(e).__mro__)


def _missing_driver(chain: list[BaseException]) -> str | None:
    missing = [e.name for e in chain if isinstance(e, ImportError) and e.name]
    return DRIVERS.get(missing[0], missing[0]) if missing else None


def _wrong_address(chain: list[BaseException], text: str) -> str | None:
    if _is(chain, *WRONG_ADDRESS) or any(sign in text.lower() for sign in WRONG_ADDRESS_SIGNS):
        return _first_line(text)
    return None


def _status(text: str) -> int | None:
    found = re.search(r"failed with error code (\d{3})", text)
    return int(found[1]) if found else None


def _refusal(text: str, error: BaseException) -> str | None:
    code = getattr(error, "error_code", None)
    named = ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED")
    if _status(text) in (401, 403, 407) or code in named:
        return f"{_status(text) or code}: {_body(text)}"
    for sign in ("password authentication failed", "Access denied for user", "Login failed"):
        if sign in text:
            return sign
    return None


def _no_mlflow(text: str) -> str | None:
    if "not in a valid JSON format" in text or "Expecting value" in text:
        return _body(text)
    status = _status(text)
    if status is not None and (status in (301, 302, 303, 307, 308, 404, 405, 501) or status < 400):
        return f"{status}: {_body(text)}"
    if "WRONG_VERSION_NUMBER" in text or ("CERTIFICATE" in text.upper() and "SSL" in text.upper()):
        return "its TLS or its certificate is not valid"
    return None


def _other_schema(text: str, uri: str) -> str | None:
    signs = ("out-of-date database schema", "Can't locate revision")
    return uri if any(sign in text for sign in signs) else None


def _deleted(text: str) -> str | None:
    if re.search(r"(?i)experiment.{0,80}(must be in the 'active'|is deleted|deleted state)", text):
        return "experiment"
    if re.search(r"(?i)run.{0,80}must be in the 'active'", text):
        return "run"
    return None


def _unusable(text: str) -> str | None:
    for sign in ("unable to open database file", "file is not a database", "readonly database",
                 "is malformed", "Permission denied"):  # fmt: skip
        if sign in text:
            return sign
    return None


def _down(chain: list[BaseException], text: str, error: BaseException) -> str | None:
    """Return in what way a store does not answer, or None where it did."""
    if "database is locked" in text or "database table is locked" in text:
        return "is locked by another process"
    if "refused" in text:
        return "refuses connections: no server runs there"
    if re.search(r"getaddrinfo|Name or service not known|NameResolution|resolve host", text):
        return "cannot be found: its host has no address"
    if "timeout" in text.lower() or "timed out" in text or _is(chain, "Timeout", "TimeoutError"):
        return "does not answer"
    status = _status(text)
    if status is not None and (status >= 500 or status in (408, 429)):
        return f"answers with error {status}"
    found = re.search(r"too many (\d{3}) error responses", text)
    if found:
        return f"answers with error {found[1]}"
    code = getattr(error, "error_code", None)
    if code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED") or _is(
        chain, "OperationalError", "OSError", "InterfaceError"
    ):
        return f"does not work now ({without_secrets(_first_line(text))})"
    return None


def _body(text: str) -> str:
    """Return what a server answered, in a few words."""
    found = re.search(r"Response body: '(.*)", text, re.DOTALL)
    plain = re.sub(r"<[^>]*>", " ", found[1] if found else text)
    return " ".join(plain.split()).rstrip("'")[:100].strip()


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0][:200]


def _absolute(uri: str) -> str:
    """Return an SQLite store's address with the whole path: a run may go on from elsewhere."""
    if not uri.startswith(SQLITE) or uri.startswith((f"{SQLITE}:", f"{SQLITE}file:")):
        return uri
    file, mark, query = uri.removeprefix(SQLITE).partition("?")
    return f"{SQLITE}{Path(file).resolve()}{mark}{query}" if file else uri
