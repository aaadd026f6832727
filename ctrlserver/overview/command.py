"""The command line of ctrlstat.

Rules: a usage error is one line on stderr and exit 2, before anything is opened. What a server answers goes to stdout;
who does not answer, or says ERR, is named on stderr, and the exit code is 1.

Beware: Twisted is imported only when somebody is asked, so ``--help`` and completion are quick.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from ctrlserver import __version__
from ctrlserver.console.exit_codes import EXIT_FAILED, EXIT_GOOD
from ctrlserver.console.interrupts import Interrupts
from ctrlserver.console.parameters import completing, reading
from ctrlserver.console.streams import columns_of, print_output, print_words
from ctrlserver.console.usage import carried_out, usage_words
from ctrlserver.errors import UsageError
from ctrlserver.overview.servers import COMMANDS, OWN, WITH_WORDS, Asked, Server, asked, read_servers
from ctrlserver.secret import read_secret
from ctrlserver.units import parse_duration

if TYPE_CHECKING:
    from twisted.internet.epollreactor import EPollReactor

    from ctrlserver.overview.answers import Answer

_EXAMPLES = """\b
Examples:
  ctrlstat
  ctrlstat lab1:22223 lab2:22223
  ctrlstat /run/ctrlserver/admin.sock streams open limit=5
  ctrlstat --servers labs.txt run start soak expect=1M
  ctrlstat --servers labs.txt --json | jq .total.packets_total
  ctrlstat lab1:22223 export since=7d name='soak*' --format csv
  ctrlstat lab1:22223 diff 117 118
  ctrlstat lab1:22223 wait 'packets_total>=1000' timeout=20s

\b
Exit codes: 0 good; 1 a server said ERR or did not answer; 2 usage; 130 interrupted.
"""


def _timeout(text: str) -> float:
    seconds = parse_duration(text)
    if not seconds:
        raise UsageError("must be more than 0")
    return seconds


def _offered(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """What a shell offers for a word: names of the file of --servers, commands."""
    names = list(context.params.get("named") or ())
    words = [word for word in (*names, *COMMANDS, *OWN) if word.isidentifier() or word in names]
    return [CompletionItem(word) for word in words if word.startswith(begun)]


@click.command(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("words", nargs=-1, metavar="[SERVER]... [COMMAND]...", shell_complete=_offered)
@click.option(
    "--servers",
    "named",
    type=reading(read_servers),
    metavar="FILE",
    shell_complete=completing(),
    help='Servers, one a line: "lab1 = HOST:PORT". All are asked where none is named.',
)
@click.option(
    "--auth-file",
    "secret",
    type=reading(read_secret),
    metavar="FILE",
    shell_complete=completing(),
    help="The secret of the servers, in a file that only you can read.",
)
@click.option(
    "--timeout",
    type=reading(_timeout),
    metavar="TIME",
    default="5s",
    show_default=True,
    help="How long a server may take to connect, and to answer.",
)
@click.option("--json", "-J", "in_json", is_flag=True, help="One JSON document.")
@click.option("--csv", "in_csv", is_flag=True, help="A header line and rows, separated by commas.")
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), help="The form of an export (jsonl).")
@click.version_option(__version__, prog_name="ctrlstat", message="%(prog)s %(version)s")
@click.pass_obj
def ctrlstat(
    interrupts: Interrupts,
    /,
    words: Sequence[str],
    named: Mapping[str, Server] | None,
    timeout: float,
    secret: bytes | None,
    form: str | None,
    **forms: bool,
) -> int:
    """Ask one or many ctrlservers: SERVER is HOST:PORT, [V6]:PORT or the path of a unix socket.

    COMMAND is one of theirs (help lists them), stats without one. Several replies stand side by side, with a total.
    Without a SERVER it asks 127.0.0.1:22223.
    """
    question = asked(words, named or {})
    if forms["in_json"] and forms["in_csv"]:
        raise UsageError("--csv: not with --json")
    _check_targets(question.servers)
    if question.command[0].casefold() == "top":
        from ctrlserver.overview.top import top

        return top(question.servers, interrupts, timeout, secret)
    if form is not None and question.command[0].casefold() != "export":
        raise UsageError("--format: goes with export")
    if question.command[0].casefold() in WITH_WORDS:
        return _kept(question, interrupts, timeout, secret, form, **forms)
    if question.command[0].casefold() == "shell":
        from ctrlserver.overview.asking import Question
        from ctrlserver.overview.shell import shell

        return shell(question.servers, Question("", timeout, secret=secret), show)
    return _ask(question, interrupts, timeout, secret, together=named is not None, **forms)


def _kept(
    question: Asked,
    interrupts: Interrupts,
    timeout: float,
    secret: bytes | None,
    form: str | None,
    *,
    in_json: bool,
    in_csv: bool,
) -> int:
    """``export`` and ``diff``."""
    from time import time

    from ctrlserver.overview.asking import Question, line_of
    from ctrlserver.overview.kept.asking import compared
    from ctrlserver.overview.kept.export import exported
    from ctrlserver.overview.kept.words import check_export, two_runs
    from ctrlserver.overview.reactor import reactor_run

    asked_for = Question("runs", timeout, secret=secret)
    command, *words = question.command
    if command.casefold() == "export":
        check_export(words)
        line_of(["runs", *words])  # what no line may have is told before anybody is asked
        if in_json or in_csv:
            raise UsageError(f"--{'json' if in_json else 'csv'}: an export has --format jsonl or --format csv")
        chosen, now = form or "jsonl", time()
        return reactor_run(
            lambda reactor: exported(reactor, question.servers, words, asked_for, chosen, now), interrupts
        )
    runs = two_runs(words)
    if len(question.servers) > 2:
        raise UsageError("diff: expected one server, or one for each of the two runs")
    shape = "json" if in_json else "csv" if in_csv else "text"
    return reactor_run(lambda reactor: compared(reactor, question.servers, runs, asked_for, shape), interrupts)


def exit_code(arguments: Sequence[str], interrupts: Interrupts) -> int:
    """Carry out the command line and give the exit code."""
    return carried_out(ctrlstat, "ctrlstat", arguments, interrupts, lambda error: usage_words(error, {}))


def _ask(
    question: Asked,
    interrupts: Interrupts,
    timeout: float,
    secret: bytes | None,
    *,
    together: bool,
    in_json: bool,
    in_csv: bool,
) -> int:
    from ctrlserver.overview.asking import Question, answers_of, line_of, without_json
    from ctrlserver.overview.reactor import reactor_run
    from ctrlserver.overview.watching import watched

    line, word = without_json(line_of(question.command))
    several = len(question.servers) > 1
    together = together or several
    wants_json = in_json or (word and not in_csv)
    sent = Question(line, timeout, wants_json or in_csv or several, several or (together and wants_json), secret)

    if line.casefold().split()[:1] == ["watch"]:
        how = {"together": together, "in_json": wants_json, "in_csv": in_csv}
        return reactor_run(lambda reactor: watched(reactor, question.servers, sent, **how), interrupts)

    async def work(reactor: EPollReactor) -> int:
        answers = await answers_of(reactor, question.servers, sent)
        return show(answers, in_json=wants_json, in_csv=in_csv, together=together)

    return reactor_run(work, interrupts)


def _check_targets(servers: Sequence[Server]) -> None:
    """UsageError for an endpoint that Twisted does not understand."""
    from twisted.internet import reactor

    from ctrlserver.client.connect import endpoint_of

    for server in servers:
        endpoint_of(server.target, reactor)


def show(answers: Sequence[Answer], *, in_json: bool, in_csv: bool, together: bool) -> int:
    """Print the answers, and name on stderr who gave no good one; the exit code."""
    from ctrlserver.overview.forms import csv_of, json_of, text_of

    notes = [f"{answer.server}: {answer.wrong}" for answer in answers if answer.wrong]
    if in_json:
        print_output(json_of(answers, together=together))
    elif in_csv:
        print_output(csv_of(answers))
    else:
        text, left_out = text_of(answers, columns_of(sys.stdout))
        print_output(text)
        notes += [f"{answer.server}: {answer.cut} rows; limit=N shows more" for answer in answers if answer.cut]
        if left_out:
            notes.append(f"left out for want of columns, but not in a pipe: {', '.join(left_out)}")
    print_words("".join(f"ctrlstat: {note}\n" for note in notes))
    return EXIT_GOOD if all(answer.good for answer in answers) else EXIT_FAILED
