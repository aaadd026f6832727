from __future__ import annotations

import os
import sys
from io import FileIO
from select import select

import pytest
import pytest_twisted
from attrs import evolve

from ctrlserver.console.streams import mute
from ctrlserver.load.commands.execute_search import SearchView
from ctrlserver.load.measure.confidence import Precision
from ctrlserver.load.measure.intervals import Gauge, Interval, Progress, Waiting
from ctrlserver.load.show.live import LiveView, Meter, view
from tests.load.command_line import COMMAND, ROOT, Process
from tests.load.screen import Screen, opened
from tests.peers import Echo, Silent, Sink
from tests.runs import reached
from tests.servers import Servers, reactor

#: Seconds after which a wait fails: only ever reached by a failure.
PATIENCE = 30.0

TIMED = Gauge(20_000.0, 0.0012344, 0.009876, 0.0011, 0.0042)


def drawn_until(end: bytes, reader: FileIO) -> bytes:
    """What has been drawn on a terminal, read at its other end, once it ends so."""
    drawn = b""
    while not drawn.endswith(end):
        assert select([reader], [], [], PATIENCE)[0], drawn
        drawn += reader.read(1 << 16)
    return drawn


def screen_of(columns: int, drawn: bytes) -> Screen:
    screen = Screen(columns)
    screen.feed(drawn.decode())
    return screen


def test_the_view_shows_the_bar_the_rates_and_the_times() -> None:
    meter = Meter()
    meter.figures(Progress(0.25, 2.5, 50_000, 51_200_000, 49, TIMED))
    figures = meter.figures(Progress(0.5, 5.0, 99_500, 101_888_000, 50, TIMED))
    done = meter.figures(Progress(1.0, 10.1, 199_000, 203_776_000, 50, evolve(TIMED, target_packets_per_second=0.0)))
    assert view("sending", figures, 80) == [
        "sending   " + "━" * 20 + "─" * 20 + "  50 % 5.0 s, 5.0 s to go".ljust(30).rstrip(),
        "rate      19.8 k/s of 20.0 k/s   162 Mbit/s   99.5 k packets   50 in flight",
        "latency   response p50 1.234 ms p99 9.876 ms   service p50 1.100 ms p99 4.200 ms",
    ]
    assert " of " not in view("sending", done, 80)[1]


@pytest.mark.parametrize("width", [1, 20, 40, 79, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    meter = Meter()
    meter.figures(Progress(None, 0.0, 0, 0))
    most = Progress(0.9999, 1e6, 10**18, 10**18, 10**6, Gauge(1e12, 59.9, 59.9, 59.9, 59.9))
    for progress in (most, Progress(None, 0.0, 0, 0), Progress(0.0, 0.0, 0, 0), Progress(1.0, 3.0, 1, 1)):
        lines = view("downloading", meter.figures(progress), width)
        assert max(len(line) for line in lines) <= width


def test_the_view_shows_how_sure_the_figures_are_by_now() -> None:
    sure = Precision("p99+-5%", "latency.service.p99", False, 0.00192, 0.00182, 0.00202, 10, True, 31.2)
    figures = Meter().figures(Progress(0.2, 31.3, 100, 100, until=(sure,)))
    assert "until     p99 1.920 ms +-5.2 % (95 %, 10 batches)" == view("sending", figures, 80)[-1]


def test_a_warm_up_has_a_bar_with_an_end() -> None:
    bar = view("sending", Meter().figures(Progress(0.5, 1.0, 10, 0, warm_up=True)), 80)[0]
    assert bar.startswith("warm-up   ━━━")
    assert bar.endswith(" 50 % 1.0 s, 1.0 s to go")


def test_where_there_is_no_room_for_all_times_the_p99s_stay() -> None:
    lines = view("sending", Meter().figures(Progress(0.5, 5.0, 10, 10, 1, TIMED)), 78)
    assert "latency   response p99 9.876 ms   service p99 4.200 ms" == lines[-1]


def test_before_there_is_a_rate_or_an_end_none_is_shown() -> None:
    bar, rate = view("sending", Meter().figures(Progress(None, 0.0, 0, 0, warm_up=True)), 80)
    assert bar.startswith("warm-up   ───")
    assert "to go" not in bar
    assert "rate      -   0 packets" == rate


def test_the_rate_is_that_of_the_last_second() -> None:
    meter = Meter()
    for tenths in range(0, 60, 2):
        figures = meter.figures(Progress(None, tenths / 10, max(0, tenths - 40) * 100, 0))
    assert pytest.approx(1_000) == figures.packets_per_second
    figures = meter.figures(Progress(0.0, 0.0, 0, 0))
    assert figures.packets_per_second is None


def test_times_stay_until_there_are_newer_ones() -> None:
    meter = Meter()
    meter.figures(Progress(0.1, 1.0, 10, 10, 1, TIMED))
    gauge = meter.figures(Progress(0.2, 1.25, 10, 10, 1, Gauge(20_000.0))).gauge
    assert TIMED == gauge
    gauge = meter.figures(Progress(0.0, 0.0, 0, 0, 1, Gauge(20_000.0))).gauge
    assert gauge == Gauge(20_000.0)


def test_a_terminal_that_has_gone_is_no_matter_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs, _ = opened(80)
    with open(theirs, "w") as terminal:
        shown = LiveView(terminal)
        shown.progress(Progress(0.1, 1.0, 10, 10))
        os.close(ours)
        shown.progress(Progress(0.2, 2.0, 20, 20))
        shown.note("a word")
        shown.close()
        mute(terminal)


def test_the_view_of_a_search_counts_what_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs, _ = opened(80)
    with open(theirs, "w") as terminal, open(ours, "rb", buffering=0) as reader:
        shown = SearchView(terminal, "search", "connections")
        shown.begin(3, 1_000.0)
        shown.progress(Progress(0.1, 1.0, 10, 0))
        assert b"step 3" in drawn_until(b"10 connections", reader)
        shown.close()


def test_a_wait_takes_the_place_of_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs, _ = opened(80)
    with open(theirs, "w") as terminal, open(ours, "rb", buffering=0) as reader:
        shown = LiveView(terminal)
        shown.starting(11.5)
        drawn_until(b"starts in 12 s", reader)
        shown.progress(Progress(1.0, 1.0, 20, 2048))
        shown.waiting(Waiting(2.0, 1024, 2048, 0))
        drawn_until(b"waiting for the server's counts for 2 s: 1.00 KiB of 2.00 KiB counted", reader)
        shown.close()


@pytest.mark.parametrize("title", ["sending", "[bold]sending"])
def test_words_stand_above_the_view_as_they_are(monkeypatch: pytest.MonkeyPatch, title: str) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs, _ = opened(80)
    with open(theirs, "w") as terminal, open(ours, "rb", buffering=0) as reader:
        shown = LiveView(terminal, title)
        shown.progress(Progress(0.1, 1.0, 10, 10))
        shown.note("a [bold]word of a_very:smile:_long line " + 100 * "x")
        shown.progress(Progress(0.2, 2.0, 20, 20))
        screen = screen_of(80, drawn_until(b"20 packets", reader))
        assert screen.shown[0].startswith("ctrlload: a [bold]word of a_very:smile:_long line xxx")
        assert [title, "rate"] == [line.split()[0] for line in screen.shown[2:]]
        shown.close()


def test_what_the_terminal_echoes_of_ctrl_c_leaves_no_half_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs, _ = opened(40)
    with open(theirs, "w") as terminal, open(ours, "rb", buffering=0) as reader:
        shown = LiveView(terminal)
        shown.progress(Progress(0.1, 1.0, 10, 10, 1, TIMED))
        os.write(theirs, b"^C")
        shown.progress(Progress(0.2, 2.0, 20, 20, 1, TIMED))
        os.write(theirs, b"^C")
        shown.close()
        terminal.write("the end")
        terminal.flush()
        assert ["the end"] == screen_of(40, drawn_until(b"the end", reader)).shown


@pytest.mark.parametrize("lines", [False, True])
def test_a_line_for_each_interval_stays_above_the_view_if_asked_for(
    monkeypatch: pytest.MonkeyPatch, lines: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs, _ = opened(80)
    with open(theirs, "w") as terminal, open(ours, "rb", buffering=0) as reader:
        shown = LiveView(terminal, lines=lines)
        shown.progress(Progress(0.1, 1.0, 10, 10))
        shown.interval(Interval(0.0, 1.0, 500, 512_000, 500.0, 4_096_000.0, False, 1000.0, 0.002, 0.004, 0.001, 0.003))
        shown.progress(Progress(0.2, 2.0, 20, 20))
        shown.close()
        terminal.write("the end")
        terminal.flush()
        above = screen_of(80, drawn_until(b"the end", reader)).shown[:-1]
        assert ("0.00 -     1.00 s" in "".join(above)) == lines
        assert not lines or "3.000 ms" in above[-1]
        assert all(len(line) <= 80 for line in above)


def on_terminal(columns: int, *arguments: str, term: str = "xterm") -> Process:
    """Start ctrlload on a terminal of so many columns; it is killed after 30 s. COLUMNS lies."""
    process = Process()
    environment = {**os.environ, "PYTHONPATH": ROOT, "TERM": term, "COLUMNS": "300", "LANG": "C.UTF-8"}
    command = [*COMMAND, *arguments]
    reactor.spawnProcess(process, command[0], command, env=environment, path=ROOT, usePTY=opened(columns))
    process.ended.addTimeout(30, reactor, lambda result, _: process.transport.signalProcess("KILL") or result)
    return process


@pytest.mark.parametrize("columns", [80, 200])
@pytest_twisted.ensureDeferred
async def test_on_a_terminal_a_run_is_shown_while_it_goes_on(servers: Servers, columns: int) -> None:
    target = servers.listen(Echo).text
    process = on_terminal(columns, "run", target, "-m", "request", "-P", "5", "-r", "500", "-t", "600")
    await reached(lambda: process.out.count(b"to go") >= 4 and process.out.count(b"latency") >= 2)
    process.transport.write(b"\x03")
    assert 130 == await process.ended
    screen = screen_of(columns, process.out.replace(b"^C", b""))
    full = [frame for frame in screen.frames if len(frame) == 3 and "to go" in frame[0] and "latency" in frame[2]]
    assert ["sending", "rate", "latency"] == [line.split()[0] for line in full[-1]]
    assert any(" of 500/s " in frame[1] for frame in full)
    assert "in flight" in full[-1][1]
    assert len(full[-1][0]) > min(columns, 120) - 20
    assert len(screen.frames) >= 4
    assert all(len(frame) <= 3 for frame in screen.frames)


class Holding(Echo):
    """Answers its first packet, and the others once it is let go."""

    begun = free = False
    kept = b""

    def dataReceived(self, data: bytes) -> None:
        if self.free or not self.begun:
            self.transport.write(data)
        else:
            self.kept += data
        self.begun = True

    def let_go(self) -> None:
        self.free = True
        self.transport.write(self.kept)


@pytest.mark.parametrize("columns", [80, 200])
@pytest_twisted.ensureDeferred
async def test_of_a_view_nothing_is_left_behind_when_the_run_is_over(servers: Servers, columns: int) -> None:
    """The warm-up ends once its packets are answered, which is when it has been drawn."""
    target = servers.listen(Holding).text
    process = on_terminal(columns, "run", target, "-m", "request", "-P", "5", "-r", "500", "-t", "0.3", "-O", "0.3")
    await reached(lambda: b"warm-up" in process.out and len(servers.open) == 5)
    for peer in servers.open:
        peer.let_go()
    assert 0 == await process.ended
    screen = screen_of(columns, process.out)
    assert any("warm-up" in frame[0] and "to go" in frame[0] for frame in screen.frames)
    assert ["total", "sent", "warm-up", "replies"] == [line.split()[0] for line in screen.shown[:4]]
    assert not any("to go" in line or "in flight" in line for line in screen.shown)
    assert screen.cursor_visible


@pytest.mark.parametrize("flags", [(), ("-i", "1s")])
@pytest_twisted.ensureDeferred
async def test_on_a_terminal_an_interval_that_is_asked_for_keeps_its_lines(
    servers: Servers, flags: tuple[str, ...]
) -> None:
    process = on_terminal(80, "run", servers.listen(Echo).text, "-m", "request", "-r", "500", "-t", "0.5", *flags)
    assert 0 == await process.ended
    screen = screen_of(80, process.out)
    assert bool(flags) == any(line.strip().startswith("0.00 -") for line in screen.shown)
    assert any(line.startswith("total time") for line in screen.shown)
    assert screen.shown[-1].startswith("bottleneck")


@pytest.mark.parametrize("term", ["dumb", ""])
@pytest_twisted.ensureDeferred
async def test_on_a_dumb_terminal_there_are_plain_lines(servers: Servers, term: str) -> None:
    process = on_terminal(80, "run", servers.listen(Sink).text, "-t", "0.3", "-i", "0.1", term=term)
    assert 0 == await process.ended
    assert b"\x1b" not in process.out
    assert b"0.00 -" in process.out


@pytest.mark.parametrize("twice", [False, True])
@pytest_twisted.ensureDeferred
async def test_after_ctrl_c_the_cursor_is_there_and_the_view_is_not(servers: Servers, twice: bool) -> None:
    arguments = [servers.listen(Silent).text, "-m", "request"] if twice else [servers.listen(Sink).text]
    process = on_terminal(80, "run", *arguments, "-t", "60")
    await reached(lambda: b"sending" in process.out)
    process.transport.write(b"\x03")
    if twice:
        process.transport.signalProcess("TERM")
    assert 130 == await process.ended
    screen = screen_of(80, process.out.replace(b"^C", b""))
    assert screen.cursor_visible
    assert any(line.startswith("interrupted") for line in screen.shown)
    assert not any("in flight" in line or "to go" in line for line in screen.shown)


@pytest_twisted.ensureDeferred
async def test_a_search_is_shown_with_its_steps_above(servers: Servers) -> None:
    target = servers.listen(Holding).text
    condition = "schedule.target_packets_per_second>1k"
    process = on_terminal(
        *(80, "search", target, "-m", "request", "-t", "0.1", "--fail-if", condition),
        *("--tolerance", "99%", "--precision", "100%", "--repeats", "1"),
    )
    for step in (b"step 1", b"step 2"):
        await reached(lambda step=step: b"latency" in process.out.partition(step)[2])
        for peer in servers.open:
            peer.let_go()
    assert 0 == await process.ended
    screen = screen_of(80, process.out)
    titles = {frame[-3].split("  ")[0] for frame in screen.frames if len(frame) >= 3 and "latency" in frame[-1]}
    assert {"step 1", "step 2"} <= titles
    assert ["1", "2"] == [line.split()[0] for line in screen.shown if "achieved" in line]
    assert any(line.startswith("highest     ") for line in screen.shown)
    assert not any("in flight" in line for line in screen.shown)


@pytest_twisted.ensureDeferred
async def test_a_terminal_that_takes_nothing_does_not_stop_the_run(servers: Servers) -> None:
    """Ctrl-S: the run goes on to its end, which is told after Ctrl-Q."""
    target = servers.listen(Sink)
    process = on_terminal(80, "run", target.text, "-r", "100", "-t", "1.5")
    await reached(lambda: b"sending" in process.out)
    process.transport.write(b"\x13")
    await reached(lambda: servers.bytes >= 150 * 1024)
    process.transport.write(b"\x11")
    assert 0 == await process.ended
    assert b"number of packets 150," in process.out


@pytest.mark.parametrize("command", [["run", "-n", "10"], ["search", "--to", "1k", "-t", "20ms", "--tolerance", "99%"]])
@pytest_twisted.ensureDeferred
async def test_without_a_terminal_rich_is_not_imported(servers: Servers, command: list[str]) -> None:
    program = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('rich' in sys.modules, file=sys.stderr))\n"
        "from ctrlserver.load.cli import main\n"
        "main()\n"
    )
    process = Process()
    arguments = [sys.executable, "-c", program, command[0], servers.listen(Sink).text, *command[1:]]
    reactor.spawnProcess(process, arguments[0], arguments, env={**os.environ, "PYTHONPATH": ROOT}, path=ROOT)
    assert 0 == await process.ended, process.err
    assert b"False" == process.err.splitlines()[-1]
