"""``watch``: the rows that servers push, shown as they come.

Rules: one server's rows in text are its own, but for a terminal. Those of several have the server in front, and columns
that only get wider. A server that fails is named at once; the others go on. A row may take the interval and the limit.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime

from ctrlserver.client.admin import AdminClient
from ctrlserver.console.exit_codes import EXIT_FAILED, EXIT_GOOD
from ctrlserver.console.streams import columns_of, print_words, put
from ctrlserver.errors import LoadError, UnitError
from ctrlserver.overview.answers import Answer, fields_of
from ctrlserver.overview.asking import Question, at_once, connected
from ctrlserver.overview.fitting import fitted, padded
from ctrlserver.overview.forms import csv_lines
from ctrlserver.overview.servers import Server
from ctrlserver.render.text import TableText
from ctrlserver.units import parse_duration

Put = Callable[[str], None]


def interval_of(line: str) -> float:
    """Seconds between two rows; 0 where the server will say what is wrong."""
    words = line.split()[1:2]
    try:
        return parse_duration(words[0].partition("=")[2] or words[0]) if words else 0.0
    except UnitError:
        return 0.0


@define
class Rows:
    """The lines that rows of several servers are shown as, below one header. ``widths``: what columns have at least."""

    width: int | None = None
    _widths: dict[str, int] = field(factory=dict)
    _heads: list[str] = field(factory=list, init=False)

    def lines(self, row: Mapping[str, object]) -> list[str]:
        """The header where its columns are not those of the last one; then the row."""
        lines = padded(_table(row), self._widths, list(row))
        if self.width is not None:
            _, left_out = fitted(lines, self.width)
            kept = {name: value for name, value in row.items() if name not in left_out}
            while len(kept) > 1 and sum(self._widths[name] + 2 for name in kept) - 2 > self.width:
                kept.popitem()
            lines = [line[: self.width] for line in padded(_table(kept), self._widths, list(kept))]
        heads, self._heads = self._heads, lines[0].split()
        return lines if heads != self._heads else lines[1:]


def _table(row: Mapping[str, object]) -> list[str]:
    text = TableText()
    text.add(row)  # type: ignore[arg-type]
    return list(text.lines())


@define
class Shown:
    """Puts what servers push on stdout, in the form that was asked for. ``servers``: the names of all, if several."""

    put: Put
    several: bool
    in_json: bool = False
    in_csv: bool = False
    width: int | None = None
    servers: Sequence[str] = field(default=(), kw_only=True)
    _rows: Rows = field(init=False)
    _begun: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        """One header is for the rows of all servers, whoever is first."""
        widest = max((len(line) for name in self.servers for line in _table({"server": name})), default=0)
        self._rows = Rows(self.width, {"server": widest})

    def line(self, line: str) -> None:
        """A line of a server that is alone."""
        self.put(f"{line}\n")

    def envelope(self, server: str, envelope: Mapping[str, object]) -> None:
        """A row."""
        if self.in_json:
            document = {"server": server, **envelope} if self.several else envelope
            self.put(json.dumps(document, separators=(",", ":")) + "\n")
            return
        front = {"server": server} if self.several or self.in_csv else {}
        row = {**front, **fields_of(Answer(server, envelope))}
        if self.in_csv:
            self.put(csv_lines([row], header=not self._begun))
            self._begun = True
            return
        self.put("".join(f"{line}\n" for line in self._rows.lines(row)))


async def watched(
    reactor: IReactorTime,
    servers: Sequence[Server],
    question: Question,
    *,
    together: bool,
    in_json: bool,
    in_csv: bool = False,
) -> int:
    """Show on stdout what all ``servers`` push until they end, and name on stderr who fails; the exit code."""
    width = columns_of(sys.stdout)
    names = [server.name for server in servers]
    shown = Shown(partial(put, sys.stdout), together, in_json, in_csv, width, servers=names)
    asked = evolve(question, in_json=question.in_json or width is not None)

    async def follow(server: Server) -> bool:
        try:
            client = await connected(reactor, server, question.timeout, question.secret)
            try:
                wrong = await _followed(client, server.name, asked, shown)
            finally:
                client.close()
        except LoadError as error:
            wrong = str(error)
        if wrong:
            print_words(f"ctrlstat: {server.name}: {wrong}\n")
        return not wrong

    good = await at_once(follow(server) for server in servers)
    return EXIT_GOOD if all(good) else EXIT_FAILED


async def _followed(client: AdminClient, name: str, question: Question, shown: Shown) -> str:
    """Until the server ends it; why it is no good end, or an empty string."""
    seconds = interval_of(question.line) + question.timeout
    if not question.in_json:
        client.say(question.line)
        while True:
            line = await client.next_line(question.line, seconds)
            if line.startswith("ERR"):
                return line
            shown.line(line)
            if line.startswith("OK"):
                return ""
    client.say(f"{question.line} json")
    while True:
        envelope = await client.next_json(question.line, seconds)
        if not envelope["ok"]:
            if shown.in_json:
                shown.envelope(name, envelope)
            return Answer(name, envelope).wrong
        over = "count" in envelope
        if not over or shown.in_json:
            shown.envelope(name, envelope)
        if over:
            return ""
