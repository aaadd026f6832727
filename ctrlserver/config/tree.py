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

import math
import os
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from socket import AddressFamily
from typing import Any, NoReturn

from attrs import Factory, field, fields, frozen

from ctrlserver.addresses import nearest_network
from ctrlserver.config.answers import read_answers
from ctrlserver.config.credentials import secret_of
from ctrlserver.config.endpoints import check_endpoint, datagram_address, inherited_datagrams
from ctrlserver.config.paths import below, shown, step
from ctrlserver.config.signing import check_ca
from ctrlserver.errors import ConfigError
from ctrlserver.inject.parsing import parse_spec
from ctrlserver.inject.rules import Rule
from ctrlserver.inject.spec import MOST_INJECTIONS
from ctrlserver.logs.level import LEVELS
from ctrlserver.logs.lines import FORMATS
from ctrlserver.stats.counters import Label
from ctrlserver.stats.records import describe, field_names
from ctrlserver.stats.rename import Renames
from ctrlserver.units import parse_count, parse_duration, parse_escapes, parse_size
from ctrlserver.wire.framing import FramingSpec, parse_framing
from ctrlserver.words import did_you_mean, quoted

Reader = Callable[[Any], object]
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
_MOST_WORKERS = 256
"""Processes: each takes 30 MB and a hundred descriptors of the parent's at most."""
_MOST_UDP_STREAMS = 100_000
"""Peers a UDP port may tell apart: each tick walks over all of them, 30 ms for this many."""
_MOST_NETWORKS = 100
"""Networks a listener may allow: each is looked at for every connection."""
_LONGEST_KEEPALIVE = 15 * 60
"""Seconds: later, the kernel gives up a peer to which data is on its way."""
_LONGEST_WORD = 64
"""Characters of a name or a label: it stands in every stream record."""


def _key(default: object, read: Reader) -> Any:
    """An attribute that is a key of its name; ``default`` is the value without it, as ``read`` would return it."""
    return field(default=default, metadata={_READ: read})


def readers(kind: type) -> dict[str, Reader]:
    """The keys of a class of the tree, in its order, with their readers."""
    return {each.name: each.metadata[_READ] for each in fields(kind) if _READ in each.metadata}


def _refuse(value: object, expected: str, nearest: str = "") -> NoReturn:
    raise ConfigError(f"{shown(value)}: expected {expected}{_hint(nearest)}")


def _hint(nearest: str) -> str:
    return f"; did you mean {quoted(nearest)}?" if nearest else ""


def _text(value: object, expected: str, nearest: str = "") -> str:
    """``value``, which must be a text; ``nearest`` with a whole number in place of ``{}`` is the good one near it."""
    if isinstance(value, str):
        return value
    _refuse(value, expected, nearest.format(value) if isinstance(value, int) and not isinstance(value, bool) else "")


def _name(value: object) -> str:
    expected = 'a name that starts with a letter or "_", then letters, digits, "_" and "-", such as "data"'
    text = _text(value, expected, "_{}")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", text) or len(text) > _LONGEST_WORD:
        _refuse(text, expected, _nearest_name(text, "-"))
    return text


def _nearest_name(text: str, also: str) -> str:
    """``text`` with what is neither a letter, a digit nor one of ``also`` made "_"; empty where nothing is left."""
    name = re.sub(rf"[^A-Za-z0-9_{also}]+", "_", text)
    return (name if re.match("[A-Za-z_]", name) else f"_{name}")[:_LONGEST_WORD] if name.strip("_") else ""


def _endpoint(value: object) -> str:
    text = _text(value, 'an endpoint such as "tcp:22222"', "tcp:{}")
    check_endpoint(text)
    return text


def _admin_endpoint(value: object) -> str:
    text = _endpoint(value)
    if datagram_address(text) is not None:
        raise ConfigError(f'endpoint {quoted(text)}: questions come in by a stream: expected "tcp{text[3:]}"')
    if inherited_datagrams(text) is not None:
        message = "a datagram socket, and questions come in by a stream: expected ListenStream= in the unit"
        raise ConfigError(f"endpoint {quoted(text)}: {message}")
    return text


def _auth(value: object) -> str:
    text = _text(value, 'the file of a secret, or "credential:NAME"')
    secret_of(text)
    return text


def _inject_ca(value: object) -> str:
    text = _text(value, "the file of a CA's certificate and private key")
    check_ca(text)
    return text


def _framing(value: object) -> str:
    return _text(value, 'a framing such as "fixed:1024"', "fixed:{}")


def _one_of(words: tuple[str, ...], unknown: str = "") -> Reader:
    """One of ``words``; ``unknown`` stands before any other in the error."""
    expected = f"{', '.join(words[:-1])} or {words[-1]}"

    def read(value: object) -> str:
        text = _text(value, expected)
        if text not in words:
            raise ConfigError(f"{unknown}{quoted(text)}: expected {expected}{did_you_mean(text, words)}")
        return text

    return read


def _reply(value: object) -> str:
    text = _text(value, r"text such as '\x06' or 'OK\r\n'", "{}")
    parse_escapes(text)
    return text


def _protocol(value: object) -> str:
    expected = f'a label of 1 to {_LONGEST_WORD} printable characters, such as "HTTP"'
    text = _text(value, expected, "{}")
    if not text.strip() or len(text) > _LONGEST_WORD or not text.isprintable():
        _refuse(text, expected, "".join(c for c in text if c.isprintable()).strip()[:_LONGEST_WORD])
    return text


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    _refuse(value, "true or false, without quotes")


def _labels(value: object) -> Mapping[str, Label]:
    if not isinstance(value, dict):
        _refuse(value, 'a table of names and values, such as { site = "lab-2" }')
    for label, content in value.items():
        with below(step(label)):
            _check_label(label, content)
    return value


def _check_label(name: str, content: object) -> None:
    if not re.fullmatch(r"(?!OK|ERR)[A-Za-z_][A-Za-z0-9_.-]*", name) or len(name) > _LONGEST_WORD:
        nearest = _nearest_name(f"_{name}" if name.startswith(("OK", "ERR")) else name, ".-")
        expected = 'a letter or "_", then letters, digits, "_", "." and "-", and not OK or ERR in front'
        raise ConfigError(f"no name for a label: expected {expected}{_hint(nearest)}")
    if any(known.name == name for known in describe(None) if known.record == "stream"):
        raise ConfigError(f"every stream record has a field of this name{_hint(f'my_{name}')}")
    if not isinstance(content, str | int) and not (isinstance(content, float) and math.isfinite(content)):
        _refuse(content, "text, a finite number, true or false")


def _allow(value: object) -> tuple[str, ...]:
    expected = 'an array of networks, such as ["10.0.0.0/8", "fd00::/8"]'
    if isinstance(value, str):
        raise ConfigError(f"{quoted(value)}: expected {expected}; did you mean [{quoted(value)}]?")
    if not isinstance(value, list | tuple) or len(value) > _MOST_NETWORKS:
        _refuse(value, f"{expected}, at most {_MOST_NETWORKS}")
    for at, network in enumerate(value):
        with below(f"[{at}]"):
            _check_network(network)
    return tuple(value)


def _check_network(value: object) -> None:
    text = _text(value, 'a network such as "10.0.0.0/8"')
    try:
        ip_network(text)
    except ValueError:
        _refuse(text, 'a network such as "10.0.0.0/8" or "fd00::/8"', nearest_network(text))


def _inject(value: object) -> tuple[str, ...]:
    """One injection, or several in an array."""
    expected, specs = 'an injection such as "5%*reset"', [value] if isinstance(value, str) else value
    if not isinstance(specs, list | tuple) or len(specs) > MOST_INJECTIONS:
        _refuse(value, f"{expected}, or an array of them, at most {MOST_INJECTIONS}")
    for at, each in enumerate(specs):
        with below(f"[{at}]" if specs is value else ""):
            parse_spec(_text(each, expected))
    return tuple(specs)


def _workers(value: object) -> int:
    if value == "auto":
        cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
        return min(max(1, len(cores)), _MOST_WORKERS)
    words = f'a number of processes from 1 to {_MOST_WORKERS}, or "auto" for one on each core'
    if isinstance(value, str) and not value.isdigit():
        _refuse(value, words, "auto" if did_you_mean(value, ["auto"]) else "")
    return int(_within(value, parse_count(value), 1, _MOST_WORKERS, words))


def _rename(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        _refuse(value, 'a table of old and new names, such as { protocol = "inet_protocol" }')
    for old, new in value.items():
        with below(step(old)):
            _text(new, 'the new name, such as "inet_protocol"')
    return tuple(value.items())


def _size(low: int, high: int, words: str) -> Reader:
    return lambda value: _within(value, parse_size(value), low, high, words)


def _count(low: int, high: int, words: str) -> Reader:
    return lambda value: _within(value, parse_count(value), low, high, words)


def _duration(low: float, words: str) -> Reader:
    return lambda value: _within(value, parse_duration(value), low, math.inf, words)


def _keepalive(value: object) -> float:
    if value == "off":
        return 0.0
    seconds = parse_duration(value)
    return _within(value, seconds, 1, _LONGEST_KEEPALIVE, 'a duration from "1s" to "15m", or "off"') if seconds else 0.0


def _within(value: object, number: float, low: float, high: float, words: str) -> float:
    if not low <= number <= high:
        _refuse(value, words)
    return number


@frozen
class ListenerConfig:
    """One data listener."""

    name: str = _key("data", _name)
    endpoint: str = _key("tcp:22222", _endpoint)
    framing: str = _key("fixed:1024", _framing)
    mode: str = _key("sink", _one_of(MODES, "unknown mode "))
    reply: str = _key(r"\x06", _reply)
    protocol: str | None = _key(None, _protocol)
    labels: Mapping[str, Label] = _key(Factory(dict), _labels)
    max_packet: int = _key(1 << 20, _size(1, _LARGEST_BUFFER, 'a size from 1 byte to "1GiB"'))
    reply_buffer: int = _key(256 << 10, _size(1, _LARGEST_BUFFER, 'a size from 1 byte to "1GiB"'))
    keep: int = _key(0, _count(0, _MOST_KEPT, f"a number of packets from 0 to {_MOST_KEPT}"))
    keep_bytes: int = _key(1 << 20, _size(1, _LARGEST_KEPT, 'a size from 1 byte to "64MiB"'))
    stall_timeout: float = _key(30.0, _duration(0.001, 'a duration of at least "1ms"'))
    idle_timeout: float = _key(0.0, _duration(0, "a duration, or 0 for none"))
    keepalive: float = _key(60.0, _keepalive)
    max_streams_per_peer: int = _key(
        0, _count(0, _MOST_STREAMS, f"a number of streams up to {_MOST_STREAMS}, or 0 for any")
    )
    allow: tuple[str, ...] = _key((), _allow)
    udp: bool = _key(False, _flag)
    udp_idle_timeout: float = _key(10.0, _duration(0.001, 'a duration of at least "1ms"'))
    max_udp_streams: int = _key(
        10_000, _count(1, _MOST_UDP_STREAMS, f"a number of streams from 1 to {_MOST_UDP_STREAMS}")
    )
    udp_gro: bool = _key(True, _flag)
    receive_buffer: int = _key(4 << 20, _size(0, _LARGEST_BUFFER, 'a size up to "1GiB", 0 for the system\'s own'))
    probe: bool = _key(False, _flag)
    inject: tuple[str, ...] = _key((), _inject)
    inject_ca: str | None = _key(None, _inject_ca)
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

    endpoint: str = _key("tcp:22223:interface=127.0.0.1", _admin_endpoint)
    level: str | None = _key(None, _one_of(RANKS))
    auth: str | None = _key(None, _auth)


@frozen
class Config:
    """The whole; ``rename`` holds ``(old, new)`` pairs in the order they were written."""

    listeners: tuple[ListenerConfig, ...] = (ListenerConfig(),)
    admin: tuple[AdminConfig, ...] = (AdminConfig(),)
    workers: int = _key(1, _workers)
    balance: str = _key("exact", _one_of(BALANCES, "unknown way "))
    run_gap: float = _key(1.0, _duration(0, "a duration"))
    expected_packets: int | None = _key(
        None, _count(1, 10**18, "at least 1 packet, or no such key where any number is good")
    )
    max_streams: int | None = _key(
        None, _count(1, _MOST_STREAMS, "at least 1 stream, or no such key for as many as there is room for")
    )
    memory_limit: int | None = _key(
        None, _size(1 << 20, _LARGEST_MEMORY, 'a size from "1MiB", or no such key for a quarter of the memory there is')
    )
    drain_timeout: float = _key(5.0, _duration(0, "a duration, or 0 for none"))
    log_format: str = _key("text", _one_of(FORMATS))
    log_level: str = _key("info", _one_of(LEVELS))
    rename: tuple[tuple[str, str], ...] = _key((), _rename)

    @property
    def published_names(self) -> frozenset[str]:
        """All that a record of this server may hold: the fields of the schema and the listeners' labels."""
        return field_names() | {label for listener in self.listeners for label in listener.labels}

    @property
    def renames(self) -> Renames:
        """``rename`` against the published names; ``RenameError`` where it would lose or hide one."""
        return Renames(self.rename, fields=self.published_names)
