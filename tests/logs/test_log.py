"""The observer: what it writes, what it leaves out, and what it says of lines that were lost."""

from __future__ import annotations

import io
import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger, LogPublisher, capturedLogs
from twisted.python.failure import Failure
from twisted.python.log import LogPublisher as OldPublisher

from ctrlserver.logs.level import LEVEL
from ctrlserver.logs.lines import FORMATS
from ctrlserver.logs.log import LOG, Log, for_twist, for_twistd
from ctrlserver.logs.outlets import Descriptor, Syslog


@define
class Paper:
    """An outlet that keeps the lines; ``full``: takes none."""

    path: str | None = None
    stamped: bool = True
    full: bool = False
    lines: list[tuple[str, str]] = field(factory=list)

    def write(self, line: str, level: str) -> bool:
        if not self.full:
            self.lines.append((line, level))
        return not self.full

    def reopen(self) -> str | None:
        return None


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    form, outlet, twistd, level = LOG.form, LOG.outlet, LOG.twistd, LEVEL.name
    yield
    LOG.form, LOG.outlet, LOG.twistd = form, outlet, twistd
    LEVEL.set(level)


def test_lines_below_the_level_are_not_written() -> None:
    paper = Paper()
    logger = Logger("ctrlserver.x", observer=LogPublisher(Log("json", paper)))
    logger.debug("no")
    LEVEL.set("warn")
    logger.info("no")
    logger.warn("yes")
    LEVEL.set("debug")
    logger.debug("yes too")
    assert ["yes", "yes too"] == [json.loads(line)["message"] for line, _ in paper.lines]
    assert ["warn", "debug"] == [level for _, level in paper.lines]


class Wanting:
    """Whatever it is asked for, there is no memory."""

    def dataReceived(self, octets: bytes) -> None:
        raise MemoryError


def raise_in_twisted(paper: LogPublisher) -> None:
    """As Twisted's reactor logs what a read raised, with its old logger."""
    near, far = socket.socketpair()
    with near, far:
        far.send(b"x")
        connection = Connection(near, Wanting(), MemoryReactorClock())  # type: ignore[arg-type]
        try:
            connection.doRead()
        except MemoryError:
            OldPublisher(publishPublisher=paper).msg(failure=Failure(), why=None, isError=1)


def raise_in_a_command(paper: LogPublisher) -> None:
    try:
        Wanting().dataReceived(b"")
    except MemoryError:
        Logger("ctrlserver.x", observer=paper).failure("admin command {it!r} failed", event="bug", it="x" * 10_000)


@pytest.mark.parametrize("failing", [raise_in_twisted, raise_in_a_command])
@pytest.mark.parametrize("form", FORMATS)
def test_whoever_logs_it_want_of_memory_is_a_line_a_second_without_traceback_and_the_number_of_the_others(
    failing: Callable[[LogPublisher], None], form: str
) -> None:
    time, paper = Clock(), Paper()
    log = Log(form, paper, clock=time.seconds)
    for _ in range(100):
        failing(LogPublisher(log))
    ((line, level),) = paper.lines
    assert "warn" == level
    assert re.search(r"out of memory at test_log.py:\d+: (an error that nobody handled|admin command 'x+)", line)
    assert len(line) < 3000
    assert "\n" not in line
    assert "raceback" not in line
    assert ("out-of-memory" == json.loads(line)["event"]) if form == "json" else True
    with capturedLogs() as told:
        log.tell_left_out(time.seconds())
        time.advance(1)
        log.tell_left_out(time.seconds())
        log.tell_left_out(time.seconds() + 1)
    assert [("out-of-memory", 99)] == [(event["event"], event["number"]) for event in told]


def test_an_error_of_another_kind_keeps_its_traceback_beside_a_flood_of_those() -> None:
    paper = Paper()
    publisher = LogPublisher(Log("text", paper))
    raise_in_a_command(publisher)
    raise_in_a_command(publisher)
    try:
        raise ValueError("a bug")
    except ValueError:
        Logger("ctrlserver.x", observer=publisher).failure("this failed", event="bug")
    assert 2 == len(paper.lines)
    assert "Traceback" in paper.lines[1][0]


def test_the_lines_that_were_lost_are_told_once_the_log_takes_lines_again() -> None:
    paper = Paper(full=True)
    logger = Logger("ctrlserver.x", observer=LogPublisher(Log("json", paper)))
    for _ in range(3):
        logger.info("lost")
    paper.full = False
    logger.info("written")
    logger.info("written")
    events = [json.loads(line) for line, _ in paper.lines]
    assert ["message", "lines-lost", "message"] == [event["event"] for event in events]
    assert (3, "3 lines could not be written to the log") == (events[1]["lines"], events[1]["message"])


@pytest.mark.parametrize(
    ("expected", "options"),
    [
        (Syslog, {"syslog": True, "prefix": "ctrlserver", "logfile": None}),
        (Descriptor, {"logfile": "-", "nodaemon": True}),
        (Descriptor, {"logfile": None, "nodaemon": True}),
    ],
)
def test_the_log_of_twistd_goes_where_its_options_say(expected: type, options: dict[str, Any]) -> None:
    LOG.twistd = options
    assert LOG is for_twistd()
    assert (expected, None) == (type(LOG.outlet), LOG.outlet.path)


@pytest.mark.parametrize(
    ("name", "options"),
    [("x.log", {"logfile": "x.log", "nodaemon": True}), ("twistd.log", {"logfile": None, "nodaemon": False})],
)
def test_the_log_file_of_twistd_is_found_again_from_any_folder(
    name: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    LOG.twistd = options
    for_twistd()
    assert str(tmp_path / name) == LOG.outlet.path


def test_a_log_that_cannot_be_is_told_in_one_line(tmp_path: Path) -> None:
    LOG.twistd = {"logfile": "-", "nodaemon": False}
    with pytest.raises(SystemExit, match="ctrlserver: a daemon in the background has no standard output: twistd --log"):
        for_twistd()
    LOG.twistd = {"logfile": f"{tmp_path}/no/x.log", "nodaemon": True}
    with pytest.raises(SystemExit, match=f"ctrlserver: cannot write the log file {tmp_path}/no/x.log: no such file or"):
        for_twistd()


def test_the_log_of_twist_goes_to_its_file_by_name_or_to_its_output(tmp_path: Path) -> None:
    with (tmp_path / "x.log").open("a") as file:
        assert str(tmp_path / "x.log") == for_twist(file).outlet.path
    assert (Descriptor, None) == (type(for_twist(io.StringIO()).outlet), LOG.outlet.path)
