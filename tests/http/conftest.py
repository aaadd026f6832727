"""A site whose connections talk to transports in memory, on a clock of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from ctrlserver.admin.journal import Journal
from ctrlserver.http.channel import Channel
from ctrlserver.http.limits import Limits
from ctrlserver.http.request import Request
from ctrlserver.http.site import Page, Site


class Wire(StringTransport):
    """Lost in the turn in which it is aborted, as a socket's is soon after."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.channel: Channel | None = None

    def abortConnection(self) -> None:
        super().abortConnection()  # type: ignore[no-untyped-call]
        self.lose()

    def lose(self) -> None:
        if self.channel is not None:
            channel, self.channel = self.channel, None
            channel.connectionLost(Failure(ConnectionDone()))


class Visit:
    """One connection of a site."""

    def __init__(self, site: Site) -> None:
        self.wire = Wire()
        self.channel = site.buildProtocol(None)
        self.wire.channel = self.channel
        cast(Any, self.channel).makeConnection(self.wire)

    def send(self, octets: bytes) -> bytes:
        """What it is answered, so far."""
        if self.wire.channel is not None:
            self.channel.dataReceived(octets)
        return self.said

    @property
    def said(self) -> bytes:
        """By the server, so far."""
        return bytes(cast(Any, self.wire).value())

    @property
    def is_over(self) -> bool:
        return self.wire.channel is None or self.wire.disconnecting


class Place:
    """The site, its clock, and who visits it."""

    def __init__(self, pages: Mapping[str, Page], limits: Limits | None = None) -> None:
        self.clock = Clock()
        self.site = Site(pages, cast(Any, self.clock), Journal(self.clock.seconds), names={"lab"}, limits=limits)

    def visit(self) -> Visit:
        return Visit(self.site)

    def pass_time(self, seconds: float) -> None:
        """In steps as a running process has them."""
        for _ in range(round(seconds / 0.05)):
            self.clock.advance(0.05)


def hello(request: Request) -> None:
    request.answer(b"hello\n")


@pytest.fixture
def place() -> Place:
    return Place({"/hello": hello})
