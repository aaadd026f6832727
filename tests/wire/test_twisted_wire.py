"""The wire formats are Twisted's: its own receivers take what encode gives, and what they send is taken."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.protocols import basic

from ctrlserver.wire.framing import parse_framing

some = settings(max_examples=20, deadline=None)


class Recording:
    """Twisted's receivers call one of the two for each packet."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def stringReceived(self, payload: bytes) -> None:
        self.received.append(payload)

    lineReceived = stringReceived


class Int8(Recording, basic.Int8StringReceiver):
    pass


class Int16(Recording, basic.Int16StringReceiver):
    pass


class Int32(Recording, basic.Int32StringReceiver):
    pass


class Netstrings(Recording, basic.NetstringReceiver):
    pass


class CrLfLines(Recording, basic.LineReceiver):
    pass


class LfLines(Recording, basic.LineReceiver):
    delimiter = b"\n"


class OnlyLines(Recording, basic.LineOnlyReceiver):
    delimiter = b"\n"


class NulEnded(Recording, basic.LineReceiver):
    delimiter = b"\0"


any_bytes = st.binary(max_size=255)
lines = any_bytes.map(lambda line: line.replace(b"\n", b".").replace(b"\r", b"."))
WIRES = [
    ("int8", Int8, any_bytes),
    ("int16", Int16, any_bytes),
    ("int32", Int32, any_bytes),
    ("netstring", Netstrings, any_bytes),
    ("line", LfLines, lines),
    ("line", OnlyLines, lines),
    ("delimited:0d0a", CrLfLines, lines),
    ("delimited:00", NulEnded, any_bytes.map(lambda payload: payload.replace(b"\0", b"."))),
]
every_wire = pytest.mark.parametrize(
    ("text", "peer", "payloads"), WIRES, ids=lambda value: getattr(value, "__name__", "")
)


def connected(peer: type[Any]) -> tuple[Any, StringTransport]:
    protocol, transport = peer(), StringTransport()
    protocol.makeConnection(transport)
    return protocol, transport


def send(protocol: Any, payload: bytes) -> None:
    if isinstance(protocol, (basic.IntNStringReceiver, basic.NetstringReceiver)):
        protocol.sendString(payload)  # type: ignore[no-untyped-call] # Twisted leaves it untyped
    else:
        protocol.sendLine(payload)


@every_wire
@some
@given(data=st.data())
def test_twisted_receives_what_encode_gives(
    text: str, peer: type[Any], payloads: st.SearchStrategy[bytes], data: st.DataObject
) -> None:
    sent = data.draw(st.lists(payloads, max_size=6))
    stream = b"".join(map(parse_framing(text).new().encode, sent))
    cut = data.draw(st.integers(0, len(stream)))
    protocol, transport = connected(peer)
    protocol.dataReceived(stream[:cut])
    protocol.dataReceived(stream[cut:])
    assert sent == protocol.received
    assert not transport.disconnecting


@every_wire
@some
@given(data=st.data())
def test_what_twisted_sends_is_received(
    text: str, peer: type[Any], payloads: st.SearchStrategy[bytes], data: st.DataObject
) -> None:
    sent = data.draw(st.lists(payloads, max_size=6))
    protocol, transport = connected(peer)
    for payload in sent:
        send(protocol, payload)
    stream = transport.value()
    cut = data.draw(st.integers(0, len(stream)))
    feeding, counting = parse_framing(text).new(), parse_framing(text).new()
    assert sent == feeding.feed(stream[:cut]) + feeding.feed(stream[cut:])
    assert len(sent) == counting.count(stream[:cut]) + counting.count(stream[cut:])


@some
@given(sent=st.lists(lines, max_size=6))
def test_lines_that_twisted_ends_with_crlf_are_received_without_the_cr(sent: list[bytes]) -> None:
    protocol, transport = connected(CrLfLines)
    for line in sent:
        send(protocol, line)
    assert sent == parse_framing("line").new().feed(transport.value())


@some
@given(stream=st.text("0123:,a", max_size=30).map(str.encode))
def test_netstrings_that_twisted_refuses_are_faults_and_the_others_are_not(stream: bytes) -> None:
    protocol, transport = connected(Netstrings)
    protocol.dataReceived(stream)
    framing = parse_framing("netstring", max_packet=protocol.MAX_LENGTH).new()
    assert protocol.received == framing.feed(stream)
    assert bool(transport.disconnecting) == (framing.fault is not None)
