"""The command line of ctrlload: flags to options, and one line for what is wrong with them.

Rules: a usage error is exactly one line ``ctrlload: ...`` on stderr and exit 2, with the nearest good value where there
is one; nothing has been opened then. Everything after that is the business of ``execute``.

Beware: Twisted is imported only when there is something to run, so ``--help`` and ``--version`` are quick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ctrlserver import __version__
from ctrlserver.errors import UsageError, did_you_mean
from ctrlserver.load.interrupts import Interrupts
from ctrlserver.load.pattern import parse_sizes
from ctrlserver.units import parse_count, parse_duration, parse_escapes, parse_size, quoted
from ctrlserver.wire.framing import FRAMINGS

_MODES = ("send", "request")

_EXAMPLES = f"""\b
Examples:
  ctrlload run 127.0.0.1:22222
  ctrlload run 127.0.0.1:22222 -n 5M -P 4 --admin 127.0.0.1:22223
  ctrlload run 127.0.0.1:22222 -t 10s -O 2s -J -o result.json
  ctrlload run 127.0.0.1:7 -m request -P 50 -q 4
  ctrlload run 127.0.0.1:6379 -m request --payload 'PING\\r\\n' --framing raw --reply-framing line

\b
Numbers: 10_000, 5M, 1e6; sizes 1024, 64KiB, 1MB; durations 10s, 500ms, 2m.
Framings: {", ".join(FRAMINGS)}.

\b
Exit codes: 0 good; 1 the run failed; 2 usage; 3 the counts do not reconcile;
4 a --fail-if held; 130 interrupted.
"""


if TYPE_CHECKING:
    _ParamType = click.ParamType[object]
else:
    _ParamType = click.ParamType  # generic only in newer ones


class Parsed(_ParamType):
    """A value that one of our own parsers reads; its UsageError is the message."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The parsed value; click hands a default over as it is."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


class Commands(click.Group):
    """A group that knows what was meant by a command it does not have."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with our words for an unknown one."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            near = did_you_mean(name, self.list_commands(ctx))
            if not near and ":" in name:
                near = f'; did you mean "ctrlload run {name}"?'
            ctx.fail(f"unknown command {quoted(name)}{near}")
        return super().resolve_command(ctx, args)


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
    from ctrlserver.load.thresholds import parse_threshold

    return parse_threshold(text)


def _address(text: str) -> object:
    from ctrlserver.load.target import parse_target

    return parse_target(text)


def _payload(text: str) -> bytes:
    """The payload's bytes; those of a file for ``@FILE``."""
    if not text.startswith("@"):
        return parse_escapes(text)
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {text[1:]}: {error.strerror or error}") from None


COUNT = Parsed("N", parse_count)
BYTES = Parsed("N", parse_size)
TIME = Parsed("T", parse_duration)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(__version__, prog_name="ctrlload", message="%(prog)s %(version)s")
def ctrlload() -> None:
    """Send packets to a server, count them, and say how fast it was."""


@ctrlload.command(epilog=_EXAMPLES)
@click.argument("target", type=Parsed("TARGET", _address))
@click.option("-n", "--packets", type=COUNT, help="Packets to send, over all streams. [default: 10000]")
@click.option("-t", "--duration", type=TIME, help="Send for so long; the packet begun is ended.")
@click.option("--bytes", "total_bytes", type=BYTES, help="Bytes to send over all streams, rounded up to whole packets.")
@click.option(
    "-l",
    "--size",
    type=Parsed("N|N..M", parse_sizes),
    help="Payload bytes of a packet; a range is random. [default: 1024]",
)
@click.option("--seed", type=Parsed("N", _seed), default=1, show_default=True, help="Seed of random sizes.")
@click.option("-f", "--framing", metavar="SPEC", help="As the server's. [default: fixed, of the size]")
@click.option(
    "--payload", metavar="TEXT|@FILE", help=r"Own payload, escapes \r \n \t \0 \xHH understood, or a file's bytes."
)
@click.option("--reply-framing", metavar="SPEC", help="How replies end, in request mode. [default: as --framing]")
@click.option("-P", "--streams", type=COUNT, default=1, show_default=True, help="Parallel streams.")
@click.option(
    "-m",
    "--mode",
    type=Parsed("send|request", _mode),
    default="send",
    show_default=True,
    help="One way, or request and reply.",
)
@click.option("-q", "--in-flight", type=COUNT, help="Requests in flight on each stream, in request mode. [default: 1]")
@click.option(
    "--write-combine/--no-write-combine",
    default=True,
    show_default=True,
    help="Many packets a write, or one write a packet.",
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
    type=Parsed("HOST:PORT", _address),
    help="The server's admin port: ask it what it counted and reconcile, stream by stream.",
)
@click.option(
    "--fail-if",
    type=Parsed("EXPR", _threshold),
    multiple=True,
    help="Exit 4 where it holds, such as 'packets_per_second<500k' or 'received.packets<100'; repeatable.",
)
@click.option("-J", "--json", "as_document", is_flag=True, help="The result document on stdout, words on stderr.")
@click.option("-o", "--output", metavar="FILE", help="The result document to a file.")
@click.option(
    "--label", "labels", type=Parsed("K=V", _label), multiple=True, help="Goes into the result document; repeatable."
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
    payload: str | None,
    labels: Sequence[tuple[str, str]],
    as_document: bool,
    output: str | None,
    **flags: Any,
) -> int:
    """Send packets to TARGET: HOST:PORT, [V6]:PORT or a Twisted client endpoint such as unix:/run/x.sock.

    All streams are connected first and then start together. With --admin the server's own counts are compared with
    ours, and a difference is exit code 3.
    """
    from ctrlserver.load.execute import execute
    from ctrlserver.load.options import prepared
    from ctrlserver.load.output import check_output

    keys = [key for key, _ in labels]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"--label: {quoted(key)} is given twice")
    if output is not None:
        check_output(output)
    content: bytes | None = None
    if payload is not None:
        try:
            content = _payload(payload)
        except UsageError as error:
            raise UsageError(f"--payload: {error}") from None
    options = prepared(payload=content, payload_text=payload, labels=dict(labels), **flags)
    return execute(options, interrupts, as_document=as_document, output=output)


def exit_code(arguments: Sequence[str], interrupts: Interrupts) -> int:
    """Carry out the command line and give the exit code."""
    try:
        code = ctrlload.main(args=list(arguments), prog_name="ctrlload", standalone_mode=False, obj=interrupts)
    except click.ClickException as error:
        return _refused(_words(error))
    except UsageError as error:
        return _refused(str(error))
    return code if isinstance(code, int) else 0


def _refused(message: str) -> int:
    click.echo(f"ctrlload: {' '.join(message.split())}", err=True)
    return 2


def _words(error: click.ClickException) -> str:
    """A click error in our words: the flag, then what is wrong."""
    if isinstance(error, click.NoSuchOption):
        known = (
            []
            if error.ctx is None
            else [name for p in error.ctx.command.params for name in (*p.opts, *p.secondary_opts)]
        )
        return f"unknown option {quoted(error.option_name)}{did_you_mean(error.option_name, known)}"
    if isinstance(error, click.MissingParameter):
        return f"{_flag(error)} is missing: ctrlload run TARGET [OPTIONS]"
    if isinstance(error, click.BadParameter):
        return f"{_flag(error)}: {error.message}"
    message = error.format_message().rstrip(".")
    return message[:1].lower() + message[1:]


def _flag(error: click.BadParameter) -> str:
    if isinstance(error.param, click.Option):
        return max(error.param.opts, key=len)
    return "TARGET" if error.param is None or error.param.name is None else error.param.name.upper()
