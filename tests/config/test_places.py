"""A listener as injections see it."""

from __future__ import annotations

import pytest

from ctrlserver.config import ListenerConfig
from ctrlserver.config.places import place_of
from ctrlserver.inject.places import Place


@pytest.mark.parametrize(
    ("listener", "place"),
    [
        (ListenerConfig(), Place("data", size=1024)),
        (
            ListenerConfig(name="x", mode="reply", reply=r"OK\n", framing="line", endpoint="unix:/tmp/x"),
            Place("x", "reply", frozenset({"unix"}), reply=b"OK\n"),
        ),
        (
            ListenerConfig(mode="echo", framing="raw", udp=True, reply_buffer=1 << 10),
            Place("data", "echo", frozenset({"tcp", "udp"}), packets=False, reply_buffer=1 << 10),
        ),
        (ListenerConfig(endpoint="haproxy:ssl:0", framing="int8"), Place("data", transports=frozenset({"tls"}))),
        (ListenerConfig(endpoint="udp:0", mode="echo"), Place("data", "echo", frozenset({"udp"}))),
        (
            ListenerConfig(endpoint="haproxy:systemd:domain=INET:index=0", framing="line"),
            Place("data", inherited=True),
        ),
    ],
)
def test_what_a_listener_is_to_injections_follows_from_its_keys(listener: ListenerConfig, place: Place) -> None:
    assert place == place_of(listener)
