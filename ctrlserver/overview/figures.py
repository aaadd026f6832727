"""What ``top`` knows of each server: its last record, the rates of its streams, and a history for the sparkline. PURE.

Rules: a stream's rate is what came between two looks; before the second look it is not known. A server that
does not answer has no streams and no runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

Record = Mapping[str, object]

#: Looks that the sparkline has: wider than a terminal.
HISTORY = 240


def number(record: Record, name: str) -> float:
    """A number of the record; 0 where there is none."""
    value = record.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def word(record: Record, name: str) -> str:
    """A word of the record; ``-`` where there is none."""
    value = record.get(name)
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@frozen
class Stream:
    """An open stream; a rate is None while it is not known."""

    server: str
    record: Record
    packets_per_second: float | None
    bits_per_second: float | None


@define
class Known:
    """What is known of one server. ``problem``: why it does not answer; ``not_ready``: why it accepts no streams."""

    name: str
    stats: Record = field(factory=dict)
    runs: Sequence[Record] = ()
    streams: Sequence[Stream] = ()
    problem: str = "connecting"
    not_ready: str = ""
    rates: deque[float] = field(factory=lambda: deque(maxlen=HISTORY))
    _seen: dict[object, tuple[float, float]] = field(factory=dict, init=False)
    _time: float | None = field(default=None, init=False)

    def learn(
        self, now: float, stats: Record, streams: Sequence[Record], runs: Sequence[Record], not_ready: str = ""
    ) -> None:
        """Another look, at ``now``."""
        seconds = 0.0 if self._time is None else now - self._time
        found, seen = [], {}
        for record in streams:
            before = self._seen.get(record.get("stream"))
            counted = number(record, "packets"), number(record, "bytes")
            seen[record.get("stream")] = counted
            packets = bits = None
            if before is not None and seconds > 0:
                packets, bits = (max(0.0, new - old) / seconds for new, old in zip(counted, before, strict=True))
                bits *= 8
            found.append(Stream(self.name, record, packets, bits))
        self.stats, self.streams, self.runs, self.problem = stats, found, runs, ""
        self.not_ready = not_ready
        self._seen, self._time = seen, now
        self.rates.append(number(stats, "packets_per_second"))

    def lose(self, problem: str) -> None:
        """It did not answer this time."""
        self.problem, self.not_ready, self.streams, self.runs = problem, "", (), ()
        self.rates.append(0.0)


#: What streams are sorted by, in the order of the key ``s``.
SORTS = ("packets/s", "bit/s", "packets", "bytes", "newest", "peer")


@define
class Wish:
    """What the person at the keys wants to see."""

    sort: str = SORTS[0]
    turned: bool = False
    filter: str = ""
    paused: bool = False
    helping: bool = False
    typing: bool = False

    def key(self, key: str) -> bool:
        """What a key does; True where it ends all."""
        if self.typing:
            self._type(key)
        elif self.helping:
            self.helping = False
            return key == "q"
        elif key in ("q", "\x03", "\x04"):
            return True
        elif key == "s":
            self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        elif key == "r":
            self.turned = not self.turned
        elif key in ("p", " "):
            self.paused = not self.paused
        elif key in ("h", "?"):
            self.helping = True
        elif key in ("f", "/"):
            self.filter, self.typing = "", True
        elif key == "\x1b":
            self.filter = ""
        return False

    def _type(self, key: str) -> None:
        if key in ("\r", "\n"):
            self.typing = False
        elif key in ("\x1b", "\x03"):
            self.filter, self.typing = "", False
        elif key in ("\x7f", "\b"):
            self.filter = self.filter[:-1]
        elif key.isprintable() and len(self.filter) < 60:
            self.filter += key

    def chosen(self, streams: Sequence[Stream]) -> list[Stream]:
        """Those that the filter lets through, sorted."""
        wanted = self.filter.casefold()
        found = [stream for stream in streams if wanted in _words(stream).casefold()]
        found.sort(key=self._key, reverse=(self.sort != "peer") != self.turned)
        return found

    def _key(self, stream: Stream) -> tuple[float, str]:
        record = stream.record
        place = {
            "packets/s": stream.packets_per_second or 0.0,
            "bit/s": stream.bits_per_second or 0.0,
            "packets": number(record, "packets"),
            "bytes": number(record, "bytes"),
            "newest": number(record, "stream"),
        }
        return place.get(self.sort, 0.0), word(record, "peer")


def _words(stream: Stream) -> str:
    names = ("stream", "listener", "peer", "protocol", "mode", "framing")
    return " ".join([stream.server, *(word(stream.record, name) for name in names)])
