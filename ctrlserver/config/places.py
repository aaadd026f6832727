"""A listener as injections see it: its ``Place``."""

from __future__ import annotations

from ctrlserver.config.endpoints import behind_proxy, transport_word
from ctrlserver.config.tree import ListenerConfig
from ctrlserver.inject.places import Place


def place_of(listener: ListenerConfig) -> Place:
    """The place of ``listener``, whose config is good."""
    spec = listener.framing_spec
    alone = listener.datagram_address is not None or listener.inherited_datagrams is not None
    transports = {"udp"} if alone else {transport_word(listener.endpoint)}
    if listener.udp:
        transports.add("udp")
    return Place(
        listener=listener.name,
        mode=listener.mode,
        transports=frozenset(transports),
        packets=alone or spec.counts_packets,
        size=None if alone else spec.size,
        reply=listener.reply_bytes if listener.mode == "reply" else b"",
        reply_buffer=listener.reply_buffer,
        inherited=(behind_proxy(listener.endpoint) or listener.endpoint).startswith("systemd:"),
    )
