"""The servers of a run, one or several that share its load: their admin ports, asked as one.

Rules: all are asked at once, and the answer is there when each has answered. One that cannot be asked is named, and the
question has failed: a sum that lacks a server is none. A server that is given twice, at two addresses, is found by its
``instance`` and refused: it would be counted twice.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from attrs import define
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ctrlserver.client.admin import AdminClient, Streams, open_admin
from ctrlserver.client.target import Target
from ctrlserver.errors import LoadError
from ctrlserver.load.measure.joined import Numbers, joined_orders, joined_streams, newest_in, summed

T = TypeVar("T")


@define(eq=False)
class Servers:
    """The admin ports at ``targets``; falsy where there is none. ``numbers`` is known once streams were asked for."""

    _reactor: IReactorTime
    targets: Sequence[Target]
    numbers: Numbers | None = None

    def __bool__(self) -> bool:
        return bool(self.targets)

    async def open(self, timeout: float) -> AdminClient | AllServers:
        """Connect to all within ``timeout``; LoadError names each that fails."""
        if len(self.targets) == 1:
            return await open_admin(self._reactor, self.targets[0], timeout)
        found = await _outcomes([open_admin(self._reactor, target, timeout) for target in self.targets])
        clients = [each for each in found if isinstance(each, AdminClient)]
        if len(clients) < len(found):
            for client in clients:
                client.close()
        return AllServers(self, _good(found))


@define(eq=False)
class AllServers:
    """A connection to each server, with the calls of an ``AdminClient``."""

    _servers: Servers
    _clients: Sequence[AdminClient]

    async def version(self) -> str:
        """The versions, each once; LoadError where two addresses are those of one server."""
        versions = await _all([client.version() for client in self._clients])
        known: dict[str, str] = {}
        for target, client in zip(self._servers.targets, self._clients, strict=True):
            before = known.setdefault(client.instance, target.text)
            if client.instance and before != target.text:
                raise LoadError(f"--admin: {before} and {target.text} are one server; give each server once")
        return ", ".join(dict.fromkeys(versions))

    async def stats(self) -> dict[str, object]:
        """The sums."""
        return summed(await _all([client.stats() for client in self._clients]))

    async def streams(self, limit: int) -> Streams:
        """The newest ``limit`` of each; ``total`` is that of the server which has most."""
        found = await _all([client.streams(limit) for client in self._clients])
        records = [each.records for each in found]
        if self._servers.numbers is None:
            self._servers.numbers = Numbers([newest_in(each) for each in records])
        return Streams(joined_streams(records, self._servers.numbers), max(each.total for each in found))

    async def kick(self, numbers: Sequence[int]) -> None:
        """Have each server end its own of these streams."""
        known = self._servers.numbers
        assert known is not None
        apart = [known.apart(number) for number in numbers]
        own = [[number for server, number in apart if server == index] for index in range(len(self._clients))]
        await _all([client.kick(each) for client, each in zip(self._clients, own, strict=True) if each])

    async def peers(self) -> list[dict[str, object]]:
        """The rows of all."""
        return [row for rows in await _all([client.peers() for client in self._clients]) for row in rows]

    async def injections(self) -> list[dict[str, object]]:
        """Those of all."""
        return joined_orders(await _all([client.injections() for client in self._clients]))

    def close(self) -> None:
        """Hang up."""
        for client in self._clients:
            client.close()


async def _all(questions: Sequence[Coroutine[Deferred[Any], Any, T]]) -> list[T]:
    return _good(await _outcomes(questions))


async def _outcomes(questions: Sequence[Coroutine[Deferred[Any], Any, T]]) -> list[T | Failure]:
    """The answer to each, or why there is none."""
    asked = [Deferred.fromCoroutine(question) for question in questions]
    return [outcome for _, outcome in await DeferredList(asked, consumeErrors=True)]


def _good(outcomes: Sequence[T | Failure]) -> list[T]:
    """The answers; LoadError with the words of all that failed, or what else went wrong."""
    failed = [each for each in outcomes if isinstance(each, Failure)]
    for failure in failed:
        if failure.check(LoadError) is None:
            failure.raiseException()
    if failed:
        raise LoadError("; ".join(dict.fromkeys(str(failure.value) for failure in failed)))
    return [each for each in outcomes if not isinstance(each, Failure)]
