"""Orders of a data plane: which listener, which streams."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import pytest_twisted
from attrs import evolve

from ctrlserver.config import ListenerConfig
from ctrlserver.errors import InjectionError
from ctrlserver.net.injected.streams import AnsweringStruck, SinkStruck
from ctrlserver.net.plane import DataPlane
from tests.net.test_plane import LOOPBACK, connected, plane_of
from tests.runs import reached


@pytest.fixture
def plane() -> Iterator[DataPlane]:
    plane, _ = plane_of(
        ListenerConfig(name="one", endpoint=LOOPBACK, mode="echo"),
        ListenerConfig(name="two", endpoint=LOOPBACK, mode="reply", framing="line"),
    )
    plane.bind()
    yield plane
    pytest_twisted.blockon(plane.stop_listening())
    plane.drain()
    plane.stop()


def test_an_order_of_an_unknown_listener_tells_the_nearest(plane: DataPlane) -> None:
    for name, hint in (("tow", 'no listener "tow"; did you mean "two"?'), ("x", "the listeners are one, two")):
        with pytest.raises(InjectionError, match=hint.replace("?", r"\?")) as refused:
            plane.inject(name, "swallow")
        assert 404 == refused.value.code


def test_an_order_that_cannot_strike_the_listener_is_refused(plane: DataPlane) -> None:
    with pytest.raises(InjectionError, match='"truncate" leaves answers whole') as refused:
        plane.inject("two", "truncate(1)")
    assert 409 == refused.value.code


def test_a_listener_tells_how_many_injections_it_has(plane: DataPlane) -> None:
    order = plane.inject("one", "swallow")
    assert [1, 0] == [record.injections for record in plane.records()]
    assert [order] == plane.orders() == plane.end_orders(order.number)
    assert [0, 0] == [record.injections for record in plane.records()]


@pytest_twisted.ensureDeferred
async def test_open_streams_are_struck_by_orders_for_all_that_concern_them_until_the_last_is_over(
    plane: DataPlane,
) -> None:
    def struck() -> list[str]:
        return [each.counters.origin.listener for each in plane.streams() if isinstance(each, AnsweringStruck)]

    with connected(plane, 0), connected(plane, 0), connected(plane, 1):
        await reached(lambda: len(list(plane.streams())) == 3)
        plane.inject("one", "swallow")
        plane.inject("one", "swallow", everybody=True, networks=())
        plane.inject("one", "close-at-once", everybody=True)
        assert [] == struck()
        plane.inject("one", "swallow", everybody=True)
        plane.inject("one", "delay(1s)", everybody=True)
        assert ["one", "one"] == struck()
        plane.end_orders(4)
        assert ["one", "one"] == struck()
        plane.end_orders("one")
        await reached(lambda: not struck())


@pytest.mark.parametrize("listener", [0, 1])
@pytest_twisted.ensureDeferred
async def test_a_stream_that_was_plain_between_two_orders_counts_the_hits_of_both(listener: int) -> None:
    plane, book = plane_of(
        ListenerConfig(name="one", endpoint=LOOPBACK, mode="echo", framing="line"),
        ListenerConfig(name="two", endpoint=LOOPBACK, mode="sink", framing="line"),
    )
    plane.bind()
    name, spec = ("one", "swallow") if listener == 0 else ("two", "slow-read(1GiB/s)")
    with connected(plane, listener) as client:
        for hits in (3, 6):
            await reached(lambda: len(list(plane.streams())) == 1)
            order = plane.inject(name, spec, everybody=True)
            client.sendall(b"a\n" * 3)
            await reached(lambda hits=hits: book.streams()[0].packets == hits)
            assert 3 == order.injection.hits.total
            plane.end_orders()
            await reached(lambda: not any(isinstance(each, SinkStruck | AnsweringStruck) for each in plane.streams()))
            assert hits == book.streams()[0].injected
    await plane.stop_listening()
    plane.drain()
    plane.stop()


@pytest_twisted.ensureDeferred
async def test_orders_belong_to_the_name_of_a_listener_and_outlive_its_terms(plane: DataPlane) -> None:
    order = plane.inject("one", "swallow")
    changed = ListenerConfig(name="one", endpoint=LOOPBACK, mode="echo", keep=3)
    await plane.prepare([changed]).put()
    assert (order,) == plane.listeners[0].terms.orders.active


@pytest_twisted.ensureDeferred
async def test_a_listener_in_whose_config_only_the_injections_change_goes_on_as_it_is(plane: DataPlane) -> None:
    before = plane.listeners[0]
    with connected(plane, 0):
        await reached(lambda: len(list(plane.streams())) == 1)
        await plane.prepare([ListenerConfig(name="one", endpoint=LOOPBACK, mode="echo", inject=("swallow",))]).put()
        assert (before, 1) == (plane.listeners[0], len(before.open_streams.all))
        assert ["swallow"] == [each.injection.spec.text for each in plane.orders()]


@pytest.mark.parametrize(("before", "hits"), [(ListenerConfig(mode="sink"), 0), (ListenerConfig(mode="echo"), 2)])
@pytest_twisted.ensureDeferred
async def test_a_stream_under_terms_that_are_replaced_is_struck_where_it_could_be_ordered_of_it(
    before: ListenerConfig, hits: int
) -> None:
    plane, book = plane_of(evolve(before, endpoint=LOOPBACK, framing="line"))
    plane.bind()
    with connected(plane, 0) as client:
        await reached(lambda: len(list(plane.streams())) == 1)
        after = ListenerConfig(endpoint=LOOPBACK, framing="line", mode="echo", keep=3)
        await plane.prepare([after]).put()
        order = plane.inject("data", "swallow", everybody=True)
        client.sendall(b"a\nb\n")
        await reached(lambda: sum(record.packets for record in book.streams()) == 2)
        assert (hits, hits) == (order.injection.hits.total, book.streams()[0].injected)
    await plane.stop_listening()
    plane.drain()
    plane.stop()


def test_what_the_config_orders_is_in_force_before_a_port_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    plane, _ = plane_of(ListenerConfig(endpoint=LOOPBACK, mode="echo", inject=("swallow",)))
    orders: list[int] = []

    def bind(*_: object) -> list[object]:
        orders.append(len(plane.orders()))
        return []

    monkeypatch.setattr(plane, "_bind", bind)
    plane.bind()
    plane.stop()
    assert ([1], []) == (orders, plane.orders())


def test_a_stream_knows_its_transport_whatever_its_protocol_is_called() -> None:
    other, _ = plane_of(
        ListenerConfig(endpoint="unix:/tmp/x", protocol="HTTP"),
        ListenerConfig(endpoint="haproxy:ssl:0", udp=False),
        ListenerConfig(endpoint="tcp:0", udp=True, protocol="SIP"),
    )
    terms = [each.terms.transport for each in other.listeners]
    datagrams = other.listeners[2].datagrams
    assert datagrams is not None
    assert ["unix", "tls", "tcp"] == terms
    assert "udp" == datagrams.peers.options.terms.transport
    assert datagrams.peers.options.terms.orders is other.listeners[2].terms.orders
