"""Files of every form become the same table; what is no table is refused with its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.errors import UserError
from evoprompt.tasks.readers.base import Row, Table
from evoprompt.tasks.readers.open import READERS, open_table

ROWS = [
    {"text": "It works; really, it does", "label": "praise"},
    {"text": 'He said "no"\nand left', "label": "complaint"},
    {"text": "\u2028 line\u0085 d\u00e9j\u00e0 \U0001f600", "label": "other"},
]


def as_csv(rows: Sequence[Mapping[str, str]], **settings: Any) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], **settings)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(rows: Sequence[Mapping[str, Any]], metadata: object = None) -> bytes:
    table = pa.Table.from_pylist(list(rows))
    if metadata is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


FORMS: Mapping[str, Callable[[Any], bytes]] = {
    "x.csv": as_csv,
    "semicolons.csv": lambda rows: as_csv(rows, delimiter=";"),
    "bars.csv": lambda rows: as_csv(rows, delimiter="|"),
    "tabs.csv": lambda rows: as_csv(rows, delimiter="\t"),
    "x.tsv": lambda rows: as_csv(rows, delimiter="\t"),
    "unix.csv": lambda rows: as_csv(rows, lineterminator="\n", quoting=csv.QUOTE_ALL),
    "marked.csv": lambda rows: b"\xef\xbb\xbf" + as_csv(rows),
    "x.jsonl": lambda rows: "".join(
        json.dumps(r, ensure_ascii=False) + "\n" for r in rows
    ).encode(),
    "x.ndjson": lambda rows: b"\r\n".join(json.dumps(r).encode() for r in rows),
    "list.json": lambda rows: json.dumps(rows, indent=2).encode(),
    "line.json": lambda rows: json.dumps(rows).encode(),
    "data.json": lambda rows: json.dumps({"version": 3, "data": rows}).encode(),
    "lines.json": lambda rows: b"\n".join(json.dumps(r).encode() for r in rows),
    "columns.json": lambda rows: json.dumps(
        {key: [row[key] for row in rows] for key in rows[0]}
    ).encode(),
    "x.parquet": as_parquet,
    # content says what it is, where the suffix does not, or lies
    "list.jsonl": lambda rows: json.dumps(rows, indent=1).encode(),
    "table.txt": as_csv,
    "nothing": lambda rows: json.dumps(rows).encode(),
    "really.csv": as_parquet,
    "json.csv": lambda rows: json.dumps(rows).encode(),
}


def rows_of(path: Path | str) -> list[Row]:
    with open_table(path) as table:
        return list(table.rows(table.columns))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_rows(tmp_path: Path, name: str, packed: bool):
    content = FORMS[name](ROWS)
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(content) if packed else content)
    with open_table(path) as table:
        assert table.columns == ("text", "label")
    assert [dict(row.values) for row in rows_of(path)] == ROWS


# A carriage return or a NUL is no text of a cell; a row of blanks alone is no row.
CELLS = st.text(st.characters(exclude_characters="\r\0", codec="utf-8"), max_size=30)


@given(st.lists(st.tuples(CELLS, CELLS.map(lambda t: f"x{t}")), min_size=1, max_size=8))
def test_any_text_survives_csv_with_the_lines_that_rows_begin_in(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]
):
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    rows = [{"a": one, "b": other} for one, other in cells]
    path.write_bytes(as_csv(rows, delimiter=","))
    found = rows_of(path)
    assert [dict(row.values) for row in found] == rows
    # the header is line 1, and each line end in a text is a line more
    line, expected = 2, []
    for row in rows:
        expected.append(f"line {line}")
        line += 1 + row["a"].count("\n") + row["b"].count("\n")
    assert [row.place for row in found] == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"", "is empty; give a line with the names"),
        ("x.csv", b"\n,\n\n", "is empty"),
        ("x.csv", b"a,b\n1,2\n\n3,4,5\n", "line 4: 3 values, and the first line names 2 columns"),
        ("x.csv", b"a,b\n1\n", "line 2: 1 value, and the first line names 2 columns"),
        ("x.csv", b'a,b\n"x\ny",2\n3\n', "line 4: 1 value"),
        ("x.csv", b'a,b\n1,2\n"3,4\n5,6\n', "line 3: a quote is opened here that is not closed"),
        ("x.csv", b'a,b\n1,"2"3\n', "line 2: text follows a closing quote"),
        ("x.csv", b'a,b\n1,"' + b"x" * 200_000 + b'"\n', "line 2: a quote is opened"),
        ("x.csv", b"a,b\r1,2\r", "line 1: a carriage return stands alone"),
        ("x.csv", b"a,b,A,a\n1,2,3,4\n", "line 1: the name 'a' is that of columns 1 and 4"),
        ("x.csv", b"a,b\n1,\xe9\n", "line 2: the byte 0xe9 is not UTF-8"),
        ("x.csv", "a,b\n1,2\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("x.xlsx", b"PK\x03\x04whatever", "a spreadsheet or a zip file; save them as CSV"),
        ("x.csv", b"PK\x03\x04whatever", "a spreadsheet or a zip file"),
        (
            "x.csv.gz",
            gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9],
            "what gzip packed is damaged",
        ),
        ("x.parquet", b"a,b\n1,2\n", "is no Parquet file, or a damaged one"),
        ("x.parquet", as_parquet(ROWS)[:-9], "is no Parquet file, or a damaged one"),
        ("x.parquet", b"", "is no Parquet file"),
        ("x.jsonl", b"", "has no line"),
        ("x.jsonl", b'{"a": 1}\n[2]\n', r"line 2: expected an object \(given: \[2\]\)"),
        ("x.jsonl", b'{"a": 1}\n{"a": 1\n', "line 2: not JSON"),
        ("x.json", b"[]", "has no line"),
        ("x.json", b'[{"a": 1}, 7]', r"item 2: expected an object \(given: 7\)"),
        ("x.json", b'{"a": {"b": 1}}', "expected a list of objects.*with the keys 'a'"),
        ("x.json", b'{"x": [{"a": 1}], "y": [{"a": 1}], "z": 1}', "with the keys 'x', 'y', 'z'"),
        ("x.json", b'{"a": [1, 2], "b": [1]}', r"different lengths \('a' 2, 'b' 1\)"),
        ("x.json", b'[\n{"a": 1},\n{"a" 1}]', "not JSON .* at line 3, column"),
        ("x.json", b"3", "expected a list of objects"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(
    tmp_path: Path, name: str, content: bytes, message: str
):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as refused:
        rows_of(path)
    assert str(path) in str(refused.value)


def test_a_column_without_a_name_has_its_number_and_blank_rows_are_passed_over(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_text(",text,\n0,a,\n ,\t,\n1,b,x\n")
    with open_table(path) as table:
        assert table.columns == ("column 1", "text", "column 3")
        assert [row.place for row in table.rows(table.columns)] == ["line 2", "line 4"]


def test_splits_of_a_json_file_keep_their_names(tmp_path: Path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"train": [{"a": 1}, {"a": 2}], "test": [{"a": 3}]}))
    assert [(r.split, r.place) for r in rows_of(path)] == [
        ("train", "item 1 of 'train'"),
        ("train", "item 2 of 'train'"),
        ("test", "item 1 of 'test'"),
    ]


def test_parquet_gives_the_names_of_its_labels_and_reads_what_is_asked_for(tmp_path: Path):
    features = {
        "label": {"_type": "ClassLabel", "names": ["no", "yes"]},
        "text": {"_type": "Value", "dtype": "string"},
    }
    path = tmp_path / "x.parquet"
    rows = [{"text": "a", "label": 1, "picture": b"\x00" * 9}, {"text": "b", "label": 0}]
    path.write_bytes(as_parquet(rows, {"info": {"features": features}}))
    with open_table(path) as table:
        assert table.label_names == {"label": ("no", "yes")}
        assert [row.values for row in table.rows({"label"})] == [{"label": 1}, {"label": 0}]
    for odd in ({}, {"info": 3}, {"info": {"features": [1]}}, "x"):
        path.write_bytes(as_parquet(rows, odd))
        with open_table(path) as table:
            assert table.label_names == {}


class Colons:
    """A reader of a program of one's own: a text, a colon, a label."""

    def read(self, file: Any, name: str) -> Table:
        pairs = [line.decode().strip().split(":") for line in file]
        rows = [Row(f"line {n}", {"text": t, "label": k}) for n, (t, k) in enumerate(pairs, 1)]
        return Table(("text", "label"), lambda _: iter(rows))


def test_a_reader_of_ones_own_is_a_line_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    module = ModuleType("my_reader")
    module.Colons = Colons  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "my_reader", module)
    path = tmp_path / "x.colons"
    path.write_text("a:good\nb:bad\n")
    monkeypatch.setitem(READERS, "colons", "my_reader:Colons")  # type: ignore[arg-type]
    assert [row.values["label"] for row in rows_of(path)] == ["good", "bad"]
    with open_table(tmp_path / "x.colons", "my_reader:Colons") as table:
        assert table.columns == ("text", "label")
    with pytest.raises(UserError, match="has no reader 'colon'; did you mean 'colons'"):
        open_table(path, "colon").__enter__()
