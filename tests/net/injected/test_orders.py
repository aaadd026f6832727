"""What is ordered of a listener, and who is told."""

from __future__ import annotations

import gc
from ipaddress import ip_network

from twisted.logger import capturedLogs

from ctrlserver.inject.parsing import parse_spec
from ctrlserver.inject.strikes import Injection
from ctrlserver.net.injected.orders import Order, Orders


def order(spec: str = "swallow", number: int = 1, *networks: str) -> Order:
    return Order(number, "data", Injection(parse_spec(spec), 7), tuple(map(ip_network, networks)) or None)


class Listener:
    """Notes what it is told, and what was active then."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.told: list[tuple[int, bool, int]] = []
        orders.watch(self.ordered)

    def ordered(self, order: Order, began: bool) -> None:
        self.told.append((order.number, began, len(self.orders.active)))


def test_watchers_are_told_once_an_order_is_active_and_once_it_no_longer_is() -> None:
    orders = Orders()
    listener, first, second = Listener(orders), order(), order(number=2)
    orders.begin(first)
    orders.begin(second)
    orders.end(first)
    assert [(1, True, 1), (2, True, 2), (1, False, 1)] == listener.told
    assert (second,) == orders.active


def test_a_watcher_that_is_gone_is_told_nothing_more() -> None:
    orders = Orders()
    listener, other = Listener(orders), Listener(orders)
    told = listener.told
    del listener
    gc.collect()
    orders.begin(order())
    assert ([], 1) == (told, len(other.told))


def test_a_watcher_that_raises_keeps_the_others_from_nothing() -> None:
    class Failing(Listener):
        def ordered(self, order: Order, began: bool) -> None:
            raise ValueError

    orders = Orders()
    listeners = Failing(orders), Listener(orders)
    first = order()
    with capturedLogs() as logged:
        orders.begin(first)
        orders.end(first)
    assert [(1, True, 1), (1, False, 0)] == listeners[1].told
    assert ["bug", "bug"] == [event["event"] for event in logged]


def test_a_stream_has_a_course_of_each_order_that_concerns_its_peer_and_its_transport() -> None:
    orders = Orders()
    for each in (
        order("swallow", 1),
        order("delay(1s)", 2, "10.0.0.0/8", "fd00::/8"),
        order("reorder", 3),
        order("refuse", 4),
    ):
        orders.begin(each)
    asked = {
        ("10.1.2.3:5", "tcp"): [1, 2],
        ("[fd00::1]:5", "tls"): [1, 2],
        ("127.0.0.1:5", "tcp"): [1],
        ("unix", "unix"): [1],
        ("127.0.0.1:5", "udp"): [1, 3],
        ("*", "udp"): [1, 3],
    }
    numbers = {each.injection: each.number for each in orders.active}
    for (peer, transport), expected in asked.items():
        assert expected == [numbers[each.injection] for each in orders.courses(peer, transport)], (peer, transport)
    assert [4] == [each.number for each in orders.of_connections()]
    assert len(asked) == orders.active[0].injection.streams


def test_peers_of_a_socket_for_both_versions_are_known_by_their_ipv4_address() -> None:
    assert order("swallow", 1, "10.0.0.0/8").concerns("[::ffff:10.0.0.1]:5")
