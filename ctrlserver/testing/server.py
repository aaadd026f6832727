"""A real server for a test: a process of its own, asked over its admin port by plain blocking calls.

::

    with Server(mode="echo") as server:
        my_client.send_all(server.address, 100)
        server.wait(packets=100)

Model: made -> start() -> stop() -> start() ...; it comes back at the address that it had. What it counts begins at 0
with the start, or with ``fresh``.

Rules: all calls may be made by any thread. No call waits without a bound.
"""

from __future__ import annotations

import os
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack, cast

from ctrlserver.addresses import host_of
from ctrlserver.testing.admin import AdminPort, Dialogue, asked
from ctrlserver.testing.injection import Answer, Injection, Ordered, answer_line, injection_line
from ctrlserver.testing.keys import Keys, config_of
from ctrlserver.testing.minting import minted
from ctrlserver.testing.process import Process
from ctrlserver.testing.record import Record
from ctrlserver.testing.since import Since
from ctrlserver.testing.waiting import conditions_of, waiting

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

__tracebackhide__ = True  # pytest shows a failure at the test's own line

#: Rows to ask for: more than a server keeps of closed streams, of runs and of packets.
_STREAMS, _RUNS, _PACKETS = 100_000, 10_000, 100_000

#: Addresses that mean every interface, and where such a server is reached.
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Server:
    """``keys`` are those of ``[[listener]]``, and some of the whole config: ``Server(framing="line", keep=10)``."""

    def __init__(self, **keys: Unpack[Keys]) -> None:
        self.keys = keys
        self._config = config_of(keys)
        self._name: str = self._config["listener"][0]["name"]
        self._process: Process | None = None
        self._where: Mapping[str, str] = {}
        self._admin: AdminPort | None = None
        self._since = Since()
        self._ordered: list[Ordered] = []

    # Its life

    def start(self) -> Server:
        """Start it, unless it runs; ``StartError`` with its log where it cannot. Again, it has the address it had."""
        if not self.is_running:
            self.stop()  # it may have ended by itself
            process = Process(self._config)
            self._process = process
            self._since = Since()
            self._where, admin = process.ports[self._name], process.ports["admin"]["tcp"]
            self._admin = AdminPort(_pair(admin))
            _stay_at(self._config["listener"][0], self._where)
            _stay_at(self._config["admin"][0], {"tcp": admin})
        return self

    def leave(self) -> None:
        """Tell it to end, and do not wait for that."""
        if self._admin is not None:
            self._admin.hang_up()
        if self._process is not None:
            self._process.leave()

    def stop(self) -> None:
        """End it. Its streams are closed, its port is free."""
        self.leave()
        if self._process is not None:
            self._process.stop()
            self._orders_are_over()

    def _orders_are_over(self) -> None:
        """They went with the process; another one numbers its own from 1 again."""
        while self._ordered:
            self._ordered.pop().is_over = True

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.is_running

    @property
    def pid(self) -> int | None:
        """The process id of the last start; None for a server that was running already."""
        return self._process.pid if self._process is not None else None

    # Where it is

    @property
    def address(self) -> Any:
        """Where a client connects or sends to: ``(host, port)``; the path of a unix socket."""
        self._started()
        text = next(iter(self._where.values()))
        return text if "unix" in self._where else _pair(text)

    @property
    def host(self) -> str:
        """The host of ``address``."""
        return cast("str", self.address[0])

    @property
    def port(self) -> int:
        """The port of ``address``; UDP has the same where both are served."""
        return cast("int", self.address[1])

    @property
    def ca_file(self) -> str:
        """The PEM file that a client is to trust, for ``tls=True`` or a certificate that signed itself."""
        tls = self.keys.get("tls")
        if not tls:
            raise LookupError(f"{self!r} has no TLS: expected tls=True or tls=FILE")
        return minted().ca if isinstance(tls, bool) else os.path.abspath(tls)

    @property
    def admin_address(self) -> tuple[str, int]:
        """Where its admin port is."""
        return self._started().address

    # What it has counted

    def stats(self) -> Record:
        """Its record: ``stats().packets``."""
        return self._since.record(self.ask("stats"))

    def streams(self) -> list[Record]:
        """Its streams in the order of opening, from number 1 on: the open ones, and the last 1000 closed."""
        return self._since.rows(self.ask(f"streams limit={_STREAMS}"), "stream")

    def packets(self, stream: int = 1) -> list[bytes]:
        """The packets kept of a stream, the oldest first: the last ``keep``."""
        rows = self.ask(f"packets {stream + self._since.streams} limit={_PACKETS}")
        return [bytes.fromhex(row["hex"]) for row in rows]

    def runs(self) -> list[Record]:
        """Its runs, the oldest first."""
        return self._since.rows(self.ask(f"runs limit={_RUNS}"), "run")

    def reset(self) -> Record:
        """Begin a new reading: ``packets`` and ``bytes`` count from 0. The record of the one that ends."""
        return self._since.record(self.ask("reset"))

    def fresh(self) -> None:
        """Have it as new: no stream, no injection, and everything counted from 0."""
        self.calm()
        self._since = self._started().run_often(self._begun_anew())

    def _begun_anew(self) -> Dialogue[Since]:
        totals = yield from asked("reset")
        while self._process is not None and totals["streams_open"]:
            for row in (yield from asked(f"streams open limit={_STREAMS} fields=stream")):
                yield f"kick {row['stream']} json", 0.0  # it may have ended meanwhile
            totals = yield from asked("reset")
        if totals["runs_total"]:
            yield "run stop json", 0.0  # the next packet begins one of its own
        newest = None
        if self._process is None:
            newest = max([row["run"] for row in (yield from asked("runs limit=1 fields=run"))], default=0)
        return Since(totals, newest)

    # Waiting

    def wait(self, *conditions: str, timeout: float = 10.0, **fields: object) -> Record:
        """The record in which all is so: ``wait(packets=100, streams_open__le=3)``, ``wait("run.complete==1")``.

        ``NotReached``, an AssertionError with the server's record, where it is not so within ``timeout`` seconds. A
        field is a number of ``stats``; in a condition as text also ``run.FIELD`` and ``stream.N.FIELD``.
        """
        return self._started().run(waiting(conditions_of(conditions, fields), self._since, timeout))

    def wait_async(self, *conditions: str, timeout: float = 10.0, **fields: object) -> Coroutine[Any, Any, Record]:
        """As ``wait``, for asyncio: ``await server.wait_async(packets=100)``."""
        from ctrlserver.testing.awaited import by_asyncio

        dialogue = waiting(conditions_of(conditions, fields), self._since, timeout)
        return by_asyncio(self._started().address, dialogue)

    def wait_deferred(self, *conditions: str, timeout: float = 10.0, **fields: object) -> Deferred[Record]:
        """As ``wait``, for Twisted: a Deferred in the running reactor."""
        from ctrlserver.testing.awaited import by_twisted

        dialogue = waiting(conditions_of(conditions, fields), self._since, timeout)
        return by_twisted(self._started().address, dialogue)

    # What it is told

    def inject(
        self,
        spec: str,
        *,
        duration: float | str | None = None,
        streams: str | None = None,
        peer: str | None = None,
        seed: int | None = None,
    ) -> Injection:
        """Order a misbehaviour: ``with server.inject("2*reset->off"): ...``, or until ``off`` of what it returns.

        ``duration`` ends it by itself, ``streams`` is ``new`` or ``all``, ``peer`` a network.
        """
        line = injection_line(self._name, spec, duration, streams, peer, seed)
        injection = Injection(self._started(), self.ask(line)["injection"], spec)
        self._ordered.append(injection)
        return injection

    def answer(
        self,
        when: str | bytes,
        answer: str | bytes,
        *,
        times: int | None = None,
        delay: float | str | None = None,
    ) -> Answer:
        """Have it answer so in mode ``reply``, until the ``with`` block or ``off`` of what it returns ends that.

        ``when`` is a whole packet, ``"/REGEX/"`` or ``"connect"``; what no rule fits is answered by ``reply``.
        """
        line = answer_line(self._name, when, answer, times, delay)
        rule = Answer(self._started(), self.ask(line)["answer"], f"{when!r} -> {answer!r}")
        self._ordered.append(rule)
        return rule

    def calm(self) -> None:
        """End what a test ordered of it and did not end."""
        while self._ordered:
            self._ordered.pop().off()

    def ask(self, command: str) -> Any:
        """The ``data`` of the JSON reply to any command of the admin port; ``AdminError`` where it is refused."""
        return self._started().ask(command)

    def text(self, command: str) -> str:
        """The reply to any command of the admin port as a person reads it, its status line last."""
        return self._started().text(command)

    def log(self, lines: int = 20) -> list[str]:
        """The last lines of its log; none of a server that was running already."""
        return self._process.log().splitlines()[-lines:] if self._process is not None else []

    def _started(self) -> AdminPort:
        if self._admin is None:
            raise RuntimeError("the server is not started: with Server(...) as server, or server.start()")
        return self._admin

    def __repr__(self) -> str:
        keys = ", ".join(f"{name}={value!r}" for name, value in self.keys.items())
        return f"<Server({keys}) at {self.address if self._admin else 'no address yet'}>"


class RunningServer(Server):
    """A server that runs already, asked at its admin port: it is neither started nor ended, and nobody is kicked.

    Its listener is the first that has the given ``keys``; LookupError where none has.
    """

    def __init__(self, admin: tuple[str, int], **keys: Unpack[Keys]) -> None:
        super().__init__(**keys)
        self._admin = AdminPort(admin)
        asked_for = {name: value for name, value in self._config["listener"][0].items() if name in keys}
        wanted = {**asked_for, **{name: self._config[name] for name in keys if name in self._config}}
        config = self.ask("config")
        for table, row in zip(config["listener"], self.ask("listeners"), strict=False):
            has = {**config, **table}
            if all(has.get(name) == value for name, value in wanted.items()):
                self._name = table["name"]
                path = table["endpoint"].startswith("unix:")
                self._where = {"unix" if path else "tcp": row["address"] or row["udp_address"]}
                self._end_what_is_left()
                return
        raise LookupError(f"no listener of the server at {admin[0]}:{admin[1]} has {wanted}")

    def start(self) -> Server:
        """It runs."""
        return self

    def stop(self) -> None:
        """It goes on; what a test ordered of it ends."""
        self.calm()
        self.leave()

    @property
    def is_running(self) -> bool:
        """As far as is known."""
        return True

    def _end_what_is_left(self) -> None:
        """End what a test run that was killed has left: all that the config did not order."""
        for kind in (Injection, Answer):
            for row in self.ask(kind.command):
                if row["listener"] == self._name and row["by"] != "config":
                    kind(self._started(), row[kind.field], "").off()


def _pair(text: str) -> tuple[str, int]:
    host = host_of(text)
    return _ANYWHERE.get(host, host), int(text.rpartition(":")[2])


def _stay_at(table: dict[str, Any], where: Mapping[str, str]) -> None:
    """Put the port that the kernel chose in place of 0."""
    kind, _, rest = table["endpoint"].partition(":")
    if rest == "0" or rest.startswith("0:"):
        port = next(iter(where.values())).rpartition(":")[2]
        table["endpoint"] = f"{kind}:{port}{rest[1:]}"
