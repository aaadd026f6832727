"""Every command of the table, asked once by each program that people have at hand: the reply is whole, and the same."""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from ctrlserver.admin.commands.table import COMMANDS
from tests.integration.conftest import MANY, PATIENCE, Daemon, Start, needs, needs_openbsd_netcat, run, running

SHORT = {"watch": "watch 0.1 2", "wait": "wait streams_open>=0"}
READING = [SHORT.get(each.command, each.example) for each in COMMANDS if each.reads]
CHANGING = [each.example for each in COMMANDS if not each.reads]

BASH = """
exec 3<>/dev/tcp/{host}/{port}
echo '{line}' >&3
while IFS= read -r line <&3; do
    printf '%s\\n' "$line"
    case $line in OK*|ERR*) break;; esac
done
"""

CLIENTS = {
    "nc -N": "echo '{line}' | nc -N {host} {port}",
    "nc -q1": "echo '{line}' | nc -q1 {host} {port}",
    "socat -t1": "echo '{line}' | socat -t1 - TCP:{host}:{port}",
    "bash": BASH,
}

STATUS = re.compile(rb"(?m)^(?:OK|ERR) [^\n]*\n\Z")


def same(reply: str) -> str:
    """What does not differ from one asking to the next: names and columns, no numbers, nor whether it is ready now."""
    reply = re.sub(r"(?m)^(ready|reasons) .*$", r"\1", reply)
    return re.sub(r"[0-9a-f]{64}|[-+.:\dTZ]+", "0", re.sub(r" +", " ", reply.replace("\r", "")))


def by_telnet(daemon: Daemon, line: str) -> str:
    command = ["telnet", "127.0.0.1", str(daemon.ports["admin"])]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as telnet:
        assert telnet.stdin is not None
        assert telnet.stdout is not None
        telnet.stdin.write(f"{line}\n".encode())
        telnet.stdin.flush()
        seen = b""
        while not STATUS.search(seen.replace(b"\r", b"")):
            octets = telnet.stdout.readline()
            assert octets, seen
            seen += octets
        telnet.terminate()
        telnet.wait(PATIENCE)
    return seen.decode().partition("Escape character is '^]'.\n")[2]


@pytest.mark.parametrize(
    "client",
    [
        pytest.param("nc -N", marks=needs_openbsd_netcat()),
        pytest.param("nc -q1", marks=needs_openbsd_netcat()),
        pytest.param("socat -t1", marks=needs("socat")),
        pytest.param("bash", marks=needs("bash")),
        pytest.param("telnet", marks=needs("telnet")),
    ],
)
def test_every_command_asked_once_has_its_whole_reply(shared: Start, client: str) -> None:
    ask_once(shared(), client)


@needs_openbsd_netcat()
@pytest.mark.parametrize("server_workers", [MANY], indirect=True)
def test_every_command_asked_once_has_its_whole_reply_from_several_workers(shared: Start) -> None:
    ask_once(shared(), "nc -N")


def ask_once(daemon: Daemon, client: str) -> None:
    """Ask each command by a client of its own, many at the same time."""

    def ask(line: str) -> str:
        if client == "telnet":
            return by_telnet(daemon, line)
        command = CLIENTS[client].format(host="127.0.0.1", port=daemon.ports["admin"], line=line)
        return run("bash", "-c", command).stdout.decode()

    with ThreadPoolExecutor(16) as clients:
        expected = {line: same(daemon.ask(line)) for line in READING}
        for line, reply in zip(READING, clients.map(ask, READING), strict=True):
            assert expected[line] == same(reply), line
        for line, reply in zip(CHANGING, clients.map(ask, CHANGING), strict=True):
            assert STATUS.search(reply.replace("\r", "").encode()), line
    daemon.ask("unrename inet_protocol", "run stop")
