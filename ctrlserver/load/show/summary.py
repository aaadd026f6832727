"""A run for people: the summary after it, and a plain line for each interval during it.

Rules: the summary's first line has what people look for first: total time, number of packets, rate. On a terminal the
view of ``live.py`` takes the place of the lines. Programs read the result document, never these words.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TextIO

from ctrlserver.load.measure.counts import Connected, Received, Volume
from ctrlserver.load.measure.intervals import Interval, Progress
from ctrlserver.load.measure.reconciling import Delivery
from ctrlserver.load.measure.timing import Latencies
from ctrlserver.load.measure.verdict import Bottleneck, Scheduled
from ctrlserver.load.results.result import Result
from ctrlserver.load.show.output import put
from ctrlserver.units import format_bits, format_bytes, format_duration, format_rate
from ctrlserver.words import counted


def summary_lines(result: Result) -> list[str]:
    """The summary, the most important first; empty if nothing was connected."""
    connected = result.connections
    tried = connected is not None and (connected.opened or connected.failed or result.warm_up is not None)
    if not result.streams and not tried:
        begun = result.error is not None or not result.interrupted
        return [] if begun else [_labelled("interrupted", "before anything was sent")]
    if result.connections is not None:
        lines = _connected(result.connections)
    elif result.downloaded is not None:
        lines = [_headline(result.downloaded), _labelled("downloaded", _moved(result.downloaded, result))]
    else:
        lines = [_headline(result.sent), _labelled("sent", _sent(result))]
    if result.warm_up is not None:
        before = _volume(result.warm_up)
        if result.connections is not None:
            before = f"{counted(result.warm_up.packets, 'connection')} in {format_duration(result.warm_up.seconds)}"
        lines.append(_labelled("warm-up", f"{before} (left out above)"))
    if result.replies is not None:
        size = format_bytes(result.replies.bytes)
        lines.append(_labelled("replies", f"{counted(result.replies.packets, 'packet')}, {size}"))
    lines += _latency(result.latency) + _schedule(
        result.schedule, "packet" if result.connections is None else "connection"
    )
    if result.received is not None:
        label = "received" if result.downloaded is None else "server sent"
        lines.append(_labelled(label, f"{_volume(result.received)}{_rates(result.received)}"))
    if result.reconciled is not None:
        lines.append(_labelled("reconciled", _reconciled(result)))
    if result.delivery is not None:
        lines.append(_labelled("delivery", _delivered(result.delivery)))
    for judgement in result.thresholds:
        value = "unknown" if judgement.value is None else f"{judgement.value:g}"
        held = "FAILED" if judgement.failed else "ok"
        lines.append(_labelled("fail-if", f"{judgement.expression}: {held}, the value is {value}"))
    if result.interrupted:
        lines.append(_labelled("interrupted", "the counts are those up to then"))
    return lines


def error_lines(result: Result) -> list[str]:
    """One line for each thing that went wrong."""
    lines = [] if result.error is None else [result.error]
    if result.mismatch is not None:
        lines.append(result.mismatch)
    lines += [f"--fail-if {judged.expression} held" for judged in result.thresholds if judged.failed]
    return lines


def _headline(sent: Volume) -> str:
    line = f"total time {sent.seconds:.6f} s, number of packets {sent.packets}"
    if sent.packets_per_second is None or sent.bits_per_second is None:
        return f"{line}, rate unknown"
    return f"{line}, rate {sent.packets_per_second:.1f} packets/s ({format_bits(sent.bits_per_second)})"


def _connected(connections: Connected) -> list[str]:
    line = f"total time {connections.seconds:.6f} s, number of connections {connections.opened}"
    rate = connections.connections_per_second
    lines = [f"{line}, rate unknown" if rate is None else f"{line}, rate {rate:.1f} connections/s"]
    for reason, number in sorted(connections.failures.items(), key=lambda failure: -failure[1]):
        lines.append(_labelled("failed", f"{number}: {reason}"))
    return lines


def _labelled(label: str, text: str) -> str:
    return f"{label:<12}{text}"


def _volume(volume: Volume | Received) -> str:
    return f"{counted(volume.packets, 'packet')}, {format_bytes(volume.bytes)} in {format_duration(volume.seconds)}"


def _rates(received: Received) -> str:
    if received.packets_per_second is None or received.bits_per_second is None:
        return ""
    return f" ({received.packets_per_second:.1f} packets/s, {format_bits(received.bits_per_second)})"


def _sent(result: Result) -> str:
    return _moved(result.sent, result, f", {counted(result.sent.writes, 'write')}")


def _moved(volume: Volume, result: Result, writes: str = "") -> str:
    text = f"{_volume(volume)} over {counted(len(result.streams), 'stream')}{writes}"
    rest = sum(stream.incomplete_bytes for stream in result.streams)
    return f"{text}, {rest} bytes of incomplete packets" if rest else text


def _latency(latency: Latencies | None) -> list[str]:
    """Response and service time side by side, one column for each number."""
    kinds = [] if latency is None else [("response", latency.response), ("service", latency.service)]
    rows = [(name, [format_duration(getattr(kind, column)) for column in _COLUMNS]) for name, kind in kinds if kind]
    if not rows:
        return []
    heads = [column.replace("_", ".") for column in _COLUMNS]
    lines = [_labelled("latency", "".join(f"{head:>11}" for head in heads))]
    return lines + [_labelled(name, "".join(f"{cell:>11}" for cell in cells)) for name, cells in rows]


def _schedule(schedule: Scheduled | None, what: str) -> list[str]:
    """How well the run kept its schedule, and the verdict; ``what`` names one of what was due."""
    if schedule is None:
        return []
    achieved = schedule.achieved_packets_per_second
    rate = "" if achieved is None else f", achieved {achieved:.1f}"
    unsent = schedule.planned_packets - schedule.sent_packets
    rest = f", {unsent} due and not sent" if unsent > 0 else ""
    slip, late, dropped = schedule.slip, schedule.late_packets, schedule.dropped_ticks
    return [
        _labelled("schedule", f"target {schedule.target_packets_per_second:.1f} {what}s/s{rate}{rest}"),
        _labelled(
            "slip",
            f"p50 {format_duration(slip.p50)}, p99 {format_duration(slip.p99)}, max {format_duration(slip.max)}",
        ),
        _labelled("late", f"{counted(late, what)} by more than 1 ms; {counted(dropped, 'dropped tick')}"),
        _labelled("bottleneck", _VERDICTS[schedule.bottleneck].format(what)),
    ]


#: What is shown of a latency.
_COLUMNS = ("p50", "p90", "p99", "p99_9", "max", "mean")

_VERDICTS = {
    Bottleneck.NONE: "none: {0}s went when they were due",
    Bottleneck.TARGET: "target: {0}s waited for it to take them, or to answer others",
    Bottleneck.GENERATOR: "GENERATOR: ctrlload itself was late: not the target's figures",
}


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
    if not result.reconciled and result.difference is None and result.delivery is not None:
        sent = sum(stream.packets for stream in result.streams)
        return f"no: {result.delivery.lost} of {counted(sent, 'datagram')} were lost"
    if not result.reconciled:
        return f"NO: {result.difference}"
    streams = len(result.streams)
    return f"yes, packet by packet on {counted(streams, 'stream')}: sent = received"


class Lines:
    """Plain lines for a file, a pipe or cron: one for each interval."""

    def __init__(self, out: TextIO | None, what: str = "packets") -> None:
        self._out = out
        self._what = what

    def interval(self, interval: Interval) -> None:
        """A slice has ended."""
        packets = format_rate(interval.packets_per_second or 0.0)
        bits = format_bits(interval.bits_per_second or 0.0)
        end = interval.start_seconds + interval.seconds
        text = f"{interval.start_seconds:8.2f} - {end:8.2f} s  {interval.packets:>12} {self._what}  {packets:>12}"
        if interval.bytes or self._what == "packets":
            text += f"  {bits:>13}"
        if interval.target_packets_per_second is not None:
            text += f"  target {format_rate(interval.target_packets_per_second)}"
        for name, p50, p99 in (
            ("response", interval.response_p50, interval.response_p99),
            ("service", interval.service_p50, interval.service_p99),
        ):
            if p50 is not None and p99 is not None:
                text += f"  {name} p50 {format_duration(p50)} p99 {format_duration(p99)}"
        self.say(f"{text}  warm-up" if interval.warm_up else text)

    def progress(self, progress: Progress) -> None:
        """Nothing: lines are for intervals."""

    def note(self, text: str) -> None:
        """A line as it is."""
        self.say(f"ctrlload: {text}")

    def close(self) -> None:
        """Nothing is left open."""

    def say(self, text: str) -> None:
        """A line and its end."""
        with suppress(OSError):  # the reader has gone: the run continues
            put(self._out, f"{text}\n")
