"""The bound admin ports of a server: at the start, and as the config changes.

Rules:

- ``prepare`` goes to other ports in two steps, as the data plane does: it reads the secrets and binds what is new, and
  fails if it cannot; what it returns then closes those that are left over. Connections in use go on whatever becomes of
  their port, with the level they have.
- A port that goes on stays bound; its new connections have its new terms, and the certificates and the secret of now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger

from ctrlserver.admin.levels import strangers
from ctrlserver.admin.ports import AdminPorts
from ctrlserver.admin.protocol import AdminPort
from ctrlserver.admin.session import access_of
from ctrlserver.config import AdminConfig
from ctrlserver.config.changes import kept_ports
from ctrlserver.config.credentials import secret_of
from ctrlserver.config.endpoints import behind_proxy, private
from ctrlserver.errors import UsageError
from ctrlserver.net.accepting import accept_few, endpoint_of
from ctrlserver.net.listeners import CannotBind, announce, bound, over, transport_and_address
from ctrlserver.net.proxied import Door, listen_proxied


@define(eq=False)
class _Held:
    """A bound port, what it was bound for and what makes its connections."""

    config: AdminConfig
    factory: AdminPort
    port: IListeningPort


class BoundAdminPorts:
    """The ports of a server, whose connections share ``shared``; ``door`` is for those behind a proxy."""

    log = Logger()

    def __init__(self, shared: AdminPorts, door: Door, reactor: Any) -> None:
        self._shared = shared
        self._door = door
        self._reactor = reactor
        self._held: list[_Held] = []

    def bind(self, configs: Sequence[AdminConfig]) -> None:
        """Bind them all; ``CannotBind`` or ``UsageError`` names the first that cannot be had."""
        self.prepare(configs)()

    def prepare(self, configs: Sequence[AdminConfig]) -> Callable[[], Deferred[object]]:
        """Bind the ports that only ``configs`` have; ``CannotBind`` or ``UsageError``, and nothing has changed then.

        Return what goes on with those that are bound already, and begins to close those that are left over.
        """
        before = self._held
        places = kept_ports([("", each.config.endpoint) for each in before], [("", each.endpoint) for each in configs])
        after: list[_Held] = []
        steps: list[Callable[[], object]] = []
        try:
            for at, (config, place) in enumerate(zip(configs, places, strict=True)):
                name, secret = name_of(at), None if config.auth is None else secret_of(config.auth)
                factory = AdminPort(self._shared)
                if place is None:
                    port = self._bound(name, config, factory)
                    steps.append(partial(announce, name, port))
                else:
                    port = before[place].port
                    steps.append(self._going_on(name, config, factory, port))
                after.append(_Held(config, factory, port))
                access_of(config, port.getHost(), secret)
                steps.append(partial(self._grant, after[-1], name, secret))
        except (CannotBind, UsageError):
            for each in after:
                if all(each.port is not old.port for old in before):
                    each.port.stopListening()
            self._shared.all[:] = [each.factory for each in before]
            raise
        return partial(self._replace, after, steps)

    def _bound(self, name: str, config: AdminConfig, factory: AdminPort) -> IListeningPort:
        text = endpoint_text(config)
        return bound(name, config.endpoint, lambda: self._listen(config, factory, endpoint_of(self._reactor, text)))

    def _listen(
        self, config: AdminConfig, factory: AdminPort, endpoint: IStreamServerEndpoint
    ) -> Deferred[IListeningPort]:
        if behind_proxy(config.endpoint) is not None:
            return listen_proxied(endpoint, factory, self._door)
        return maybeDeferred(endpoint.listen, factory)

    def _going_on(
        self, name: str, config: AdminConfig, factory: AdminPort, port: IListeningPort
    ) -> Callable[[], object]:
        """What has ``port`` make its connections by ``factory``."""
        endpoint = over(name, config.endpoint, port, self._reactor, endpoint_text(config))
        return partial(self._listen, config, factory, endpoint)

    def _grant(self, held: _Held, name: str, secret: bytes | None) -> None:
        held.factory.access = access_of(held.config, held.port.getHost(), secret)
        accept_few(held.port, name, self._reactor)

    def _replace(self, after: list[_Held], steps: Sequence[Callable[[], object]]) -> Deferred[object]:
        before, self._held = self._held, after
        self._shared.all[:] = [each.factory for each in after]
        for step in steps:
            step()
        left = [each.port for each in before if all(each.port is not new.port for new in after)]
        self._warn_of_strangers()
        return DeferredList([maybeDeferred(port.stopListening) for port in left])  # type: ignore[return-value]

    def _warn_of_strangers(self) -> None:
        """One line if others than the operator can reach an admin port that has no secret."""
        reached = []
        for address, access in [(each.port.getHost(), each.factory.access) for each in self._held]:
            if access.secret is None and (who := strangers(address)):
                reached.append(f"{transport_and_address(address)} ({who}, as {access.begins})")
        if reached:
            self.log.warn(
                "an admin port without a secret is open to others: {reached}; auth in [[admin]] gives it one",
                event="admin-open-to-others",
                reached=", ".join(reached),
            )

    def close(self) -> Deferred[object]:
        """Close them; connections go on."""
        held, self._held = self._held, []
        return DeferredList([maybeDeferred(each.port.stopListening) for each in held])  # type: ignore[return-value]


def endpoint_text(config: AdminConfig) -> str:
    """The endpoint that Twisted listens by: without the PROXY header, and for its owner alone."""
    endpoint = private(config.endpoint)
    return behind_proxy(endpoint) or endpoint


def name_of(place: int) -> str:
    """What the port of this place in the config is called."""
    return "admin" if place == 0 else f"admin{place + 1}"
