"""The pages of monitors and programs: what they show is what the admin port replies."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from attrs import evolve
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from twisted.internet.defer import Deferred, succeed

from ctrlserver.admin.ports import AdminPorts
from ctrlserver.http.pages import pages
from ctrlserver.http.site import Site
from ctrlserver.stats.chosen import Listed
from tests.admin.conftest import Server
from tests.http.conftest import Visit


class Shown:
    """A server, its site and its admin port."""

    def __init__(self) -> None:
        self.server = Server()
        self.visit = self.of(self.server.factory)

    def of(self, ports: AdminPorts) -> Visit:
        site = Site(pages(ports), cast(Any, self.server.clock), ports.journal)
        return Visit(site)

    def get(self, path: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        before = len(self.visit.said)
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
        self.visit.send("\r\n".join(lines).encode())
        for _ in range(500):
            self.server.clock.advance(0.001)
        head, _, body = self.visit.said[before:].partition(b"\r\n\r\n")
        status, *named = head.decode().split("\r\n")
        found = dict(line.split(": ", 1) for line in named)
        return int(status.split()[1]), found, unchunked(body) if "Transfer-Encoding" in found else body


def unchunked(octets: bytes) -> bytes:
    whole = b""
    while octets:
        size, _, rest = octets.partition(b"\r\n")
        length = int(size, 16)
        whole, octets = whole + rest[:length], rest[length + 2 :]
    return whole


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.mark.parametrize(
    "words", ["stats", "stats closed_", "streams", "streams limit=2", "streams sort=bytes", "runs"]
)
def test_a_page_of_json_is_the_reply_of_the_admin_port(shown: Shown, words: str) -> None:
    for packets in range(1, 6):
        shown.server.stream(packets, open=packets % 2 == 0)
    name, _, argument = words.partition(" ")
    status, headers, body = shown.get(f"/{name}.json" + (f"?{argument}" if argument else ""))
    assert 200 == status
    assert "application/json" == headers["Content-Type"]
    expected = shown.server.connect().asks_json(words)
    found = json.loads(body)
    for frame in (expected, found):
        frame["data"] = [frame["data"]] if name == "stats" else frame["data"]
        for row in frame["data"]:
            for field in [each for each in row if "_per_second" in each or each == "uptime_seconds"]:
                del row[field]
    assert expected == found


def test_renames_hold_in_json_and_never_in_metrics(shown: Shown) -> None:
    shown.server.stream(5)
    before = shown.get("/metrics")[2]
    peer = shown.server.connect()
    peer.asks("rename packets_total many")
    peer.asks("rename peer client")
    assert 5 == json.loads(shown.get("/stats.json")[2])["data"]["many"]
    assert "10.0.0.1:4000" == json.loads(shown.get("/streams.json")[2])["data"][0]["client"]
    names = [line.split(b" ")[2] for line in before.splitlines() if line.startswith(b"# TYPE")]
    assert names == [
        line.split(b" ")[2] for line in shown.get("/metrics")[2].splitlines() if line.startswith(b"# TYPE")
    ]


@pytest.mark.parametrize(
    ("path", "status", "line"),
    [
        ("/streams.json?limit=x", 400, '400 bad-argument limit "x": expected a whole number in plain digits'),
        ("/streams.json?limt=5", 400, ""),
        ("/streams.json?listener=dta", 404, ""),
        ("/streams.json?sort=packts", 404, '404 unknown-field "packts"; did you mean "packets"?'),
        ("/runs.json?start=x", 400, ""),
        ("/runs.json?limit=5&limit=6", 400, ""),
        ("/kick.json?stream=1", 404, ""),
        ("/streams", 404, '404 unknown-page "/streams"; did you mean "/streams.json"?'),
        ("/stats.json?%00%ff", 400, ""),
    ],
)
def test_what_cannot_be_answered_is_one_line(shown: Shown, path: str, status: int, line: str) -> None:
    shown.server.stream(1, open=True)
    found, headers, body = shown.get(path)
    assert status == found
    assert "text/plain; charset=utf-8" == headers["Content-Type"]
    assert 1 == body.count(b"\n")
    assert body.decode().startswith(line or f"{status} ")


def test_metrics_come_in_the_form_that_the_client_reads(shown: Shown) -> None:
    shown.server.stream(7)
    _, headers, body = shown.get("/metrics")
    assert "text/plain; version=0.0.4; charset=utf-8" == headers["Content-Type"]
    assert b"# TYPE ctrlserver_packets_total counter\n" in body
    _, headers, body = shown.get("/metrics", "Accept: application/openmetrics-text; version=1.0.0")
    assert "application/openmetrics-text; version=1.0.0; charset=utf-8" == headers["Content-Type"]
    found = {each.name: each for each in text_string_to_metric_families(body.decode())}  # type: ignore[no-untyped-call]
    assert 7 == found["ctrlserver_packets"].samples[0].value


def test_a_long_list_is_made_as_it_is_read_and_comes_whole(shown: Shown) -> None:
    for _ in range(900):
        shown.server.stream(1, open=True)
    status, headers, body = shown.get("/streams.json?limit=900")
    assert (200, "chunked") == (status, headers["Transfer-Encoding"])
    assert [*range(900, 0, -1)] == [row["stream"] for row in json.loads(body)["data"]]


def test_to_a_reader_that_reads_nothing_no_more_than_a_slice_is_given(shown: Shown) -> None:
    for _ in range(900):
        shown.server.stream(1, open=True)
    write, wire = cast(Any, shown.visit.wire).write, shown.visit.wire

    def full(octets: bytes) -> None:
        write(octets)
        if not shown.visit.channel.is_paused and len(shown.visit.said) > 4096:
            shown.visit.channel.pauseProducing()

    cast(Any, wire).write = full
    cast(Any, wire).writeSequence = lambda parts: full(b"".join(parts))
    shown.get("/streams.json?limit=900")
    assert len(shown.visit.said) < 40_000
    before = len(shown.visit.said)
    shown.visit.channel.resumeProducing()
    assert before < len(shown.visit.said) < 60_000


def test_with_workers_the_figures_are_asked_for_first(shown: Shown) -> None:
    asked: list[Deferred[None]] = []

    def fresh(**_: bool) -> Deferred[None]:
        asked.append(Deferred())
        return asked[-1]

    shown.server.desk = evolve(shown.server.desk, fresh=fresh)
    shown.server.factory = AdminPorts(shown.server.desk, shown.server.clock)
    shown.visit = shown.of(shown.server.factory)
    for path in ("/metrics", "/stats.json"):
        before = len(shown.visit.said)
        shown.visit.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert before == len(shown.visit.said)
        shown.server.stream(3)
        asked.pop().callback(None)
        assert b'"packets_total":6' in shown.visit.said or b'{listener="data"} 3\n' in shown.visit.said


def test_runs_of_earlier_starts_are_shown_where_they_are_kept(shown: Shown) -> None:
    class History:
        def runs(self, *_: object) -> Deferred[Listed]:
            run = shown.server.book.runs.record(1, 0.0)
            assert run is not None
            return succeed(Listed([evolve(run, run=7, name="earlier")], 9))

    shown.server.stream(1)
    shown.server.factory = AdminPorts(evolve(shown.server.desk, history=cast(Any, History())), shown.server.clock)
    shown.visit = shown.of(shown.server.factory)
    found = json.loads(shown.get("/runs.json?limit=1")[2])
    assert (9, [(7, "earlier")]) == (found["total"], [(row["run"], row["name"]) for row in found["data"]])
    assert 404 == shown.get("/runs.json?fields=nme")[0]
