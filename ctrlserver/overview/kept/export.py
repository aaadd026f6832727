"""``ctrlstat export``: all runs that servers have kept, a line each, as JSON or CSV.

Rules: the servers are asked page by page, so an export of any length costs them little at a time. The names of fields
are the servers' own, renames included. A line of JSON is written as it comes. CSV has one header for all rows, so its
rows are written at the end; without rows it is the header alone. What goes wrong with a server is told, and the others
go on.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence

from twisted.internet.interfaces import IReactorTime

from ctrlserver.console.exit_codes import EXIT_FAILED, EXIT_GOOD
from ctrlserver.console.streams import print_output, print_words
from ctrlserver.errors import LoadError
from ctrlserver.overview.answers import Answer, Row, rows_of
from ctrlserver.overview.asking import Question, answers_of, connected, in_quotes
from ctrlserver.overview.forms import csv_lines
from ctrlserver.overview.kept.words import chosen_fields, resolved, with_number
from ctrlserver.overview.servers import Server

#: Rows asked for at a time: some 200 KiB.
PAGE = 500


async def exported(
    reactor: IReactorTime, servers: Sequence[Server], words: Sequence[str], question: Question, form: str, now: float
) -> int:
    """The exit code. ``words`` choose, as those of ``runs``; ``form`` is ``jsonl`` or ``csv``."""
    several, held, code = len(servers) > 1, list[Row](), EXIT_GOOD
    for server in servers:
        try:
            async for row in _runs(reactor, server, resolved(words, now), question):
                named = {"server": server.name, **row} if several else row
                if form == "csv":
                    held.append(named)
                else:
                    print_output(json.dumps(named, separators=(",", ":")) + "\n")
        except LoadError as error:
            print_words(f"ctrlstat: {server.name}: {error}\n")
            code = EXIT_FAILED
    if held:
        print_output(csv_lines(held))
    elif form == "csv" and code == EXIT_GOOD:
        names = chosen_fields(words) or await _fields(reactor, servers[0], question)
        print_output(csv_lines((), known=["server", *names] if several else names))
    return code


async def _fields(reactor: IReactorTime, server: Server, question: Question) -> Sequence[str]:
    """The names that a run's fields have on a server; none where it does not say."""
    asked = Question("describe", question.timeout, in_json=True, secret=question.secret)
    (answer,) = await answers_of(reactor, [server], asked)
    return [str(row["name"]) for row in rows_of(answer) if row["record"] == "run"] if answer.good else ()


async def _runs(reactor: IReactorTime, server: Server, words: Sequence[str], question: Question) -> AsyncIterator[Row]:
    """The runs of a server, newest first; ``LoadError`` where it does not give them."""
    client = await connected(reactor, server, question.timeout, question.secret)
    try:
        number = await _number_of(lambda line: client.ask_json(line, question.timeout))
        asked, added = with_number(words, number)
        before: Sequence[str] = ()
        while True:
            line = " ".join(["runs", f"limit={PAGE}", *map(in_quotes, asked), *before])
            answer = Answer(server.name, await client.ask_json(line, question.timeout))
            if answer.wrong:
                raise LoadError(answer.wrong)
            rows = rows_of(answer)
            for row in rows:
                yield {name: value for name, value in row.items() if not (added and name == number)}
            if not rows or (answer.envelope or {}).get("total") == len(rows):
                return
            before = [f"before={rows[-1][number]}"]
    finally:
        client.close()


async def _number_of(ask: Callable[..., object]) -> str:
    """The name under which the server publishes the number of a run."""
    answer = await ask("rename")  # type: ignore[misc]
    rows = answer.get("data")
    return next((row["new"] for row in rows if row.get("old") == "run"), "run") if isinstance(rows, list) else "run"
