from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest
import pytest_twisted

from ctrlserver.errors import LoadError
from ctrlserver.load.measure.confidence import Precision
from ctrlserver.load.measure.intervals import Gauge, Interval, Progress, Waiting
from ctrlserver.load.results.result import as_document
from ctrlserver.load.show.events import EventStream
from ctrlserver.load.show.summary import Lines
from tests.load.command_line import finished, start
from tests.load.documents import check_schema, validated_events
from tests.load.results.test_result import FULL
from tests.peers import Echo, Silent, Sink
from tests.servers import Servers, refusing

INTERVAL = Interval(0.0, 1.0, 10, 10_240, 10.0, 81_920.0, False)


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(writing, "w") as out:
        yield reading, out
    os.close(reading)


def stream(out: TextIO | None) -> EventStream:
    return EventStream(out, lambda: "2024-02-03T04:05:06.789Z", Lines(None))


def names(text: str) -> list[str]:
    return [json.loads(line)["event"] for line in text.splitlines()]


def test_the_schema_itself_is_one() -> None:
    check_schema("events")


def test_each_event_is_one_line_and_is_there_at_once(pipe: tuple[int, TextIO]) -> None:
    reading, out = pipe
    events = stream(out)
    events.start("127.0.0.1:5", FULL.options, {"site": "a\nb"})
    got = os.read(reading, 65536).decode()
    assert ["start"] == names(got)
    events.starting(1.23456)
    starting = os.read(reading, 65536).decode()
    got += starting
    assert {"seconds": 1.235} == json.loads(starting)["starting"]
    events.interval(INTERVAL)
    interval = os.read(reading, 65536).decode()
    got += interval
    assert 10 == json.loads(interval)["interval"]["packets"]
    events.waiting(Waiting(1.0, None, 10_240, 5))
    waiting = os.read(reading, 65536).decode()
    got += waiting
    assert {"seconds": 1.0, "counted_bytes": None, "bytes": 10_240, "unsent_bytes": 5} == json.loads(waiting)["waiting"]
    events.progress(Progress(0.5, 1.0, 10, 10_240))
    events.end(as_document(FULL), ["one thing", "another"], 1)
    got += os.read(reading, 65536).decode()
    *_, first, second, end = validated_events(got)
    assert ["one thing", "another"] == [first["message"], second["message"]]
    assert (1, as_document(FULL)["sent"]) == (end["exit_code"], end["result"]["sent"])


SURE = Precision("p99+-5%", "latency.service.p99", True, 0.00192, 0.00186, 0.001999, 10, True, 31.2)


def test_progress_and_notes_are_told_only_where_they_were_asked_for(pipe: tuple[int, TextIO]) -> None:
    reading, out = pipe
    events = EventStream(out, lambda: "2024-02-03T04:05:06.789Z", Lines(None), with_progress=True)
    events.start("127.0.0.1:5", FULL.options, {})
    events.progress(Progress(None, 1.5, 10, 10_240, 3, Gauge(5.0, service_p99=0.001), True, (SURE,)))
    events.note("a word")
    events.end(as_document(FULL), [], 0)
    _, told, note, _ = validated_events(os.read(reading, 65536).decode())
    assert "a word" == note["message"]
    progress = told["progress"]
    assert (None, 10, 3, True) == tuple(progress[key] for key in ("fraction", "packets", "in_flight", "warm_up"))
    assert (5.0, 0.001) == (progress["gauge"]["target_packets_per_second"], progress["gauge"]["service_p99"])
    assert [("p99+-5%", True)] == [(goal["asked"], goal["reached"]) for goal in progress["until"]]


def test_the_run_never_waits_for_a_reader_and_nothing_is_lost(pipe: tuple[int, TextIO]) -> None:
    reading, out = pipe
    events = stream(out)
    events.start("127.0.0.1:5", FULL.options, {})
    for _ in range(1_000):  # more than a pipe holds: a write that waits would never come back
        events.interval(INTERVAL)
    got = b""
    for _ in range(50):
        with suppress(BlockingIOError):
            got += os.read(reading, 1 << 20)
        events.interval(INTERVAL)
    got += os.read(reading, 1 << 20)
    assert ["start"] + ["interval"] * 1_050 == names(got.decode())


def test_a_reader_that_has_gone_is_left_alone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    out = os.fdopen(writing, "w")
    events = stream(out)
    for _ in range(3):
        events.interval(INTERVAL)
    events.end({}, [], 0)
    assert isinstance(events.problem, BrokenPipeError)
    out.close()


def test_a_stdout_that_was_closed_is_a_problem_for_the_end() -> None:
    events = stream(None)
    events.interval(INTERVAL)
    with pytest.raises(LoadError, match="Bad file descriptor"):
        events.end({}, [], 0)


@pytest_twisted.ensureDeferred
async def test_a_run_streams_start_intervals_and_the_whole_result(servers: Servers, tmp_path: Path) -> None:
    target = servers.listen(Sink).text
    place = tmp_path / "result.json"
    arguments = ("-t", "0.4", "-i", "0.1", "--json-stream", "-o", str(place), "--label", "site=lab")
    code, out, err = await finished("run", target, *arguments)
    assert 0 == code
    first, *intervals, last = validated_events(out)
    assert (target, 0.4, {"site": "lab"}) == (first["target"], first["options"]["duration_seconds"], first["labels"])
    assert {"interval"} == {event["event"] for event in intervals}
    assert json.loads(place.read_text()) == last["result"]
    assert "total time" in err


@pytest_twisted.ensureDeferred
async def test_a_failed_run_tells_its_error_and_then_its_end() -> None:
    code, out, err = await finished("run", refusing().text, "--json-stream")
    _, error, end = validated_events(out)
    assert (1, 1, error["message"]) == (code, end["exit_code"], end["result"]["error"])
    assert f"ctrlload: {error['message']}\n" == err


@pytest_twisted.ensureDeferred
async def test_a_condition_that_held_is_an_error_event(servers: Servers) -> None:
    code, out, _ = await finished(
        "run", servers.listen(Sink).text, "-n", "10", "--fail-if", "packets<1k", "--json-stream"
    )
    events = validated_events(out)
    assert (4, 4) == (code, events[-1]["exit_code"])
    assert "--fail-if packets<1k held" == events[-2]["message"]


@pytest.mark.parametrize("signals", [1, 2])
@pytest_twisted.ensureDeferred
async def test_an_interrupted_run_ends_its_events(servers: Servers, signals: int) -> None:
    process = start("run", servers.listen(Silent).text, "-m", "request", "-i", "0.1", "--json-stream")
    await process.begun
    for _ in range(signals):
        process.transport.signalProcess("INT")
    assert 130 == await process.ended
    last = validated_events(process.out.decode())[-1]
    assert (130, True) == (last["exit_code"], last["result"]["interrupted"])


@pytest_twisted.ensureDeferred
async def test_a_reader_of_events_that_goes_away_ends_nothing(servers: Servers, tmp_path: Path) -> None:
    place = tmp_path / "result.json"
    target = servers.listen(Sink).text
    process = start("run", target, "-t", "0.5", "-i", "0.1", "--json-stream", "-o", str(place))
    await process.begun
    process.transport.closeStdout()
    assert 0 == await process.ended
    assert b"Traceback" not in process.err
    assert json.loads(place.read_text())["sent"]["seconds"] >= 0.5


@pytest.mark.parametrize(
    ("redirect", "why"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
@pytest_twisted.ensureDeferred
async def test_events_that_cannot_be_written_are_one_line_and_exit_1(servers: Servers, redirect: str, why: str) -> None:
    process = start("run", servers.listen(Echo).text, "-n", "10", "-i", "0", "--json-stream", redirect=redirect)
    assert 1 == await process.ended
    assert f"ctrlload: cannot write to stdout: {why}" == process.err.decode().splitlines()[-1]


def test_a_note_is_for_people_and_no_event() -> None:
    out, people = io.StringIO(), io.StringIO()
    events = EventStream(out, lambda: "2024-02-03T04:05:06.789Z", Lines(people))
    events.note("a word")
    assert ("", "ctrlload: a word\n") == (out.getvalue(), people.getvalue())
