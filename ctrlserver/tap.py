"""The command line of ``ctrlserver`` and ``twistd ctrlserver``.

Rules:

- A flag overrides the file. All options are checked before a port is bound.
- Wrong input gives one line on standard error and exit code 1; ``twistd`` itself would print its whole help first.
"""

from __future__ import annotations

import faulthandler
import getopt
import os
import re
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from typing import Any, NoReturn

from twisted.application.service import IService
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads
from twisted.logger import LogLevel
from twisted.python import usage

from ctrlserver import __version__, terminal
from ctrlserver.config import Config, load_config, override
from ctrlserver.errors import UsageError
from ctrlserver.life.recording import HistoryFile
from ctrlserver.life.signals import Signals
from ctrlserver.linux.memory import look_for_garbage_seldom
from ctrlserver.logs.level import LEVEL, LEVELS
from ctrlserver.logs.log import LOG, for_twist, for_twistd
from ctrlserver.service import ControlService
from ctrlserver.wire.framing import FRAMINGS
from ctrlserver.words import did_you_mean, printable

FLAGS = ("data", "framing", "mode", "reply", "admin", "http", "workers", "balance", "log-format", "history")


class Options(usage.Options):
    """Options of the ``ctrlserver`` command; ``configuration`` is the file with the flags applied."""

    synopsis = (
        "[--config FILE] [--data ENDPOINT] [--framing SPEC]\n"
        "                  [--mode MODE] [--reply TEXT] [--inject SPEC]\n"
        "                  [--admin ENDPOINT] [--http ENDPOINT] [--workers N]\n"
        "                  [--history FILE|off]"
    )
    longdesc = (
        "Takes packet streams on the data port, counts and times them exactly, and answers on the admin port:"
        " echo stats | nc -N 127.0.0.1 22223"
    )
    optParameters = [  # noqa: RUF012 - usage.Options reads plain class attributes
        ["config", "c", None, "TOML file; --example-config prints one that explains every key."],
        ["data", "d", None, "Where the server accepts streams, an endpoint string (tcp:22222)."],
        ["framing", "f", None, f"How streams are cut into packets (fixed:1024): {' '.join(FRAMINGS)}."],
        ["mode", "m", None, "What the server does with a packet (sink): sink, echo, reply or source."],
        ["reply", "r", None, r"The reply to each packet in mode reply (\x06)."],
        ["admin", "a", None, "Where the server answers questions (tcp:22223:interface=127.0.0.1)."],
        ["http", None, None, "Where the server answers by HTTP, such as tcp:9464:interface=127.0.0.1 (nowhere)."],
        ["workers", "w", None, "Processes that serve the streams (1): a number, or auto for one on each core."],
        ["balance", None, None, "Who chooses a connection's worker (exact): exact, by load, or kernel, by chance."],
        ["history", None, None, "The file that keeps the runs (in $STATE_DIRECTORY or your state folder), or off."],
        ["log-format", None, None, "The form of the log (text): text, or json for one object a line."],
    ]
    optFlags = [  # noqa: RUF012
        ["udp", "u", "Receive UDP too, on the data port's number; each datagram is a packet."],
        ["check", None, "Check the options and the config file, bind nothing, exit 0 or 1."],
    ]
    compData = usage.Completions(optActions={"config": usage.CompleteFiles("*.toml")})

    configuration: Config
    history: HistoryFile | None = None
    path = ""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.injected: list[str] = []

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse, or exit with one line."""
        self._refuse_twice(sys.argv[1:] if options is None else options)
        try:
            super().parseOptions(options)  # type: ignore[no-untyped-call]
        except usage.UsageError as error:
            stop(self._explain(str(error)))

    def _refuse_twice(self, options: Sequence[str]) -> None:
        """Exit with one line where an option has two values: the last would be taken, and the others lost."""
        valued = {str(name) for name, *_ in self.optParameters}
        with suppress(getopt.GetoptError):
            flags, _ = getopt.getopt(list(options), self.shortOpt, self.longOpt)
            times = Counter(self.synonyms[flag.lstrip("-")] for flag, _ in flags)
            for name in valued & {name for name, number in times.items() if number > 1}:
                table = {"data": "[[listener]]", "admin": "[[admin]]"}.get(name)
                several = f"; several stand in a config file, each below {table}" if table else ""
                stop(f"--{name} is given {times[name]} times, expected once{several}")

    def _explain(self, message: str) -> str:
        if message.startswith("Wrong number"):
            return "takes options only, no arguments; see ctrlserver --help"
        if not (found := re.fullmatch("option (--?(.+)) not recognized", message)):
            return message
        flag, name = found.groups()
        twistd = self.parent
        if twistd is not None and name in twistd.synonyms:
            value = "=..." if f"{name}=" in twistd.longOpt else ""
            return f"option {flag} is twistd's, and stands before the word ctrlserver: twistd {flag}{value} ctrlserver"
        return message + did_you_mean(flag, [f"--{each.removesuffix('=')}" for each in self.longOpt])

    def getSynopsis(self) -> str:
        """How it is typed."""
        return f"Usage: ctrlserver {self.synopsis}\n       twistd [TWISTD'S OPTIONS] ctrlserver ...\n"

    opt_h = usage.Options.opt_help

    def opt_version(self) -> NoReturn:
        """Print the version and exit."""
        print(f"ctrlserver {__version__}")  # noqa: T201
        sys.exit(0)

    def opt_inject(self, spec: str) -> None:
        """Have the data port misbehave, such as 10th*reset; may be given again."""
        self.injected.append(spec)

    def opt_example_config(self) -> NoReturn:
        """Print a config file that explains every key, and exit."""
        sys.stdout.write(files("ctrlserver.config").joinpath("example.toml").read_text("utf-8"))
        sys.exit(0)

    def postOptions(self) -> None:
        """Apply the flags to the file."""
        if self["config"]:
            self.path = os.path.abspath(self["config"])  # twistd may change its folder
        try:
            base = load_config(self["config"]) if self["config"] else Config()
            self.configuration = override(base, **self._given())
        except UsageError as error:
            stop(str(error))
        if self["check"]:
            print("ctrlserver: the configuration is good")  # noqa: T201
            sys.exit(0)
        self.history = history_file(self.configuration.history, os.environ)
        self._check_files()
        self._choose_log()

    def _given(self) -> dict[str, Any]:
        """What ``override`` is given of the flags."""
        given = {flag.replace("-", "_"): self[flag] for flag in FLAGS}
        return given | {"udp": bool(self["udp"]) or None, "inject": self.injected or None}

    def _choose_log(self) -> None:
        """Have ``twistd`` or ``twist`` log through ours, unless the operator gave ``twistd`` another ``--logger``.

        ``twist`` has options for form and level too; ours, where they are given, stand over them.
        """
        program = self.parent if self.parent is not None else {}
        form, level = self.configuration.log_format, self.configuration.log_level
        LOG.form = form
        if "fileLogObserverFactory" in program:
            if self["log-format"] is None and program["logFormat"] == "json":
                LOG.form = "json"
            if level == "info" and (asked := program["logLevel"]) is not LogLevel.info:
                level = asked.name if asked.name in LEVELS else "warn"
            program["logLevel"] = LogLevel.debug
            program["fileLogObserverFactory"] = for_twist
        elif not program.get("logger"):
            LOG.twistd = program
            program["logger"] = f"{for_twistd.__module__}.{for_twistd.__name__}"
        LEVEL.set(level)

    def read_again(self) -> Config:
        """The file as it is now, with the same flags over it; ``ConfigError`` where that is not good."""
        return override(load_config(self.path), **self._given())

    def _check_files(self) -> None:
        """Stop if ``twistd`` cannot write its own two files: it would say so by a traceback."""
        pid_file, log_file = files_of(self.parent or {})
        if pid_file and (reason := refusal(pid_file)):
            stop(f"cannot write the pid file {pid_file}: {reason}; twistd --pidfile= needs none")
        if log_file and (reason := refusal(log_file)):
            stop(f"cannot write the log file {log_file}: {reason}; twistd --logfile=FILE takes another")


def history_file(asked: str | None, environment: Mapping[str, str]) -> HistoryFile | None:
    """Where the history is kept; None where it is off.

    By default in systemd's state folder, of several in the first, or in the user's; who has none has that of services.
    """
    if asked is not None:
        return None if asked == "off" else HistoryFile(os.path.abspath(asked))
    folder = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if not folder:
        from platformdirs import user_state_dir

        folder = user_state_dir("ctrlserver")
        if not os.path.isabs(folder):  # no HOME, and the system does not know the user
            folder = "/var/lib/ctrlserver"
    return HistoryFile(os.path.join(folder, "history.sqlite3"), own=True)


def files_of(twistd: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The pid file and the log file that ``twistd`` will write, by its options; ``twist`` has none."""
    pid_file, log_file = twistd.get("pidfile"), twistd.get("logfile")
    if twistd.get("chroot"):
        pid_file = None  # a path that means something else by then
    if twistd.get("syslog") or twistd.get("logger") or log_file == "-":
        log_file = None
    elif goes_to_background(twistd):
        log_file = log_file or "twistd.log"
    return pid_file and os.path.abspath(pid_file), log_file and os.path.abspath(log_file)


def goes_to_background(twistd: Mapping[str, Any]) -> bool:
    """Whether ``twistd`` makes itself a daemon; ``twist`` cannot."""
    return not (twistd.get("nodaemon", True) or twistd.get("debug"))


def refusal(path: str) -> str | None:
    """Why the file cannot be written; nothing is left behind."""
    try:
        if os.path.isfile(path) or os.path.isdir(path):
            open(path, "ab").close()
        elif not os.path.exists(path):
            tempfile.TemporaryFile(dir=os.path.dirname(path)).close()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None


def stop(message: str) -> NoReturn:
    """Print one line and exit with code 1."""
    sys.stderr.write(f"ctrlserver: {printable(message)}\n")
    sys.exit(1)


def makeService(options: Options) -> IService:
    """The service that ``twistd`` runs."""
    from twisted.internet import reactor

    assert IReactorCore.providedBy(reactor)
    assert IReactorFromThreads.providedBy(reactor)
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__.fileno())  # systemd's watchdog ends a process that hangs by SIGABRT
    if goes_to_background(options.parent or {}):
        terminal.keep()
    read = options.read_again if options.path else None
    service = ControlService(options.configuration, reactor, read=read, history=options.history)
    means = {signal.SIGUSR1: LOG.reopen, signal.SIGHUP: service.reloading.by_signal}
    signals = Signals(reactor, lambda: service.is_ending, service.draining.at_once, means)
    signals.setServiceParent(service)  # type: ignore[no-untyped-call]
    reactor.callWhenRunning(look_for_garbage_seldom)
    return service
