from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.admin.commands.table import COMMANDS
from ctrlserver.admin.foreign import HTTP_VERBS, foreign_line

VERBS = ["GET", "POST", "get", "post", "Post", "PROPFIND", "QUERY", "SEARCH", "MKCOL", "M-SEARCH", "BREW", "x"]


def id_of(line: bytes) -> str | None:
    error = foreign_line(line)
    return None if error is None else error.id


@pytest.mark.parametrize("version", ["HTTP/1.1", "http/1.0", "HTTP/2.0", "HTTP/3"])
@pytest.mark.parametrize("target", ["/", "*", "http://x/stats", "127.0.0.1:80"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_request_line_is_http_whatever_its_verb(verb: str, target: str, version: str) -> None:
    assert "http-request" == id_of(f"{verb} {target} {version}".encode())
    assert "http-request" == id_of(f" {verb}\t{target} {version} \r".encode())


@pytest.mark.parametrize("joint", [b"\0", b"\x0b", b"\xa0", "\u00a0".encode(), "\u2003".encode(), b"/", b"?", b""])
@pytest.mark.parametrize("verb", sorted(HTTP_VERBS))
def test_a_verb_of_http_in_upper_case_is_http_whatever_joins_it_to_its_target(verb: bytes, joint: bytes) -> None:
    assert "http-request" == id_of(verb + joint)
    assert "http-request" == id_of(verb + (joint or b" ") + b"/x")


@pytest.mark.parametrize(
    "line",
    [b"query /", b"get /x", b"post\t /stats json", b"HTTP/1.1 200 OK", b"INVITE sip:a@b SIP/2.0", b"play x RTSP/1.0"],
)
def test_a_target_a_status_or_a_version_shows_http_and_what_is_made_like_it(line: bytes) -> None:
    assert "http-request" == id_of(line)


@pytest.mark.parametrize("line", [b"post /" + b"x" * 1020, b"purge http://h/" + b"x" * 1000])
def test_a_request_line_too_long_is_known_by_its_first_part(line: bytes) -> None:
    assert "http-request" == id_of(line)


@pytest.mark.parametrize(
    "line",
    [
        b"Host: 127.0.0.1",
        b"content-length:9",
        b"MAIL FROM:<a@b>"[5:],
        b"*1",
        b"*-1",
        b"$4",
        b"set key 0 0 5",
        b"cas k 1 0 5 77",
        b"PROXY TCP4 10.0.0.1 10.0.0.2 4000 22223",
        b"PROXY UNKNOWN",
        b"EHLO me",
        b"helo me",
        b"SSH-2.0-OpenSSH_9.2",
        b"\x80",
        b"\xac\xed",
    ],
)
def test_a_line_of_another_protocol_is_refused(line: bytes) -> None:
    assert "foreign-protocol" == id_of(line)


def test_every_command_and_its_example_is_a_line_of_ours() -> None:
    assert {None} == {id_of(line.encode()) for each in COMMANDS for line in (each.command, each.example)}


@pytest.mark.parametrize(
    "line",
    [
        "get stats",
        "GETTING",
        "stats GET",
        "stats",
        "streams peer=10.0.0.1:4000",
        "streams peer=[::1]:1",
        "run start http/x",
        "rename set key",
        "help *",
        "x",
        "é",
        "?",
        "set",
        "STATS JSON",
        "run start 2026-11-26T04:00",
        "run start *1",
    ],
)
def test_what_only_resembles_another_protocol_is_a_line(line: str) -> None:
    assert foreign_line(line.encode()) is None


@given(st.binary(max_size=1030))
def test_the_refusal_is_one_printable_line(line: bytes) -> None:
    error = foreign_line(line)
    assert error is None or (400 == error.code and error.message.isascii() and error.message.isprintable())
