"""``ctrlload search``: its own flags, and those it shares with ``run``.

Rules: a flag of ``run`` is a flag here too, unless it is declared with ``search=None``. Those say how much is sent,
how fast, or what becomes of a single run.
"""

from __future__ import annotations

from typing import Any

import click
from attrs import evolve

from ctrlserver.console.interrupts import Interrupts
from ctrlserver.errors import UsageError
from ctrlserver.load.commands.outputs import Outputs
from ctrlserver.load.commands.parameters import options_of, record_of
from ctrlserver.load.commands.run import parameters
from ctrlserver.load.plan.asked import Asked
from ctrlserver.load.plan.flag import check
from ctrlserver.load.plan.modes import RECEIVE
from ctrlserver.load.plan.rules import PACKETS_IF_CONNECTING
from ctrlserver.load.plan.sought import Sought

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


@click.command(epilog=_EXAMPLES, params=parameters(*options_of(Sought), of_search=True))
@click.pass_obj
def search(interrupts: Interrupts, /, **values: Any) -> int:
    """Find the highest good rate.

    A rate is good if no --fail-if holds, the run achieves it and, with --admin, the server counts what was sent. TARGET
    is as in ctrlload run.
    """
    from ctrlserver.load.commands.execute_search import execute_search
    from ctrlserver.load.plan.options import prepared

    asked, sought = record_of(Asked, values), record_of(Sought, values)
    check(sought)
    for name, rate in (("--from", sought.from_packets_per_second), ("--to", sought.to_packets_per_second)):
        if not PACKETS_IF_CONNECTING.holds(asked, rate):
            raise UsageError(f"{name}: {PACKETS_IF_CONNECTING.why}")
    if asked.mode == RECEIVE:
        raise UsageError("--mode: not receive, where the target says how fast")
    options = prepared(evolve(asked, rate=sought.from_packets_per_second, interval=0.0))
    lowest, highest = map(options.pattern.in_packets, (sought.from_packets_per_second, sought.to_packets_per_second))
    sought = evolve(sought, from_packets_per_second=lowest, to_packets_per_second=highest)
    check(sought)
    return execute_search(options, sought, interrupts, record_of(Outputs, values).checked())
