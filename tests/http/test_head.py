"""The head of a request, judged line by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.http.head import (
    LONGEST_HEAD,
    LONGEST_TARGET,
    MOST_HEADERS,
    NAMES_OF_CODES,
    Head,
    Refusal,
    begins_as_http,
    is_ours,
)

GOOD = [b"GET /metrics HTTP/1.1", b"Host: 127.0.0.1:9464", b"Accept: */*", b""]


def judged(*lines: bytes, names: tuple[str, ...] = ("lab",)) -> tuple[Head, Refusal | None]:
    head = Head(names)
    for line in lines:
        if (refusal := head.add(line)) is not None:
            return head, refusal
    return head, None


def code_of(*lines: bytes) -> int | None:
    refusal = judged(*lines)[1]
    return None if refusal is None else refusal.code


def test_a_good_head_is_let_in_and_ends_with_its_empty_line() -> None:
    head, refusal = judged(*GOOD)
    assert refusal is None
    assert head.ended
    assert "GET" == head.method
    assert not judged(*GOOD[:-1])[0].ended


@pytest.mark.parametrize(
    ("expected", "lines"),
    [
        (None, [b"", *GOOD]),
        (None, [b"HEAD /livez HTTP/1.0", b""]),
        (None, [b"GET /streams.json?limit=5&sort=bytes HTTP/1.1", b"Host: LAB:80", b"Content-Length: 0", b""]),
        (400, [b"GET /livez HTTP/1.1", b""]),
        (400, [b"GET /livez HTTP/1.1", b"Host: lab", b"Host: lab"]),
        (421, [b"GET /livez HTTP/1.1", b"Host: evil.example"]),
        (421, [b"GET /livez HTTP/1.0", b"Host: evil.example"]),
        (421, [b"GET /livez HTTP/1.1", b"Host:"]),
        (405, [b"POST /livez HTTP/1.1"]),
        (405, [b"OPTIONS * HTTP/1.1"]),
        (405, [b"get /livez HTTP/1.1"]),
        (505, [b"PRI * HTTP/2.0"]),
        (505, [b"GET / HTTP/0.9"]),
        (400, [b"GET /"]),
        (400, [b"GET  / HTTP/1.1"]),
        (None, [b"GET http://127.0.0.1/ HTTP/1.1", b"Host: evil.example", b""]),
        (None, [b"GET HTTPS://lab:9464/ HTTP/1.0", b""]),
        (400, [b"GET http://127.0.0.1/ HTTP/1.1", b""]),
        (400, [b"GET http://127.0.0.1/ HTTP/1.1", b"Host: lab", b"Host: lab"]),
        (421, [b"GET http://evil.example/ HTTP/1.1"]),
        (421, [b"GET http://127.0.0.1@evil.example/ HTTP/1.1"]),
        (421, [b"GET http:///livez HTTP/1.1"]),
        (400, [b"GET http:/livez HTTP/1.1"]),
        (400, [b"GET ftp://127.0.0.1/ HTTP/1.1"]),
        (400, [b"GET http://127.0.0.1/\xff HTTP/1.1"]),
        (400, [b"GET /\xff HTTP/1.1"]),
        (400, [b"GET /a#b HTTP/1.1"]),
        (400, [b"GET /\x00 HTTP/1.1"]),
        (400, [b"GET / HTTP/1.0\nHost: lab\n"]),
        (400, [b"EHLO lab"]),
        (414, [b"GET /" + b"a" * LONGEST_TARGET + b" HTTP/1.1"]),
        (431, [GOOD[0], b"X: " + b"a" * LONGEST_HEAD]),
        (431, [GOOD[0], *[b"X: a"] * (MOST_HEADERS + 1)]),
        (400, [GOOD[0], b"no header"]),
        (400, [GOOD[0], b" folded: line"]),
        (400, [GOOD[0], b"Host : lab"]),
        (400, [GOOD[0], b"X: a\x00b"]),
        (400, [GOOD[0], b"X: a\rb"]),
        (413, [GOOD[0], b"Content-Length: 5"]),
        (413, [GOOD[0], b"Content-Length: none"]),
        (413, [GOOD[0], b"Content-Length:"]),
        (400, [GOOD[0], b"Content-Length: 0", b"Content-Length: 0"]),
        (413, [GOOD[0], b"Transfer-Encoding: chunked"]),
        (413, [GOOD[0], b"Expect: 100-continue"]),
    ],
)
def test_each_line_that_is_wrong_is_refused_by_its_code(expected: int | None, lines: list[bytes]) -> None:
    assert expected == code_of(*lines)


@pytest.mark.parametrize(
    ("expected", "target"),
    [
        (b"/metrics", b"/metrics"),
        (b"/runs.json?limit=5", b"http://127.0.0.1:9464/runs.json?limit=5"),
        (b"//lab/a", b"http://lab//lab/a"),
        (b"/", b"http://lab"),
        (b"/?a", b"HTTP://lab?a"),
    ],
)
def test_the_target_is_a_path_or_a_whole_uri(expected: bytes, target: bytes) -> None:
    head, refusal = judged(b"GET " + target + b" HTTP/1.1", *GOOD[1:])
    assert (None, b"GET " + expected + b" HTTP/1.1") == (refusal, head.request_line)


@pytest.mark.parametrize(
    ("expected", "host"),
    [
        (True, "127.0.0.1"),
        (True, "127.0.0.1:9464"),
        (True, "10.1.2.3:80"),
        (True, "[::1]:9464"),
        (True, "[::1]"),
        (True, "localhost"),
        (True, "LocalHost:9464"),
        (True, "a.localhost"),
        (True, "lab.example.org."),
        (True, "Lab.Example.Org:9464"),
        (False, "lab.example.org.evil.example"),
        (False, "evil.example"),
        (False, "127.0.0.1.evil.example"),
        (False, "localhost.evil.example"),
        (False, "127.0.0.1@evil.example"),
        (False, "evil.example:127.0.0.1"),
        (False, "[evil.example]"),
        (False, "::1"),
        (False, ""),
        (False, ":80"),
    ],
)
def test_a_host_is_ours_if_it_is_an_address_or_a_name_of_ours(expected: bool, host: str) -> None:
    assert expected is is_ours(host, {"lab.example.org"})


@given(st.lists(st.binary(max_size=200).filter(lambda line: b"\r\n" not in line), max_size=80))
def test_whatever_comes_is_let_in_or_refused_by_one_line(lines: list[bytes]) -> None:
    refusal = judged(*GOOD[:1], *lines)[1]
    assert refusal is None or (refusal.code in NAMES_OF_CODES and "\n" not in refusal.why)
    refusal = judged(*lines)[1]
    assert refusal is None or (refusal.code in NAMES_OF_CODES and refusal.why.isprintable())


def test_a_handshake_of_tls_does_not_begin_as_a_request() -> None:
    assert begins_as_http(b"GET")
    assert begins_as_http(b"\r\n")
    assert not begins_as_http(b"\x16\x03\x01")
    assert not begins_as_http(b"")


@pytest.mark.parametrize(
    ("names", "known"), [(("lab",), "hosts in [http] of its config has its names"), ((), "ask by its address")]
)
def test_for_another_host_it_is_told_by_which_one_to_ask(names: tuple[str, ...], known: str) -> None:
    refusal = judged(GOOD[0], b"Host: evil.example", names=names)[1]
    assert refusal == Refusal(421, f'this server is not known as "evil.example"; {known}')
