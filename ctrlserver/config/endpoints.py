r"""Endpoint strings, checked before anything listens.

Rules: Twisted parses the string and has the last word on it. Some mistakes Twisted accepts until it listens (a port of
70000), others it reports in a programmer's words. This module finds both first and reports them in an operator's words.

Beware: listening may fail although the string is good: a port in use, no such interface, no permission. The check reads
the files that a type names (``ssl``, ``tls``). The functions import Twisted's endpoints, so this module may be imported
before a reactor is chosen.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from ipaddress import ip_address
from socket import AddressFamily
from typing import Any, NoReturn

from ctrlserver.addresses import LONGEST_UNIX_PATH, ip_version
from ctrlserver.config.tls_files import DEFAULT_KEY, FILES, check_folder, check_ssl_files, pem_files
from ctrlserver.errors import ConfigError
from ctrlserver.words import did_you_mean, nearest, quoted

_FORMS = {
    "tcp": "tcp:PORT[:interface=ADDRESS]",
    "tcp6": "tcp6:PORT[:interface=ADDRESS]",
    "udp": "udp:PORT[:interface=ADDRESS]",
    "unix": "unix:PATH[:mode=660]",
    "ssl": "ssl:PORT:privateKey=FILE",
    "tls": "tls:FOLDER:PORT",
    "systemd": "systemd:domain=INET:index=0",
    "haproxy": "haproxy:tcp:PORT",
}
"""The usual endpoint types, in the form that errors show; installed plugins may add others."""
_ANY_FORM = "an endpoint such as tcp:PORT or unix:PATH"

_ARGUMENTS = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "udp": ("port", "interface"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "ssl": ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain", "dhParameters"),
    "tls": ("path", "port", "backlog", "interface"),
}
"""The arguments of the types whose arguments this module checks, in Twisted's order."""


def _is_number(text: str, low: int, high: int) -> bool:
    return re.fullmatch(r"\d{1,10}", text, re.ASCII) is not None and low <= int(text) <= high


def _is_address(text: str) -> bool:
    """Whether it is an IP address, or empty, which means all addresses of this machine."""
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return not text
    return True


def _is_name(text: str) -> bool:
    """Whether it may be a host name: what is all digits and dots is meant to be an address."""
    return re.fullmatch(r"(?![\d.]+$)[\w.-]+", text) is not None


_RULES: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "port": (lambda text: _is_number(text, 0, 65535), "a port from 0 to 65535"),
    "backlog": (lambda text: _is_number(text, 1, 65535), "a number from 1 to 65535"),
    "interface": (lambda text: _is_address(text) or _is_name(text), "an address such as 127.0.0.1"),
    "address": (
        lambda text: 0 < len(os.fsencode(text)) <= LONGEST_UNIX_PATH and "\0" not in text,
        f"a path of 1 to {LONGEST_UNIX_PATH} bytes",
    ),
    "mode": (lambda text: re.fullmatch("0?[0-7]{3}", text) is not None, "octal permissions such as 660"),
    "lockfile": (lambda text: text in ("0", "1"), "0 or 1"),
}
_ANYTHING = (lambda _: True, "")


def check_endpoint(text: str) -> None:
    """``ConfigError`` if ``text`` is neither a server endpoint string of Twisted nor ``udp:...``. Binds nothing."""
    from twisted.internet.endpoints import serverFromString

    kind, arguments, keywords = _parts(text)
    if (behind := behind_proxy(text)) is not None:
        _check_behind(text, behind)
        return
    expected = f"expected {_FORMS.get(kind, _ANY_FORM)}"
    if kind == "tls" and not os.path.isdir(folder := keywords.get("path", arguments[0] if arguments else "")):
        hint = f'; did you mean "ssl:{folder}:privateKey=..."?' if _is_number(folder, 0, 65535) else ""
        _refuse(text, f"no folder {quoted(folder)} of certificates and keys: {expected}{hint}")
    if kind in _ARGUMENTS:
        _check_arguments(text, kind, arguments, keywords)
    if kind == "udp":
        return  # Twisted has no endpoints for datagrams
    if kind in ("ssl", "tls"):
        _check_tls(text, kind, dict(zip(_ARGUMENTS[kind], arguments, strict=False)) | keywords)
    try:
        serverFromString(_no_reactor(kind), text)
        if kind == "systemd":
            _check_inherited(text)
    except ConfigError:
        raise
    except Exception as error:  # the parser of a type may raise anything, and the operator is to see all of it
        if str(error) == f"Unknown endpoint type: '{kind.lower()}'":
            _refuse_kind(text, kind)
        if kind == "systemd" and isinstance(error, LookupError):
            _refuse(text, f"systemd has handed over no such socket: {expected}")
        _refuse(text, f"{expected}: {quoted(f'{type(error).__name__}: {error}')[1:-1]}")


def _no_reactor(kind: str) -> Any:
    """A reactor for an endpoint that never listens. Twisted's own fake brings in all of trial: 40 ms of each start."""
    if kind in ("tcp", "tcp6", "unix"):
        return None
    from twisted.internet.testing import MemoryReactorClock

    return MemoryReactorClock()


def _check_tls(text: str, kind: str, values: Mapping[str, str]) -> None:
    expected = f"expected {_FORMS[kind]}"
    if find_spec("OpenSSL") is None:
        _refuse(text, f"{expected}, and pyOpenSSL to be installed: pip install pyopenssl service-identity")
    try:
        if kind == "ssl":
            check_ssl_files(values)
        else:
            check_folder(values["path"])
    except ConfigError as error:
        _refuse(text, str(error) if "expected" in str(error) else f"{error}: {expected}")


def tls_files(text: str) -> list[str]:
    """The files of keys and certificates that this good endpoint reads, behind a PROXY header too; mostly none."""
    kind, values = _values(text)
    if kind == "tls":
        return list(pem_files(values["path"]))
    values = {"privateKey": DEFAULT_KEY} | values
    return [values[name] for name in FILES if name in values] if kind == "ssl" else []


def behind_proxy(text: str) -> str | None:
    """The endpoint whose connections bring a PROXY header: what follows ``haproxy:``; None for any other endpoint."""
    kind, _, behind = text.partition(":")
    return behind if kind.lower() == "haproxy" else None


def transport_word(text: str) -> str:
    """The transport of an endpoint string's connections: ``tcp``, ``tls`` or ``unix``."""
    text = behind_proxy(text) or text
    kind = text.partition(":")[0]
    if kind in ("ssl", "tls"):
        return "tls"
    return "unix" if kind == "unix" or "domain=UNIX" in text else "tcp"


def _check_behind(text: str, behind: str) -> None:
    try:
        if behind_proxy(behind) is None:
            check_endpoint(behind)
    except ConfigError as error:
        message = str(error).removeprefix(f"endpoint {quoted(behind)}: ")
        _refuse(text, re.sub(r'(; did you mean ")(\w+:)', r"\1haproxy:\2", message))
    if behind_proxy(behind) or datagram_address(behind) is not None or inherited_datagrams(behind) is not None:
        _refuse(text, f"one PROXY header begins a stream: expected {_FORMS['haproxy']}")


def _check_inherited(text: str) -> None:
    """``ConfigError`` if the socket from systemd has another domain than ``text`` says, or one that we do not serve."""
    _, family, kind, said = _inherited(text)
    if kind == socket.SOCK_STREAM and family != said:
        domain = family.name.removeprefix("AF_")
        _refuse(text, f"the socket is of another domain: expected systemd:domain={domain} and its index or name")
    if kind == socket.SOCK_DGRAM and family not in (socket.AF_INET, socket.AF_INET6):
        _refuse(text, "a datagram socket of the unix domain: expected ListenStream= or ListenDatagram=PORT in the unit")


def is_any_port(text: str) -> bool:
    """Whether the kernel chooses the port of this good endpoint. Two such endpoints do not collide."""
    return _values(text)[1].get("port") == "0"


def stream_address(text: str) -> tuple[int, str] | None:
    """Port and ``_interface`` of this good endpoint if its type is known to listen on one for streams, else None."""
    kind, values = _values(text)
    if kind not in ("tcp", "tcp6", "ssl", "tls"):
        return None
    return int(values.get("port", 443)), _interface(values.get("interface", "::" if kind in ("tcp6", "tls") else ""))


def _interface(text: str) -> str:
    """The one spelling of an interface: no empty one, no ``localhost``, an IPv6 address in its shortest form."""
    host = {"": "0.0.0.0", "localhost": "127.0.0.1"}.get(text, text)
    return str(ip_address(host)) if ip_version(host) else host


def level_without_secret(text: str) -> str | None:
    """The highest level that peers of this good endpoint may have without a secret; None where it does not say."""
    if behind_proxy(text) is not None:
        return "viewer"
    if (address := stream_address(text)) is None:
        return None
    host = address[1].partition("%")[0]
    return ("operator" if ip_address(host).is_loopback else "viewer") if ip_version(host) else None


def overlap(one: tuple[int, str] | None, other: tuple[int, str] | None) -> bool:
    """Whether two ports, each with its interface, cannot both be bound. ``::`` is all of IPv4 too."""
    if one is None or other is None or one[0] != other[0] or not one[0]:
        return False
    hosts = {one[1], other[1]}
    return len(hosts) == 1 or "::" in hosts or ("0.0.0.0" in hosts and all(ip_version(host) == 4 for host in hosts))


def datagram_address(text: str) -> tuple[int, str] | None:
    """Port and ``_interface`` of this good endpoint if it is ``udp:...``, else None."""
    kind, values = _values(text)
    return (int(values["port"]), _interface(values.get("interface", ""))) if kind == "udp" else None


def inherited_datagrams(text: str) -> tuple[int, AddressFamily] | None:
    """Descriptor and address family of the datagram socket that systemd passed for this good endpoint, else None.

    The family is the socket's own, whatever ``domain`` says.
    """
    if _parts(text)[0] != "systemd":
        return None
    descriptor, family, kind, _ = _inherited(text)
    return (descriptor, family) if kind == socket.SOCK_DGRAM else None


def _inherited(text: str) -> tuple[int, AddressFamily, int, AddressFamily]:
    """Descriptor, family and type of the socket that a ``systemd`` endpoint names, and the family in the text."""
    from twisted.internet.endpoints import serverFromString

    endpoint: Any = serverFromString(_no_reactor("systemd"), text)
    with socket.socket(fileno=os.dup(endpoint.fileno)) as inherited:
        return endpoint.fileno, AddressFamily(inherited.family), inherited.type, endpoint.addressFamily


def unix_path(text: str) -> str | None:
    """The path of a unix socket, behind a PROXY header too; None for any other endpoint."""
    kind, values = _values(text)
    return values.get("address") if kind == "unix" else None


def unix_file(text: str) -> str | None:
    """The same path in the form that all its spellings share: absolute, without ``.``, ``..`` and linked folders."""
    path = unix_path(text)
    return None if path is None else os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def private(text: str) -> str:
    """The same, its unix socket for its owner alone unless ``text`` gives it a mode; Twisted's own is 666."""
    kind, values = _values(text)
    return f"{text}:mode=600" if kind == "unix" and "mode" not in values else text


def takes_udp_beside(text: str) -> bool:
    """Whether this good endpoint may have a port number that UDP can share."""
    return _values(text)[0] not in ("unix", "udp") and inherited_datagrams(text) is None


def _values(text: str) -> tuple[str, dict[str, str]]:
    """Type and arguments by their names, of what is behind a PROXY header too."""
    kind, arguments, keywords = _parts(behind_proxy(text) or text)
    return kind, dict(zip(_ARGUMENTS.get(kind, ("port",)), arguments, strict=False)) | keywords


def _parts(text: str) -> tuple[str, list[str], dict[str, str]]:
    """Type, positional and named arguments, as Twisted splits them: at colons; a backslash escapes any character."""
    arguments: list[str] = []
    keywords: dict[str, str] = {}
    if re.fullmatch(r"(?:[^\\]|\\.)*", text, re.DOTALL):  # no backslash at the end
        for piece in re.findall(r"(?:^|:)((?:[^:\\]|\\.)*)", text, re.DOTALL):
            name, equals, value = re.findall(r"^((?:[^=\\]|\\.)*)(=?)(.*)", piece, re.DOTALL)[0]
            if equals:
                keywords[_unescaped(name)] = _unescaped(value)
            else:
                arguments.append(_unescaped(name))
    if not arguments:
        _refuse(text, f"expected {_ANY_FORM}")
    return arguments[0], arguments[1:], keywords


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _check_arguments(text: str, kind: str, arguments: list[str], keywords: dict[str, str]) -> None:
    known = _ARGUMENTS[kind]
    expected = f"expected {_FORMS[kind]}"
    if len(arguments) > len(known) or any(name in keywords for name in known[: len(arguments)]):
        _refuse(text, rf"too many arguments: {expected}, a colon inside a value as \:{_hint(_nearest(text))}")
    for name in keywords:
        if name not in known:
            _refuse(text, f"unknown argument {quoted(name)}: {expected}{did_you_mean(name, known)}")
    values = dict(zip(known, arguments, strict=False)) | keywords
    if kind == "udp" and not _is_address(values.get("interface", "")):
        words = "an address such as 127.0.0.1, for datagrams are bound to no name"
        _refuse(text, f"interface {quoted(values['interface'])}: expected {words}{_hint(_nearest(text))}")
    if not values.get(known[0]):
        _refuse(text, f"no {'port' if known[0] == 'port' else 'path'}: {expected}")
    for name, value in values.items():
        is_good, words = _RULES.get(name, _ANYTHING)
        if not is_good(value):
            _refuse(text, f"{name} {quoted(value)}: expected {words}{_hint(_nearest(text))}")


def _refuse(text: str, message: str) -> NoReturn:
    raise ConfigError(f"endpoint {quoted(text)}: {message}") from None


def _refuse_kind(text: str, kind: str) -> NoReturn:
    guess = _nearest(text)
    host = text.strip().removesuffix(":")
    if not guess and (host.lower() == "localhost" or ip_version(host.strip("[]"))):
        _refuse(text, f"an address without a port: expected {_FORMS['tcp']}")
    if not guess and (near := nearest(kind, _FORMS)):
        guess = near + text[len(kind) :]
    _refuse(text, f"unknown type {quoted(kind)}: expected {_ANY_FORM}{_hint(guess)}")


def _hint(guess: str) -> str:
    """``guess`` as the nearest good value, if it is good and printable."""
    if not guess or not guess.isprintable():
        return ""
    try:
        check_endpoint(guess)
    except ConfigError:
        return ""
    return f'; did you mean "{guess}"?'


def _nearest(text: str) -> str:
    """What may have been meant: a bare port, a host before it, a URL, a port too large, IPv6, a bare path."""
    from twisted.internet.endpoints import quoteStringArgument

    if (squeezed := re.sub(r"\s*([:=]|^|$)\s*", r"\1", text)) != text:
        return _nearest(squeezed) or squeezed
    if url := re.fullmatch(r"(tcp|udp|http|ws)://(?:[^/?#]*@)?([^/?#]*).*", text, re.IGNORECASE):
        text = f"{'udp' if url[1].lower() == 'udp' else 'tcp'}:{url[2]}"
    v6 = re.fullmatch(
        r"(?:(tcp|udp):)?(\[)?([\da-f:.]*:[\da-f:.]*(?:%\w+)?)(?(2)\]):(\d+)", text, re.ASCII | re.IGNORECASE
    )
    if v6 and ip_version(v6[3]):
        kind = (v6[1] or "tcp").lower()
        if v6[3] == "::" and kind == "tcp":
            return f"tcp6:{v6[4]}"
        return f"{kind}:{v6[4]}:interface={quoteStringArgument(v6[3])}"
    if name := re.fullmatch(r"[a-z][\w-]*(?:\.[\w-]+)+:(\d+)", text, re.ASCII | re.IGNORECASE):
        return f"tcp:{name[1]}"
    host_and_port = r"\s*(?:(?:tcp:)?(localhost|[\d.]*\.[\d.]*|\*|):)?(\d{1,9})\s*"
    guess = ""
    if text.startswith("udp:"):
        if match := re.fullmatch(r"udp:(\d+):(?:interface=)?localhost", text, re.ASCII | re.IGNORECASE):
            guess = f"udp:{match[1]}:interface=127.0.0.1"
        elif match := re.fullmatch(r"udp:([\d.]+):(\d+)", text, re.ASCII):
            guess = f"udp:{match[2]}:interface={match[1]}"
    elif match := re.fullmatch(host_and_port, text, re.ASCII | re.IGNORECASE):
        host, port = match[1] or "", min(int(match[2]), 65535)
        interface = {"localhost": "127.0.0.1", "*": "", "0.0.0.0": ""}.get(host.lower(), host)
        guess = f"tcp:{port}:interface={interface}" if interface else f"tcp:{port}"
    elif (match := re.fullmatch(r"(tcp6?):(\d+)(:.*)?", text, re.ASCII)) and int(match[2]) > 65535:
        guess = f"{match[1]}:65535{match[3] or ''}"
    elif match := re.fullmatch(r"(tcp6?:\d+:(?:interface=)?)([\da-f]*:[\da-f:]*)", text, re.ASCII | re.IGNORECASE):
        guess = match[1] + quoteStringArgument(match[2])
    elif re.match(r"\.{0,2}/.", text) and text.isprintable():
        guess = f"unix:{text}"
    return guess
