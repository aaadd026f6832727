from __future__ import annotations

from collections.abc import Sequence

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from ctrlserver.client import admin as admin_client
from ctrlserver.client.admin import AdminClient, open_admin
from ctrlserver.client.target import Target
from ctrlserver.errors import LoadError
from tests.peers import Admin, Counted, Silent
from tests.servers import Servers, reactor, refusing


async def asked_version(target: Target) -> str:
    client = await open_admin(reactor, target, 5.0)
    try:
        return await client.version()
    finally:
        client.close()


async def refusal(target: Target) -> str:
    with pytest.raises(LoadError) as caught:
        await asked_version(target)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest_twisted.ensureDeferred
async def test_a_ctrlserver_tells_its_version(servers: Servers) -> None:
    assert "9.9.9" == await asked_version(servers.listen(Admin))


@pytest_twisted.ensureDeferred
async def test_streams_come_by_their_original_names(servers: Servers) -> None:
    servers.renames = {"packets": "bytes", "bytes": "packets", "peer": "remote"}
    servers.streams = [Counted(1, "127.0.0.1:5", packets=3, bytes=3072), Counted(2, "127.0.0.1:6", packets=1)]
    client = await open_admin(reactor, servers.listen(Admin), 5.0)
    await client.version()
    seen = await client.streams(1)
    client.close()
    assert (2, 1) == (seen.total, len(seen.records))
    assert ("127.0.0.1:6", 1, 0) == tuple(seen.records[0][name] for name in ("peer", "packets", "bytes"))


VERSION = b'{"ok":true,"command":"version","data":{"version":"0.0"}}\r\n'
NO_RENAMES = b'{"ok":true,"command":"rename","data":[]}\r\n'
UNKNOWN = b'{"ok":false,"error":{"code":404,"id":"unknown-command","message":"\\"x\\""}}\r\n'


@pytest_twisted.ensureDeferred
async def test_the_fastest_streams_are_asked_for_by_the_name_that_the_rate_has_on_the_server(servers: Servers) -> None:
    renames = b'{"ok":true,"command":"rename","data":[{"old":"packets_per_second","new":"pps"}]}\r\n'
    streams = b'{"ok":true,"command":"streams","data":[{"stream":7,"pps":5.0}],"count":1,"total":1}\r\n'
    client = await open_admin(reactor, servers.saying(VERSION + renames + streams), 5.0)
    asked: list[str] = []
    say = client._say

    def heard(commands: Sequence[str]) -> None:
        asked.extend(commands)
        say(commands)

    client._say = heard  # type: ignore[method-assign]
    await client.version()
    assert [{"stream": 7, "packets_per_second": 5.0}] == await client.fastest_streams(200)
    fields = "stream,listener,peer,protocol,mode,framing,packets,bytes,seconds,pps"
    assert f"streams open limit=200 sort=pps fields={fields} json" == asked[-1]
    client.close()


@pytest_twisted.ensureDeferred
async def test_a_server_that_does_not_sort_gives_its_newest_streams_and_no_health(servers: Servers) -> None:
    streams = b'{"ok":true,"command":"streams","data":[{"stream":7}],"count":1,"total":1}\r\n'
    client = await open_admin(reactor, servers.saying(VERSION + NO_RENAMES + UNKNOWN + streams + UNKNOWN), 5.0)
    await client.version()
    assert [{"stream": 7}] == await client.fastest_streams(200)
    assert "" == await client.not_ready()
    client.close()


@pytest.mark.parametrize(
    ("expected", "data"),
    [
        ("", '{"live":"yes","ready":"yes","reasons":null}'),
        ("draining", '{"live":"yes","ready":"no","reasons":"draining"}'),
        ("not ready", '{"live":"yes","ready":"no","reasons":null}'),
    ],
)
@pytest_twisted.ensureDeferred
async def test_why_a_server_is_not_ready_is_what_its_health_says(servers: Servers, expected: str, data: str) -> None:
    health = f'{{"ok":true,"command":"health","data":{data}}}\r\n'.encode()
    client = await open_admin(reactor, servers.saying(VERSION + NO_RENAMES + health), 5.0)
    await client.version()
    assert expected == await client.not_ready()
    client.close()


@pytest_twisted.ensureDeferred
async def test_a_server_that_does_not_know_the_sums_of_hosts_has_none(servers: Servers) -> None:
    client = await open_admin(reactor, servers.saying(VERSION + NO_RENAMES + UNKNOWN), 5.0)
    await client.version()
    assert [] == await client.peers()
    client.close()


def test_streams_are_ended_in_one_question_and_those_that_are_over_are_no_failure() -> None:
    transport = StringTransport()
    client = AdminClient(Clock(), "there")
    client.makeConnection(transport)  # type: ignore[no-untyped-call]
    asked = Deferred.fromCoroutine(client.kick([1, 2, 3]))
    assert b"kick 1 json\r\nkick 2 json\r\nkick 3 json\r\n" == transport.value()
    closed = b'{"ok":false,"error":{"code":409,"id":"stream-closed","message":"stream 2 is closed already"}}\r\n'
    forgotten = b'{"ok":false,"error":{"code":404,"id":"unknown-stream","message":"no stream 3 is on view"}}\r\n'
    client.dataReceived(b'{"ok":true,"data":{"kicked":1}}\r\n' + closed + forgotten)
    assert asked.called
    asked = Deferred.fromCoroutine(client.kick([4]))
    client.dataReceived(b'{"ok":false,"error":{"code":403,"id":"not-allowed","message":"no operator"}}\r\n')
    refused: list[str] = []
    asked.addErrback(lambda failure: refused.append(str(failure.value)))
    assert ['the admin port there refused "kick 4 json": no operator'] == refused


@pytest_twisted.ensureDeferred
async def test_a_mapping_of_renames_is_understood_as_well(servers: Servers) -> None:
    renames = b'{"ok":true,"command":"rename","data":{"peer":"remote"}}\r\n'
    version = b'{"ok":true,"command":"version","data":"1.0"}\r\n'
    client = await open_admin(reactor, servers.saying(version + renames), 5.0)
    assert "1.0" == await client.version()
    client.close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", 'is not a ctrlserver admin port: it answered "HTTP/1.1 400 Bad Request"'),
        (b"version json\r\n", 'is not a ctrlserver admin port: it answered "version json"'),
        (b"\xff\xfe\x00\n", "is not a ctrlserver admin port: it answered"),
        (b"[1,2]\r\n", 'is not a ctrlserver admin port: it answered "[1,2]"'),
        (b'{"ok":true,"data":{}}\n', "is not a ctrlserver admin port"),
        (b"ERR 503 too-many\r\n", 'refused "version json": ERR 503 too-many'),
        (b'{"ok":false,"error":{"code":503,"message":"64 connections"}}\n', 'refused "version json": 64 connections'),
        (b"x" * 300 + b"\n", '..."'),
        (b"ERR 500 \x1b]0;title\x07\n", r"ERR 500 \x1b]0;title\x07"),
        (b'{"ok":false,"error":{"message":"\\u001b[31m\\u0007\\n"}}\n', r'refused "version json": \x1b[31m\x07\n'),
        (b'{"ok":true,"data":1e999}\n', "is not a ctrlserver admin port"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_admin_port_is_quoted_in_one_line(servers: Servers, answer: bytes, words: str) -> None:
    assert words in await refusal(servers.saying(answer))


@pytest_twisted.ensureDeferred
async def test_a_port_that_hangs_up_is_no_admin_port(servers: Servers) -> None:
    assert "it closed the connection" in await refusal(servers.saying(b"", hang_up=True))
    said = await refusal(servers.saying(b"half", hang_up=True))
    assert 'it answered "half" and closed the connection' in said


@pytest_twisted.ensureDeferred
async def test_a_port_that_says_nothing_is_given_up(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_client, "HELLO_SECONDS", 0.05)
    assert 'no answer to "version json" within 0.05 s' in await refusal(servers.listen(Silent))
    assert '; it said "half"' in await refusal(servers.saying(b"half"))


def test_an_answer_that_came_during_a_pause_of_the_process_is_in_time() -> None:
    clock = Clock()
    client = AdminClient(clock, "there")
    client.makeConnection(StringTransport())  # type: ignore[no-untyped-call]
    asked = Deferred.fromCoroutine(client.version())
    clock.advance(100.0)
    client.dataReceived(b'{"ok":true,"data":"1.0"}\n')
    clock.advance(100.0)
    client.dataReceived(b'{"ok":true,"data":{}}\n')
    heard: list[str] = []
    asked.addCallback(heard.append)
    assert (["1.0"], []) == (heard, clock.getDelayedCalls())


@pytest_twisted.ensureDeferred
async def test_a_reply_without_end_is_bounded(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_client, "MAX_REPLY", 1000)
    monkeypatch.setattr(admin_client, "RECORD_BYTES", 1)
    assert 'answered with more than 1100 bytes, beginning with "xxx' in await refusal(servers.saying(b"x" * 5000))


@pytest_twisted.ensureDeferred
async def test_a_reply_of_more_values_than_asked_for_is_not_parsed(servers: Servers) -> None:
    said = await refusal(servers.saying(b'{"ok":true,"data":[' + b",".join([b'{"a":1}'] * 5000) + b"]}\r\n"))
    assert 'answered "version json" with more values than it was asked for' in said


@pytest_twisted.ensureDeferred
async def test_a_refused_connection_names_the_admin_port() -> None:
    target = refusing()
    assert (
        f"cannot connect to the admin port {target.text}: connection refused: nothing listens there"
    ) == await refusal(target)
