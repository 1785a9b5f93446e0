"""YAML by stricter rules: what is refused is refused at once, with its line; the rest is YAML."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from evoprompt.config.yaml_text import MAX_DEPTH, MAX_NODES, dump_yaml, parse_yaml, read_yaml
from evoprompt.errors import UserError


def read(tmp_path: Path, content: str | bytes) -> object:
    path = tmp_path / "c.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_yaml(path, "config")[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' stands twice, in line 1 and in line 3"),
        ("x:\n  y: {k: 1,\n    'k': 2}", "line 3: the key 'k' stands twice, in line 2"),
        ("a:\n  - {b: 1, c: 2}\n  - {b: 1, b: 2}", "line 3: the key 'b' stands twice"),
        ("labels:\n  no: [a]", "line 2: no without quotes is true or false.*'no'"),
        ("words: [On, off]", "On without quotes"),
        ("day: 2024-05-01", "2024-05-01 without quotes is a date"),
        ("time: 12:30", "12:30 without quotes is a number of base 8 or 60"),
        ("code: 0123", "0123 without quotes is a number of base 8"),
        ("seed: " + "9" * 5000, "a number of 5000 digits"),
        ("a: !!python/object/apply:os.system ['true']", "line 1: the tag '.*os.system'"),
        ("a: !!int x", "the tag"),
        ("a: !mine {b: 1}", "the tag '!mine'"),
        ("a: &a [*a]", "line 1: the alias .a stands inside"),
        ("a: *b", "line 1 is not YAML: found undefined alias"),
        ("? [a]\n: 1", "line 1 is not YAML: found unhashable key"),
        ("a:\n\tb: 1", "line 2 is not YAML.*not with tabs"),
        ("a: \x07", r"line 1 has the character '\\x07'"),
        ("[" * 5000, f"more than {MAX_DEPTH} deep"),
        ("- " * 5000, f"more than {MAX_DEPTH} deep"),
        ("a: 1\nb: [", "line 2 is not YAML"),
        (b"a: 1\nb: \xff", "line 2: the byte 0xff is not UTF-8"),
        ("a: 1".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("a: " + "x" * 1_000_001, "more than 1,000,000 bytes"),
    ],
)
def test_what_is_not_plain_is_a_sentence_with_its_line(
    tmp_path: Path, content: str | bytes, message: str
):
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, content)
    assert len(str(caught.value)) < 600


def test_ten_levels_of_ten_aliases_are_refused_before_they_are_unfolded(tmp_path: Path):
    """10^10 values in 569 characters; three levels are read."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(UserError, match=f"more than {MAX_NODES:,} values"):
        read(tmp_path, "\n".join(lines))
    assert read(tmp_path, "\n".join(lines[:3]))


def test_plain_yaml_is_what_it_is_elsewhere(tmp_path: Path):
    text = (
        "a: true\nb: False\nc: [1, -2, 0x1f, 1_000, 0]\nd: [1.5, .5, 1.0e-3]\ne: 'no'\n"
        'f: "12:30"\ng: ~\nh: text: y\n'
    ).replace("h: text: y", "h: y")
    assert read(tmp_path, text) == yaml.safe_load(text)
    assert read(tmp_path, "\ufeffa: 1\r\nb: 2\r\n") == {"a": 1, "b": 2}
    assert read(tmp_path, "base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}") == {
        "base": {"x": 1, "y": 2},
        "more": {"x": 1, "y": 3},
    }
    assert read(tmp_path, "{a: off, b: [off, 'off']}") == {"a": "off", "b": ["off", "off"]}
    assert read(tmp_path, "{0: a, 1: b, true: c}") == {"0": "a", "1": "b", "true": "c"}
    assert read(tmp_path, "[1e-3, -2E5, 1.5e3]") == [0.001, -200000.0, 1500.0]


@pytest.mark.parametrize(
    "value",
    [
        "no",
        "off",
        "Off",
        "1e5",
        "0123",
        "12:30",
        "2024-05-01",
        "",
        "~",
        "null",
        "=",
        "a\u2028b",
        "\x1b[1m",
        "1",
    ],
)
def test_every_text_survives_being_written(value: str):
    assert parse_yaml(dump_yaml({"a": value, value: [value]}))[0] == {"a": value, value: [value]}
