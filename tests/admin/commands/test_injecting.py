"""The commands about injections, over real orders of two listeners."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from attrs import evolve
from twisted.logger import LogEvent, formatEvent

from ctrlserver.admin.arguments import MOST
from ctrlserver.admin.levels import Level
from ctrlserver.admin.ports import AdminPorts
from ctrlserver.admin.session import Access
from ctrlserver.errors import InjectionError
from ctrlserver.inject.places import Place
from ctrlserver.net.injected.ordering import Ordering
from ctrlserver.net.injected.orders import record_of
from ctrlserver.stats.records import InjectionRecord, ListenerRecord
from tests.admin.conftest import Asks, Peer, Server, refusal

PLACES = {"data": Place("data", "echo", size=64), "sink": Place("sink"), "off": Place("off", "echo")}


@pytest.fixture
def ordering(server: Server) -> Ordering:
    """Of the server, which begins when the clock stands at 2023-11-14T22:13:20Z."""
    clock = server.clock
    ordering = Ordering(
        server.book.counters, clock, clock.seconds, lambda: round((1_700_000_000 + clock.seconds()) * 1e9), lambda: 42
    )

    def inject(listener: str, spec: str, **options: Any) -> InjectionRecord:
        if listener not in PLACES:
            raise InjectionError(f'no listener "{listener}"', 404)
        return record_of(ordering.begin(PLACES[listener], spec, **options))

    listeners = [ListenerRecord(name, "tcp:0", "", None, "line", "echo", 0, 0, 0, 0, False) for name in PLACES]
    server.desk = evolve(
        server.desk,
        listeners=lambda *_: listeners,
        inject=inject,
        injections=lambda over: ordering.records(over=over),
        end_injections=lambda which, by: [record_of(each) for each in ordering.end(which, by)],
    )
    server.factory = AdminPorts(server.desk, clock)
    return ordering


@pytest.fixture
def asks(server: Server, ordering: Ordering) -> Asks:
    assert [] == ordering.active()
    return server.connect().asks


def test_an_injection_is_ordered_and_has_a_number(asks: Asks) -> None:
    assert ["OK injection 1"] == asks("inject data '2*reset->off'")
    assert ["OK injection 2"] == asks("INJECT sink stall")


@pytest.mark.usefixtures("ordering")
def test_in_json_an_order_tells_the_seed_that_was_drawn(server: Server) -> None:
    assert {"injection": 1, "seed": 42} == server.connect().asks_json("inject data 5%*swallow")["data"]


@pytest.mark.usefixtures("ordering")
def test_the_listing_has_a_row_for_each_injection_in_force(server: Server) -> None:
    peer = server.connect()
    assert ["OK 0"] == peer.asks("inject")
    peer.asks("inject data 'delay( exp 20ms )' for=2s streams=all peer=10.0.0.0/8,::1 seed=7")
    peer.asks("inject sink 3*reset")
    assert [
        {
            "injection": 1,
            "listener": "data",
            "spec": "delay(exp 20ms)",
            "hits": 0,
            "active": True,
            "since": "2023-11-14T22:13:20.000Z",
            "until": "2023-11-14T22:13:22.000Z",
            "seed": 7,
            "peer": "10.0.0.0/8,::1/128",
            "streams": "all",
            "by": "127.0.0.1:5555",
        },
        {
            "injection": 2,
            "listener": "sink",
            "spec": "3*reset",
            "hits": 0,
            "active": True,
            "since": "2023-11-14T22:13:20.000Z",
            "until": None,
            "seed": 42,
            "peer": "all",
            "streams": "new",
            "by": "127.0.0.1:5555",
        },
    ] == peer.asks_json("inject")["data"]


def test_an_order_says_when_for_whom_and_for_how_long(ordering: Ordering, asks: Asks) -> None:
    asks("inject data swallow streams=all peer=10.0.0.0/8 for=90s")
    (order,) = ordering.active()
    assert (90.0, True, (ip_network("10.0.0.0/8"),)) == (order.seconds, order.everybody, order.networks)
    assert ("127.0.0.1:5555", "admin") == (order.by.peer, order.by.level)


def test_an_injection_ends_after_its_time_and_stays_on_view_among_all(
    server: Server, ordering: Ordering, asks: Asks
) -> None:
    asks("inject data swallow for=2s")
    (course,) = ordering.of("data").courses("10.0.0.1:1", "tcp")
    course.advance(5)
    server.clock.advance(2.5)
    assert ["OK 0"] == asks("inject")
    (row,) = server.connect().asks_json("inject all")["data"]
    assert (5, False, "2023-11-14T22:13:22.500Z") == (row["hits"], row["active"], row["until"])


@pytest.mark.parametrize(
    ("line", "spec"),
    [
        ("inject data delay(exp 20ms)", "delay(exp 20ms)"),
        ("inject data 3*ok -> 1*reset -> off seed=1", "3*ok->1*reset->off"),
        ("inject data seed=1 swallow", "swallow"),
        ("inject listener=data swallow", "swallow"),
        ("inject spec=swallow data", "swallow"),
        ("inject listener=off swallow", "swallow"),
        ("inject data spec='delay(exp 20ms)'", "delay(exp 20ms)"),
        ("inject data wrong('a=b')", "wrong('a=b')"),
        ("inject data \"wrong('a b')\"", "wrong('a b')"),
        ("inject data 'wrong(\"for=3s\")'", "wrong('for=3s')"),
        ("inject data 'SWALLOW'", "swallow"),
    ],
)
def test_a_spec_is_one_argument_with_quotes_or_without(ordering: Ordering, asks: Asks, line: str, spec: str) -> None:
    assert ["OK injection 1"] == asks(line)
    assert spec == ordering.active()[0].injection.spec.text


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("inject data '10%*dealy(200ms)'", '400 bad-spec spec: "dealy" at 5; did you mean "delay"?'),
        ("inject data 'swallow->'", '400 bad-spec spec: nothing at 10: expected an action before and after "->"'),
        ("inject data 3swallow", '400 bad-spec spec: "3swallow" at 1; did you mean "3*swallow"?'),
        ("inject sink swallow", '409 cannot-strike "swallow" needs replies; listener "sink" is a sink'),
        ("inject dta swallow", '404 unknown-listener no listener "dta"'),
        ("inject data", '400 missing-argument "inject" needs SPEC; usage: inject LISTENER SPEC [for=T] ...'),
        (
            "inject for=3s",
            '400 missing-argument "inject" needs LISTENER; usage: inject LISTENER SPEC [for=T] ...; "help',
        ),
        (
            "inject data swallow fr=3s",
            '400 unknown-argument "fr=3s" is nothing that "inject" takes; did you mean "for="?',
        ),
        ("inject data 'swallow' twice", '400 unknown-argument "twice" is nothing that "inject" takes; usage: inject'),
        ("inject data swallow for=1 for=2", "400 duplicate-argument for is given twice; give it once"),
        ("inject data swallow for=8d", '400 bad-argument for "8d": expected a duration from 0.001 to 604800 s'),
        ("inject data swallow for=0", '400 bad-argument for "0": expected a duration from 0.001 to 604800 s'),
        ("inject data swallow streams=old", '400 bad-argument streams "old": expected new or all'),
        ("inject data swallow seed=x", '400 bad-argument seed "x": expected a whole number in plain digits'),
        ("inject data swallow peer=", '400 bad-argument peer "": expected an address or a network such as 10.0.0.0/8'),
        ("inject off 9", "404 unknown-injection no injection 9 is active, nor is any other"),
        ("inject off dat", '404 unknown-listener no listener "dat"; did you mean "data"?'),
        ("inject off x", '404 unknown-listener no listener "x"; the listeners are data, sink, off'),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_what_is_good(asks: Asks, line: str, error: str) -> None:
    (told,) = asks(line)
    assert told.startswith(f"ERR {error}"), told
    assert ["OK 0"] == asks("inject all")


def test_a_network_with_an_address_inside_tells_the_network(asks: Asks) -> None:
    (told,) = asks("inject data swallow peer=10.0.0.1/8")
    assert told.endswith('several with commas between them; did you mean "10.0.0.0/8"?')


def test_a_seed_is_as_large_as_any_number(ordering: Ordering, asks: Asks) -> None:
    asks(f"inject data swallow seed={MOST}")
    assert MOST == ordering.active()[0].injection.seed


def test_injections_end_by_number_by_listener_or_all_at_once(asks: Asks) -> None:
    for line in ("data swallow", "data swallow", "sink stall", "data close"):
        asks(f"inject {line}")
    assert ["OK off 1"] == asks("inject off 2")
    assert ["ERR 404 unknown-injection no injection 2 is active; did you mean 1?"] == asks("inject off 2")
    assert ["OK off 2"] == asks("inject off data")
    assert ["OK off 0"] == asks("inject off data")
    assert ["OK off 1"] == asks("inject off")
    assert ["OK off 0"] == asks("inject off")


def test_in_json_an_end_tells_the_hits(server: Server, ordering: Ordering) -> None:
    peer = server.connect()
    peer.asks("inject data swallow")
    (course,) = ordering.of("data").courses("10.0.0.1:1", "tcp")
    course.advance(3)
    assert {"off": 1, "hits": 3} == peer.asks_json("inject off 1")["data"]


@pytest.mark.usefixtures("ordering")
@pytest.mark.parametrize(
    ("level", "refused"),
    [(Level.VIEWER, {"inject data swallow", "inject off", "inject for=1s"}), (Level.OPERATOR, set())],
)
def test_a_viewer_lists_injections_and_an_operator_orders_and_ends_them(
    server: Server, level: Level, refused: set[str]
) -> None:
    server.access = Access(level, level)
    peer = server.connect()
    lines = ("inject", "inject all", "inject data swallow", "inject off", "inject for=1s", "inject json", "help inject")
    assert refused == {line for line in lines if peer.asks(line)[-1].startswith("ERR 403")}


def test_an_order_whose_line_was_cut_is_not_carried_out(server: Server, ordering: Ordering) -> None:
    peer = server.connect()
    peer.says(b"inject data swallow")
    peer.ends()
    assert b"ERR 400 incomplete-line" in peer.transport.sent
    assert [] == ordering.active()


def test_each_change_is_one_line_of_the_log_that_names_the_peer_and_its_level(
    asks: Asks, logged: list[LogEvent]
) -> None:
    asks("inject data swallow for=1m")
    asks("inject off")
    assert [
        "injection 1 of data began: swallow, for 60 s, by 127.0.0.1:5555 (admin)",
        "injection 1 of data ended: swallow, off by 127.0.0.1:5555 (admin), 0 hits",
    ] == [formatEvent(event) for event in logged]
    assert [("127.0.0.1:5555", "admin")] * 2 == [(event["peer"], event["peer_level"]) for event in logged]


def test_a_desk_without_a_data_plane_says_that_it_cannot(peer: Peer) -> None:
    assert ("409", "not-available") == refusal(peer.asks("inject data swallow"))
    assert ["OK 0"] == peer.asks("inject")


@pytest.mark.usefixtures("ordering")
def test_injections_are_renamed_as_other_records_are(server: Server) -> None:
    peer = server.connect()
    peer.asks("rename spec what")
    peer.asks("inject data swallow")
    assert "swallow" == peer.asks_json("inject")["data"][0]["what"]
