"""What a server of a test may be given: every key of ``[[listener]]``, and of the whole those that a test may need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from os.path import abspath
from typing import Any, TypedDict

from ctrlserver.testing.minting import minted

__tracebackhide__ = True  # pytest shows a failure at the test's own line


class Keys(TypedDict, total=False):
    """As in the config; ``unix`` and ``tls`` are short for an ``endpoint``.

    ``unix``: a path. ``tls``: a PEM file of key and chain; True for a certificate that the test run makes.
    """

    unix: str | PathLike[str]
    tls: str | PathLike[str] | bool

    name: str
    endpoint: str
    framing: str
    mode: str
    reply: str | bytes
    protocol: str
    labels: Mapping[str, str | int | float]
    max_packet: int | str
    reply_buffer: int | str
    keep: int
    keep_bytes: int | str
    stall_timeout: float | str
    idle_timeout: float | str
    keepalive: float | str
    max_streams_per_peer: int
    allow: Sequence[str]
    udp: bool
    udp_idle_timeout: float | str
    max_udp_streams: int
    udp_gro: bool
    receive_buffer: int | str
    probe: bool
    inject: str | Sequence[str]
    inject_ca: str | PathLike[str]
    answers: Sequence[Mapping[str, object]]

    run_gap: float | str
    expected_packets: int
    max_streams: int
    memory_limit: int | str
    drain_timeout: float | str
    log_level: str
    history: str


#: Keys of the whole server.
OF_THE_WHOLE = ("run_gap", "expected_packets", "max_streams", "memory_limit", "drain_timeout", "log_level", "history")

#: Where a server listens if nothing else is asked for.
ANY_PORT = "tcp:0:interface=127.0.0.1"


def listener_of(keys: Keys) -> dict[str, Any]:
    """The ``[[listener]]`` table."""
    table: dict[str, Any] = {name: value for name, value in keys.items() if name not in OF_THE_WHOLE}
    given = [name for name in ("endpoint", "unix", "tls") if name in table]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)}: expected one of them, for each says where the server listens")
    unix, tls = table.pop("unix", None), table.pop("tls", None)
    if unix is not None:
        table["endpoint"] = f"unix:{_argument(unix)}"
    elif tls:
        table["endpoint"] = "ssl:0:interface=127.0.0.1:privateKey={0}:certKey={0}".format(_argument(server_pem(tls)))
    if "inject_ca" in table:
        table["inject_ca"] = abspath(fspath(table["inject_ca"]))
    return {"name": "data", "endpoint": ANY_PORT, **table}


def server_pem(tls: str | PathLike[str] | bool) -> str | PathLike[str]:
    """The file of the server's key and certificate."""
    return minted().server if isinstance(tls, bool) else tls


def _argument(path: str | PathLike[str]) -> str:
    """A path as an endpoint string has it."""
    return abspath(fspath(path)).replace("\\", "\\\\").replace(":", "\\:").replace("=", "\\=")


def config_of(keys: Keys) -> dict[str, Any]:
    """The whole config: a server that ends at once when it is told to, and keeps no runs unless it is asked to."""
    whole = {name: value for name, value in keys.items() if name in OF_THE_WHOLE}
    return {
        "drain_timeout": 0,
        "history": "off",
        **whole,
        "listener": [listener_of(keys)],
        "admin": [{"endpoint": ANY_PORT}],
    }
