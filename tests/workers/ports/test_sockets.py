"""What a worker is told of its listeners, and sockets that share an address."""

from __future__ import annotations

import socket

import pytest

from ctrlserver.config import ListenerConfig
from ctrlserver.net.injected.ports import bring_back
from ctrlserver.workers.ports.sockets import for_worker, replicas


def test_a_workers_listener_is_the_same_without_what_the_parent_decides() -> None:
    config = ListenerConfig(name="one", endpoint="tcp:7", inject=("50%*drop",), max_streams_per_peer=3, keep=5)
    assert ListenerConfig(name="one", endpoint="tcp:7", max_streams_per_peer=3, keep=5) == for_worker(config)


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
