"""Claims about the files of the live page."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from ctrlserver.http.page.files import Charts, File, find_charts, own_files
from tests.http.conftest import Place

FILES = {name: body.decode() for name, body in own_files().items()}
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}
LIBRARY = b"the library" * 10_000


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: lab", *headers, "", ""]).encode()


class Threads:
    """A pool whose work is done when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def callInThreadWithCallback(self, done: Any, work: Callable[[], object]) -> None:
        def run() -> None:
            try:
                made = work()
            except Exception:
                done(False, Failure())
            else:
                done(True, made)

        self.waiting.append(run)


class Reactor(Clock):
    """A clock with threads."""

    def __init__(self) -> None:
        super().__init__()
        self.threads = Threads()

    def getThreadPool(self) -> Threads:
        return self.threads

    def callFromThread(self, work: Callable[..., object], *arguments: object) -> None:
        work(*arguments)


@pytest.fixture
def reactor() -> Reactor:
    return Reactor()


@pytest.fixture
def with_charts(place: Place, reactor: Reactor, tmp_path: Path) -> Place:
    """A site with a library for charts."""
    (tmp_path / "charts.js").write_bytes(LIBRARY)
    place.site.pages = {"/charts": Charts(tmp_path / "charts.js", "charts-1.js", cast(Any, reactor)).page}
    return place


def test_a_file_that_the_peer_has_costs_a_304(place: Place) -> None:
    place.site.pages = {"/": File("index.html", b"<p>hello").page}
    visit = place.visit()
    first = visit.send(get("/"))
    assert first.endswith(b"\r\n\r\n<p>hello")
    assert b"Content-Type: text/html; charset=utf-8\r\n" in first
    (etag,) = re.findall(rb"ETag: (\S+)\r\n", first)
    again = visit.send(get("/", f"If-None-Match: {etag.decode()}"))[len(first) :]
    assert again.startswith(b"HTTP/1.1 304 ")


def test_what_the_page_names_is_there() -> None:
    named = re.findall(r'(?:src|href)="/static/([^"]+)"', FILES["index.html"])
    named += [name for text in SCRIPTS.values() for name in re.findall(r'from "\./([^"]+)"', text)]
    assert set(FILES) - {"index.html"} == set(named)


def test_nothing_comes_from_elsewhere() -> None:
    assert [] == [name for name, text in FILES.items() if re.search(r"https?://|//[a-z]+\.", text)]


def test_the_page_has_no_script_and_no_style_of_its_own_in_its_html() -> None:
    page = FILES["index.html"]
    assert re.findall(r"<script.*?</script>", page) == re.findall(r'<script type="module" src="[^"]+"></script>', page)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)


def test_texts_of_strangers_never_become_html() -> None:
    html = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function")
    assert [] == [name for name, text in SCRIPTS.items() if html.search(text)]


def test_our_files_are_small() -> None:
    assert max(text.count("\n") for text in FILES.values()) <= 200


def test_the_library_is_compressed_by_a_thread_once_for_all_who_ask(with_charts: Place, reactor: Reactor) -> None:
    visits = [with_charts.visit(), with_charts.visit()]
    for visit in visits:
        visit.send(get("/charts", "Accept-Encoding: gzip, br"))
    assert [1, b"", b""] == [len(reactor.threads.waiting), *(visit.said for visit in visits)]
    reactor.threads.waiting.pop()()
    later = with_charts.visit()
    later.send(get("/charts", "Accept-Encoding: gzip"))
    assert not reactor.threads.waiting
    for visit in (*visits, later):
        head, _, body = visit.said.partition(b"\r\n\r\n")
        assert b"Content-Encoding: gzip" in head
        assert b"immutable" in head
        assert LIBRARY == gzip.decompress(body)


def test_a_peer_that_takes_nothing_compressed_gets_it_as_it_is(with_charts: Place) -> None:
    said = with_charts.visit().send(get("/charts"))
    assert f"Content-Length: {len(LIBRARY)}\r\n".encode() in said
    assert b"Content-Encoding" not in said


def test_a_peer_that_has_gone_meanwhile_is_no_harm(with_charts: Place, reactor: Reactor) -> None:
    visit = with_charts.visit()
    visit.send(get("/charts", "Accept-Encoding: gzip"))
    visit.wire.lose()
    reactor.threads.waiting.pop()()
    assert b"" == visit.said


def test_a_library_that_cannot_be_read_is_told(with_charts: Place, reactor: Reactor, tmp_path: Path) -> None:
    visit = with_charts.visit()
    visit.send(get("/charts", "Accept-Encoding: gzip"))
    (tmp_path / "charts.js").unlink()
    reactor.threads.waiting.pop()()
    assert visit.said.startswith(b"HTTP/1.1 500 ")


def test_a_head_of_the_library_has_no_body(with_charts: Place) -> None:
    said = with_charts.visit().send(get("/charts").replace(b"GET", b"HEAD"))
    assert said.startswith(b"HTTP/1.1 200 ")
    assert said.endswith(b"\r\n\r\n")


def test_the_installed_library_has_its_version_in_its_name(reactor: Reactor) -> None:
    charts = find_charts(cast(Any, reactor))
    if charts is None:
        pytest.skip("plotly is not installed")
    assert re.fullmatch(r"plotly-[\d.]+\w*\.min\.js", charts.name)


def test_without_the_package_there_is_no_library(reactor: Reactor) -> None:
    assert find_charts(cast(Any, reactor), "no-such-package") is None
