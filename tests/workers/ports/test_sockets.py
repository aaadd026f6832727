"""What a worker is told of its listeners, and sockets that share an address."""

from __future__ import annotations

import socket

import pytest

from ctrlserver.config import ListenerConfig
from ctrlserver.net.injected.ports import bring_back
from ctrlserver.workers.ports.sockets import for_worker, is_balanced_by_kernel, replicas


def test_a_workers_listener_is_the_same_without_what_the_parent_decides() -> None:
    config = ListenerConfig(name="one", endpoint="tcp:7", inject=("50%*drop",), max_streams_per_peer=3, keep=5)
    assert ListenerConfig(name="one", endpoint="tcp:7", keep=5) == for_worker(config)


@pytest.mark.parametrize(
    ("endpoint", "kernel"),
    [("tcp:7", True), ("haproxy:tcp:7", True), ("ssl:7:privateKey=x", True), ("unix:/run/x", False)],
)
def test_the_kernel_balances_ports_that_have_a_number_and_only_if_it_is_asked_to(endpoint: str, kernel: bool) -> None:
    config = ListenerConfig(name="one", endpoint=endpoint)
    assert [kernel, False] == [is_balanced_by_kernel(config, each) for each in ("kernel", "exact")]


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT")
def test_a_port_is_shared_though_connections_of_an_earlier_server_are_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as earlier:
        address = earlier.getsockname()
        client = socket.create_connection(address)
        left = earlier.accept()[0]
    left.close()  # it goes through TIME_WAIT
    client.close()
    with socket.create_server(address) as first:
        bring_back(first)
        made = replicas(first, 2)
        for each in made:
            each.listen()
            assert address == each.getsockname()
            each.close()
