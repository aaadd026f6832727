"""A run for people: the summary after it, and a plain line for each interval during it.

Rules: the summary's first line has what people look for first: total time, number of packets, rate. On a terminal the
view of ``live.py`` takes the place of the lines. Programs read the result document, never these words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from math import ceil
from textwrap import wrap
from typing import TextIO

from ctrlserver.console.streams import put
from ctrlserver.load.measure.confidence import Precision
from ctrlserver.load.measure.counts import Received, Volume
from ctrlserver.load.measure.intervals import Gauge, Interval, Progress, Waiting
from ctrlserver.load.measure.reconciling import Delivery
from ctrlserver.load.measure.timing import Latencies
from ctrlserver.load.measure.verdict import Bottleneck, Scheduled
from ctrlserver.load.results.goals import precision_words
from ctrlserver.load.results.result import Result
from ctrlserver.load.results.shards import Merged
from ctrlserver.units import format_bits, format_bytes, format_duration, format_rate
from ctrlserver.words import counted

#: Columns of a label.
_LABEL = 12


def summary_lines(result: Result) -> list[str]:
    """The summary, the most important first; empty if nothing was connected."""
    connected = result.connections
    tried = connected is not None and (connected.opened or connected.failed or result.warm_up is not None)
    if result.streams or tried:
        return [_headline(result), *(f"{label:<12}{text}" for label, text in _rows(result))]
    if result.interrupted and result.error is None:
        return [f"{'interrupted':<12}before anything was sent"]
    return []


def error_lines(result: Result) -> list[str]:
    """One line for each thing that went wrong."""
    lines = [] if result.error is None else [result.error]
    if result.mismatch is not None:
        lines.append(result.mismatch)
    lines += [f"--fail-if {judged.expression} held" for judged in result.thresholds if judged.failed]
    return lines


def _headline(result: Result) -> str:
    connected = result.connections
    if connected is not None:
        what, number, seconds, rate = (
            "connections",
            connected.opened,
            connected.seconds,
            connected.connections_per_second,
        )
        bits = ""
    else:
        volume = result.downloaded or result.sent
        what, number, seconds, rate = "packets", volume.packets, volume.seconds, volume.packets_per_second
        bits = f" ({format_bits(volume.bits_per_second or 0.0)})"
    words = "unknown" if rate is None else f"{rate:.1f} {what}/s{bits}"
    return f"total time {seconds:.6f} s, number of {what} {number}, rate {words}"


def _rows(result: Result) -> Iterator[tuple[str, str]]:
    """The lines after the first: a label, and what it is the label of."""
    what = "packet" if result.connections is None else "connection"
    if result.connections is not None:
        for reason, number in sorted(result.connections.failures.items(), key=lambda failure: -failure[1]):
            yield "failed", f"{number}: {reason}"
    elif result.downloaded is not None:
        yield "downloaded", _moved(result.downloaded, result)
    else:
        yield "sent", _moved(result.sent, result, f", {counted(result.sent.writes, 'write')}")
    if (warm_up := result.warm_up) is not None:
        size = f", {format_bytes(warm_up.bytes)}" if result.connections is None else ""
        before = f"{counted(warm_up.packets, what)}{size} in {format_duration(warm_up.seconds)}"
        yield "warm-up", f"{before} (left out above)"
    if result.replies is not None:
        yield "replies", f"{counted(result.replies.packets, 'packet')}, {format_bytes(result.replies.bytes)}"
    if result.latency is not None:
        yield from _latency(result.latency)
    if result.schedule is not None:
        yield from _schedule(result.schedule, what)
    if result.injections is not None:
        yield "injected", result.injections.words
    if result.server_injections is not None:
        yield "injections", f"of the server: {result.server_injections.words}"
    if result.received is not None:
        label = "received" if result.downloaded is None else "server sent"
        yield label, f"{_volume(result.received)}{_rates(result.received)}"
    if result.reconciled is not None:
        yield "reconciled", _reconciled(result)
    if result.delivery is not None:
        yield "delivery", _delivered(result.delivery)
    if result.shard is not None:
        yield "shard", f"{result.shard.index} of {result.shard.of}, {_streams_of(result)}; the figures are its own"
    if result.merged is not None:
        yield "shards", _shards(result.merged)
    if result.start is not None:
        late = result.start.late_seconds
        how = "not reached" if late is None else f"begun {format_duration(late)} after it"
        yield "start", f"{result.start.asked}, {how}"
    for one in [] if result.until is None else result.until.goals:
        yield "until", _told(one)
    for judgement in result.thresholds:
        held = "FAILED" if judgement.failed else "ok"
        yield "fail-if", f"{judgement.expression}: {held}, the value is {judgement.words}"
    if result.interrupted:
        yield "interrupted", "the counts are those up to then"


def _told(goal: Precision) -> str:
    words = precision_words(goal)
    return words if goal.reached else f"NOT REACHED, {goal.asked} was asked for: {words}"


def _volume(volume: Volume | Received) -> str:
    return f"{counted(volume.packets, 'packet')}, {format_bytes(volume.bytes)} in {format_duration(volume.seconds)}"


def _rates(received: Received) -> str:
    if received.packets_per_second is None or received.bits_per_second is None:
        return ""
    return f" ({received.packets_per_second:.1f} packets/s, {format_bits(received.bits_per_second)})"


def _moved(volume: Volume, result: Result, writes: str = "") -> str:
    text = f"{_volume(volume)} over {counted(len(result.streams), 'stream')}{writes}"
    rest = sum(stream.incomplete_bytes for stream in result.streams)
    return f"{text}, {rest} bytes of incomplete packets" if rest else text


def _latency(latency: Latencies) -> Iterator[tuple[str, str]]:
    """Response and service time side by side, one column for each number."""
    yield "latency", "".join(f"{column.replace('_', '.'):>11}" for column in _COLUMNS)
    for name, kind in (("response", latency.response), ("service", latency.service)):
        if kind is not None:
            yield name, "".join(f"{format_duration(getattr(kind, column)):>11}" for column in _COLUMNS)


def _schedule(schedule: Scheduled, what: str) -> Iterator[tuple[str, str]]:
    """How well the run kept its schedule, and the verdict; ``what`` names one of what was due."""
    achieved = schedule.achieved_packets_per_second
    rate = "" if achieved is None else f", achieved {achieved:.1f}"
    unsent = schedule.planned_packets - schedule.sent_packets
    rest = f", {unsent} due and not sent" if unsent > 0 else ""
    yield "schedule", f"target {schedule.target_packets_per_second:.1f} {what}s/s{rate}{rest}"
    slip = schedule.slip
    if slip.max is not None:
        yield "slip", ", ".join(f"{name} {format_duration(getattr(slip, name))}" for name in ("p50", "p99", "max"))
    dropped = counted(schedule.dropped_ticks, "dropped tick")
    yield "late", f"{counted(schedule.late_packets, what)} by more than 1 ms; {dropped}"
    yield "bottleneck", _VERDICTS[schedule.bottleneck].format(what)


#: What is shown of a latency.
_COLUMNS = ("p50", "p90", "p99", "p99_9", "max", "mean")

_VERDICTS = {
    Bottleneck.NONE: "none: {0}s went when they were due",
    Bottleneck.INJECTION: "injection: {0}s waited, or their streams had ended, as --inject ordered",
    Bottleneck.TARGET: "target: {0}s waited for it to take them, or to answer others",
    Bottleneck.GENERATOR: "GENERATOR: ctrlload itself was late: not the target's figures",
}


def _streams_of(result: Result) -> str:
    """Of a shard."""
    return f"{len(result.streams)} of {counted(int(str(result.options['streams'])), 'stream')}"


def _shards(merged: Merged) -> str:
    """``"4, begun within 1.157 ms"``."""
    lacking = f" of {merged.of}, without {', '.join(map(str, merged.missing))}" if merged.missing else ""
    spread = merged.start_spread_seconds
    words = "" if spread is None else f", begun within {format_duration(spread)}"
    return f"{len(merged.shards)}{lacking}{words}"


def _delivered(delivery: Delivery) -> str:
    words = [f"{counted(delivery.lost, 'packet')} lost"]
    if delivery.jitter_seconds is not None:
        words.append(f"{delivery.duplicate} duplicate, {delivery.out_of_order} out of order")
        words.append(f"jitter {format_duration(delivery.jitter_seconds)}")
    if delivery.dropped_by_receiver:
        batches = "" if delivery.dropped_by_receiver == delivery.lost else " (a batch may be one)"
        words.append(f"the receiver's kernel counts {counted(delivery.dropped_by_receiver, 'drop')}{batches}")
    return ", ".join(words)


def _reconciled(result: Result) -> str:
    if result.reconciled:
        streams = counted(len(result.streams), "stream")
        whole = all(stream.received_bytes is not None for stream in result.streams)
        theirs = result.server_injections
        if theirs is not None and theirs.hits and (theirs.explained or result.error is not None):
            words = "; ".join(filter(None, [theirs.explained, *theirs.sums])) or theirs.words
            return f"yes, through the server's injections: {words}"
        return f"yes, {'packet by packet' if whole else 'in all'} on {streams}: {_equation(result)}"
    if result.difference is None and result.delivery is not None:
        sent = sum(stream.expected_packets for stream in result.streams)
        return f"no: {result.delivery.lost} of {counted(sent, 'datagram')} were lost"
    return f"NO: {result.difference}"


def _equation(result: Result) -> str:
    """How the packets received follow from those sent, where injections of ours stand between."""
    injections, received = result.injections, result.received
    if injections is None or received is None or not received.packets:
        return "sent = received"
    sent = sum(stream.packets for stream in result.streams)
    words = f"{received.packets} received = {sent} sent"
    if injections.duplicated:
        words += f" + {counted(injections.duplicated, 'duplicate')}"
    rest = received.packets - sent - injections.duplicated
    if rest > 0:
        words += f" + {rest} that arrived in parts"
    elif rest:
        words += f" - {-rest} that did not arrive whole"
    return words


def time_words(times: Gauge | Interval) -> list[str]:
    """Response and service time of a slice, each if it is known."""
    pairs = {"response": (times.response_p50, times.response_p99), "service": (times.service_p50, times.service_p99)}
    return [
        f"{name} p50 {format_duration(p50)} p99 {format_duration(p99)}"
        for name, (p50, p99) in pairs.items()
        if p50 is not None and p99 is not None
    ]


def _known(rate: float | None, words: Callable[[float], str]) -> str:
    return "-" if rate is None else words(rate)


def interval_line(interval: Interval, what: str) -> str:
    """A slice that has ended; ``what`` was counted."""
    end = interval.start_seconds + interval.seconds
    words = [
        f"{interval.start_seconds:8.2f} - {end:8.2f} s",
        f"{interval.packets:>12} {what}",
        f"{_known(interval.packets_per_second, format_rate):>12}",
    ]
    if interval.bytes or what == "packets":
        words.append(f"{_known(interval.bits_per_second, format_bits):>13}")
    if interval.target_packets_per_second is not None:
        late = interval.packets and not interval.target_packets_per_second
        words.append("catching up" if late else f"target {format_rate(interval.target_packets_per_second)}")
    words += time_words(interval)
    if interval.warm_up:
        words.append("warm-up")
    return "  ".join(words)


def folded(lines: Iterable[str], columns: int | None) -> list[str]:
    """The lines, broken between words for a terminal of so many columns; what is broken off stands below the texts."""
    if columns is None or columns < 2 * _LABEL:
        return list(lines)
    broken = (
        wrap(line, columns, subsequent_indent=" " * _LABEL, break_long_words=False, break_on_hyphens=False)
        if len(line) > columns
        else [line]
        for line in lines
    )
    return [line for pieces in broken for line in pieces]


def waiting_words(waiting: Waiting) -> str:
    """``"waiting for the server's counts for 3 s: 1 MiB of 2 MiB counted, 1 MiB not yet taken by the target"``."""
    what = "the target to close" if waiting.counted_bytes is None else "the server's counts"
    words = []
    if waiting.counted_bytes is not None:
        words.append(f"{format_bytes(waiting.counted_bytes)} of {format_bytes(waiting.bytes)} counted")
    if waiting.unsent_bytes:
        words.append(f"{format_bytes(waiting.unsent_bytes)} not yet taken by the target")
    return f"waiting for {what} for {waiting.seconds:.0f} s{': ' if words else ''}{', '.join(words)}"


def starting_words(seconds: float | None) -> str:
    """``"starts in 12 s"``; of a minute and more ``"starts in 1m30s"``."""
    if seconds is None:
        return "all streams are open; waits for stdin to say when to begin"
    left = ceil(seconds)
    return f"starts in {format_duration(left) if left >= 60 else f'{left} s'}"


class Lines:
    """Plain lines for a file, a pipe or cron: one for each interval."""

    def __init__(self, out: TextIO | None, what: str = "packets") -> None:
        self._out = out
        self._what = what
        self._starting = False

    def interval(self, interval: Interval) -> None:
        """A slice has ended."""
        self.say(interval_line(interval, self._what))

    def progress(self, progress: Progress) -> None:
        """Nothing: lines are for intervals."""

    def starting(self, seconds: float | None) -> None:
        """A line, once: a log is to have no line for each second of an hour."""
        if not self._starting:
            self._starting = True
            self.say(f"ctrlload: {starting_words(seconds)}")

    def waiting(self, waiting: Waiting) -> None:
        """A line."""
        self.say(f"ctrlload: {waiting_words(waiting)}")

    def note(self, text: str) -> None:
        """A line as it is."""
        self.say(f"ctrlload: {text}")

    def close(self) -> None:
        """Nothing is left open."""

    def say(self, text: str) -> None:
        """A line and its end."""
        with suppress(OSError):  # the reader has gone: the run continues
            put(self._out, f"{text}\n")
