"""One load that several servers share behind one address: ``ctrlload run --admin`` given for each of them."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from tests.integration.conftest import Daemon, Start, run
from tests.integration.test_activation import PASS_ON
from tests.integration.test_shards import CTRLLOAD
from tests.load.documents import validated


def serving(start: Start, at: socket.socket) -> Daemon:
    launcher = (sys.executable, "-c", PASS_ON, str(at.fileno()), "data")
    return start("--data", "systemd:domain=INET:name=data", launcher=launcher, pass_fds=[at.fileno()])


def test_two_servers_among_whom_the_kernel_divides_the_streams_reconcile_as_one(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as one:
        place = one.getsockname()
        with socket.create_server(place, reuse_port=True) as other:
            daemons = serving(start, one), serving(start, other)
            load = [CTRLLOAD, "run", f"127.0.0.1:{place[1]}", "-n", "20003", "-P", "32", "--processes", "2"]
            admins = [f"--admin={each.admin}" for each in daemons]
            done = run(*load, *admins, "-J", cwd=tmp_path)
            again = daemons[1].admin.replace("127.0.0.1", "localhost")
            twice = run(*load, *admins, f"--admin={again}", cwd=tmp_path)
    assert 0 == done.returncode, done
    result = validated(done.stdout.decode())
    assert (True, 20_003) == (result["reconciled"], result["received"]["packets"])
    assert [each.admin for each in daemons] == result["options"]["admin"]
    counted = [each.await_stats(streams_open=0) for each in daemons]
    assert (20_003, 32) == tuple(sum(each[key] for each in counted) for key in ("packets", "streams_total"))
    assert (1, True) == (twice.returncode, b"are one server; give each server once" in twice.stderr), twice
