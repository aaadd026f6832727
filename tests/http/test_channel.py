"""A connection by HTTP: what is answered, what is refused, and who is given up."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

import pytest

from ctrlserver.http.forms import SAFETY
from ctrlserver.http.limits import Limits
from ctrlserver.http.request import Request
from ctrlserver.http.site import Site
from tests.http.conftest import Place, hello

GET = b"GET /hello HTTP/1.1\r\nHost: lab\r\n\r\n"


def status_of(octets: bytes) -> int:
    assert octets.startswith(b"HTTP/1.1 ")
    return int(octets.split(b" ", 2)[1])


def line_of(octets: bytes) -> str:
    """The body, which must be one line."""
    body = octets.partition(b"\r\n\r\n")[2].decode()
    assert body.endswith("\n")
    assert 1 == body.count("\n")
    return body.rstrip("\n")


def test_a_page_is_answered_with_the_headers_of_safety(place: Place) -> None:
    answer = place.visit().send(GET)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    for name, value in SAFETY.items():
        assert f"\r\n{name}: {value}\r\n".encode() in answer
    assert answer.endswith(b"\r\n\r\nhello\n")


def test_a_page_is_answered_by_its_whole_uri_too(place: Place) -> None:
    assert place.visit().send(GET.replace(b"/hello", b"http://lab/hello")).endswith(b"\r\n\r\nhello\n")


def test_no_script_but_our_files_runs_and_nobody_frames_a_page() -> None:
    policy = SAFETY["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_a_head_is_answered_by_the_headers_alone(place: Place) -> None:
    answer = place.visit().send(GET.replace(b"GET", b"HEAD"))
    assert 200 == status_of(answer)
    assert b"Content-Length: 6\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_a_connection_serves_one_request_after_another_however_they_are_cut(place: Place) -> None:
    visit = place.visit()
    for octet in GET + GET:
        visit.send(bytes([octet]))
    assert 2 == visit.said.count(b"hello\n")
    assert 4 == visit.send(GET + GET + GET[:3]).count(b"hello\n")
    assert 5 == visit.send(GET[3:]).count(b"hello\n")
    assert not visit.is_over


def test_a_connection_ends_where_its_peer_says_so(place: Place) -> None:
    for end in (GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), b"GET /hello HTTP/1.0\r\n\r\n"):
        visit = place.visit()
        assert visit.send(end + GET).endswith(b"hello\n")
        assert 1 == visit.said.count(b"HTTP/1.1 200") + visit.said.count(b"HTTP/1.0 200")
        assert visit.is_over


def test_an_unknown_page_is_told_with_the_nearest_one(place: Place) -> None:
    answer = place.visit().send(b"GET /helo HTTP/1.1\r\nHost: lab\r\n\r\n")
    assert 404 == status_of(answer)
    assert '404 unknown-page "/helo"; did you mean "/hello"?' == line_of(answer)


@pytest.mark.parametrize(
    "path", [b"/../hello", b"/./hello", b"//hello", b"/%2e%2e/hello", b"/hello/", b"/HELLO", b"/%68ello"]
)
def test_a_page_has_one_path_and_no_other_way_leads_to_it(place: Place, path: bytes) -> None:
    assert 404 == status_of(place.visit().send(b"GET " + path + b" HTTP/1.1\r\nHost: lab\r\n\r\n"))


@pytest.mark.parametrize(
    ("expected", "octets"),
    [
        (400, b"\x16\x03\x01\x02\x00\x01\x00"),
        (400, b"stats\r\n"),
        (405, b"POST /hello HTTP/1.1\r\nHost: lab\r\nContent-Length: 5\r\n\r\nhello"),
        (413, b"GET /hello HTTP/1.1\r\nHost: lab\r\nContent-Length: 5\r\n\r\nhello"),
        (414, b"GET /" + b"a" * 9000),
        (421, b"GET /hello HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
        (431, b"GET /hello HTTP/1.1\r\nX: " + b"a" * 9000),
        (431, b"GET /hello HTTP/1.1\r\n" + b"X: a\r\n" * 1000),
    ],
)
def test_what_is_refused_gets_one_line_and_nothing_after_it_is_read(place: Place, expected: int, octets: bytes) -> None:
    visit = place.visit()
    answer = visit.send(octets)
    assert expected == status_of(answer)
    assert line_of(answer).startswith(f"{expected} ")
    assert b"\r\nConnection: close\r\n" in answer
    assert b"\r\nX-Content-Type-Options: nosniff\r\n" in answer
    assert answer == visit.send(GET)
    place.pass_time(Limits().stall_seconds + 1)
    assert visit.wire.channel is None


def test_a_request_that_does_not_end_is_refused_at_the_limit_however_it_dribbles(place: Place) -> None:
    visit = place.visit()
    visit.send(GET[:-2])
    place.pass_time(4)
    visit.send(b"X: a\r\n")
    place.pass_time(4)
    visit.send(b"Y: a\r\n")
    place.pass_time(4)
    assert 408 == status_of(visit.said)
    assert "10 s" in line_of(visit.said)


def test_who_says_nothing_is_let_go_without_a_word(place: Place) -> None:
    visit = place.visit()
    place.pass_time(11)
    assert b"" == visit.said
    assert visit.is_over


def test_a_connection_is_kept_for_the_next_request_for_a_while(place: Place) -> None:
    visit = place.visit()
    visit.send(GET)
    place.pass_time(60)
    assert not visit.is_over
    assert 2 == visit.send(GET).count(b"hello\n")
    place.pass_time(80)
    assert visit.is_over


def test_an_answer_that_comes_later_reaches_a_peer_that_has_ended_its_input() -> None:
    asked: list[Request] = []
    place = Place({"/later": asked.append})
    visit = place.visit()
    visit.send(b"GET /later HTTP/1.1\r\nHost: lab\r\n\r\n")
    visit.channel.readConnectionLost()
    assert not visit.is_over
    asked[0].answer(b"at last\n")
    assert visit.said.endswith(b"at last\n")
    assert visit.is_over


def test_input_that_ends_within_a_request_is_told_so(place: Place) -> None:
    visit = place.visit()
    visit.send(b"GET /hello HTTP/1.0\n\n")
    visit.channel.readConnectionLost()
    assert "400 the request has no end: an empty line, ended by CR LF" == line_of(visit.said)
    assert visit.is_over


def test_some_of_the_next_request_behind_one_is_a_request_that_does_not_end(place: Place) -> None:
    for pieces in ([GET + GET[:9]], [GET[:5], GET[5:] + GET[:9]]):
        visit = place.visit()
        for piece in pieces:
            visit.send(piece)
        visit.channel.readConnectionLost()
        assert ["200", "400"] == re.findall(r"HTTP/1.1 (\d+) ", visit.said.decode())
    visit = place.visit()
    visit.send(GET + GET[:9])
    place.pass_time(11)
    assert "HTTP/1.1 408 " in visit.said.decode()


def test_an_answer_that_nobody_takes_is_given_up() -> None:
    place = Place({"/later": lambda request: request.write(b"some")})
    visit = place.visit()
    visit.send(b"GET /later HTTP/1.1\r\nHost: lab\r\n\r\n")
    visit.channel.pauseProducing()
    place.pass_time(29)
    assert visit.wire.channel is not None
    place.pass_time(2)
    assert visit.wire.channel is None


def test_an_answer_without_an_end_goes_on_while_it_is_read_and_ends_with_its_peer() -> None:
    def events(request: Request) -> None:
        request.is_endless = True
        request.write(b"event")

    place = Place({"/events": events})
    visit = place.visit()
    visit.send(b"GET /events HTTP/1.1\r\nHost: lab\r\n\r\n")
    place.pass_time(300)
    assert not visit.is_over
    visit.channel.readConnectionLost()
    assert visit.wire.channel is None


def test_who_waits_for_longest_makes_room_and_who_is_at_work_does_not() -> None:
    place = Place({"/later": lambda _: None}, Limits(connections=3))
    first, second, third = place.visit(), place.visit(), place.visit()
    second.send(b"GET /later HTTP/1.1\r\nHost: lab\r\n\r\n")
    fourth = place.visit()
    assert first.wire.channel is None
    for each in (third, fourth):
        each.send(b"GET /later HTTP/1.1\r\nHost: lab\r\n\r\n")
    refused = place.visit()
    assert 503 == status_of(refused.said)
    assert not any(each.is_over for each in (second, third, fourth))
    assert 3 == len(place.site.connections)


def test_of_a_flood_that_brings_nothing_a_monitor_keeps_its_connection() -> None:
    place = Place({"/hello": hello}, Limits(connections=8))
    monitor = place.visit()
    monitor.send(GET)
    flood = [place.visit() for _ in range(100)]
    assert 2 == monitor.send(GET).count(b"hello\n")
    assert 7 == sum(not each.is_over for each in flood)


def test_of_a_flood_of_whole_requests_a_monitor_keeps_its_connection_and_who_is_new_is_answered() -> None:
    place = Place({"/hello": hello}, Limits(connections=8))
    monitor = place.visit()
    for round in range(1, 4):
        assert round == monitor.send(GET).count(b"hello\n")
        for _ in range(100):
            assert place.visit().send(GET).endswith(b"hello\n")
    assert not monitor.is_over


def test_beside_many_requests_that_nobody_takes_a_monitor_keeps_its_connection() -> None:
    place = Place({"/hello": hello, "/later": lambda _: None}, Limits(connections=8))
    monitor = place.visit()
    monitor.send(GET)
    for _ in range(6):
        place.visit().send(b"GET /later HTTP/1.1\r\nHost: lab\r\n\r\n")
    for _ in range(100):
        assert place.visit().send(GET).endswith(b"hello\n")
    assert 2 == monitor.send(GET).count(b"hello\n")


class Accepts:
    """Stands where connections are accepted."""

    def __init__(self, site: Site, *, proxied: bool = False) -> None:
        self.calls: list[str] = []
        self.rejects: Callable[[socket.socket], bool] = lambda _: False
        site.accept_by(self, proxied=proxied)

    def stop(self) -> None:
        self.calls.append("stop")

    def go_on(self) -> None:
        self.calls.append("go on")


def test_while_all_places_are_taken_slow_clients_are_rejected_some_at_a_time() -> None:
    place = Place({"/hello": hello}, Limits(connections=2, rejected=3))
    accepts = Accepts(place.site)
    client, sock = socket.socketpair()
    with client, sock:
        client.sendall(GET[:9])
        place.visit()
        assert not accepts.rejects(sock), "a place is free"
        place.visit()
        for _ in range(2):
            accepts.calls.clear()
            place.pass_time(0.1)
            assert [True] * 2 == [accepts.rejects(sock) for _ in range(2)]
            assert ["go on"] == accepts.calls
            assert accepts.rejects(sock)
            assert ["go on", "stop"] == accepts.calls
        assert not Accepts(place.site, proxied=True).rejects(sock), "what has come may be the proxy's alone"
        client.sendall(GET[9:])
        assert not accepts.rejects(sock)


def test_while_all_places_are_taken_connections_are_accepted_now_and_then() -> None:
    place = Place({"/hello": hello}, Limits(connections=2))
    accepts = Accepts(place.site)
    place.visit()
    assert [] == accepts.calls
    place.visit()
    assert ["stop"] == accepts.calls
    place.pass_time(0.1)
    assert ["stop", "go on"] == accepts.calls
    place.visit()
    place.clock.advance(Limits().crowded_seconds * 0.6)
    place.visit()  # of the same go
    place.clock.advance(Limits().crowded_seconds * 0.6)
    assert ["stop", "go on", "stop", "go on"] == accepts.calls
    place.pass_time(1)
    assert 4 == len(accepts.calls)


def test_beside_many_kept_connections_a_new_one_has_time_for_its_request() -> None:
    place = Place({"/hello": hello}, Limits(connections=8))
    for _ in range(8):
        place.visit().send(GET)
    one, other = place.visit(), place.visit()
    assert all(each.send(GET).endswith(b"hello\n") for each in (one, other))
    assert 8 == len(place.site.connections)


def test_a_page_that_fails_is_our_fault_and_says_so() -> None:
    def fails(_: Request) -> None:
        raise RuntimeError("a bug")

    answer = Place({"/fails": fails}).visit().send(b"GET /fails HTTP/1.1\r\nHost: lab\r\n\r\n")
    assert 500 == status_of(answer)
    assert '500 "/fails" failed; the log of the server says why' == line_of(answer)
