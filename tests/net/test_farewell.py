"""TLS peers that say farewell right behind their last data, and read on: each gets its replies, then the end."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from threading import Thread

import pytest
import pytest_twisted

from tests.net.conftest import in_thread
from tests.net.test_protocol import Served, serve

__all__ = ["serve"]

pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")

pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted's own call

LINE = b"x" * 1000 + b"\n"


def all_replies(served: Served, content: bytes) -> bytes:
    """What comes back of ``content`` up to the end of the connection, whose last data the farewell follows at once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls, got, shaken = context.wrap_bio(coming, going), b"", False
    with served.connect() as client:
        while not shaken:
            with suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                shaken = True
            client.sendall(going.read())
            if not shaken:
                coming.write(client.recv(1 << 16))
        tls.write(content)
        with suppress(ssl.SSLWantReadError):
            tls.unwrap()
        sender = Thread(target=client.sendall, args=(going.read(),))
        sender.start()
        while more := client.recv(1 << 16):
            coming.write(more)
            with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                while octets := tls.read(1 << 16):
                    got += octets
        sender.join()
    return got


@pytest.mark.parametrize("content", [LINE * 50, LINE * 300, LINE * 1000, b"a\n" * 30_000], ids=len)
@pytest_twisted.ensureDeferred
async def test_who_says_farewell_gets_all_replies(serve: Callable[[], Awaitable[Served]], content: bytes) -> None:
    served = await serve()
    assert content == await in_thread(all_replies, served, content)
    (record,) = served.book.streams()
    packets = content.count(b"\n")
    assert ("eof", packets, len(content)) == (record.reason, record.packets, record.bytes)
    assert packets == served.stats().replies_total
