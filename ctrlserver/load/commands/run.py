"""``ctrlload run``: its flags, read and handed to ``execute``.

``plan/asked.py`` declares the flags of the load, ``outputs.py`` those of the outputs; click's parameters are made from
both.

Rules: a mistake that shows beforehand is refused in one line that names the flag, before anything is opened.
"""

from __future__ import annotations

import time
from typing import Any

import click
from attrs import evolve
from click.core import ParameterSource

from ctrlserver.client.target import parse_target
from ctrlserver.console.interrupts import Interrupts
from ctrlserver.console.parameters import reading
from ctrlserver.errors import UsageError
from ctrlserver.load.commands.outputs import Outputs
from ctrlserver.load.commands.parameters import WordsKept, options_of, record_of, typed_flags
from ctrlserver.load.fleet.telling import NOT_PASSED_ON
from ctrlserver.load.plan.asked import Asked
from ctrlserver.wire.framing import FRAMINGS

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
  ctrlload run 127.0.0.1:22222 -t 10s -P 8 --processes auto --admin 127.0.0.1:22223
  ctrlload run HOST:22222 -t 60s -P 16 --dask 10.0.0.1:8786 --shards 8
  ctrlload run 127.0.0.1:22222 -n 5M -P 8 --shard 1/4 --start-at 2026-11-26T16:00:00Z

\b
Numbers: 10_000, 5M, 1e6; durations 10s, 500ms, 2m.
Sizes: 1024; 64K and 64KiB are 65536 bytes, as in iperf3; 64kB is 64000.
Framings: {", ".join(FRAMINGS)}.

\b
Exit codes: 0 good; 1 the run failed; 2 usage; 3 the counts do not reconcile;
4 a --fail-if held; 130 interrupted.
"""


def parameters(*own: click.Parameter, of_search: bool = False) -> list[click.Parameter]:
    """The target, then ``own`` and all flags, those of the outputs before the labels; or those a search shares."""
    flags = options_of(Asked, of_search=of_search)
    place = [flag.name for flag in flags].index("labels")
    target = click.Argument(["target"], type=reading(parse_target))
    return [target, *own, *flags[:place], *options_of(Outputs, of_search=of_search), *flags[place:]]


@click.command(
    cls=WordsKept, epilog=_EXAMPLES, params=parameters(), short_help="Send packets to a target, count and time them."
)
@click.pass_obj
def run(interrupts: Interrupts, /, **values: Any) -> int:
    """Send packets to TARGET: HOST:PORT, [V6]:PORT, udp:HOST:PORT, ssl:HOST:PORT or a Twisted client
    endpoint such as unix:/run/x.sock.

    All streams connect first and then start together. With --admin ctrlload compares the server's counts with its own;
    a difference is exit code 3. UDP may lose packets: ctrlload reports the loss, and fails for it only with
    --fail-if 'lost>0'.
    """
    from ctrlserver.load.commands.execute_run import execute
    from ctrlserver.load.plan.options import prepared

    context = click.get_current_context()
    given = context.get_parameter_source("interval") is not ParameterSource.DEFAULT
    options, outputs = prepared(record_of(Asked, values)), record_of(Outputs, values).checked()
    if options.start_at is not None:
        try:
            options = evolve(options, start_at=options.start_at.fixed(time.time()))
        except UsageError as error:
            raise UsageError(f"--start-at: {error}") from None
    return execute(options, interrupts, outputs, typed_flags(context, NOT_PASSED_ON), lines=given)
