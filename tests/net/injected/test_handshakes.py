"""TLS handshakes that orders strike, at real listeners; Python's ssl and curl are the judges."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from attrs import evolve

from ctrlserver.config import ListenerConfig
from ctrlserver.errors import InjectionError
from ctrlserver.net.injected.orders import Order
from tests.certificates import Made, made, pem_of
from tests.integration.conftest import needs, run
from tests.net.conftest import PATIENCE, in_thread
from tests.net.test_plane_changes import Served
from tests.runs import reached

pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # as Twisted passes them

HEADER = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n"
REASONS = [("expired", 10), ("wrong-host", 62), ("self-signed", 18)]
"""With the numbers that OpenSSL has for them: see tests/net/injected/test_minting.py."""


class Secured(Served):
    """A TLS listener in mode echo, with a certificate of localhost by a CA of its own."""

    def __init__(self, folder: Path, *, proxied: bool = False) -> None:
        self.ca = made("lab CA", authority=True)
        self.trusted, file = folder / "ca.pem", folder / "ca-both.pem"
        self.trusted.write_bytes(self.ca.pem)
        file.write_bytes(pem_of(self.ca))
        self.certificate = folder / "shown.pem"
        self.show(made("localhost", by=self.ca))
        front = "haproxy:" if proxied else ""
        endpoint = f"{front}ssl:0:interface=127.0.0.1:privateKey={self.certificate}"
        self.config = ListenerConfig(name="one", endpoint=endpoint, framing="line", mode="echo", inject_ca=str(file))
        super().__init__(self.config)
        self.address = ("127.0.0.1", self.number("one"))

    def show(self, certificate: Made) -> None:
        self.certificate.write_bytes(pem_of(certificate))

    def connect(self, _: str = "") -> socket.socket:
        """A client's socket; threads may ask for one, so the port is not asked for its number."""
        return socket.create_connection(self.address, PATIENCE)

    def order(self, spec: str) -> Order:
        return self.plane.inject("one", spec)

    def asked(self, before: bytes = b"", after: bytes = b"") -> int | bytes:
        """What a client sees, in a thread: OpenSSL's number for what it has against the certificate; or its echo."""
        asking = ssl.create_default_context(cafile=str(self.trusted))
        with self.connect() as plain:
            plain.sendall(before)
            try:
                with asking.wrap_socket(plain, server_hostname="localhost") as client:
                    client.sendall(after + b"a\n")
                    return client.recv(10)
            except ssl.SSLCertVerificationError as error:
                return error.verify_code
            except ssl.SSLEOFError:
                return b""

    def figure(self, name: str) -> int:
        return int(getattr(self.book.stats(0.0), name))


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    served = Secured(tmp_path)
    yield served
    served.close()


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Secured]:
    served = Secured(tmp_path, proxied=True)
    yield served
    served.close()


@pytest.mark.parametrize(("action", "number"), REASONS)
@pytest_twisted.ensureDeferred
async def test_the_client_sees_just_the_reason_and_the_right_certificate_when_it_ends(
    secured: Secured, action: str, number: int
) -> None:
    order = secured.order(action)
    for _ in range(2):
        assert number == await in_thread(secured.asked)
    secured.plane.end_orders()
    assert b"a\n" == await in_thread(secured.asked)
    await reached(lambda: not list(secured.plane.streams()))
    assert (2, 2, 3) == tuple(
        secured.figure(name) for name in ("injected_total", "closed_handshake_total", "streams_total")
    )
    assert 2 == order.injection.hits.total
    assert [0, 1, 1] == [stream.injected for stream in secured.book.streams()]
    assert isinstance(secured.plane.listeners[0].port.socket, socket.socket)  # type: ignore[union-attr]


@needs("curl")
@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("expired", "certificate has expired"),
        ("wrong-host", "no alternative certificate subject name matches target host name 'localhost'"),
        ("self-signed", "self-signed certificate"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_curl_names_the_reason(secured: Secured, action: str, words: str) -> None:
    secured.order(action)
    url = f"https://localhost:{secured.address[1]}/"
    done = await in_thread(run, "curl", "-sS", "--ipv4", "--cacert", secured.trusted, url)
    assert 60 == done.returncode, done.stderr
    assert words in done.stderr.decode().replace("self signed", "self-signed")


@pytest_twisted.ensureDeferred
async def test_one_order_may_strike_in_several_ways_one_after_the_other(secured: Secured) -> None:
    order = secured.order("1*ok->1*close-at-once->1*self-signed->2nd*wrong-host->1*expired->off")
    seen = [await in_thread(secured.asked) for _ in range(7)]
    assert [b"a\n", b"", 18, 10, 62, b"a\n", b"a\n"] == seen
    assert [0, 1, 1, 1, 1, 0] == order.injection.hits.terms


@pytest_twisted.ensureDeferred
async def test_a_client_that_verifies_nothing_is_served_all_the_same(secured: Secured) -> None:
    secured.order("expired")

    def asked() -> bytes:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.VerifyMode.CERT_NONE
        with secured.connect() as plain, context.wrap_socket(plain) as client:
            client.sendall(b"a\n")
            return client.recv(10)

    assert b"a\n" == await in_thread(asked)


@pytest.mark.parametrize(("before", "after"), [(HEADER, b""), (b"", HEADER)])
@pytest_twisted.ensureDeferred
async def test_behind_a_proxy_the_header_may_come_before_tls_or_inside(
    proxied: Secured, before: bytes, after: bytes
) -> None:
    order = proxied.order("1*expired->off")
    assert 10 == await in_thread(proxied.asked, before, after)
    assert b"a\n" == await in_thread(proxied.asked, before, after)
    assert 1 == order.injection.hits.total
    (struck,) = [stream.peer for stream in proxied.book.streams() if stream.injected] or [""]
    assert struck == ("203.0.113.7:56324" if before else "")


@pytest_twisted.ensureDeferred
async def test_a_handshake_hangs_and_goes_on_when_the_order_ends(secured: Secured) -> None:
    secured.order("handshake-hang")
    answers = [in_thread(secured.asked) for _ in range(2)]
    await reached(lambda: len(list(secured.plane.streams())) == 2)
    assert [1, 1] == [stream.injected for stream in secured.book.streams()]
    with secured.connect() as client:
        client.sendall(b"\x16" * 100_000)
        await reached(lambda: len(list(secured.plane.streams())) == 3)
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            await in_thread(client.recv, 1)
    secured.plane.end_orders()
    for answer in answers:
        assert b"a\n" == await answer
    await reached(lambda: secured.figure("closed_handshake_total") == 1)


@pytest_twisted.ensureDeferred
async def test_a_handshake_that_hangs_ends_at_the_limit_of_handshakes(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctrlserver.net.protocol.HANDSHAKE_SECONDS", 0.05)
    secured.order("handshake-hang")

    def asked() -> str:
        try:
            return str(secured.asked())
        except OSError as error:
            return type(error).__name__

    assert "ConnectionResetError" == await in_thread(asked)
    assert (1, 0) == (secured.figure("closed_handshake_total"), secured.figure("streams_open"))


@pytest_twisted.ensureDeferred
async def test_the_end_of_a_peer_whose_handshake_hangs_is_noticed_at_once(secured: Secured) -> None:
    secured.order("handshake-hang")
    with secured.connect() as client:
        client.sendall(b"\x16\x03")
        await reached(lambda: secured.figure("streams_open") == 1)
    await reached(lambda: secured.figure("closed_handshake_total") == 1)
    secured.plane.end_orders()


@pytest_twisted.ensureDeferred
async def test_a_reload_keeps_the_order_and_shows_the_new_certificate_after_it(secured: Secured) -> None:
    order = secured.order("1*ok->1*expired->1*wrong-host->off")
    assert b"a\n" == await in_thread(secured.asked)
    secured.show(made("localhost", by=secured.ca))
    await secured.change(secured.config)
    assert 10 == await in_thread(secured.asked)
    await secured.change(evolve(secured.config, keep=1))
    assert [62, b"a\n"] == [await in_thread(secured.asked) for _ in range(2)]
    assert 2 == order.injection.hits.total


@pytest_twisted.ensureDeferred
async def test_a_tls_port_refuses_and_hangs(secured: Secured) -> None:
    secured.order("refuse")
    with pytest.raises(ConnectionRefusedError):
        secured.connect()
    await secured.change(secured.config)
    with pytest.raises(ConnectionRefusedError):
        secured.connect()
    secured.order("hang")
    secured.plane.end_orders(1)
    answer = in_thread(secured.asked)
    await in_thread(secured.connect().close)
    assert 0 == secured.figure("streams_total")
    secured.plane.end_orders()
    assert b"a\n" == await answer


def test_a_certificate_that_nobody_can_sign_is_refused_and_nothing_is_ordered(secured: Secured) -> None:
    secured.change(evolve(secured.config, inject_ca=None))
    with pytest.raises(InjectionError, match='the private key of "CN=lab CA", which signed') as refused:
        secured.order("expired")
    assert 409 == refused.value.code
    assert [] == secured.plane.orders()
    secured.order("self-signed")
