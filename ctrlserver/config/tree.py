r"""The frozen tree of the config: each key with its type, its default and what reads it.

A key is an attribute of the same name, but for ``listeners``, whose tables are ``[[listener]]``. ``_key`` declares it,
once. Its reader takes what TOML or the command line gave and returns the attribute's value, or raises
``UsageError`` with what was given, what was expected and the nearest good value. The caller puts the file and the key,
or the flag, before that.

Rules: sizes are bytes, times are seconds, texts are as the operator wrote them. Every size and number has a bound, its
reason beside it.

Beware: the classes check nothing; ``load_config`` and ``override`` return a checked config. Whether values go together
(a framing with its ``max_packet``, say) is for ``conflicts``.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from socket import AddressFamily
from typing import Any

from attrs import Factory, field, fields, frozen

from ctrlserver.config.answers import read_answers
from ctrlserver.config.endpoints import datagram_address, inherited_datagrams
from ctrlserver.config.values import (
    Reader,
    count,
    duration,
    one_of,
    read_admin_endpoint,
    read_allow,
    read_auth,
    read_endpoint,
    read_flag,
    read_framing,
    read_history,
    read_hosts,
    read_inject,
    read_inject_ca,
    read_keepalive,
    read_labels,
    read_name,
    read_protocol,
    read_rename,
    read_reply,
    read_workers,
    size,
)
from ctrlserver.inject.rules import Rule
from ctrlserver.logs.level import LEVELS
from ctrlserver.logs.lines import FORMATS
from ctrlserver.stats.counters import Label
from ctrlserver.stats.records import field_names
from ctrlserver.stats.rename import Renames
from ctrlserver.units import parse_escapes
from ctrlserver.wire.framing import FramingSpec, parse_framing

_READ = "read"
Network = IPv4Network | IPv6Network

RANKS = ("viewer", "operator", "admin")
"""What a peer of the admin port may do; each may do all that those before it may."""
MODES = ("sink", "echo", "reply", "source")
"""What the server does: count a packet and discard it, send it back, answer it with ``reply``; or send packets."""
BALANCES = ("exact", "kernel")
"""Who chooses the worker of a connection: the parent, by what the workers have to do, or the kernel."""
_LARGEST_BUFFER = 1 << 30
"""Bytes one stream may be allowed to hold for one packet or for its replies: a few of them fill a machine."""
_LARGEST_MEMORY = 1 << 50
"""Bytes the server may hold for its peers: more than any machine has."""
_LARGEST_KEPT = 64 << 20
"""Bytes of kept packets a stream may hold: what all the closed streams together may."""
_MOST_KEPT = 100_000
"""Packets a stream may keep: small packets cost more in objects than in bytes."""
_MOST_STREAMS = 10**9
"""More than any machine has descriptors for."""
_MOST_RUNS = 10**7
"""Runs in a history: some gigabytes."""
_MOST_UDP_STREAMS = 100_000
"""Peers a UDP port may tell apart: each tick walks over all of them, 30 ms for this many."""


def _key(default: object, read: Reader) -> Any:
    """An attribute that is a key of its name; ``default`` is the value without it, as ``read`` would return it."""
    return field(default=default, metadata={_READ: read})


def readers(kind: type) -> dict[str, Reader]:
    """The keys of a class of the tree, in its order, with their readers."""
    return {each.name: each.metadata[_READ] for each in fields(kind) if _READ in each.metadata}


@frozen
class ListenerConfig:
    """One data listener."""

    name: str = _key("data", read_name)
    endpoint: str = _key("tcp:22222", read_endpoint)
    framing: str = _key("fixed:1024", read_framing)
    mode: str = _key("sink", one_of(MODES, "unknown mode "))
    reply: str = _key(r"\x06", read_reply)
    protocol: str | None = _key(None, read_protocol)
    labels: Mapping[str, Label] = _key(Factory(dict), read_labels)
    max_packet: int = _key(1 << 20, size(1, _LARGEST_BUFFER, 'a size from 1 byte to "1GiB"'))
    reply_buffer: int = _key(256 << 10, size(1, _LARGEST_BUFFER, 'a size from 1 byte to "1GiB"'))
    keep: int = _key(0, count(0, _MOST_KEPT, f"a number of packets from 0 to {_MOST_KEPT}"))
    keep_bytes: int = _key(1 << 20, size(1, _LARGEST_KEPT, 'a size from 1 byte to "64MiB"'))
    stall_timeout: float = _key(30.0, duration(0.001, 'a duration of at least "1ms"'))
    idle_timeout: float = _key(0.0, duration(0, "a duration, or 0 for none"))
    keepalive: float = _key(60.0, read_keepalive)
    max_streams_per_peer: int = _key(
        0, count(0, _MOST_STREAMS, f"a number of streams up to {_MOST_STREAMS}, or 0 for any")
    )
    allow: tuple[str, ...] = _key((), read_allow)
    udp: bool = _key(False, read_flag)
    udp_idle_timeout: float = _key(10.0, duration(0.001, 'a duration of at least "1ms"'))
    max_udp_streams: int = _key(
        10_000, count(1, _MOST_UDP_STREAMS, f"a number of streams from 1 to {_MOST_UDP_STREAMS}")
    )
    udp_gro: bool = _key(True, read_flag)
    receive_buffer: int = _key(4 << 20, size(0, _LARGEST_BUFFER, 'a size up to "1GiB", 0 for the system\'s own'))
    probe: bool = _key(False, read_flag)
    inject: tuple[str, ...] = _key((), read_inject)
    inject_ca: str | None = _key(None, read_inject_ca)
    answers: tuple[Rule, ...] = _key((), read_answers)

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

    endpoint: str = _key("tcp:22223:interface=127.0.0.1", read_admin_endpoint)
    level: str | None = _key(None, one_of(RANKS))
    auth: str | None = _key(None, read_auth)


@frozen
class HttpConfig:
    """Where the server answers by HTTP; without one it does not."""

    endpoint: str = _key("tcp:9464:interface=127.0.0.1", read_admin_endpoint)
    hosts: tuple[str, ...] = _key((), read_hosts)


@frozen
class Config:
    """The whole; ``rename`` holds ``(old, new)`` pairs in the order they were written."""

    listeners: tuple[ListenerConfig, ...] = (ListenerConfig(),)
    admin: tuple[AdminConfig, ...] = (AdminConfig(),)
    http: HttpConfig | None = None
    workers: int = _key(1, read_workers)
    balance: str = _key("exact", one_of(BALANCES, "unknown way "))
    run_gap: float = _key(1.0, duration(0, "a duration"))
    expected_packets: int | None = _key(
        None, count(1, 10**18, "at least 1 packet, or no such key where any number is good")
    )
    max_streams: int | None = _key(
        None, count(1, _MOST_STREAMS, "at least 1 stream, or no such key for as many as there is room for")
    )
    memory_limit: int | None = _key(
        None,
        size(1 << 20, _LARGEST_MEMORY, 'a size from "1MiB", or no such key for a quarter of the memory there is'),
    )
    drain_timeout: float = _key(5.0, duration(0, "a duration, or 0 for none"))
    history: str | None = _key(None, read_history)
    history_runs: int = _key(100_000, count(1, _MOST_RUNS, f"a number of runs from 1 to {_MOST_RUNS}"))
    history_age: float = _key(0.0, duration(0, "a duration such as 90d, or 0 for any age"))
    keep_totals: bool = _key(False, read_flag)
    log_format: str = _key("text", one_of(FORMATS))
    log_level: str = _key("info", one_of(LEVELS))
    rename: tuple[tuple[str, str], ...] = _key((), read_rename)

    @property
    def published_names(self) -> frozenset[str]:
        """All that a record of this server may hold: the fields of the schema and the listeners' labels."""
        return field_names() | {label for listener in self.listeners for label in listener.labels}

    @property
    def renames(self) -> Renames:
        """``rename`` against the published names; ``RenameError`` where it would lose or hide one."""
        return Renames(self.rename, fields=self.published_names)
