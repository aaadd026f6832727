"""The live view of a run on a terminal: how far it is, how fast, and how long replies take.

::

    run -> progress (4 a second) -> Meter: rates of the last second -> view: lines of text -> LiveView: rich draws them

Rules: the view disappears when the run is over; with ``lines`` a line for each interval stays above it. Each line fits
the terminal's width, whatever ``COLUMNS`` says. The cursor is never hidden, so a process that is killed leaves the
terminal as it was. While the terminal accepts nothing (Ctrl-S) the view is not drawn, because the run would wait for
it; a terminal that has gone does not end the run. A dumb terminal, or none, gets plain lines (``summary.Lines``).

Beware: rich is imported only if there is a terminal; that takes longer than the rest of the start. The run sends
nothing while rich draws: 0.4 ms at 80 columns, 0.6 ms at 200, four times a second. That makes no packet 1 ms late.
"""

from __future__ import annotations

import os
import re
import select
from collections import deque
from contextlib import suppress
from typing import TextIO

from attrs import asdict, evolve, frozen

from ctrlserver.load.measure.intervals import Gauge, Interval, Progress, Waiting
from ctrlserver.load.results.goals import precision_words
from ctrlserver.load.show.summary import folded, interval_line, starting_words, time_words, waiting_words
from ctrlserver.units import format_bits, format_count, format_duration, format_rate

#: The view shows the rate of so many seconds.
WINDOW_SECONDS = 1.0

#: The longest line with a bar: a longer bar is no easier to read.
WIDEST = 120

#: Columns kept beside the bar, so that its length does not change with the figures.
_BESIDE = 30

#: Columns that stay free at the right: the terminal writes ``^C`` there, and a line that it wraps cannot be erased.
_ECHOED = 2

#: Columns of a terminal that does not report its width.
_COLUMNS = 80


@frozen
class Figures:
    """What the view shows of one moment; a rate is None while it is not known."""

    progress: Progress
    packets_per_second: float | None
    bits_per_second: float | None
    gauge: Gauge


class Meter:
    """Makes the figures from a run's progress: rates over the last second, and the latest latencies."""

    def __init__(self) -> None:
        self._past: deque[Progress] = deque()
        self._gauge = Gauge()

    def figures(self, progress: Progress) -> Figures:
        """The figures after ``progress``."""
        past = self._past
        if past and (progress.seconds < past[-1].seconds or progress.packets < past[-1].packets):
            past.clear()  # the warm-up is over, or another run has begun
            self._gauge = Gauge()
        past.append(progress)
        while len(past) > 2 and progress.seconds - past[1].seconds >= WINDOW_SECONDS:
            past.popleft()
        gauge = progress.gauge
        kept = {name: time for name, time in asdict(self._gauge).items() if getattr(gauge, name) is None}
        self._gauge = gauge = evolve(gauge, **{**kept, "target_packets_per_second": gauge.target_packets_per_second})
        seconds = progress.seconds - past[0].seconds
        if seconds <= 0:
            return Figures(progress, None, None, gauge)
        packets, nbytes = progress.packets - past[0].packets, progress.bytes - past[0].bytes
        return Figures(progress, packets / seconds, nbytes * 8 / seconds, gauge)


def view(title: str, figures: Figures, width: int, what: str = "packets", signs: str = "━─") -> list[str]:
    """The lines, the bar first; ``what`` is counted, ``signs`` are the bar's."""
    progress, gauge = figures.progress, figures.gauge
    lines = [_bar("warm-up" if progress.warm_up else title, progress, min(width, WIDEST), signs)]
    rate, bits = figures.packets_per_second, figures.bits_per_second
    words = ["-" if rate is None else format_rate(rate)]
    target = gauge.target_packets_per_second
    if target is not None and (target or (progress.fraction or 0.0) < 1):  # after its end the schedule asks for nothing
        words[0] += f" of {format_rate(target)}"
    if progress.bytes:
        words.append("-" if bits is None else format_bits(bits))
    words.append(f"{format_count(progress.packets)} {what}")
    if progress.in_flight or gauge.service_p50 is not None:
        words.append(f"{format_count(progress.in_flight)} in flight")
    lines.append(f"rate      {'   '.join(words)}")
    if times := time_words(gauge):
        lines.append(f"latency   {'   '.join(times)}")
        if len(lines[-1]) > width:
            lines[-1] = f"latency   {'   '.join(re.sub('p50 .* (?=p99)', '', time) for time in times)}"
    if progress.until:
        lines.append(f"until     {'   '.join(map(precision_words, progress.until))}")
    return [line[:width] for line in lines]


def _bar(title: str, progress: Progress, width: int, signs: str) -> str:
    done = progress.fraction
    before, after = f"{title:<9} ", f" {_seconds(progress.seconds)}"
    if done is not None:
        after = f" {done * 100:3.0f} %{after}"
    if done:
        after += f", {_seconds(progress.seconds * (1 - done) / done)} to go"
    room = max(0, width - len(before) - max(len(after), min(_BESIDE, width // 2)))
    full = int(room * (done or 0.0))
    return f"{before}{signs[0] * full}{signs[1] * (room - full)}{after}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 59.95 else format_duration(seconds)


class LiveView:
    """Draws a run on ``out``, a terminal."""

    def __init__(self, out: TextIO, title: str = "sending", what: str = "packets", *, lines: bool = False) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        self._out = out
        self._text = Text
        self._meter = Meter()
        self._console = Console(file=out, highlight=False, markup=False, emoji=False)
        self._signs = "━─" if self._console.encoding.startswith("utf") else "#-"
        self._writable = select.poll()
        self._writable.register(out, select.POLLOUT)
        self.title = title
        self._what = what
        self._lines = lines
        self._fit()
        self._live = Live(
            Text("connecting"),
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start(refresh=True)
        self._console.show_cursor(True)

    def interval(self, interval: Interval) -> None:
        """A line above the view, if such lines were asked for: the view shows the present."""
        if self._lines:
            self.line(interval_line(interval, self._what))

    def progress(self, progress: Progress) -> None:
        """Redraw, if the terminal accepts it."""
        figures = self._meter.figures(progress)
        if not self._writable.poll(0):
            return
        with suppress(OSError):
            lines = view(self.title, figures, max(1, self._fit() - _ECHOED), self._what, self._signs)
            self._live.update(self._text("\n".join(lines), no_wrap=True, overflow="crop"), refresh=True)

    def starting(self, seconds: float | None) -> None:
        """Instead of the bar, how long until the start."""
        self._replace(starting_words(seconds))

    def waiting(self, waiting: Waiting) -> None:
        """Instead of the bar, what is waited for."""
        self._replace(waiting_words(waiting))

    def note(self, text: str) -> None:
        """A line above the view."""
        self.say(f"ctrlload: {text}")

    def line(self, text: str) -> None:
        """A line above the view, broken between words."""
        with suppress(OSError):
            self.say("\n".join(folded([text], self._fit())))

    def say(self, text: str) -> None:
        """A line above the view, as it is."""
        with suppress(OSError):
            self._fit()
            self._console.print(text, soft_wrap=True)

    def close(self) -> None:
        """Take the view away."""
        with suppress(OSError):
            self._live.stop()

    def _replace(self, line: str) -> None:
        """Draw one line in place of the view, if the terminal accepts it."""
        if self._writable.poll(0):
            with suppress(OSError):
                line = line[: max(1, self._fit() - _ECHOED)]
                self._live.update(self._text(line, no_wrap=True, overflow="crop"), refresh=True)

    def _fit(self) -> int:
        """The terminal's width now; rich gets it too."""
        size = os.get_terminal_size(self._out.fileno())
        columns = size.columns or _COLUMNS
        self._console.size = (columns, size.lines or 25)
        return columns
