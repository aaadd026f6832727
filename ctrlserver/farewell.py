"""The farewell of a TLS peer: the end of its input is not the end of our output, as over TCP.

Model: a TLS peer that has sent all says farewell (``close_notify``), and still reads. Twisted's TLS answers at once and
closes, so replies that are owed then would be lost. Here the protocol is told that input has ended, and TLS answers
when the protocol closes. A peer that ends the TCP connection without one is lost, as ever: it may have been cut off.

Beware: what TLS does with a farewell are methods of Twisted's that are not public. Where they are missing, all is as
Twisted has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import alsoProvides

#: Of the TLS layer: it says farewell, or answers it; it reads.
_METHODS = "_shutdownTLS", "_flushReceiveBIO"


class _FarewellError(Exception):
    """The peer has said farewell, and TLS does not answer yet."""


def half_close(transport: Any, told: Callable[[], object]) -> None:
    """Call ``told``, once, when a TLS peer has said farewell; nothing to do without TLS."""
    while transport is not None and not all(hasattr(type(transport), name) for name in _METHODS):
        transport = getattr(transport, "transport", None)
    if transport is not None:
        HalfClosing(transport, told)


class HalfClosing:
    """Stands in ``tls`` before what it does with a farewell, until the connection is lost."""

    def __init__(self, tls: Any, told: Callable[[], object]) -> None:
        self._tls = tls
        self._told: Callable[[], object] | None = told
        self._own = {
            "_shutdownTLS": self._shut,
            "_flushReceiveBIO": self._read,
            "connectionLost": self._lost,
            "readConnectionLost": self._ended,
            "writeConnectionLost": lambda: None,
        }
        vars(tls).update(self._own)
        alsoProvides(tls, IHalfCloseableProtocol)

    def _shut(self) -> None:
        if not self._tls.disconnecting:
            raise _FarewellError
        type(self._tls)._shutdownTLS(self._tls)

    def _read(self) -> None:
        tls = self._tls
        try:
            type(tls)._flushReceiveBIO(tls)
        except _FarewellError:
            told, self._told = self._told, None
            if told is not None:
                told()

    def _ended(self) -> None:
        """The TCP connection brings nothing more. That is no news after a farewell."""
        if self._told is not None:
            self._tls.transport.connectionLost(Failure(ConnectionDone()))

    def _lost(self, reason: Failure) -> None:
        """Cut the circle of references."""
        for name in self._own:
            vars(self._tls).pop(name, None)
        self._tls.connectionLost(reason)
