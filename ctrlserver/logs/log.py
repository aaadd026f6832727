"""The process's log: the observer that ``twistd`` and ``twist`` give Twisted's events to.

Model: the options give the form and the level to ``LOG``, and put ``for_twistd`` or ``for_twist`` where the program has
the maker of its observer. The program calls it, once, when it begins to log. There is one log for the process, as
there is one of Twisted.

Rules: nothing is written below ``LEVEL``. What an outlet cannot take is counted, and told once it takes lines again.
Of failures for want of memory, whoever logs them, one a second has a line; ``tell_left_out`` tells of the others.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

from attrs import define, field
from twisted.logger import ILogObserver, Logger, LogLevel
from zope.interface import implementer

from ctrlserver.logs.level import LEVEL
from ctrlserver.logs.lines import json_line, out_of_memory, text_line
from ctrlserver.logs.outlets import Descriptor, Outlet, Syslog, opened
from ctrlserver.logs.sparing import Sparing
from ctrlserver.words import counted


@implementer(ILogObserver)
@define(eq=False)
class Log:
    """``form`` is one of ``lines.FORMATS``, and may be changed while lines are written."""

    told = Logger()

    form: str = "text"
    outlet: Outlet = field(factory=lambda: Descriptor(None))
    twistd: Mapping[str, Any] = field(factory=dict, init=False)
    """The options of ``twistd``, which say where the log goes."""
    lost: int = field(default=0, init=False)
    """Lines that the outlet did not take since the last that it took."""
    clock: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    _out_of_memory: Sparing = field(factory=Sparing, init=False)

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Write the line of an event, if its level is high enough."""
        if not LEVEL.writes(event.get("log_level")):
            return
        if (lacking := out_of_memory(event)) is not None:
            if not self._out_of_memory.may_write(self.clock()):
                return
            event = lacking
        if not self._written(event):
            self.lost += 1
        elif self.lost:
            lost, self.lost = self.lost, 0
            self._written(
                {
                    "log_format": f"{counted(lost, 'line')} could not be written to the log",
                    "log_level": LogLevel.warn,
                    "log_namespace": "ctrlserver.logs",
                    "log_time": time.time(),
                    "event": "lines-lost",
                    "lines": lost,
                }
            )

    def _written(self, event: Mapping[str, Any]) -> bool:
        line = json_line(event) if self.form == "json" else text_line(event, stamped=self.outlet.stamped)
        return self.outlet.write(line, getattr(event.get("log_level"), "name", "info"))

    def tell_left_out(self, now: float) -> None:
        """Log how often memory was wanting beside the times that have a line; to be called now and then."""
        if number := self._out_of_memory.overdue(now):
            self.told.warn(f"out of memory {counted(number, 'time')} more", event="out-of-memory", number=number)

    def reopen(self) -> None:
        """Open the log file anew, by its name, and say so."""
        if self.outlet.path is None:
            self.told.info("the log has no file to open anew", event="log-not-reopened")
        elif why_not := self.outlet.reopen():
            self.told.error("the log file cannot be opened anew: {why_not}", event="log-not-reopened", why_not=why_not)
        else:
            self.told.info("the log is open anew", event="log-reopened")


LOG = Log()


def for_twistd() -> Log:
    """What ``twistd --logger`` names: the log, where the other options of ``twistd`` say. May exit with one line."""
    options = LOG.twistd
    path, foreground = options.get("logfile"), options.get("nodaemon") or options.get("debug")
    if options.get("syslog"):
        LOG.outlet = Syslog(options.get("prefix") or "")
    elif path == "-" and not foreground:
        sys.exit("ctrlserver: a daemon in the background has no standard output: twistd --logfile=FILE")
    elif path and path != "-":
        LOG.outlet = to_file(path)
    elif not foreground:
        LOG.outlet = to_file("twistd.log")
    else:
        LOG.outlet = Descriptor(descriptor_of(sys.stdout))
    return LOG


def for_twist(file: IO[Any]) -> Log:
    """What ``twist`` calls with the file of its own options."""
    name = getattr(file, "name", None)
    named = isinstance(name, str) and os.path.isfile(name)
    LOG.outlet = to_file(name) if named and name else Descriptor(descriptor_of(file))
    return LOG


def to_file(path: str) -> Descriptor:
    """The log file at ``path``; exits with one line where it cannot be opened."""
    path = os.path.abspath(path)
    try:
        return Descriptor(opened(path), path)
    except OSError as error:
        sys.exit(f"ctrlserver: cannot write the log file {path}: {(error.strerror or str(error)).lower()}")


def descriptor_of(file: IO[Any] | None) -> int | None:
    """The descriptor of an open file; None where it has none, as standard output that was closed."""
    try:
        return None if file is None else file.fileno()
    except (OSError, ValueError):
        return None
