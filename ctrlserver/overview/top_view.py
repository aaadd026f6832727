"""What ``top`` shows, as lines of text. PURE.

::

    title
    servers   a row each, a total, and a sparkline of the packet rate in what is left of the line
    streams   as many as there is room for
    runs      the newest
    keys

Rules: no line is wider than the terminal, and there are never more lines than it has. What matters least goes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from ctrlserver.overview.figures import Known, Stream, Wish, number, word
from ctrlserver.units import format_bits, format_bytes, format_count, format_duration, format_rate
from ctrlserver.words import counted

Form = Callable[[float], str]

BARS = " ▁▂▃▄▅▆▇█"
PLAIN_BARS = " .:-=+*#%"

#: Columns of a sparkline: fewer say nothing.
FEWEST_BARS = 8

#: Runs shown.
MOST_RUNS = 5

HELP = (
    ("s", "sort by packets/s, bit/s, packets, bytes, newest, peer"),
    ("r", "turn the order round"),
    ("f or /", "show streams with a text in their server, listener or peer; Enter ends it, Esc takes it away"),
    ("p or space", "stand still, and go on"),
    ("h or ?", "this help"),
    ("q", "leave"),
)


@frozen
class Line:
    """One line; ``style`` is how rich draws it."""

    text: str
    style: str = ""


@frozen
class Column:
    """``rank``: the larger, the sooner it is left out."""

    title: str
    rank: int
    cells: Sequence[str]
    right: bool = True


def view(known: Sequence[Known], wish: Wish, clock: str, width: int, height: int, bars: str = BARS) -> list[Line]:
    """The lines."""
    if wish.helping:
        return _fit([_title(known, wish, clock, width), Line(""), *_help()], width, height)
    servers = _servers(known, width, bars)
    runs = _runs(known, width)
    streams = wish.chosen([stream for each in known for stream in each.streams])
    most = max(3, height // 3)
    if len(servers) > most:
        servers = [*servers[: most - 1], Line(f"... and {counted(len(servers) - most + 1, 'more line')}")]
    head = [_title(known, wish, clock, width), *servers, Line("")]
    foot = [*([Line(""), *runs] if runs else []), _keys(wish, width)]
    room = height - len(head) - len(foot)
    if room < 3:
        foot = foot[-1:]
        room = height - len(head) - 1
    return _fit([*head, *_streams(streams, len(known) > 1, width, max(0, room)), *foot], width, height)


def sparkline(rates: Sequence[float], width: int, bars: str = BARS) -> str:
    """The last ``width`` rates; the highest one of them has the highest bar, and no rate but 0 has none."""
    shown = list(rates)[-width:] if width > 0 else []
    most = max(shown, default=0.0)
    steps = len(bars) - 1
    return "".join(bars[0] if rate <= 0 else bars[max(1, round(rate / most * steps))] for rate in shown)


def _fit(lines: Sequence[Line], width: int, height: int) -> list[Line]:
    keys = lines[-1:] if len(lines) > height else []
    return [Line(line.text[:width], line.style) for line in [*lines[: height - len(keys)], *keys]]


def _title(known: Sequence[Known], wish: Wish, clock: str, width: int) -> Line:
    answering = sum(not each.problem for each in known)
    words = f"ctrlstat top   {answering} of {counted(len(known), 'server')}   {clock}"
    if wish.filter or wish.typing:
        words += f"   filter: {wish.filter}{'_' if wish.typing else ''}"
    if wish.paused:
        words += "   PAUSED"
    return Line(words.ljust(width), "reverse")


def _help() -> list[Line]:
    return [*(Line(f"  {key:<12}{what}") for key, what in HELP), Line(""), Line("any key goes back")]


def _keys(wish: Wish, width: int) -> Line:
    if wish.typing:
        return Line(
            "type a part of a server, listener or peer; Enter ends it, Esc takes it away".ljust(width), "reverse"
        )
    order = f"{wish.sort}{', turned' if wish.turned else ''}"
    go = "go on" if wish.paused else "pause"
    return Line(f"s sort ({order})  r turn  f filter  p {go}  h help  q quit".ljust(width), "reverse")


def _servers(known: Sequence[Known], width: int, bars: str) -> list[Line]:
    names = [each.name for each in known]
    records = [{} if each.problem else each.stats for each in known]
    more = len(known) > 1

    def cells(name: str, form: Form, *, summed: bool = True) -> list[str]:
        values = [number(record, name) for record in records]
        put = [form(value) if record else "-" for value, record in zip(values, records, strict=True)]
        return [*put, *([form(sum(values)) if summed else ""] if more else [])]

    columns = [
        Column("server", 0, [*names, *(["total"] if more else [])], right=False),
        Column("packets/s", 1, cells("packets_per_second", format_rate)),
        Column("bit/s", 2, cells("bits_per_second", format_bits)),
        Column("streams", 3, cells("streams_open", format_count)),
        Column("packets", 4, cells("packets_total", format_count)),
        Column("bytes", 7, cells("bytes_total", format_bytes)),
        Column("opened", 6, cells("streams_total", format_count)),
        Column("rejected", 5, cells("rejected_total", format_count)),
        Column("lag", 8, cells("loop_lag_seconds", format_duration, summed=False)),
        Column("up", 9, cells("uptime_seconds", lambda seconds: format_duration(round(seconds)), summed=False)),
    ]
    if any(each.not_ready for each in known):
        words = [each.not_ready for each in known]
        columns.insert(1, Column("not ready", 0, [*words, *([""] if more else [])], right=False))
    lines = _table(columns, width - FEWEST_BARS - 2)
    room = width - max(map(len, lines)) - 2
    histories = [list(each.rates) for each in known]
    if more:
        longest = max(map(len, histories))
        full = [[0.0] * (longest - len(history)) + history for history in histories]
        histories.append([sum(moment) for moment in zip(*full, strict=True)])
    pad = max(map(len, lines))
    shown = [Line(lines[0], "bold")]
    for at, line in enumerate(lines[1:]):
        problem = known[at].problem if at < len(known) else ""
        not_ready = at < len(known) and known[at].not_ready
        style = "red" if problem else "yellow" if not_ready else "bold" if at >= len(known) else ""
        text = f"{names[at]}  {problem}" if problem else f"{line.ljust(pad)}  {sparkline(histories[at], room, bars)}"
        shown.append(Line(text, style))
    return shown


def _streams(streams: Sequence[Stream], several: bool, width: int, room: int) -> list[Line]:
    """``room`` lines, the last ones empty."""
    shown = streams[: max(0, room - 1)]
    if len(streams) > len(shown):
        shown = streams[: max(0, room - 2)]

    def cells(name: str, form: Form) -> list[str]:
        return [form(number(stream.record, name)) for stream in shown]

    columns = [
        Column("stream", 1, [word(stream.record, "stream") for stream in shown]),
        Column("listener", 6, [word(stream.record, "listener") for stream in shown], right=False),
        Column("peer", 2, [word(stream.record, "peer") for stream in shown], right=False),
        Column("packets/s", 3, [_known(stream.packets_per_second, format_rate) for stream in shown]),
        Column("bit/s", 4, [_known(stream.bits_per_second, format_bits) for stream in shown]),
        Column("packets", 5, cells("packets", format_count)),
        Column("bytes", 8, cells("bytes", format_bytes)),
        Column("seconds", 9, cells("seconds", format_duration)),
        Column("mode", 10, [word(stream.record, "mode") for stream in shown], right=False),
        Column("framing", 11, [word(stream.record, "framing") for stream in shown], right=False),
        Column("protocol", 12, [word(stream.record, "protocol") for stream in shown], right=False),
    ]
    if several:
        columns.insert(0, Column("server", 0, [stream.server for stream in shown], right=False))
    lines = [Line(text) for text in _table(columns, width)]
    lines[0] = Line(lines[0].text, "bold")
    if not streams:
        lines = [Line("no open streams")]
    elif len(streams) > len(shown):
        lines.append(Line(f"... and {counted(len(streams) - len(shown), 'more stream')}"))
    return (lines + [Line("")] * room)[:room]


def _known(value: float | None, form: Form) -> str:
    return "-" if value is None else form(value)


def _runs(known: Sequence[Known], width: int) -> list[Line]:
    found = [(each.name, run) for each in known for run in each.runs]
    found.sort(key=lambda pair: (word(pair[1], "state") == "active", word(pair[1], "started")), reverse=True)
    found = found[:MOST_RUNS]
    if not found:
        return []
    runs = [run for _, run in found]
    columns = [
        Column("run", 1, [word(run, "run") for run in runs]),
        Column("name", 3, [word(run, "name") for run in runs], right=False),
        Column("state", 2, [word(run, "state") for run in runs], right=False),
        Column("packets", 4, [format_count(number(run, "packets")) for run in runs]),
        Column("packets/s", 5, [format_rate(number(run, "packets_per_second")) for run in runs]),
        Column("bit/s", 6, [format_bits(number(run, "bits_per_second")) for run in runs]),
        Column("seconds", 7, [format_duration(number(run, "seconds")) for run in runs]),
        Column("streams", 9, [word(run, "streams") for run in runs]),
        Column("complete", 8, [word(run, "complete") for run in runs], right=False),
        Column("started", 10, [word(run, "started") for run in runs], right=False),
    ]
    if len(known) > 1:
        columns.insert(0, Column("server", 0, [name for name, _ in found], right=False))
    head, *rest = _table(columns, width)
    return [Line(head, "bold"), *map(Line, rest)]


def _table(columns: Sequence[Column], width: int) -> list[str]:
    """A header and a line for each row, of the columns that fit."""
    kept = list(columns)
    widths = {column.title: max(len(column.title), *map(len, column.cells), 0) for column in columns}
    while len(kept) > 1 and sum(widths[column.title] + 2 for column in kept) - 2 > width:
        kept.remove(max(kept, key=lambda column: column.rank))
    rows = [[column.title for column in kept], *zip(*(column.cells for column in kept), strict=True)]
    pads = [str.rjust if column.right else str.ljust for column in kept]
    sizes = [widths[column.title] for column in kept]
    return ["  ".join(pad(cell, size) for pad, cell, size in zip(pads, row, sizes, strict=True)) for row in rows]
