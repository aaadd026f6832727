"""What several workers cannot do is told before a port is bound, with the way out."""

from __future__ import annotations

from typing import Any

import pytest

from ctrlserver.config import Config, ListenerConfig, override
from ctrlserver.config.workers import conflicts_of_workers, is_balanced_by_kernel
from ctrlserver.errors import ConfigError

PER_PEER = {"max_streams_per_peer": 3}
PROXY = {"endpoint": "haproxy:tcp:1"}
UNIX = {"endpoint": "unix:/run/x"}


def of(workers: int, balance: str, **listener: Any) -> Config:
    return Config(listeners=(ListenerConfig(**listener),), workers=workers, balance=balance)


@pytest.mark.parametrize(
    ("config", "key", "expected"),
    [
        (
            of(2, "exact", **PER_PEER, **PROXY),
            "listener[0].max_streams_per_peer",
            "workers = 2 read the PROXY headers, and none knows the streams of another: "
            "expected max_streams_per_peer = 0, or workers = 1",
        ),
        (
            of(2, "kernel", **PER_PEER),
            "listener[0].max_streams_per_peer",
            'with balance = "kernel" a worker does not know the streams of another: '
            'expected max_streams_per_peer = 0, or balance = "exact"',
        ),
        (
            of(2, "kernel", inject=("5%*reset", "refuse")),
            "listener[0].inject",
            '"refuse" strikes connections, and with balance = "kernel" each worker accepts its own: '
            'expected balance = "exact"',
        ),
    ],
)
def test_what_cannot_be_together_is_told_with_the_way_out(config: Config, key: str, expected: str) -> None:
    ((keys, message),) = conflicts_of_workers(config, "linux")
    assert (key, expected) == (keys[0], message)


@pytest.mark.parametrize(
    "config",
    [
        of(1, "kernel", **PER_PEER, **PROXY),
        of(1, "kernel", inject=("refuse",)),
        of(2, "exact", **PER_PEER),
        of(2, "exact", inject=("refuse",)),
        of(2, "kernel", **PROXY),
        of(2, "kernel", **UNIX, **PER_PEER),
        of(2, "kernel", inject=("5%*reset",)),
        of(2, "kernel", endpoint="udp:1", **PER_PEER),
    ],
)
def test_what_goes_together_is_no_conflict(config: Config) -> None:
    assert [] == list(conflicts_of_workers(config, "linux"))


@pytest.mark.parametrize(
    ("expected", "balance", "endpoint"),
    [
        (True, "kernel", "tcp:1"),
        (True, "kernel", "haproxy:tcp:1"),
        (True, "kernel", "ssl:1:privateKey=x"),
        (False, "exact", "tcp:1"),
        (False, "kernel", "unix:/run/x"),
        (False, "kernel", "haproxy:unix:/run/x"),
        (False, "kernel", "systemd:domain=INET:index=0"),
        (False, "kernel", "udp:1"),
    ],
)
def test_workers_accept_by_themselves_where_each_can_have_a_socket(expected: bool, balance: str, endpoint: str) -> None:
    assert expected is is_balanced_by_kernel(ListenerConfig(endpoint=endpoint), balance)


def test_another_system_has_one_process() -> None:
    expected = [(("workers",), "workers = 2 needs Linux, and this is darwin: expected workers = 1")]
    assert expected == list(conflicts_of_workers(Config(workers=2), "darwin"))
    assert [] == list(conflicts_of_workers(Config(), "darwin"))


def test_the_flag_is_named_that_makes_the_conflict() -> None:
    config = of(1, "kernel", **PER_PEER)
    with pytest.raises(ConfigError, match=r"^--workers: with balance = \"kernel\" a worker does not know"):
        override(config, workers="4")
    assert (3, "exact") == (override(Config(), workers="3").workers, override(Config(), balance="exact").balance)
    with pytest.raises(ConfigError, match=r'^--workers: "aut": expected a number .*; did you mean "auto"\?$'):
        override(config, workers="aut")
