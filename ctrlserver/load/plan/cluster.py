"""The Dask cluster that sends a load, as people name it: the address of its scheduler, or ``local`` for one of its own.

PURE.
"""

from __future__ import annotations

import re

from attrs import frozen

from ctrlserver.addresses import host_port
from ctrlserver.errors import UsageError
from ctrlserver.words import did_you_mean, quoted

LOCAL = "local"

#: The port of a scheduler that is given without one, as Dask has it.
DEFAULT_PORT = 8786

SCHEMES = ("tcp", "tls", "ws", "wss")

_FORM = re.compile(
    r"(?:(?P<scheme>[^:/\[\]]+)://)?(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^:/\s\[\]]+)(?::(?P<port>\d{1,5}))?/?"
)


@frozen
class Cluster:
    """``address`` is None for a cluster of this machine that lasts as long as the load; ``text`` is what was typed."""

    text: str
    address: str | None = None


def parse_cluster(text: str) -> Cluster:
    """``"local"``, ``"tls://10.0.0.1:8786"``, ``"10.0.0.1"``; UsageError for anything else."""
    words = text.strip()
    if words.casefold() == LOCAL:
        return Cluster(LOCAL)
    form = _FORM.fullmatch(words)
    if form is None:
        raise UsageError(
            f'{quoted(text)}: expected the address of a Dask scheduler, such as 10.0.0.1:8786, or "{LOCAL}"'
        )
    scheme, host = form["scheme"] or "tcp", form["host"].strip("[]")
    if scheme not in SCHEMES:
        near = did_you_mean(scheme, SCHEMES)
        raise UsageError(f"{quoted(text)}: a Dask scheduler is reached by {', '.join(SCHEMES)}{near}")
    port = int(form["port"] or DEFAULT_PORT)
    if not 0 < port < 1 << 16:
        raise UsageError(f"{quoted(text)}: a port is from 1 to 65535; Dask's own is {DEFAULT_PORT}")
    return Cluster(words, f"{scheme}://{host_port(host, port)}")
