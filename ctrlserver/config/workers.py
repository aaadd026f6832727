"""What several worker processes cannot do: conflicts of ``workers`` and ``balance`` with other keys.

Model: with balance ``exact`` the parent accepts each connection; with ``kernel`` a worker does, from a socket of its
own. From sockets of which there can be one alone (unix, systemd's) the parent accepts with either.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from ctrlserver.config.endpoints import behind_proxy, stream_address
from ctrlserver.config.tree import Config, ListenerConfig
from ctrlserver.inject.parsing import parse_spec
from ctrlserver.words import quoted

_WAY_OUT = 'balance = "exact"'


def is_balanced_by_kernel(listener: ListenerConfig, balance: str) -> bool:
    """Whether each of several workers accepts from a socket of its own, whatever the kernel gives it."""
    return balance == "kernel" and stream_address(listener.endpoint) is not None


def conflicts_of_workers(config: Config, system: str = sys.platform) -> Iterator[tuple[tuple[str, ...], str]]:
    """Those of a config whose values are good each by itself."""
    if config.workers == 1:
        return
    if system != "linux":
        yield ("workers",), f"workers = {config.workers} needs Linux, and this is {system}: expected workers = 1"
    for at, listener in enumerate(config.listeners):
        keys = tuple(f"listener[{at}].{key}" for key in ("max_streams_per_peer", "endpoint"))
        by_kernel = is_balanced_by_kernel(listener, config.balance)
        if listener.max_streams_per_peer and behind_proxy(listener.endpoint) is not None:
            message = f"workers = {config.workers} read the PROXY headers, and none knows the streams of another:"
            yield (keys[0], "workers", keys[1]), f"{message} expected max_streams_per_peer = 0, or workers = 1"
        elif listener.max_streams_per_peer and by_kernel:
            message = 'with balance = "kernel" a worker does not know the streams of another:'
            yield (keys[0], "balance", "workers"), f"{message} expected max_streams_per_peer = 0, or {_WAY_OUT}"
        for spec in listener.inject if by_kernel else ():
            if parse_spec(spec).of_connections:
                message = (
                    f'{quoted(spec)} strikes connections, and with balance = "kernel" each worker accepts its own:'
                )
                yield (f"listener[{at}].inject", "balance", "workers"), f"{message} expected {_WAY_OUT}"
