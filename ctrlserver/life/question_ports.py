"""The bound ports at which questions are answered: the admin ports, and the one by HTTP.

Rules: as for the admin ports (``admin_ports.py``): all or nothing, what goes on stays bound. What is needed for HTTP is
imported when the config asks for it first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IListeningPort

from ctrlserver.admin.ports import AdminPorts
from ctrlserver.config import Config, HttpConfig
from ctrlserver.config.changes import one_port
from ctrlserver.config.endpoints import behind_proxy, private
from ctrlserver.errors import UsageError
from ctrlserver.life.admin_ports import BoundAdminPorts
from ctrlserver.net.accepting import accept_few, endpoint_of
from ctrlserver.net.listeners import CannotBind, announce, bound, over
from ctrlserver.net.proxied import Door, listen_proxied

if TYPE_CHECKING:
    from ctrlserver.http.site import Site

NAME = "http"


@frozen
class _Held:
    """The bound port, and what it was bound for."""

    config: HttpConfig
    port: IListeningPort


class QuestionPorts:
    """The ports of a server. ``shared``: what the admin ports share; ``door`` is for connections behind a proxy."""

    def __init__(self, shared: AdminPorts, door: Door, reactor: Any) -> None:
        self._shared = shared
        self._admin = BoundAdminPorts(shared, door, reactor)
        self._door = door
        self._reactor = reactor
        self._held: _Held | None = None
        self._site: Site | None = None

    def bind(self, config: Config) -> None:
        """Bind them all; ``CannotBind`` or ``UsageError`` names the first that cannot be had."""
        self.prepare(config)()

    def prepare(self, config: Config) -> Callable[[], Deferred[object]]:
        """Bind the ports that only ``config`` has; ``CannotBind`` or ``UsageError``, and nothing has changed then.

        Return what goes on with those that are bound already, and begins to close those that are left over.
        """
        put_http, give_up = self._prepare_http(config.http)
        try:
            put_admin = self._admin.prepare(config.admin)
        except (CannotBind, UsageError):
            give_up()
            raise
        return lambda: DeferredList([maybeDeferred(put_http), maybeDeferred(put_admin)])  # type: ignore[return-value]

    def _prepare_http(self, config: HttpConfig | None) -> tuple[Callable[[], object], Callable[[], object]]:
        """What goes over to ``config``, and what goes back instead."""
        before = self._held
        if config is None:
            return self._close_http, lambda: None
        site, text = self._site or self._make_site(), private(config.endpoint)
        text = behind_proxy(text) or text
        kept = before is not None and one_port(before.config.endpoint, config.endpoint)
        if before is not None and kept:
            endpoint = over(NAME, config.endpoint, before.port, self._reactor, text)
            after = _Held(config, before.port)
        else:
            endpoint = endpoint_of(self._reactor, text)
            port = bound(NAME, config.endpoint, lambda: self._listen(config, site, endpoint))
            after = _Held(config, port)

        def put() -> object:
            from ctrlserver.http.site import names_of_this_machine

            self._held, self._site = after, site
            site.names = frozenset({*names_of_this_machine(), *config.hosts})
            if kept:
                self._listen(config, site, endpoint)
            else:
                announce(NAME, after.port)
            proxied = behind_proxy(config.endpoint) is not None
            site.accept_by(accept_few(after.port, NAME, self._reactor), proxied=proxied)
            return None if before is None or kept else before.port.stopListening()

        return put, lambda: None if kept else after.port.stopListening()

    def _listen(self, config: HttpConfig, site: Site, endpoint: Any) -> Deferred[IListeningPort]:
        if behind_proxy(config.endpoint) is not None:
            return listen_proxied(endpoint, site, self._door)
        return maybeDeferred(endpoint.listen, site)

    def _make_site(self) -> Site:
        from ctrlserver.http.page.pages import live_pages
        from ctrlserver.http.pages import pages
        from ctrlserver.http.site import Site

        shared = self._shared
        found = {**pages(shared), **live_pages(shared)}
        return Site(found, self._reactor, shared.journal, reserve=shared.reserve)

    def _close_http(self) -> object:
        held, self._held = self._held, None
        return None if held is None else held.port.stopListening()

    def close(self) -> Deferred[object]:
        """Close the ports; connections go on."""
        return DeferredList([self._admin.close(), maybeDeferred(self._close_http)])  # type: ignore[return-value]

    def end(self) -> None:
        """End all connections."""
        self._shared.close()
        if self._site is not None:
            self._site.connections.close()
