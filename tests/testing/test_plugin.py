"""The plugin in the test runs of users: a folder with a test file, and pytest in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ctrlserver.testing import Server

pytestmark = pytest.mark.integration

#: Seconds after which a wait fails: only ever reached by a failure.
PATIENCE = 60.0

HEAD = """
import os, socket, pytest

def send(address, data):
    with socket.create_connection(address, 30) as client:
        client.sendall(data)
"""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--no-header", "-rs", *words]


def pytest_of(folder: Path, text: str, *words: str) -> tuple[int, str]:
    """The exit code and the output of pytest over one file."""
    (folder / "test_it.py").write_text(HEAD + text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command(*words), cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_one_process_serves_all_tests_and_is_as_new_for_each(tmp_path: Path) -> None:
    code, said = pytest_of(
        tmp_path,
        """
@pytest.mark.parametrize("n", range(20))
def test_counts(ctrlserver, n):
    assert 0 == ctrlserver.stats().packets_total
    send(ctrlserver.address, bytes(1024 * 100))
    assert 100 == ctrlserver.wait(packets=100, timeout=30).packets
    print(f"pid={ctrlserver.pid}.")
""",
        "-s",
    )
    assert (0, True) == (code, "20 passed" in said), said
    assert 1 == len(set(re.findall(r"pid=\d+", said))), said


def test_the_marker_says_what_is_served_and_one_on_the_function_beats_that_on_the_class(tmp_path: Path) -> None:
    code, said = pytest_of(
        tmp_path,
        r"""
@pytest.mark.ctrlserver(framing="line", keep=10)
class TestLines:
    def test_sink(self, ctrlserver):
        send(ctrlserver.address, b"a\nb\n")
        ctrlserver.wait(packets=2)
        assert ctrlserver.packets(1) == [b"a", b"b"]

    @pytest.mark.ctrlserver(mode="reply", reply="OK\r\n")
    def test_reply(self, ctrlserver):
        assert ("line", "reply") == tuple(ctrlserver.ask("listeners")[0][name] for name in ("framing", "mode"))
""",
        "--strict-markers",
    )
    assert (0, True) == (code, "2 passed" in said), said


def test_each_call_of_the_factory_gives_another_server(tmp_path: Path) -> None:
    code, said = pytest_of(
        tmp_path,
        """
def test_two(ctrlserver_factory):
    first, second = ctrlserver_factory(framing="line"), ctrlserver_factory(framing="line")
    send(first.address, b"x\\n")
    first.wait(packets=1)
    assert 0 == second.stats().packets
""",
    )
    assert (0, True) == (code, "1 passed" in said), said


def test_a_failure_shows_what_the_server_has_counted_kept_and_logged(tmp_path: Path) -> None:
    code, said = pytest_of(
        tmp_path,
        """
@pytest.mark.ctrlserver(framing="line", keep=3)
def test_fails(ctrlserver):
    send(ctrlserver.address, b"hello\\n")
    ctrlserver.wait(packets=1, streams_open=0)
    ctrlserver.wait(packets=2, timeout=0.01)
""",
    )
    assert 1 == code
    for word in ("NotReached: packets==2 was waited for", "it is 1", "reason=eof packets=1", "packet b'hello'"):
        assert word in said, said
    assert "listening data tcp" in said.partition("the end of its log:")[2]


def test_a_server_that_cannot_start_is_an_error_with_its_log(tmp_path: Path) -> None:
    code, said = pytest_of(
        tmp_path, "@pytest.mark.ctrlserver(mod='echo')\ndef test_none(ctrlserver):\n    raise AssertionError\n"
    )
    assert (1, True, True) == (code, "1 error" in said, 'unknown key; did you mean "mode"?' in said), said


def test_workers_of_xdist_have_servers_of_their_own(tmp_path: Path) -> None:
    code, said = pytest_of(
        tmp_path,
        """
@pytest.mark.parametrize("n", range(40))
def test_counts(ctrlserver, n):
    send(ctrlserver.address, bytes(1024 * n))
    assert n == ctrlserver.wait(packets=n, closed_eof_total=1, timeout=30).packets_total
""",
        "-n",
        "2",
    )
    assert (0, True) == (code, "40 passed" in said), said


def test_a_server_that_runs_is_used_for_the_tests_that_it_fits(tmp_path: Path) -> None:
    text = """
def test_it(ctrlserver):
    send(ctrlserver.address, b"a\\n")
    assert 1 == ctrlserver.wait(packets=1).packets_total

@pytest.mark.ctrlserver(mode="echo")
def test_another(ctrlserver):
    raise AssertionError
"""
    with Server(framing="line") as server:
        host, port = server.admin_address
        code, said = pytest_of(tmp_path, text, f"--ctrlserver={host}:{port}")
        assert (0, True) == (code, "1 passed, 1 skipped" in said), said
        assert "no listener of the server at" in said
        assert server.is_running
        assert 1 == server.stats().packets_total


def test_an_injection_ends_with_its_test_also_if_that_fails(tmp_path: Path) -> None:
    code, said = pytest_of(
        tmp_path,
        """
pytestmark = pytest.mark.ctrlserver(framing="line", mode="echo")

def test_fails(ctrlserver):
    ctrlserver.inject("swallow", streams="all")
    raise RuntimeError

def test_is_as_new(ctrlserver):
    assert (0, []) == (ctrlserver.stats().injections_active, ctrlserver.ask("inject"))
""",
    )
    assert (1, True) == (code, "1 failed, 1 passed" in said), said
    assert "injections_active 1" in said


def test_a_failure_shows_the_injections_in_force(tmp_path: Path) -> None:
    code, said = pytest_of(
        tmp_path,
        """
@pytest.mark.ctrlserver(framing="line", mode="echo")
def test_fails(ctrlserver):
    ctrlserver.inject("3rd*delay(1s)")
    raise RuntimeError
""",
    )
    assert (1, True) == (code, "injection 1: 3rd*delay(1s) hits=0" in said), said


def test_an_error_is_shown_at_the_line_of_the_test(tmp_path: Path) -> None:
    calls = ["inject('dealy')", "answer('a', 'b')", "wait(pakets=1)", "wait('x')", "ask('stast')", "stats().pakets"]
    code, said = pytest_of(
        tmp_path,
        f"""
@pytest.mark.parametrize("call", {calls})
def test_fails(ctrlserver, call):
    eval("ctrlserver." + call)

def test_cannot_be(ctrlserver_factory):
    eval("ctrlserver_factory(unix='/x', endpoint='tcp:0')")
""",
    )
    assert (1, True) == (code, "7 failed" in said), said
    assert 7 == len(re.findall(r"^<string>:1: \w*Error$", said, re.MULTILINE)), said


def test_ctrl_c_in_a_test_leaves_no_injection_on_a_server_that_goes_on(tmp_path: Path) -> None:
    text = """
def test_waits(ctrlserver):
    ctrlserver.inject("reset")
    os.kill(os.getpid(), 2)
    ctrlserver.wait(packets=1, timeout=60)
"""
    with Server(framing="line") as server:
        host, port = server.admin_address
        code, said = pytest_of(tmp_path, text, f"--ctrlserver={host}:{port}", "-p", "no:twisted")
        assert (2, True) == (code, "KeyboardInterrupt" in said), said
        assert (0, 1) == (server.stats().injections_active, len(server.ask("inject all")))


@pytest.mark.parametrize(
    ("words", "wrong"), [("22223", "expected HOST:ADMINPORT"), ("127.0.0.1:1 -n 2", "leave out -n")]
)
def test_an_option_that_cannot_be_is_a_usage_error(tmp_path: Path, words: str, wrong: str) -> None:
    code, said = pytest_of(tmp_path, "", f"--ctrlserver={words.split()[0]}", *words.split()[1:])
    assert (4, True) == (code, wrong in said), said


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_server_and_its_files_end_with_the_test_run_however_that_ends(tmp_path: Path, end: signal.Signals) -> None:
    text = """
def test_waits(ctrlserver):
    print(f"pid={ctrlserver.pid}", flush=True)
    ctrlserver.wait(packets=1, timeout=60)
"""
    (tmp_path / "test_it.py").write_text(HEAD + text)
    folders = tmp_path / "folders"
    folders.mkdir()
    with subprocess.Popen(
        command("-s", "-p", "no:twisted"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folders)},
    ) as running:
        assert running.stdout is not None
        pid = next(int(line.partition("pid=")[2]) for line in running.stdout if "pid=" in line)
        os.kill(pid, 0)
        running.send_signal(end)
        running.stdout.read()
    until = time.monotonic() + PATIENCE
    while is_running(pid):
        assert time.monotonic() < until, f"{pid} runs on"
        time.sleep(0.01)
    assert [] == list(folders.glob("ctrlserver-*"))


def is_running(pid: int) -> bool:
    """Whether it is there, and no zombie that waits for its new parent."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_what_asks_for_no_fixture_starts_nothing(tmp_path: Path) -> None:
    code, said = pytest_of(
        tmp_path,
        """
import sys

def test_none():
    assert not {"twisted", "attr", "ctrlserver.service"} & set(sys.modules)
""",
        "-p",
        "no:twisted",
        "-p",
        "no:hypothesispytest",
    )
    assert (0, True) == (code, "1 passed" in said), said
