from __future__ import annotations

import re

import pytest

from ctrlserver.errors import InjectionError
from ctrlserver.inject.actions import KINDS, Kind
from ctrlserver.inject.parsing import parse_spec
from ctrlserver.inject.places import Place, check_place, check_sender

TCP, UNIX, TLS, UDP = (frozenset({name}) for name in ("tcp", "unix", "tls", "udp"))
BOTH = TCP | UDP

OF_STREAMS = {"stall", "slow-read", "reset", "close", "half-close"}
OF_REPLIES = {"delay", "swallow", "truncate", "corrupt", "duplicate", "wrong", "drip"}
OF_DATAGRAMS = {"swallow", "delay", "duplicate", "reorder", "corrupt"}
OF_ACCEPT = {"refuse", "close-at-once", "hang"}
OF_TLS = {"expired", "wrong-host", "self-signed", "handshake-hang"}
STRIKING = [kind for kind in KINDS.values() if kind.point]


def refusal(spec: str, place: Place) -> str:
    with pytest.raises(InjectionError) as caught:
        check_place(parse_spec(spec), place)
    assert 409 == caught.value.code
    return str(caught.value)


def strikes(kind: Kind, place: Place) -> bool:
    try:
        check_place(parse_spec(kind.form), place)
    except InjectionError:
        return False
    return True


@pytest.mark.parametrize(
    ("expected", "place"),
    [
        (OF_ACCEPT | OF_STREAMS, Place("data")),
        (OF_ACCEPT | OF_STREAMS | OF_REPLIES, Place("data", "echo")),
        (OF_ACCEPT | OF_STREAMS | OF_REPLIES, Place("data", "reply", UNIX, reply=b"a reply that is long\n")),
        (OF_ACCEPT | OF_TLS | OF_STREAMS | OF_REPLIES - {"half-close"}, Place("data", "echo", TLS)),
        (OF_DATAGRAMS, Place("data", "echo", UDP)),
        (set(), Place("data", "sink", UDP)),
        (OF_ACCEPT | OF_STREAMS | OF_REPLIES | OF_DATAGRAMS, Place("data", "echo", BOTH)),
        (OF_ACCEPT, Place("data", "source")),
        (OF_ACCEPT | OF_STREAMS | {"delay", "swallow", "drip"}, Place("data", "echo", packets=False)),
        ((OF_ACCEPT | OF_STREAMS) - {"refuse"}, Place("data", inherited=True)),
    ],
)
def test_each_action_strikes_where_it_can_and_is_refused_elsewhere(expected: set[str], place: Place) -> None:
    expected = expected - {"half-close"} if place.transports == TLS else expected
    assert expected == {kind.name for kind in STRIKING if strikes(kind, place)}


@pytest.mark.parametrize(
    ("expected", "spec", "place"),
    [
        ('"swallow" needs replies; listener "data" is a sink', "swallow", Place("data")),
        ('"delay" needs replies; listener "data" is a source', "3*delay(1s)", Place("data", "source")),
        ('"reset" needs packets that are received; listener "data" is a source', "reset", Place("data", "source")),
        ('"expired" needs TLS; listener "data" is without it', "expired", Place("data")),
        ('"reorder" needs datagrams; listener "data" is without a UDP port', "reorder", Place("data", "echo")),
        ('"reset" needs connections; listener "data" is a UDP port', "3*ok->reset", Place("data", "echo", UDP)),
        (
            '"half-close" needs a connection whose sending side can end alone; listener "data" is TLS',
            "half-close",
            Place("data", "echo", TLS),
        ),
        (
            '"refuse" closes the port; listener "a" is systemd\'s, which keeps it open',
            "refuse",
            Place("a", inherited=True),
        ),
        (
            '"3*ok" counts packets (a size such as "64KiB*" does not); listener "data" is raw and has none',
            "3*ok->reset",
            Place("data", packets=False),
        ),
        (
            '"corrupt" needs packets; listener "data" is raw and has none',
            "corrupt",
            Place("data", "echo", packets=False),
        ),
        (
            '"truncate" leaves answers whole; listener "data" is one whose answers have 1 byte',
            "truncate(1)",
            Place("data", "reply", reply=b"\6"),
        ),
        (
            '"wrong" is no wrong answer; listener "data" is to reply just that',
            r"wrong('\x06')",
            Place("data", "reply", reply=b"\6"),
        ),
    ],
)
def test_what_cannot_strike_is_refused_with_its_reason(expected: str, spec: str, place: Place) -> None:
    assert expected == refusal(spec, place)


@pytest.mark.parametrize(
    ("expected", "spec", "place"),
    [
        (
            '"delay" holds answers of 1024 bytes; the reply_buffer of listener "data" has 1000B',
            "5%*delay(1s)",
            Place("data", "echo", size=1024, reply_buffer=1000),
        ),
        (
            '"wrong" holds answers of 3 bytes; the reply_buffer of listener "data" has 2B',
            "wrong('NO!')",
            Place("data", "reply", reply=b"OK", reply_buffer=2),
        ),
        (
            '"drip" holds answers of 2 bytes; the reply_buffer of listener "data" has 1B',
            "drip(1B/s)",
            Place("data", "reply", reply=b"OK", reply_buffer=1),
        ),
    ],
)
def test_what_would_hold_more_than_the_reply_buffer_is_refused(expected: str, spec: str, place: Place) -> None:
    assert expected == refusal(spec, place)


def test_raw_bytes_may_be_counted_by_size() -> None:
    check_place(parse_spec("64KiB*ok->reset"), Place("data", packets=False))
    check_place(parse_spec("3*close-at-once"), Place("data", packets=False))


def test_where_packets_differ_in_size_what_is_held_is_not_known_before() -> None:
    check_place(parse_spec("delay(1s)"), Place("data", "echo", reply_buffer=1))
    check_place(parse_spec("truncate(1MiB)"), Place("data", "echo"))


def test_a_sender_does_nine_of_the_actions() -> None:
    able = {"reset", "close", "half-close", "stall", "slow-read", "drip", "corrupt", "truncate", "duplicate"}
    for kind in STRIKING:
        if kind.name in able:
            check_sender(parse_spec(f"3*ok->{kind.form}"))
        else:
            with pytest.raises(InjectionError, match=f'^"{kind.name}" is for a server; ctrlload can ') as caught:
                check_sender(parse_spec(kind.form))
            assert able == set(re.split(", | and ", str(caught.value).partition(" can ")[2]))


@pytest.mark.parametrize(
    ("expected", "spec", "transport", "size"),
    [
        (
            '"drip" needs a connection, not datagrams; ctrlload can corrupt and duplicate',
            "5th*corrupt->drip(1B/10ms)",
            "udp",
            100,
        ),
        (
            '"half-close" needs a connection whose sending side can end alone, not TLS; '
            "ctrlload can stall, slow-read, reset, close, truncate, corrupt, duplicate and drip",
            "half-close",
            "tls",
            None,
        ),
        ('"truncate(10)" leaves packets of 10 bytes whole', "truncate(10)", "tcp", 10),
        ('"corrupt" needs packets that have bytes', "corrupt", "udp", 0),
    ],
)
def test_what_a_sender_cannot_do_on_a_transport_is_refused(
    expected: str, spec: str, transport: str, size: int | None
) -> None:
    with pytest.raises(InjectionError) as caught:
        check_sender(parse_spec(spec), transport, size)
    assert expected == str(caught.value)


def test_a_sender_does_what_strikes_on_its_transport() -> None:
    check_sender(parse_spec("5th*corrupt->7th*duplicate->off"), "udp", 100)
    check_sender(parse_spec("3*ok->reset"), "tls")
    check_sender(parse_spec("truncate(10)"), "unix", None)
