"""The readers of the keys: what TOML or the command line gave -> the value of an attribute of the tree.

Rules: what is not good is a ``ConfigError`` with what was given, what was expected and the nearest good value; the
caller puts the file and the key, or the flag, before that. Some readers are made: ``one_of``, ``size``, ``count`` and
``duration`` take the bounds and give the reader.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any, NoReturn

from ctrlserver.addresses import nearest_network
from ctrlserver.config.credentials import secret_of
from ctrlserver.config.endpoints import check_endpoint, datagram_address, inherited_datagrams
from ctrlserver.config.paths import below, shown, step
from ctrlserver.config.signing import check_ca
from ctrlserver.errors import ConfigError
from ctrlserver.inject.parsing import parse_spec
from ctrlserver.inject.spec import MOST_INJECTIONS
from ctrlserver.stats.counters import Label
from ctrlserver.stats.records import describe
from ctrlserver.units import parse_count, parse_duration, parse_escapes, parse_size
from ctrlserver.words import did_you_mean, quoted

Reader = Callable[[Any], object]

_MOST_WORKERS = 256
"""Processes: each takes 30 MB and a hundred descriptors of the parent's at most."""
_MOST_NETWORKS = 100
"""Networks a listener may allow: each is looked at for every connection."""
_LONGEST_KEEPALIVE = 15 * 60
"""Seconds: later, the kernel gives up a peer to which data is on its way."""
_MOST_HOSTS = 100
"""Names a site may go by: each is looked at for every request."""
_LONGEST_WORD = 64
"""Characters of a name or a label: it stands in every stream record."""


def _refuse(value: object, expected: str, nearest: str = "") -> NoReturn:
    raise ConfigError(f"{shown(value)}: expected {expected}{_hint(nearest)}")


def _hint(nearest: str) -> str:
    return f"; did you mean {quoted(nearest)}?" if nearest else ""


def _text(value: object, expected: str, nearest: str = "") -> str:
    """``value``, which must be a text; ``nearest`` with a whole number in place of ``{}`` is the good one near it."""
    if isinstance(value, str):
        return value
    _refuse(value, expected, nearest.format(value) if isinstance(value, int) and not isinstance(value, bool) else "")


def read_name(value: object) -> str:
    """The name of a listener."""
    expected = 'a name that starts with a letter or "_", then letters, digits, "_" and "-", such as "data"'
    text = _text(value, expected, "_{}")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", text) or len(text) > _LONGEST_WORD:
        _refuse(text, expected, _nearest_name(text, "-"))
    return text


def _nearest_name(text: str, also: str) -> str:
    """``text`` with what is neither a letter, a digit nor one of ``also`` made "_"; empty where nothing is left."""
    name = re.sub(rf"[^A-Za-z0-9_{also}]+", "_", text)
    return (name if re.match("[A-Za-z_]", name) else f"_{name}")[:_LONGEST_WORD] if name.strip("_") else ""


def read_endpoint(value: object) -> str:
    """An endpoint of streams, of datagrams, or of a socket from systemd."""
    text = _text(value, 'an endpoint such as "tcp:22222"', "tcp:{}")
    check_endpoint(text)
    return text


def read_admin_endpoint(value: object) -> str:
    """An endpoint of streams."""
    text = read_endpoint(value)
    if datagram_address(text) is not None:
        raise ConfigError(f'endpoint {quoted(text)}: questions come in by a stream: expected "tcp{text[3:]}"')
    if inherited_datagrams(text) is not None:
        message = "a datagram socket, and questions come in by a stream: expected ListenStream= in the unit"
        raise ConfigError(f"endpoint {quoted(text)}: {message}")
    return text


def read_auth(value: object) -> str:
    """What names a secret, which can be read now."""
    text = _text(value, 'the file of a secret, or "credential:NAME"')
    secret_of(text)
    return text


def read_inject_ca(value: object) -> str:
    """The file of a CA that can sign."""
    text = _text(value, "the file of a CA's certificate and private key")
    check_ca(text)
    return text


def read_framing(value: object) -> str:
    """A framing, not parsed yet: ``max_packet`` belongs to it."""
    return _text(value, 'a framing such as "fixed:1024"', "fixed:{}")


def one_of(words: tuple[str, ...], unknown: str = "") -> Reader:
    """One of ``words``; ``unknown`` stands before any other in the error."""
    expected = f"{', '.join(words[:-1])} or {words[-1]}"

    def read(value: object) -> str:
        text = _text(value, expected)
        if text not in words:
            raise ConfigError(f"{unknown}{quoted(text)}: expected {expected}{did_you_mean(text, words)}")
        return text

    return read


def read_reply(value: object) -> str:
    """A reply, with its escapes."""
    text = _text(value, r"text such as '\x06' or 'OK\r\n'", "{}")
    parse_escapes(text)
    return text


def read_protocol(value: object) -> str:
    """The operator's own word for a protocol."""
    expected = f'a label of 1 to {_LONGEST_WORD} printable characters, such as "HTTP"'
    text = _text(value, expected, "{}")
    if not text.strip() or len(text) > _LONGEST_WORD or not text.isprintable():
        _refuse(text, expected, "".join(c for c in text if c.isprintable()).strip()[:_LONGEST_WORD])
    return text


def read_flag(value: object) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    _refuse(value, "true or false, without quotes")


def read_history(value: object) -> str:
    """The path of a file, or ``off``."""
    expected = 'the path of a file, or "off"'
    path = _text(value, expected)
    if not path.strip() or not path.isprintable() or path.endswith("/"):
        _refuse(path, expected)
    return path


def read_labels(value: object) -> Mapping[str, Label]:
    """Labels by their names."""
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


def _texts(value: object, most: int, what: str, example: str, check: Callable[[object], None]) -> tuple[str, ...]:
    """An array of at most ``most`` of ``what``, such as ``example``, each of which ``check`` finds good."""
    expected = f"an array of {what}, such as {example}"
    if isinstance(value, str):
        raise ConfigError(f"{quoted(value)}: expected {expected}; did you mean [{quoted(value)}]?")
    if not isinstance(value, list | tuple) or len(value) > most:
        _refuse(value, f"{expected}, at most {most}")
    for at, each in enumerate(value):
        with below(f"[{at}]"):
            check(each)
    return tuple(value)


def read_allow(value: object) -> tuple[str, ...]:
    """Networks, as they are written."""
    return _texts(value, _MOST_NETWORKS, "networks", '["10.0.0.0/8", "fd00::/8"]', _check_network)


def _check_network(value: object) -> None:
    text = _text(value, 'a network such as "10.0.0.0/8"')
    try:
        ip_network(text)
    except ValueError:
        _refuse(text, 'a network such as "10.0.0.0/8" or "fd00::/8"', nearest_network(text))


def read_hosts(value: object) -> tuple[str, ...]:
    """Host names, in small letters."""
    hosts = _texts(value, _MOST_HOSTS, "host names", '["lab.example.org"]', _check_host)
    return tuple(host.lower().removesuffix(".") for host in hosts)


def _check_host(value: object) -> None:
    expected = 'a host name without a port, such as "lab.example.org"'
    text = _text(value, expected)
    if len(text) > 253 or not re.fullmatch(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?", text):
        nearest = re.sub(r"^\w+://|[/:].*", "", text)
        _refuse(text, expected, nearest if nearest != text and re.fullmatch(r"[A-Za-z0-9_.-]+", nearest) else "")


def read_inject(value: object) -> tuple[str, ...]:
    """One injection, or several in an array."""
    expected, specs = 'an injection such as "5%*reset"', [value] if isinstance(value, str) else value
    if not isinstance(specs, list | tuple) or len(specs) > MOST_INJECTIONS:
        _refuse(value, f"{expected}, or an array of them, at most {MOST_INJECTIONS}")
    for at, each in enumerate(specs):
        with below(f"[{at}]" if specs is value else ""):
            parse_spec(_text(each, expected))
    return tuple(specs)


def read_workers(value: object) -> int:
    """A number of processes."""
    if value == "auto":
        cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
        return min(max(1, len(cores)), _MOST_WORKERS)
    words = f'a number of processes from 1 to {_MOST_WORKERS}, or "auto" for one on each core'
    if isinstance(value, str) and not value.isdigit():
        _refuse(value, words, "auto" if did_you_mean(value, ["auto"]) else "")
    return int(_within(value, parse_count(value), 1, _MOST_WORKERS, words))


def read_rename(value: object) -> tuple[tuple[str, str], ...]:
    """Pairs of an old and a new name."""
    if not isinstance(value, dict):
        _refuse(value, 'a table of old and new names, such as { protocol = "inet_protocol" }')
    for old, new in value.items():
        with below(step(old)):
            _text(new, 'the new name, such as "inet_protocol"')
    return tuple(value.items())


def size(low: int, high: int, words: str) -> Reader:
    """Bytes, from ``low`` to ``high``."""
    return lambda value: _within(value, parse_size(value), low, high, words)


def count(low: int, high: int, words: str) -> Reader:
    """A number, from ``low`` to ``high``."""
    return lambda value: _within(value, parse_count(value), low, high, words)


def duration(low: float, words: str) -> Reader:
    """Seconds, from ``low`` on."""
    return lambda value: _within(value, parse_duration(value), low, math.inf, words)


def read_keepalive(value: object) -> float:
    """Seconds, 0 for never."""
    if value == "off":
        return 0.0
    seconds = parse_duration(value)
    return _within(value, seconds, 1, _LONGEST_KEEPALIVE, 'a duration from "1s" to "15m", or "off"') if seconds else 0.0


def _within(value: object, number: float, low: float, high: float, words: str) -> float:
    if not low <= number <= high:
        _refuse(value, words)
    return number
