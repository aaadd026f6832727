"""The frozen tree of the config, with every default.

Rules: sizes are bytes, times are seconds, texts are as the operator wrote them. The classes check nothing; what
``load_config``, ``override`` and ``default_config`` give has been checked.

Beware: an attribute here is a key of the TOML file by the same name, but for ``listeners``, whose tables are
``[[listener]]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from socket import AddressFamily

from attrs import field, frozen

from ctrlserver.config.endpoints import datagram_address, inherited_datagrams
from ctrlserver.stats.counters import Label
from ctrlserver.stats.records import field_names
from ctrlserver.stats.rename import Renames
from ctrlserver.units import parse_escapes
from ctrlserver.wire.framing import FramingSpec, parse_framing

Network = IPv4Network | IPv6Network


@frozen
class ListenerConfig:
    """One data listener."""

    name: str = "data"
    endpoint: str = "tcp:22222"
    framing: str = "fixed:1024"
    mode: str = "sink"
    reply: str = r"\x06"
    protocol: str | None = None
    labels: Mapping[str, Label] = field(factory=dict)
    max_packet: int = 1 << 20
    reply_buffer: int = 256 << 10
    keep: int = 0
    keep_bytes: int = 1 << 20
    stall_timeout: float = 30.0
    idle_timeout: float = 0.0
    max_streams_per_peer: int = 0
    allow: tuple[str, ...] = ()
    udp: bool = False
    udp_idle_timeout: float = 10.0
    max_udp_streams: int = 10_000
    udp_gro: bool = True
    receive_buffer: int = 4 << 20
    probe: bool = False

    @property
    def takes_datagrams(self) -> bool:
        """Whether there is a UDP port: beside the endpoint's own, or alone."""
        return self.udp or self.datagram_address is not None or self.inherited_datagrams is not None

    @property
    def datagram_address(self) -> tuple[int, str] | None:
        """Port and interface of an endpoint that is for UDP alone."""
        return datagram_address(self.endpoint)

    @property
    def inherited_datagrams(self) -> tuple[int, AddressFamily] | None:
        """Descriptor and address family of a UDP socket that systemd handed over."""
        return inherited_datagrams(self.endpoint)

    @property
    def framing_spec(self) -> FramingSpec:
        """``framing`` parsed, bounded by ``max_packet``; ``FramingSpecError`` where it is not good."""
        return parse_framing(self.framing, max_packet=self.max_packet)

    @property
    def networks(self) -> tuple[Network, ...]:
        """``allow`` parsed."""
        return tuple(map(ip_network, self.allow))

    @property
    def reply_bytes(self) -> bytes:
        """``reply`` as it goes out."""
        return parse_escapes(self.reply)


@frozen
class AdminConfig:
    """One admin listener."""

    endpoint: str = "tcp:22223:interface=127.0.0.1"


@frozen
class Config:
    """The whole; ``rename`` holds ``(old, new)`` pairs in the order they were written."""

    listeners: tuple[ListenerConfig, ...] = (ListenerConfig(),)
    admin: tuple[AdminConfig, ...] = (AdminConfig(),)
    run_gap: float = 1.0
    expected_packets: int | None = None
    max_streams: int | None = None
    rename: tuple[tuple[str, str], ...] = ()

    @property
    def published_names(self) -> frozenset[str]:
        """All that a record of this server may hold: the fields of the schema and the listeners' labels."""
        return field_names() | {label for listener in self.listeners for label in listener.labels}

    @property
    def renames(self) -> Renames:
        """``rename`` against the published names; ``RenameError`` where it would lose or hide one."""
        return Renames(self.rename, fields=self.published_names)


def default_config() -> Config:
    """What an empty file gives."""
    return Config()
