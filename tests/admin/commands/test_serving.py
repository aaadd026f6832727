from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from ctrlserver.config import AdminConfig, Config, ListenerConfig
from ctrlserver.config.shown import as_tables
from ctrlserver.desk import Desk, Health
from ctrlserver.errors import CommandError
from ctrlserver.stats.records import ListenerRecord, WorkerRecord, as_mapping
from tests.admin.conftest import Peer, Server, refusal

RECORD = ListenerRecord("data", "tcp:22222", "0.0.0.0:22222", None, "line", "echo", 1, 2, 3, 4, False)


@pytest.fixture
def wired(server: Server) -> Callable[..., Peer]:
    """A peer of a server whose desk has these callables."""

    def connect(**callables: Any) -> Peer:
        server.factory.desk = evolve(server.desk, **callables)
        return server.connect()

    return connect


def test_health_says_yes_or_no_and_why(wired: Callable[..., Peer]) -> None:
    assert ["live yes", "ready yes", "reasons -", "OK 3"] == wired().asks("health")
    peer = wired(health=lambda: Health(live=True, ready=False, reasons=("draining", "stopping")))
    expected = {"live": "yes", "ready": "no", "reasons": "draining, stopping"}
    assert expected == peer.asks_json("health")["data"]
    assert 'reasons "draining, stopping"' == peer.asks("health")[2]


def test_listeners_are_rows_under_their_published_names(wired: Callable[..., Peer]) -> None:
    peer = wired(listeners=lambda *_: [RECORD])
    assert [as_mapping(RECORD)] == peer.asks_json("listeners")["data"]
    assert ["data", "tcp:22222", "0.0.0.0:22222", "-", "line"] == peer.asks("listeners")[1].split()[:5]
    peer.asks("rename endpoint place")
    assert "place" in peer.asks("listeners")[0].split()


def test_one_process_is_the_one_worker_and_is_measured(server: Server, peer: Peer) -> None:
    server.stream(3)
    server.stream(4, open=True)
    (row,) = peer.asks_json("workers")["data"]
    counted = {"worker": 1, "pid": os.getpid(), "state": "running", "streams_open": 1, "streams_total": 2}
    counted |= {"packets_total": 7, "bytes_total": 7 * 1024, "share": 1.0, "restarts": 0}
    assert counted.items() <= row.items()
    assert 0.01 < row["cpu_seconds"] <= sum(os.times()[:2]) + 0.1
    assert row["memory_bytes"] > 1 << 20


def test_workers_are_rows_under_their_published_names(wired: Callable[..., Peer]) -> None:
    row = WorkerRecord(2, 4711, "late", 1, 2, 3, 4, 0.25, 0.5, 6, 7)
    peer = wired(workers=lambda: [row])
    assert [as_mapping(row)] == peer.asks_json("workers")["data"]
    peer.asks("rename pid process")
    assert ["worker", "process", "state"] == peer.asks("workers")[0].split()[1:4]
    assert ("404", "unknown-command") == refusal(peer.asks("worker"))


def test_drain_is_ordered_and_undone(wired: Callable[..., Peer]) -> None:
    ordered: list[bool] = []
    peer = wired(drain=ordered.append)
    assert ["OK draining"] == peer.asks("drain on")
    assert {"drain": "off"} == peer.asks_json("drain off")["data"]
    assert [True, False] == ordered
    assert ("400", "missing-argument") == refusal(peer.asks("drain"))


def test_the_level_of_the_log_is_set_and_the_one_before_is_told(wired: Callable[..., Peer]) -> None:
    peer = wired(log=lambda _: "info")
    assert ["OK debug"] == peer.asks("log debug")
    assert {"level": "warn", "previous": "info"} == peer.asks_json("log warn")["data"]
    assert 'did you mean "warn"?' in peer.asks("log warning")[0]


def test_reload_lists_what_changed_or_says_why_nothing_did(wired: Callable[..., Peer]) -> None:
    assert ["listener data is new", "OK 1"] == wired(reload=lambda: ["listener data is new"]).asks("reload")

    def bad() -> list[str]:
        raise CommandError(400, "bad-config", "x.toml: run_gap: ...")

    assert ("400", "bad-config") == refusal(wired(reload=bad).asks("reload"))


def test_shutdown_is_answered(wired: Callable[..., Peer]) -> None:
    ordered: list[str] = []
    assert ["OK stopping"] == wired(shutdown=lambda: ordered.append("now")).asks("shutdown")
    assert ["now"] == ordered


def test_what_the_desk_does_not_offer_is_409(server: Server, peer: Peer) -> None:
    assert isinstance(server.desk, Desk)
    for line in ("drain on", "log info", "reload", "shutdown", "config"):
        assert ("409", "not-available") == refusal(peer.asks(line))


def test_the_config_is_lines_of_keys_and_one_object_without_a_secret(wired: Callable[..., Peer]) -> None:
    config = Config(
        listeners=(ListenerConfig(labels={"site": "lab"}, allow=("10.0.0.0/8",)),),
        admin=(AdminConfig(level="viewer", auth="/etc/secret"),),
        rename=(("protocol", "p"),),
    )
    peer = wired(config=lambda: as_tables(config))
    lines = peer.asks("config")
    assert f"OK {len(lines) - 1}" == lines[-1]
    assert {"run_gap = 1.0", 'listener[0].name = "data"', 'listener[0].labels.site = "lab"'} <= set(lines)
    assert 'listener[0].allow = ["10.0.0.0/8"]' in lines
    assert {'admin[0].auth = "/etc/secret"', 'rename.protocol = "p"'} <= set(lines)
    data = peer.asks_json("config")["data"]
    assert ("data", "viewer") == (data["listener"][0]["name"], data["admin"][0]["level"])
