from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctrlserver.config.toml_file import read_toml
from ctrlserver.errors import ConfigError
from tests.config.messages import one_line_of


def message_of(path: Path) -> str:
    """The error for the file at ``path``, without the path in front of it."""
    return one_line_of(lambda: read_toml(path), f"{path}: ")


def test_a_document_is_read_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    for content in (b"a = 1\r\n", b"\xef\xbb\xbfa = 1\n"):
        path.write_bytes(content)

        assert {"a": 1} == read_toml(path)


@pytest.mark.parametrize(
    ("expected", "content"),
    [
        ("line 2, column 5: not TOML: Invalid value", b"a = 1\nb = ?\n"),
        ("line 1, column 1: not TOML: Invalid statement", b"= 3"),
        ("line 1, column 5: not TOML: Invalid value, and the file ends here", b"a = "),
        ("line 2, column 6: not TOML: Cannot overwrite a value: the key stands above already", b"a = 1\na = 2\n"),
        ('line 1, column 11: not TOML: Invalid value; did you mean framing = "fixed:1024"?', b"framing = fixed:1024\n"),
        (r"did you mean reply = '\x06'?", rb'reply = "\x06"' + b"\n"),
        ('did you mean run_gap = "1s"?', b"# first\n  run_gap = 1s  # a second\n"),
        ("line 2, column 5: byte 0xff: expected UTF-8", b"a = 1\nb = \xff\n"),
        ("line 1, column 5: byte 0xff: expected UTF-8", b"\xef\xbb\xbfb = \xff\n"),
        ("not TOML: nested too deeply", b"a = " + b"[" * 5000),
        ("not TOML: a number of more digits than any key here takes", b"a = " + b"1" * 5000),
        ("cannot be read: expected a config file of at most 1 MiB", b"#" * ((1 << 20) + 1)),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_broken_file_is_told_with_line_and_column(expected: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)

    assert expected in message_of(path)


def test_a_missing_file_is_told_with_the_nearest_there_is(tmp_path: Path) -> None:
    (tmp_path / "ctrlserver.toml").touch()

    expected = f"cannot be read: No such file or directory; did you mean {tmp_path}/ctrlserver.toml?"
    assert expected == message_of(tmp_path / "ctrlserver.tml")


def test_a_missing_file_is_told_without_one_that_has_only_its_ending(tmp_path: Path) -> None:
    (tmp_path / "no_unit.toml").touch()

    assert "cannot be read: No such file or directory" == message_of(tmp_path / "nosuch.toml")


def test_what_is_no_readable_file_is_told(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" == message_of(tmp_path)
    assert "cannot be read: No such file or directory" == message_of(tmp_path / "none" / "a.toml")
    with pytest.raises(ConfigError, match="cannot be read: embedded null byte"):
        read_toml("a\0b")


def test_a_line_break_in_the_name_of_a_file_does_not_break_the_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"/a\\nb: cannot be read"):
        read_toml(tmp_path / "a\nb")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(), st.text(alphabet="a=[]{}\"'.1#\n \\").map(str.encode)))
def test_any_file_is_a_document_or_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    try:
        message = ""
        read_toml(path)
    except ConfigError as error:
        message = str(error)

    assert len(message.splitlines()) == bool(message)
