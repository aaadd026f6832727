"""Outlets never raise and never wait, whatever becomes of what they write to."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ctrlserver.logs.outlets import Descriptor, Syslog, opened


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its two ends; the writing one waits, as standard output does."""
    ends = os.pipe()
    yield ends
    for each in ends:
        with suppress(OSError):
            os.close(each)


def test_a_line_is_written_with_its_newline(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    assert Descriptor(writing).write("häm\udc80", "info")
    assert "häm\\udc80\n".encode() == os.read(reading, 100)


def test_a_pipe_that_nobody_reads_is_not_waited_for_and_the_line_begun_ends_before_any_other(
    pipe: tuple[int, int],
) -> None:
    reading, writing = pipe
    outlet = Descriptor(writing)
    written = [outlet.write(f"{number} " + "x" * 9_000, "info") for number in range(20)]
    assert (True, False) == (written[0], written[-1])
    got = bytearray()
    os.set_blocking(reading, False)
    with suppress(BlockingIOError):
        while more := os.read(reading, 1 << 20):
            got += more
    assert not got.endswith(b"\n")
    assert outlet.write("after", "info")
    *whole, after, nothing = (bytes(got) + os.read(reading, 1 << 20)).split(b"\n")
    assert (b"after", b"") == (after, nothing)
    assert [b"%d " % number + b"x" * 9_000 for number in range(written.index(False))] == whole


def test_a_closed_pipe_a_full_disk_and_no_output_at_all_lose_the_line_and_raise_nothing(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        for descriptor in (writing, full, None):
            outlet = Descriptor(descriptor)
            assert [False, False] == [outlet.write("line", "info"), outlet.write("line", "info")]
    finally:
        os.close(full)


def test_a_file_is_appended_to_and_opened_anew_by_its_name(tmp_path: Path) -> None:
    path, moved = tmp_path / "log", tmp_path / "log.1"
    path.write_text("before\n")
    outlet = Descriptor(opened(str(path)), str(path))
    outlet.write("one", "info")
    path.rename(moved)
    outlet.write("two", "info")
    assert outlet.reopen() is None
    outlet.write("three", "info")
    assert "before\none\ntwo\n" == moved.read_text()
    assert "three\n" == path.read_text()


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o660])
def test_a_new_file_has_the_mode_of_the_old_one_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "log"
    path.touch()
    path.chmod(mode)
    outlet = Descriptor(opened(str(path)), str(path))
    path.rename(tmp_path / "log.1")
    before = os.umask(0o077)
    try:
        assert outlet.reopen() is None
        assert 0o077 == os.umask(0o077)
    finally:
        os.umask(before)
    assert mode == path.stat().st_mode & 0o777


def test_a_file_that_is_there_by_then_keeps_its_own_mode(tmp_path: Path) -> None:
    path = tmp_path / "log"
    outlet = Descriptor(opened(str(path)), str(path))
    path.rename(tmp_path / "log.1")
    path.touch()
    path.chmod(0o640)
    assert outlet.reopen() is None
    assert 0o640 == path.stat().st_mode & 0o777


def test_a_file_that_cannot_be_opened_anew_stays_in_use(tmp_path: Path) -> None:
    path = tmp_path / "log"
    outlet = Descriptor(opened(str(path)), str(tmp_path / "gone" / "log"))
    assert "no such file or directory" == outlet.reopen()
    assert outlet.write("line", "info")
    assert "line\n" == path.read_text()


def test_syslog_gets_a_message_for_each_line_with_the_priority_of_the_level(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(path)
        outlet = Syslog("ctrlserver", path)
        assert outlet.write("one\n\ttwo", "warn")
        outlet.close()
        head = rf"<12>\w+ [ \d]\d \d\d:\d\d:\d\d ctrlserver\[{os.getpid()}\]: "
        assert re.fullmatch(head + "one", log.recv(1000).decode())
        assert re.fullmatch(head + "\ttwo", log.recv(1000).decode())


def test_syslog_is_not_waited_for_and_found_again_once_it_is_there(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    outlet = Syslog("ctrlserver", path)
    assert not outlet.write("nobody there", "info")
    for _ in range(2):  # it comes, and is started anew
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.bind(path)
            written = [outlet.write("x", "info") for _ in range(10_000)]
            assert (True, False) == (written[0], written[-1])
        os.unlink(path)
    outlet.close()
