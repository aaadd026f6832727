"""Targets by every kind of address, in a network namespace with a link-local one."""

from __future__ import annotations

import json

import pytest

from tests.integration.conftest import BIN, Start, run

HOST = "fe80::5%lo"


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
