"""A command line carried out by click, and its errors in our words: one line, the flag first.

Rules: a usage error is exactly one line ``PROGRAM: ...`` on stderr and exit 2, with the nearest good value if there is
one. Nothing has been opened by then.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

import click

from ctrlserver.console.exit_codes import EXIT_FAILED, EXIT_USAGE
from ctrlserver.console.streams import mute, print_words
from ctrlserver.errors import UsageError
from ctrlserver.words import printable, quoted

#: How like a flag must be to one of ours to be taken for a slip: --packet for --packets, not --parallel for --profile.
_NEAR = 0.8


def carried_out(
    command: click.Command,
    program: str,
    arguments: Sequence[str],
    given: object,
    words: Callable[[click.ClickException], str],
) -> int:
    """The exit code of ``command``, which gets ``given`` as its context's ``obj``; ``words`` tell of click's errors."""
    try:
        code = command.main(args=list(arguments), prog_name=program, standalone_mode=False, obj=given)
    except (click.ClickException, UsageError) as error:
        message = str(error) if isinstance(error, UsageError) else words(error)
        click.echo(f"{program}: {printable(' '.join(message.split()))}", err=True)
        return EXIT_USAGE
    except OSError as error:  # click printed the help or the version; all other writes have their own errors
        mute(sys.stdout)
        print_words(f"{program}: cannot write to stdout: {error.strerror or error}\n")
        return EXIT_FAILED
    return code if isinstance(code, int) else 0


def usage_words(error: click.ClickException, foreign: Mapping[str, str]) -> str:
    """A click error in our words; ``foreign``: flags of other programs, and what is said of each."""
    if isinstance(error, click.NoSuchOption):
        given, near = error.option_name, nearest_flag(error)
        hint = f'; did you mean "{near}"?' if near else ""
        return f"unknown option {quoted(given)}{f': {foreign[given]}' if given in foreign else hint}"
    if isinstance(error, click.MissingParameter):
        return f"{_flag(error)} is missing: {_usage(error)}"
    if isinstance(error, click.BadParameter):
        return f"{_flag(error)}: {error.message}"
    message = error.format_message().rstrip(".")
    return message[:1].lower() + message[1:]


def nearest_flag(error: click.NoSuchOption) -> str:
    """The flag of the command that was meant; empty where none is near."""
    given = error.option_name
    if error.ctx is None or not given.startswith("--"):
        return ""
    known = [name for param in error.ctx.command.params for name in (*param.opts, *param.secondary_opts)]
    longer = [name for name in known if name.startswith(given)]  # --out for --output
    return next(iter(longer or get_close_matches(given.casefold(), known, n=1, cutoff=_NEAR)), "")


def _usage(error: click.UsageError) -> str:
    """The command that was meant, its arguments first."""
    if error.ctx is None:
        return "COMMAND is missing"
    pieces = error.ctx.command.collect_usage_pieces(error.ctx)
    return " ".join([error.ctx.command_path, *pieces[1:], pieces[0]])


def _flag(error: click.BadParameter) -> str:
    if isinstance(error.param, click.Option):
        return max(error.param.opts, key=len)
    return "TARGET" if error.param is None or error.param.name is None else error.param.name.upper()
