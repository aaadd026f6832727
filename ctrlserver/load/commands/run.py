"""``ctrlload run``: its flags, read and handed to ``execute``.

Rules: what can be seen to be wrong is refused here, in one line that names the flag, before anything is opened.

Beware: the flags' names are those of ``options.prepared``; what is only for the outputs goes to ``execute``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctrlserver.errors import UsageError
from ctrlserver.load.commands.group import BYTES, COUNT, TIME, Parsed
from ctrlserver.load.commands.interrupts import Interrupts
from ctrlserver.load.plan.pattern import parse_sizes
from ctrlserver.units import parse_escapes, parse_rate
from ctrlserver.wire.framing import FRAMINGS
from ctrlserver.words import did_you_mean, quoted

if TYPE_CHECKING:
    from ctrlserver.load.plan.options import Options

_MODES = ("send", "request", "receive", "connect")

_EXAMPLES = f"""\b
Examples:
  ctrlload run 127.0.0.1:22222
  ctrlload run 127.0.0.1:22222 -n 5M -P 4 --admin 127.0.0.1:22223
  ctrlload run 127.0.0.1:22222 -t 10s -O 2s -J -o result.json
  ctrlload run 127.0.0.1:7 -m request -P 50 -q 4
  ctrlload run 127.0.0.1:7 -m request -P 50 -r 20k/s -t 10s
  ctrlload run 127.0.0.1:22222 --profile '10s@1k,60s@1k..50k,sine(30s,5k,20k)'
  ctrlload run 127.0.0.1:6379 -m request --payload 'PING\\r\\n' --framing raw --reply-framing line
  ctrlload run 127.0.0.1:25 -m request --payload 'NOOP\\r\\n' --framing raw --reply-framing line --greeting line
  ctrlload run 127.0.0.1:22222 -m receive -t 10s

\b
Numbers: 10_000, 5M, 1e6; sizes 1024, 64KiB, 1MB; durations 10s, 500ms, 2m.
Framings: {", ".join(FRAMINGS)}.

\b
Exit codes: 0 good; 1 the run failed; 2 usage; 3 the counts do not reconcile;
4 a --fail-if held; 130 interrupted.
"""


def _mode(text: str) -> str:
    if text not in _MODES:
        near = did_you_mean(text, _MODES) or f"; known are {', '.join(_MODES)}"
        raise UsageError(f"unknown mode {quoted(text)}{near}")
    return text


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"{quoted(text)}: expected KEY=VALUE")
    return key.strip(), value


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{quoted(text)}: expected a whole number") from None


def _threshold(text: str) -> object:
    from ctrlserver.load.results.thresholds import parse_threshold

    return parse_threshold(text)


def _target(text: str) -> object:
    from ctrlserver.client.target import parse_target

    return parse_target(text)


def _admin(text: str) -> object:
    from ctrlserver.client.target import parse_admin

    return parse_admin(text)


def _payload(text: str) -> bytes:
    """The payload's bytes; those of a file for ``@FILE``."""
    if not text.startswith("@"):
        return parse_escapes(text)
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {text[1:]}: {error.strerror or error}") from None


def _profile(text: str) -> object:
    """A profile, or the table of ``@FILE`` or ``FILE.csv``."""
    from ctrlserver.load.plan.profile import Profile, parse_profile, parse_table

    if not text.startswith("@") and not text.casefold().endswith(".csv"):
        return Profile(text, parse_profile(text))
    name = text.removeprefix("@")
    try:
        table = Path(name).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror or error}") from None
    except ValueError:
        raise UsageError(f"cannot read {name}: it is no text in UTF-8") from None
    try:
        return Profile(text, parse_table(table))
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


@click.command(epilog=_EXAMPLES)
@click.argument("target", type=Parsed("TARGET", _target))
@click.option("-n", "--packets", type=COUNT, help="Packets to send or ask for, or connections. [default: 10000]")
@click.option("-t", "--duration", type=TIME, help="Send for so long; the packet begun is ended.")
@click.option("--bytes", "total_bytes", type=BYTES, help="Bytes to send over all streams, rounded up to whole packets.")
@click.option(
    "-l",
    "--size",
    type=Parsed("N|N..M", parse_sizes),
    help="Payload bytes of a packet; a range is random. [default: 1024]",
)
@click.option("--seed", type=Parsed("N", _seed), default=1, show_default=True, help="Of random sizes and arrivals.")
@click.option("-f", "--framing", metavar="SPEC", help="As the server's. [default: fixed, of the size]")
@click.option(
    "--payload", metavar="TEXT|@FILE", help=r"Own payload, escapes \r \n \t \0 \xHH understood, or a file's bytes."
)
@click.option("--reply-framing", metavar="SPEC", help="How replies end, in request mode. [default: as --framing]")
@click.option("--greeting", metavar="SPEC", help="What the target says first, such as line: awaited, and no reply.")
@click.option("-P", "--streams", type=COUNT, default=1, show_default=True, help="Parallel streams.")
@click.option(
    "-m",
    "--mode",
    type=Parsed("send|request|receive|connect", _mode),
    default="send",
    show_default=True,
    help="One way; request and reply; download from a source; connections, made and reset.",
)
@click.option("-q", "--in-flight", type=COUNT, help="Requests in flight on each stream, in request mode. [default: 1]")
@click.option(
    "--write-combine/--no-write-combine",
    default=True,
    show_default=True,
    help="Many packets a write, or one write a packet.",
)
@click.option(
    "-r",
    "--rate",
    type=Parsed("R", parse_rate),
    help="Packets per second over all streams, such as 5k/s, sent when they are due. [default: as fast as it goes]",
)
@click.option(
    "--arrival",
    metavar="constant|poisson",
    help="Packets evenly apart, or by chance (see --seed), with --rate or --profile. [default: constant]",
)
@click.option(
    "--profile",
    type=Parsed("P|FILE.csv|@FILE", _profile),
    help="Rates over time, such as '10s@1k,60s@1k..50k,sine(30s,5k,20k)', or a table of seconds,rate.",
)
@click.option("-i", "--interval", type=TIME, default="1s", show_default=True, help="Report each interval; 0: none.")
@click.option(
    "-O",
    "--warm-up",
    type=TIME,
    default="0s",
    show_default=True,
    help="Leading time, on top, left out of the sum.",
)
@click.option(
    "--admin",
    type=Parsed("HOST:PORT", _admin),
    help="The server's admin port: ask it what it counted and reconcile, stream by stream.",
)
@click.option(
    "--fail-if",
    type=Parsed("EXPR", _threshold),
    multiple=True,
    help="Exit 4 where it holds, such as 'packets_per_second<500k' or 'received.packets<100'; repeatable.",
)
@click.option("-J", "--json", "as_document", is_flag=True, help="The result document on stdout, words on stderr.")
@click.option(
    "--json-stream", "as_events", is_flag=True, help="Events on stdout while it goes on, one JSON object a line."
)
@click.option("--junit", metavar="FILE", help="The outcome as JUnit XML, for CI systems, to a file.")
@click.option("-o", "--output", metavar="FILE", help="The result document to a file; -: to stdout.")
@click.option(
    "--label", "labels", type=Parsed("K=V", _label), multiple=True, help="Goes into the result document; repeatable."
)
@click.option(
    "--probe",
    is_flag=True,
    help="Number and time each packet, so that a receiver that looks for it tells loss, order and jitter; over UDP.",
)
@click.option(
    "--cafile",
    metavar="FILE",
    help="Over TLS (ssl:HOST:PORT): trust the authorities in this PEM file, in place of the system's.",
)
@click.option(
    "--insecure",
    is_flag=True,
    help="Over TLS: do not verify the peer; anybody in between can then read and answer in its place.",
)
@click.option("--connect-timeout", type=TIME, default="10s", show_default=True, help="Longest wait for a connection.")
@click.option(
    "--stall-timeout",
    type=TIME,
    default="10s",
    show_default=True,
    help="Longest time without progress on any stream; then the run has failed.",
)
@click.pass_obj
def run(
    interrupts: Interrupts,
    /,
    as_document: bool,
    as_events: bool,
    junit: str | None,
    output: str | None,
    **flags: Any,
) -> int:
    """Send packets to TARGET: HOST:PORT, [V6]:PORT, udp:HOST:PORT, ssl:HOST:PORT or a Twisted client
    endpoint such as unix:/run/x.sock.

    All streams are connected first and then start together. With --admin the server's own counts are compared with
    ours, and a difference is exit code 3. Over UDP a packet may be lost on the way: that is told, and a reason to fail
    only with --fail-if 'lost>0'.
    """
    from ctrlserver.load.commands.execute_run import Outputs, execute
    from ctrlserver.load.show.output import check_output, is_stdout

    other = "--json" if as_document else "--output -"
    if output == "-":
        as_document, output = True, None
    if as_document and as_events:
        raise UsageError(f"--json-stream: not with {other}: the end event holds the whole document")
    for flag, path in (("--output", output), ("--junit", junit)):
        if path is not None:
            check_output(path, flag)
            if (as_document or as_events) and is_stdout(path):
                taken = "--json-stream" if as_events else other
                raise UsageError(f"{flag}: {path} is stdout, and so is {taken}; name another file")
    options = read_options(**flags)
    return execute(options, interrupts, Outputs(document=as_document, events=as_events, output=output, junit=junit))


def read_options(payload: str | None, labels: Sequence[tuple[str, str]], **flags: Any) -> Options:
    """The options of a run from its flags, those for the outputs left aside."""
    from ctrlserver.load.plan.options import prepared

    keys = [key for key, _ in labels]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"--label: {quoted(key)} is given twice")
    content: bytes | None = None
    if payload is not None:
        try:
            content = _payload(payload)
        except UsageError as error:
            raise UsageError(f"--payload: {error}") from None
    return prepared(payload=content, payload_text=payload, labels=dict(labels), **flags)
