"""Parquet, with the names of labels that the package datasets writes into it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from evoprompt.errors import UserError, quoted
from evoprompt.tasks.readers.base import Row, Table

#: What such a file begins and ends with.
MAGIC = b"PAR1"

#: Rows that are in memory at once.
BATCH = 4096


class ParquetReader:
    """Reads Parquet. Implements `base.Reader`."""

    def read(self, file: BinaryIO, name: str) -> Table:
        """Return the table in a file; only what is asked for is read of it.

        Raises:
            UserError: it is no Parquet file, it is damaged, or two columns have one name.
        """
        try:
            source = pq.ParquetFile(file)
            schema = source.schema_arrow
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _damaged(name, error) from None
        twice = [n for n in schema.names if schema.names.count(n) > 1]
        if twice:
            raise UserError(
                f"{name}: two columns have the name {quoted(twice[0])}; give each an own name"
            )
        return Table(
            tuple(schema.names),
            lambda wanted: _rows(source, wanted, name),
            _label_names(schema.metadata or {}),
        )


def _rows(source: pq.ParquetFile, wanted: Collection[str], name: str) -> Iterator[Row]:
    columns = [n for n in source.schema_arrow.names if n in wanted]
    number = 0
    try:
        for batch in source.iter_batches(BATCH, columns=columns):
            for values in batch.to_pylist():
                number += 1
                yield Row(f"row {number}", values)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise _damaged(name, error) from None


def _damaged(name: str, error: Exception) -> UserError:
    return UserError(
        f"{name} is no Parquet file, or a damaged one ({error}); write it again, or give CSV or "
        f"JSONL with its suffix"
    )


def _label_names(metadata: Mapping[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """Return the names of the columns of class labels; none where there is no such note."""
    try:
        noted: Any = json.loads(metadata.get(b"huggingface", b"{}"))
        features = dict(noted["info"]["features"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {
        column: tuple(map(str, feature["names"]))
        for column, feature in features.items()
        if isinstance(feature, dict)
        and feature.get("_type") == "ClassLabel"
        and isinstance(feature.get("names"), list)
    }
