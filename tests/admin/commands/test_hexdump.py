from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.admin.commands.hexdump import dump, printable


def test_a_dump_looks_as_that_of_other_tools() -> None:
    expected = [
        "00000000  48 65 6c 6c 6f 2c 20 77  6f 72 6c 64 0d 0a 00 ff  |Hello, world....|",
        "00000010  7e                                                |~|",
    ]
    assert expected == list(dump(b"Hello, world\r\n\x00\xff~"))


def test_no_bytes_are_no_lines() -> None:
    assert [] == list(dump(b""))


@given(st.binary(max_size=100))
def test_the_bytes_can_be_read_back_from_the_dump(octets: bytes) -> None:
    assert octets.hex() == "".join(line[10:58].replace(" ", "") for line in dump(octets))
    assert len(octets) == len(printable(octets))
    assert not any(line.startswith(("OK", "ERR")) for line in dump(octets))
