"""``twistd ctrlserver`` as an operator meets it: start, bad input, end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ctrlserver import __version__
from tests.clients import connected
from tests.integration.conftest import BIN, PATIENCE, Start, run
from tests.ports import free_port

TWISTD = BIN / "twistd"
LOOPBACK = "tcp:0:interface=127.0.0.1"


def refused(tmp_path: Path, *arguments: str) -> str:
    """The one line of a start that must fail."""
    done = run(TWISTD, "-n", "--pidfile=", "ctrlserver", *arguments, cwd=tmp_path)
    assert 1 == done.returncode, done
    assert b"Traceback" not in done.stdout + done.stderr
    lines = done.stderr.decode().splitlines()
    assert 1 == len(lines), lines
    return lines[0]


def test_each_bound_address_is_one_log_line_with_its_real_port(start: Start) -> None:
    daemon = start()
    lines = [line for line in daemon.log.lines if "listening" in line]
    assert 2 == len(lines)
    assert {"data", "admin"} == set(daemon.ports)
    assert all(port > 0 for port in daemon.ports.values())


def test_sigterm_ends_the_run_logs_it_closes_the_streams_and_exits(start: Start) -> None:
    daemon = start()
    client = daemon.connect()
    client.sendall(b"x" * 2048)
    daemon.await_stats(packets_total=2)
    daemon.process.send_signal(signal.SIGTERM)
    assert b"" == client.recv(1)
    client.close()
    daemon.process.wait(PATIENCE)
    log = daemon.stop()
    assert re.search(r"run 1 ended: total time \S+ s, number of packets 2, rate", log), log


def test_a_signal_that_means_nothing_is_told_in_the_log_and_ends_nothing(start: Start) -> None:
    daemon = start()
    daemon.ask("ping")
    for _ in range(2):
        daemon.process.send_signal(signal.SIGUSR2)
        daemon.log.wait("SIGUSR2 changes nothing; SIGTERM ends the server")
    assert "OK pong\r\n" == daemon.ask("ping")


def test_usr1_opens_the_log_file_anew(tmp_path: Path) -> None:
    log = tmp_path / "log"
    arguments = [
        str(TWISTD),
        "-n",
        "--pidfile=",
        f"--logfile={log}",
        "ctrlserver",
        "--data",
        LOOPBACK,
        "--admin",
        LOOPBACK,
    ]
    process = subprocess.Popen(arguments, cwd=tmp_path)
    try:
        awaited(lambda: log.exists() and "listening admin" in log.read_text())
        log.rename(tmp_path / "log.1")
        process.send_signal(signal.SIGUSR1)
        awaited(lambda: log.exists() and "the log is open anew" in log.read_text())
        process.send_signal(signal.SIGUSR2)
        awaited(lambda: "SIGUSR2 changes nothing" in log.read_text())
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(PATIENCE)


def awaited(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("endpoint", "who"),
    [
        ("tcp:0", "everybody on the network, as viewer"),
        (r"tcp:0:interface=\:\:", "everybody on the network, as viewer"),
        ("tcp:0:interface=127.0.0.1", ""),
        ("unix:{}/a.sock", ""),
        ("unix:{}/a.sock:mode=660", ""),
        ("unix:{}/a.sock:mode=666", "every user of this machine, as operator"),
    ],
)
def test_an_admin_port_that_anybody_can_reach_is_one_warning(
    start: Start, tmp_path: Path, endpoint: str, who: str
) -> None:
    daemon = start("--data", LOOPBACK, "--admin", endpoint.format(tmp_path))
    assert "OK pong\r\n" == daemon.ask("ping")
    warnings = [line for line in daemon.stop().splitlines() if "#warn" in line]
    assert len(warnings) == bool(who)
    assert all(f"({who})" in line and "an admin port without a secret" in line for line in warnings)


@pytest.mark.parametrize(("mode", "expected"), [("", 0o600), (":mode=660", 0o660), (":660", 0o660)])
def test_a_unix_admin_socket_is_its_owners_unless_a_mode_says_otherwise(
    start: Start, tmp_path: Path, mode: str, expected: int
) -> None:
    start("--data", f"unix:{tmp_path}/d.sock", "--admin", f"unix:{tmp_path}/a.sock{mode}")
    assert expected == (tmp_path / "a.sock").stat().st_mode & 0o777
    assert 0o666 == (tmp_path / "d.sock").stat().st_mode & 0o777


def test_a_port_in_use_is_one_clear_line(start: Start, tmp_path: Path) -> None:
    daemon = start()
    endpoint = f"tcp:{daemon.ports['data']}:interface=127.0.0.1"
    line = refused(tmp_path, "--data", endpoint, "--admin", "tcp:0:interface=127.0.0.1")
    assert f"ctrlserver: cannot listen for data on {endpoint}: address already in use" == line


def test_nothing_stays_bound_when_the_second_port_cannot_be(start: Start, tmp_path: Path) -> None:
    daemon = start()
    port = free_port()
    endpoint = f"tcp:{daemon.ports['admin']}:interface=127.0.0.1"
    line = refused(tmp_path, "--data", f"tcp:{port}:interface=127.0.0.1", "--admin", endpoint)
    assert "cannot listen for admin" in line
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))


def test_a_start_that_fails_leaves_no_unix_socket_behind(start: Start, tmp_path: Path) -> None:
    daemon = start()
    taken = f"tcp:{daemon.ports['data']}:interface=127.0.0.1"
    (tmp_path / "x.toml").write_text(
        f'[[listener]]\nname = "a"\nendpoint = "unix:{tmp_path}/a.sock"\n'
        f'[[listener]]\nname = "b"\nendpoint = "{LOOPBACK}"\nudp = true\n'
        f'[[listener]]\nname = "c"\nendpoint = "{taken}"\n[[admin]]\nendpoint = "{LOOPBACK}"\n'
    )
    assert refused(tmp_path, "--config", "x.toml").endswith(f"cannot listen for c on {taken}: address already in use")
    assert ["x.toml"] == [path.name for path in tmp_path.iterdir() if not path.name.startswith("twistd")]


def test_a_daemon_that_cannot_start_leaves_no_pid_file(start: Start, tmp_path: Path) -> None:
    daemon = start()
    endpoint = f"tcp:{daemon.ports['data']}:interface=127.0.0.1"
    pid_file = tmp_path / "x.pid"
    for flags in (["-n"], []):
        done = run(TWISTD, *flags, f"--pidfile={pid_file}", "ctrlserver", "--data", endpoint, cwd=tmp_path)
        assert 1 == done.returncode
        end = time.monotonic() + PATIENCE  # a daemon tells its parent that it ends before it takes the file back
        while pid_file.exists() and time.monotonic() < end:
            time.sleep(0.01)
        assert not pid_file.exists()


def test_a_daemon_in_the_background_that_cannot_start_says_why_on_standard_error_and_in_its_log(
    start: Start, tmp_path: Path
) -> None:
    endpoint = f"tcp:{start().ports['data']}:interface=127.0.0.1"
    done = run(TWISTD, "--pidfile=", "--logfile=x.log", "ctrlserver", "--data", endpoint, cwd=tmp_path)
    line = f"cannot listen for data on {endpoint}: address already in use"
    assert (1, b"", f"ctrlserver: {line}\n") == (done.returncode, done.stdout, done.stderr.decode())
    assert f"#error] {line}\n" in (tmp_path / "x.log").read_text()


@pytest.mark.parametrize("flags", [["--pidfile=none/x.pid", "-n"], ["--pidfile=", "--logfile=none/x.log"]])
def test_a_file_that_twistd_cannot_write_is_one_line_that_names_it(tmp_path: Path, flags: list[str]) -> None:
    done = run(TWISTD, *flags, "ctrlserver", "--data", LOOPBACK, "--admin", LOOPBACK, cwd=tmp_path)
    name, _, path = next(flag for flag in flags if "none" in flag).removeprefix("--").partition("=")
    message = (
        f"ctrlserver: cannot write the {name[:3]} file {tmp_path}/{path}: no such file or directory; twistd --{name}="
    )
    assert 1 == done.returncode
    assert done.stderr.decode().startswith(message), done
    assert 1 == len(done.stderr.splitlines())
    assert [] == list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    if os.geteuid() != 0 or run("unshare", "-m", "true").returncode:
        pytest.skip("a mount of its own needs root and the right to unshare")
    command = 'mount -t tmpfs -o ro none "$0" && cd "$0" && exec "$@"'
    done = run("unshare", "-m", "sh", "-c", command, tmp_path, TWISTD, "-n", "ctrlserver", "--data", LOOPBACK)
    message = f"ctrlserver: cannot write the pid file {tmp_path}/twistd.pid: read-only file system; "
    assert (1, b"", f"{message}twistd --pidfile= needs none\n") == (done.returncode, done.stdout, done.stderr.decode())


def test_it_becomes_a_daemon_and_ends_by_its_pid_file(tmp_path: Path) -> None:
    pid_file, log_file, admin = tmp_path / "x.pid", tmp_path / "x.log", tmp_path / "admin.sock"
    done = run(
        TWISTD, f"--pidfile={pid_file}", f"--logfile={log_file}", "ctrlserver",
        "--data", "tcp:0:interface=127.0.0.1", "--admin", f"unix:{admin}",
        cwd=tmp_path,
    )  # fmt: skip
    assert 0 == done.returncode, done
    pid = int(pid_file.read_text())
    with connected(admin) as client:
        client.sendall(b"ping\n")
        assert b"OK pong\r\n" == client.recv(100)
        subprocess.run(["kill", str(pid)], check=True)
        assert b"" == client.recv(100)


def test_twist_runs_it_too(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [BIN / "twist", "--log-format=text", "ctrlserver", "--data", LOOPBACK, "--admin", LOOPBACK],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env=dict(os.environ, PYTHONUNBUFFERED="1"),
    )
    assert process.stdout is not None
    with process:
        try:
            port = next(
                int(found[1]) for line in process.stdout if (found := re.search(r"listening admin tcp \S+:(\d+)", line))
            )
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                client.sendall(b"ping\n")
                assert b"OK pong\r\n" == client.recv(100)
        finally:
            process.terminate()
            process.wait(PATIENCE)


def test_twist_too_says_in_one_line_that_a_port_is_in_use(start: Start, tmp_path: Path) -> None:
    daemon = start()
    endpoint = f"tcp:{daemon.ports['data']}:interface=127.0.0.1"
    done = run(BIN / "twist", "ctrlserver", "--data", endpoint, "--admin", "tcp:0", cwd=tmp_path)
    assert 1 == done.returncode
    assert f"ctrlserver: cannot listen for data on {endpoint}: address already in use\n" == done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--framing", "fxied:1024"], ['"fxied:1024"', "did you mean", "fixed"]),
        (["--framing", "fixed:0"], ["fixed:0", "1"]),
        (["--framing", "fixed:-1"], ["fixed:-1"]),
        (["--framing", "fixed:1e99"], ["fixed:1e99"]),
        (["--mode", "skin"], ["skin", "sink"]),
        (["--data", "tpc:22222"], ["tpc", "tcp"]),
        (["--data", "tcp:99999"], ["99999"]),
        (["--admin", "nonsense"], ["nonsense"]),
        (["--admin", "tcp:0", "-a", "unix:/tmp/x"], ["--admin", "2 times", "once", "[[admin]]"]),
        (["--frmaing", "raw"], ["--frmaing", "did you mean", "--framing"]),
        (["--logfile=x.log"], ["--logfile is twistd's", ": twistd --logfile=... ctrlserver"]),
        (["-n"], ["-n is twistd's", ": twistd -n ctrlserver"]),
        (["stray"], ["options only"]),
        (["--config", "missing.toml"], ["missing.toml"]),
        (["--data", "unix:/nonexistent/x.sock", "--admin", "tcp:0"], ["/nonexistent/x.sock", "no such file"]),
    ],
    ids=lambda value: "-".join(value)[:40].replace("/", "_"),
)
def test_bad_input_is_one_line_that_names_it(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    line = refused(tmp_path, *arguments)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[listener]]\nframng = 'raw'\n", ["x.toml", "framng", "framing"]),
        ("run_gap = 'soon'\n", ["x.toml", "run_gap", "soon"]),
        ("[[listener]]\nkeep = 'many'\n", ["x.toml", "keep", "many"]),
        ("[[listener]\n", ["x.toml", "line 1"]),
        ("[rename]\nprotocol = 'packets'\n", ["x.toml", "protocol", "packets"]),
    ],
    ids=["unknown-key", "bad-duration", "wrong-type", "broken-toml", "rename-onto-a-field"],
)
def test_a_bad_config_is_one_line_that_names_file_and_key(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "x.toml").write_text(text)
    line = refused(tmp_path, "--config", "x.toml")
    for word in words:
        assert word in line


def test_check_binds_nothing_and_exits_by_its_finding(start: Start, tmp_path: Path) -> None:
    daemon = start()
    endpoint = f"tcp:{daemon.ports['data']}:interface=127.0.0.1"
    assert 0 == run(TWISTD, "-n", "--pidfile=", "ctrlserver", "--check", "--data", endpoint, cwd=tmp_path).returncode
    (tmp_path / "x.toml").write_text("run_gap = 'soon'\n")
    assert refused(tmp_path, "--config", "x.toml") == refused(tmp_path, "--config", "x.toml", "--check")


@pytest.mark.parametrize(
    "words", [[BIN / "ctrlserver"], [sys.executable, "-m", "ctrlserver"]], ids=["script", "module"]
)
def test_ctrlserver_is_a_program_that_runs_in_the_foreground_and_leaves_no_file(
    start: Start, tmp_path: Path, words: list[str | Path]
) -> None:
    daemon = start(program=words)
    assert "OK pong\r\n" == daemon.ask("ping")
    assert [] == list(tmp_path.iterdir())


def test_the_example_config_is_printed_and_is_a_good_one(tmp_path: Path) -> None:
    done = run(BIN / "ctrlserver", "--example-config")
    assert 0 == done.returncode
    (tmp_path / "x.toml").write_bytes(done.stdout)
    assert 0 == run(BIN / "ctrlserver", "--config", "x.toml", "--check", cwd=tmp_path).returncode


def test_help_is_given_by_a_short_flag_too(tmp_path: Path) -> None:
    short, long = (run(BIN / "ctrlserver", flag, cwd=tmp_path) for flag in ("-h", "--help"))
    assert (0, long.stdout) == (short.returncode, short.stdout)
    assert b"twistd [TWISTD'S OPTIONS] ctrlserver" in long.stdout
    assert max(map(len, long.stdout.splitlines())) <= 80


def test_the_version_is_ours(tmp_path: Path) -> None:
    done = run(TWISTD, "ctrlserver", "--version", cwd=tmp_path)
    assert (0, f"ctrlserver {__version__}\n") == (done.returncode, done.stdout.decode())
