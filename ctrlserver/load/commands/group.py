"""The command line of ctrlload: its subcommands, and one line for each usage error.

Rules: a usage error is exactly one line ``ctrlload: ...`` on stderr and exit 2, with the nearest good value if there is
one. Nothing has been opened by then. Each subcommand has a module of its own, imported when it is needed.

Beware: Twisted is imported only when there is something to run, so ``--help`` and ``--version`` are quick.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module

import click

from ctrlserver import __version__
from ctrlserver.console.interrupts import Interrupts
from ctrlserver.console.usage import carried_out, nearest_flag, usage_words
from ctrlserver.errors import UsageError
from ctrlserver.words import did_you_mean, quoted

#: Where each subcommand is: the module, and its name there.
_SUBCOMMANDS = {
    "run": ("ctrlserver.load.commands.run", "run"),
    "search": ("ctrlserver.load.commands.search", "search"),
    "compare": ("ctrlserver.load.commands.compare", "compare_command"),
    "plot": ("ctrlserver.load.commands.plot", "plot_command"),
    "merge": ("ctrlserver.load.commands.merge", "merge_command"),
    "check": ("ctrlserver.load.commands.check", "check_command"),
}


#: Flags of iperf3, nuttcp, sockperf, wrk, vegeta, hey, oha and k6 that have an equal here, and the equal.
_FOREIGN = {
    name: equal
    for names, equal in (
        (
            "--connections --max-connections --concurrency --parallel --clients --vus --workers --max-workers",
            "streams are -P",
        ),
        ("-c", "streams are -P, and the target takes no flag: ctrlload run HOST:PORT"),
        ("-d -z --time --runtime --test-time", "the duration is -t"),
        (
            "-b --bitrate --bandwidth --rps --qps --mps --pps --requests-per-second --rate-limit",
            "the rate is -r, such as 5k/s or 10Mbit/s",
        ),
        ("--stage --stages --ramp --ramp-up", "rates over time are --profile, such as '10s@1k,60s@1k..50k'"),
        ("--poisson", "packets at random are --arrival poisson"),
        ("-R --reverse --download", "a download is -m receive"),
        ("--bidir --dualtest --ping-pong --pingpong", "both ways is -m request, against an echo server"),
        ("-u --udp", "UDP is the target udp:HOST:PORT"),
        ("--tcp", "TCP is the target HOST:PORT"),
        ("--tls --ssl --https", "TLS is the target ssl:HOST:PORT"),
        ("-6 --ipv6", "IPv6 is the target [V6]:PORT"),
        ("--unix --unix-socket", "a unix socket is the target unix:PATH"),
        ("-p --port --host --url --targets", "the port is in the target, HOST:PORT"),
        ("--length --len --msg-size --packet-size --message-size --block-size", "the size is -l"),
        ("--requests --iterations --count --number --num --blockcount", "the number of packets is -n"),
        ("--body --data --message", "what a packet holds is --payload"),
        ("--pipeline --pipelining --outstanding", "requests in flight are -q"),
        ("--omit --warmup-time", "the warm-up is -O"),
        ("--timeout", "it is --connect-timeout or --stall-timeout"),
        ("--threshold --thresholds --abort-on --fail-on", "a condition is --fail-if, such as 'p99>10ms'"),
        ("--tag --title", "a label is --label NAME=VALUE"),
        ("-j --json-output", "the result in JSON is -J"),
        ("--logfile --summary-export --export --save --result-file", "the result goes to a file with -o"),
        ("--cacert --ca --cacerts --root-certs", "whom to trust is --cafile"),
        ("-s --server", "the server is the command ctrlserver"),
    )
    for name in names.split()
}

#: A word that was meant as a long flag, with one hyphen or with a dash of a word processor, and what comes after it.
_SLIP = re.compile("(?:-|[\u2013\u2014]-?)([A-Za-z][A-Za-z-]+)(=.*)?", re.DOTALL)

#: Short flags whose values may follow as letters: -mrequest.
_TAKE_WORDS = ("-f", "-m", "-o")

#: A short flag with a value in the manner of Go.
_EQUALS = re.compile("(-[A-Za-z])=(.+)", re.DOTALL)


class Commands(click.Group):
    """A group that imports a command when it is needed, and suggests one for an unknown name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the table."""
        return list(_SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported; None for an unknown name."""
        if cmd_name not in _SUBCOMMANDS:
            return None
        module, name = _SUBCOMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; an unknown command gives our own error."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            near = did_you_mean(name, self.list_commands(ctx))
            if not near and len(args) > 1 and args[1].isdecimal():
                near = f'; did you mean "ctrlload run {name}:{args[1]}"?'
            if not near and ":" in name:
                near = f'; did you mean "ctrlload run {name}"?'
            ctx.fail(f"unknown command {quoted(name)}{near or f': {_known_commands()}'}")
        found, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            _check_slips(command, rest)
        return found, command, rest


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(__version__, prog_name="ctrlload", message="%(prog)s %(version)s")
def ctrlload() -> None:
    """Send packets to a server, count them, and say how fast it was."""


def exit_code(arguments: Sequence[str], interrupts: Interrupts) -> int:
    """Carry out the command line and give the exit code."""
    return carried_out(ctrlload, "ctrlload", arguments, interrupts, _words)


def _check_slips(command: click.Command, words: Sequence[str]) -> None:
    """UsageError for ``-rate 5``, ``-lazy`` and ``-r=5``, which click takes for values of ``-r`` and ``-l``."""
    options = [param for param in command.params if isinstance(param, click.Option)]
    flags = {name: not param.is_flag for param in options for name in (*param.opts, *param.secondary_opts)}
    is_value, host = False, ""
    takes_target = any(param.name == "target" for param in command.params)
    for word in words:
        if word == "--":
            return
        slip, equals = _SLIP.fullmatch(word), _EQUALS.fullmatch(word)
        if is_value:
            is_value = False
        elif slip is not None and f"--{slip[1]}" in (*flags, *_FOREIGN):
            flag = f"--{slip[1]}"
            hint = f": {_FOREIGN[flag]}" if flag not in flags else f'; did you mean "{flag}{slip[2] or ""}"?'
            raise UsageError(f"unknown option {quoted(word)}{hint}")
        elif slip is not None and flags.get(word[:2]) and word[:2] not in _TAKE_WORDS:
            raise UsageError(f"unknown option {quoted(word)}")
        elif equals is not None and flags.get(equals[1]):
            raise UsageError(f'{quoted(word)}: expected no "="; did you mean "{equals[1]} {equals[2]}"?')
        elif takes_target and host and word.isdecimal():
            raise UsageError(f'TARGET: {quoted(host)} has no port; did you mean "{host}:{word}"?')
        else:
            is_value = flags.get(word, False)
            host = "" if word.startswith("-") or ":" in word else word


def _words(error: click.ClickException) -> str:
    """A click error in our words: the flag, then what is wrong."""
    command = error.ctx.command if isinstance(error, click.UsageError) and error.ctx else None
    if command is ctrlload and isinstance(error, click.NoSuchOption) and not nearest_flag(error):
        given = quoted(error.option_name)
        return f"unknown option {given}: options follow a command, such as ctrlload run TARGET -n 5M"
    if isinstance(error, click.UsageError) and error.message == "Missing command.":
        return f"missing command: {_known_commands()}"
    return usage_words(error, _FOREIGN)


def _known_commands() -> str:
    return f"it is one of {', '.join(_SUBCOMMANDS)}; ctrlload --help says more"
