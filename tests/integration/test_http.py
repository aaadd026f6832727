"""The site of a real server: of workers, of a config that is read anew, and under clients that are slow or wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.clients import connected
from tests.integration.conftest import BIN, PATIENCE, Daemon, Log, Start, needs, run

HTTP = ("--http", "tcp:0:interface=127.0.0.1")


def said(daemon: Daemon, octets: bytes) -> bytes:
    """All that is answered to these bytes."""
    with connected(("127.0.0.1", daemon.ports["http"])) as client:
        client.sendall(octets)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(1 << 16), b""))


def get(daemon: Daemon, path: str) -> str:
    """The body."""
    head, _, body = said(daemon, f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()).partition(b"\r\n\r\n")
    assert b" 200 OK" in head, (head, body)
    return body.decode()


def counters(daemon: Daemon) -> dict[tuple[str, str], float]:
    """Each counter by its name and labels."""
    families = text_string_to_metric_families(get(daemon, "/metrics"))
    samples = [sample for family in families for sample in family.samples if sample.name.endswith("_total")]
    return {(sample.name, str(sorted(sample.labels.items()))): sample.value for sample in samples}


def total(found: dict[tuple[str, str], float], name: str) -> float:
    return sum(value for (called, _), value in found.items() if called == name)


def test_what_workers_count_is_in_the_metrics_and_no_counter_goes_back_when_one_dies(start: Start) -> None:
    daemon = start("--workers", "2", *HTTP)
    with daemon.connect() as one, daemon.connect() as other:
        for client in (one, other):
            client.sendall(bytes(1024 * 500))
        daemon.await_stats(packets_total=1000)
        before = counters(daemon)
        assert 1000 == total(before, "ctrlserver_packets_total") == total(before, "ctrlserver_worker_packets_total")
        os.kill(daemon.ask_json("workers")[0]["pid"], signal.SIGKILL)
        stats = daemon.await_stats(worker_restarts_total=1)
        after = counters(daemon)
    assert [] == [name for name, value in before.items() if after[name] < value]
    assert 1 == total(after, "ctrlserver_worker_restarts_total")
    assert stats["closed_worker_total"] == after["ctrlserver_streams_closed_total", "[('reason', 'worker')]"]
    assert stats["packets_total"] == total(after, "ctrlserver_packets_total")


@pytest.mark.one_process("the config of one")
def test_a_config_that_is_read_anew_adds_and_removes_the_site(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "ctrlserver.toml"
    ports = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\n[[admin]]\nendpoint = "tcp:0:interface=127.0.0.1"\n'
    config.write_text(ports)
    daemon = start("--config", str(config))
    config.write_text(f'{ports}[http]\nendpoint = "tcp:0:interface=127.0.0.1"\n')
    daemon.process.send_signal(signal.SIGHUP)
    daemon.ports["http"] = int(daemon.log.wait(r"listening http tcp \S+:(\d+)")[1])
    daemon.log.wait("config reloaded: http tcp:0:interface=127.0.0.1: added")
    assert "live\n" == get(daemon, "/livez")
    assert "tcp:0:interface=127.0.0.1" == daemon.ask_json("config")["http"]["endpoint"]
    config.write_text(ports)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.log.wait("config reloaded: http tcp:0:interface=127.0.0.1: removed")
    daemon.ask("ping")  # a turn of the loop later the port is closed
    with pytest.raises(ConnectionRefusedError):
        connected(("127.0.0.1", daemon.ports["http"])).close()


def test_a_hundred_clients_that_never_end_their_request_keep_nobody_out(shared: Start) -> None:
    daemon = shared(*HTTP)
    slow = [connected(("127.0.0.1", daemon.ports["http"])) for _ in range(100)]
    for client in slow:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: local")
    assert "ready\n" == get(daemon, "/readyz")
    with daemon.connect() as client:
        client.sendall(bytes(10_240))
    daemon.await_stats(packets_total=10)
    for each in slow:
        each.close()


@needs("curl")
def test_curl_is_answered_and_told_what_is_wrong(shared: Start) -> None:
    daemon = shared(*HTTP)
    site = f"http://localhost:{daemon.ports['http']}"

    def curl(*words: str) -> str:
        return run("curl", "-s", *words).stdout.decode()

    assert "live\n" == curl(f"{site}/livez")
    assert curl("-I", f"{site}/metrics").startswith("HTTP/1.1 200 OK")
    assert curl("--path-as-is", f"{site}/static/../../../etc/passwd").startswith("404 unknown-page ")
    assert curl("-d", "x=1", f"{site}/metrics").startswith("405 only GET and HEAD")
    assert curl("-H", "Host: evil.example", f"{site}/metrics").startswith("421 this server is not known as")
    assert curl("-H", f"X: {'a' * 20_000}", f"{site}/metrics").startswith("431 ")
    assert curl("-T", "/dev/null", f"{site}/metrics").startswith("405 ")


def test_a_load_shows_its_figures_while_it_goes_on(shared: Start) -> None:
    daemon = shared(*HTTP)
    command = [str(BIN / "ctrlload"), "run", f"127.0.0.1:{daemon.ports['data']}", "-t", "60s", "-r", "2000/s"]
    load = subprocess.Popen(
        [*command, "--metrics", "tcp:0:interface=127.0.0.1"],
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    log = Log(load)
    try:
        port = int(log.wait(r"metrics at 127.0.0.1:(\d+), path /metrics")[1])
        readings: list[float] = []
        end = time.monotonic() + PATIENCE
        while len({*readings}) < 3:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
                families = list(text_string_to_metric_families(answer.read().decode()))
            readings += [each.samples[0].value for each in families if each.name == "ctrlload_packets"]
            assert time.monotonic() < end, log.text
        assert sorted(readings) == readings
    finally:
        load.send_signal(signal.SIGINT)
        load.wait(PATIENCE)
        log.join()
        assert load.stdout is not None
        load.stdout.close()
    assert 130 == load.returncode
