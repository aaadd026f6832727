"""Carries ``ctrlload run`` out: the run, what people see of it, its outputs and the exit code.

Rules: all outputs are written before the reactor stops.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ctrlserver.console.interrupts import Interrupts
from ctrlserver.load.commands.outputs import Outputs
from ctrlserver.load.commands.reactor import carried_out, on_terminal, prepared_reactor
from ctrlserver.load.commands.reporting import report
from ctrlserver.load.fleet.cluster import Workers, check_installed
from ctrlserver.load.fleet.files import check_files
from ctrlserver.load.fleet.fleet import Fleet
from ctrlserver.load.fleet.process import Processes
from ctrlserver.load.measure.intervals import Watcher
from ctrlserver.load.plan.modes import CONNECT, RECEIVE
from ctrlserver.load.plan.options import Options
from ctrlserver.load.plan.processes import crowded
from ctrlserver.load.results.result import Result
from ctrlserver.load.running.run import LoadRun, utc_now
from ctrlserver.load.show.events import EventStream
from ctrlserver.load.show.exposition import Exposed
from ctrlserver.load.show.live import LiveView
from ctrlserver.load.show.summary import Lines

#: What the view on a terminal says of a mode; all other modes are sending.
TITLES = {RECEIVE: "receiving", CONNECT: "connecting"}


def execute(
    options: Options, interrupts: Interrupts, outputs: Outputs, typed: Sequence[str] = (), *, lines: bool = False
) -> int:
    """Run ``options`` and give the exit code; UsageError before anything is opened.

    ``typed``: the flags of the load as they were typed, for the processes that are to send it. ``lines``: on a terminal
    too there is a line for each interval.
    """
    if options.by_others:
        check_files(typed, "--processes" if options.dask is None else "--dask")
    if options.dask is not None:
        check_installed()
    reactor = prepared_reactor(options)
    what = "connections" if options.mode == CONNECT else "packets"
    title = TITLES.get(options.mode, "sending")
    people = LiveView(sys.stderr, title, what, lines=lines) if on_terminal() else Lines(sys.stderr, what)
    events = EventStream(sys.stdout, utc_now, people, with_progress=outputs.progress) if outputs.events else None
    watcher: Watcher = events or people
    if outputs.metrics is not None:
        from ctrlserver.load.commands.metrics_port import listen

        watcher = exposed = Exposed(watcher)
        people.note(f"metrics at {listen(reactor, outputs.metrics, exposed.families)}, path /metrics")
    run: LoadRun | Fleet
    number, cores = 1, len(os.sched_getaffinity(0))
    if options.dask is not None:
        run = Fleet(reactor, options, typed, Workers(reactor, options), watcher)
    elif options.processes is not None:
        number = options.processes.of(options.streams, cores)
        run = Fleet(reactor, options, typed, Processes(reactor, number), watcher)
    else:
        run = LoadRun(reactor, options, watcher)

    def ended(result: Result) -> int:
        people.close()
        return report(result, outputs, events)

    if events is not None:
        events.start(options.target.text, options.as_options(), options.labels)
    if options.busy_poll and (words := crowded(number, cores)):
        watcher.note(f"--busy-poll: {words}")
    return carried_out(reactor, interrupts, run, ended)
