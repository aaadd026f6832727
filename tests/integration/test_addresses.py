"""Targets by every kind of address, in a network namespace with a link-local one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.conftest import BIN, PATIENCE, Start, run

HOST = "fe80::5%lo"

#: What Python runs at its start: a name server that does not answer.
HANGING = """
import pathlib, socket, time
resolve = socket.getaddrinfo
def hang(host, *others, **named):
    if host == "hanging.example":
        pathlib.Path(__file__).with_name("asked").touch()
        time.sleep(600)
    return resolve(host, *others, **named)
socket.getaddrinfo = hang
"""


@pytest.mark.parametrize(
    ("before", "flags"),
    [
        ("", ("-P", "3")),
        ("tcp:", ("-P", "3")),
        ("udp:", ("-P", "2", "-r", "1k")),
        ("", ("-m", "connect", "-P", "2")),
        ("", ("-m", "request", "-P", "2")),
    ],
)
def test_a_link_local_address_with_its_interface_is_reached(
    start: Start, inside: list[str], before: str, flags: tuple[str, ...]
) -> None:
    if run(*inside, "ip", "addr", "add", "fe80::5/64", "dev", "lo", "nodad").returncode:
        pytest.skip("no IPv6 here")
    daemon = start("--data", "tcp6:0", "--admin", "tcp6:0", "--udp", "--mode", "echo", launcher=inside)
    target, admin = (f"[{HOST}]:{daemon.ports[name]}" for name in ("data", "admin"))
    flags = ("run", f"{before}{target}", "-n", "30", "-J", *flags)
    if "connect" not in flags:
        flags += ("--admin", admin)
    done = run(*inside, BIN / "ctrlload", *flags)
    assert 0 == done.returncode, done
    assert None is json.loads(done.stdout)["error"]


@pytest.mark.parametrize(
    "words",
    [
        ("hanging.example:5",),
        ("tcp:host=hanging.example:port=5",),
        ("udp:hanging.example:5",),
        ("ssl:hanging.example:5",),
        ("hanging.example:5", "-m", "connect"),
        ("127.0.0.1:5", "--admin", "hanging.example:5"),
    ],
)
@pytest.mark.parametrize("interrupted", [True, False])
def test_a_name_that_is_looked_up_for_ever_ends_by_the_limit_or_by_ctrl_c_in_one_line(
    tmp_path: Path, words: tuple[str, ...], interrupted: bool
) -> None:
    (tmp_path / "sitecustomize.py").write_text(HANGING)
    limit = "60s" if interrupted else "100ms"
    command: list[str | Path] = [BIN / "ctrlload", "run", *words, "-n", "1", "-J", "--connect-timeout", limit]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        if interrupted:
            end = time.monotonic() + PATIENCE
            while not (tmp_path / "asked").exists():
                assert time.monotonic() < end, "nobody looked the name up"
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
        document, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert (130 if interrupted else 1) == process.returncode
    assert interrupted == json.loads(document)["interrupted"]
    assert "Traceback" not in said
    told = [line for line in said.splitlines() if line.startswith("ctrlload: ")]
    assert (0 if interrupted else 1) == len(told), said
