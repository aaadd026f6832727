"""``ctrlload search``: its own flags, and those it shares with ``run``.

Rules: a flag of ``run`` is a flag here too, unless it is declared with ``shared=False``. Those say how much is sent,
how fast, or what becomes of a single run.
"""

from __future__ import annotations

from typing import Any

import click
from attrs import evolve

from ctrlserver.errors import UsageError
from ctrlserver.load.commands.interrupts import Interrupts
from ctrlserver.load.commands.parameters import Parsed
from ctrlserver.load.commands.run import divided, parameters
from ctrlserver.load.plan.modes import RECEIVE
from ctrlserver.units import parse_count, parse_duration, parse_rate, parse_share
from ctrlserver.words import quoted

_EXAMPLES = """\b
Examples:
  ctrlload search 127.0.0.1:7 -m request -P 50 --fail-if 'p99>2ms'
  ctrlload search 127.0.0.1:22222 --admin 127.0.0.1:22223 --from 10k -t 10s
  ctrlload search 127.0.0.1:6379 -m request -P 50 --payload 'PING\\r\\n' --framing raw
      --reply-framing line --fail-if 'p99.9>5ms' --precision 2% -J -o search.json

\b
The search doubles the rate, from --from on, until a rate is bad. Then it
tries the middle between the highest good and the lowest bad rate, until they
are no further apart than --precision. A bad rate is run again until the majority of
--repeats is certain, and so is the rate that is about to be the answer.
A run in which ctrlload itself was late does not count against the target: if
such runs end the search, the answer is "at least".

\b
Exit codes: 0 found; 1 a run failed; 2 usage; 4 not even the lowest rate is
good; 130 interrupted.
"""


@click.command(epilog=_EXAMPLES)
@click.option("--from", "lowest", type=Parsed("R", parse_rate), default="1k/s", show_default=True, help="Lowest rate.")
@click.option("--to", "top", type=Parsed("R", parse_rate), default="1G/s", show_default=True, help="Highest rate.")
@click.option(
    "--precision",
    type=Parsed("5%", parse_share),
    default="5%",
    show_default=True,
    help="How close the highest good and the lowest bad rate must come.",
)
@click.option(
    "--tolerance",
    type=Parsed("1%", parse_share),
    default="1%",
    show_default=True,
    help="How far a run may fall below its rate and still pass.",
)
@click.option(
    "--repeats",
    type=Parsed("N", parse_count),
    default=3,
    show_default=True,
    help="Runs at a rate on which the answer rests; the majority counts.",
)
@click.option(
    "-t", "--duration", type=Parsed("T", parse_duration), default="5s", show_default=True, help="Time of each run."
)
@click.pass_obj
def search(
    interrupts: Interrupts,
    /,
    lowest: float,
    top: float,
    precision: float,
    tolerance: float,
    repeats: int,
    **values: Any,
) -> int:
    """Find the highest good rate.

    A rate is good if no --fail-if holds, the run achieves it and, with --admin, the server counts what was sent. TARGET
    is as in ctrlload run.
    """
    from ctrlserver.load.commands.execute_search import execute_search
    from ctrlserver.load.plan.options import prepared
    from ctrlserver.load.search.document import Sought

    for name, rate in (("--from", lowest), ("--to", top)):
        if rate <= 0:
            raise UsageError(f"{name}: must be more than 0")
    if top < lowest:
        raise UsageError(f"--to: {quoted(f'{top:.12g}/s')} is less than --from, {lowest:.12g}/s")
    if not 0.001 <= precision <= 1:
        raise UsageError("--precision: must be from 0.1% to 100%")
    if not 0 <= tolerance < 1:
        raise UsageError("--tolerance: must be less than 100%")
    if not 1 <= repeats <= 99:
        raise UsageError("--repeats: must be from 1 to 99")
    asked, outputs = divided(values)
    if asked.mode == RECEIVE:
        raise UsageError("--mode: not receive, where the target says how fast")
    options = prepared(evolve(asked, rate=lowest, interval=0.0))
    sought = Sought(lowest, top, precision, tolerance, repeats)
    return execute_search(options, sought, interrupts, outputs.checked())


_target, *_flags = parameters(of_search=True)
search.params = [_target, *search.params, *_flags]
