"""Reading users' text files: where lines end, which bytes are text, and what is said of others."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprompt.errors import UserError
from evoprompt.text_files import parse_json, read_lines, read_text

SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_lines_end_at_a_line_feed_alone(tmp_path: Path):
    text = f"a{SEPARATORS}b\r\n\n  \r\nc\rd\n"
    file = written(tmp_path / "x", text.encode())
    assert list(read_lines(file, "notes")) == [(1, f"a{SEPARATORS}b"), (4, "c\rd")]
    assert read_text(file, "notes") == text
    assert len(text.splitlines()) > 4, "the text has what other readers take for line ends"


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=20)))
def test_any_lines_are_read_back(tmp_path_factory: pytest.TempPathFactory, lines: list[str]):
    file = tmp_path_factory.mktemp("lines") / "x"
    kept = [line.replace("\0", "-") for line in lines]
    file.write_bytes("".join(f"{line}\n" for line in kept).encode())
    expected = [line.removeprefix("\ufeff").removesuffix("\r") for line in kept]
    found = [line for _, line in read_lines(file, "lines")]
    if not kept or not kept[0].startswith("\ufeff\ufeff"):
        assert found == [line for line in expected if line.strip()]


def test_a_byte_order_mark_is_no_text_also_where_files_were_put_together(tmp_path: Path):
    file = written(tmp_path / "x", b"\xef\xbb\xbfone\r\n\xef\xbb\xbftwo")
    assert list(read_lines(file, "notes")) == [(1, "one"), (2, "two")]
    assert read_text(file, "notes") == "one\r\n\ufefftwo"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("déjà".encode("utf-16"), "the notes .*x is UTF-16; save it as UTF-8"),
        ("déjà".encode("utf-32"), "is UTF-32; save it as UTF-8"),
        (b"\xfe\xff\0a", "is UTF-16"),
        (b"\0\0\xfe\xff\0\0\0a", "is UTF-32"),
        ("plain".encode("utf-16-le"), "looks like UTF-16 or UTF-32 without a mark"),
        ("plain".encode("utf-16-be"), "looks like UTF-16 or UTF-32 without a mark"),
        ("one\ntwo\ndéjà".encode("latin-1"), "line 3: the byte 0xe9 is not UTF-8; save the file"),
        (b"\x1f\x8b\x08\0", "line 1: the byte 0x8b is not UTF-8"),
    ],
)
def test_other_encodings_are_a_sentence(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(UserError, match=message):
        read_text(written(tmp_path / "x", content), "notes")


def test_what_is_no_file_is_a_sentence(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    for name, message in (
        ("none", "cannot read the notes .*none: No such file"),
        ("", "it is a folder; give a file"),
        ("pipe", "it is a pipe or a device; give a file"),
        ("round", "cannot read"),
        ("a" * 300, "File name too long"),
        ("nul\0nul", r"nul\\x00nul: that is no path"),
        ("half\ud800", r"half\\ud800: that is no path"),
    ):
        with pytest.raises(UserError, match=message):
            read_text(tmp_path / name, "notes")


def test_a_file_that_may_not_be_read_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(self: Path, mode: str) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    file = written(tmp_path / "x", b"a")
    monkeypatch.setattr(Path, "open", refuse)  # the superuser may read everything
    with pytest.raises(UserError, match="cannot read the notes .*x: Permission denied"):
        read_text(file, "notes")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "here: the key 'c' stands twice in an object"),
        ('{"a": "\\ud83d"}', r"here: \\ud83d is half a surrogate pair and no character"),
        ('{"\\uDC00": 1}', "half a surrogate pair"),
        ('{"a": NaN}', r"here: not JSON \(NaN is no number there\)"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1} {"b": 2}', r"not JSON \(Extra data at column 10\)"),
        ('{"a": "tab\there"}', "not JSON .Invalid control character"),
        ("[" * 100_000, "nested too deep|not JSON"),
        ('{"a": ' * 100_000, "nested too deep|not JSON"),
        ("1" * 10_000, "here: .*digits"),
        ("", "not JSON"),
    ],
)
def test_json_that_is_none_is_a_sentence(line: str, message: str):
    with pytest.raises(UserError, match=message):
        parse_json(line, "here")


def test_json_keeps_escaped_pairs_and_control_characters():
    assert parse_json('["\\ud83d\\ude00", "\\u0000\\u2028"]', "here") == ["\U0001f600", "\0\u2028"]
