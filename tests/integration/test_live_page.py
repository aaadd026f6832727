"""The live page in a real browser, one for all tests of this file: Chromium, driven by its chromedriver."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.conftest import PATIENCE, Daemon, Start, needs

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [needs("chromium"), needs("chromedriver")]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
LOOPBACK = "tcp:0:interface=127.0.0.1"
STRANGER = "<img src=x onerror=document.title='taken'>"


class Page:
    """The browser, and what a person sees and does there."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser

    def show(self, daemon: Daemon, *, anew: bool = False) -> None:
        """The page of the daemon, ``anew`` without what was typed and pressed in it."""
        url = f"http://127.0.0.1:{daemon.ports['http']}/"
        if anew or self.browser.current_url != url:
            self.browser.get(url)
        self.until(lambda: "live" == self.text("#link"))

    def until(self, holds: Callable[[], bool]) -> None:
        WebDriverWait(self.browser, PATIENCE, poll_frequency=0.05).until(lambda _: holds())

    def run(self, script: str) -> Any:
        return self.browser.execute_script(f"return {script}")

    def text(self, selector: str) -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''"))

    def figure(self, field: str) -> float:
        """One of those at the top."""
        return float(self.run(f"document.querySelector('[data-field={field}] dd')?.title || '0'"))

    def column(self, section: str, name: str) -> list[str]:
        """The cells below the heading ``name``, which is there."""
        found = self.run(
            "(([table, name]) => { const at = [...table.tHead.querySelectorAll('th')].map(each => each.textContent)"
            ".indexOf(name); return at < 0 ? [] : [...table.tBodies[0].rows].map(row => row.cells[at]?.textContent) })"
            f"([document.querySelector('#{section} table'), {json.dumps(name)}])"
        )
        return [str(each) for each in found]

    def press(self, *keys: str) -> None:
        webdriver.ActionChains(self.browser).send_keys(*keys).perform()

    def focus(self) -> str:
        return str(self.run("document.activeElement.textContent || document.activeElement.id"))

    def tab_to(self, name: str) -> None:
        """By the tabulator alone."""
        for _ in range(30):
            if name == self.focus():
                return
            self.press(Keys.TAB)
        raise AssertionError(f"the tabulator does not reach {name}")

    def log(self) -> list[str]:
        """What the browser's console has had since."""
        return [entry["message"] for entry in self._entries("browser")]

    def asked(self) -> set[str]:
        """The hosts of all requests since."""
        entries = [json.loads(entry["message"])["message"] for entry in self._entries("performance")]
        requests = [each["params"]["request"] for each in entries if "Network.requestWillBeSent" == each["method"]]
        urls = [urlsplit(request["url"]) for request in requests]
        return {url.netloc for url in urls if url.scheme in ("http", "https", "ws", "wss")}

    def _entries(self, log: str) -> list[Any]:
        return list(self.browser.get_log(log))  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}", "--window-size=1400,1000"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield Page(browser)
    finally:
        browser.quit()


@pytest.fixture(scope="module")
def daemon(shared: Start) -> Daemon:
    return shared("--http", LOOPBACK)


@contextmanager
def sending(daemon: Daemon, packets: int = 20) -> Iterator[socket.socket]:
    """A stream that sends so many packets every 20 ms."""
    over = threading.Event()
    with daemon.connect() as client:

        def send() -> None:
            while not over.wait(0.02):
                client.sendall(bytes(1024 * packets))

        sender = threading.Thread(target=send)
        sender.start()
        try:
            yield client
        finally:
            over.set()
            sender.join()


def test_the_page_shows_the_rate_of_a_load_that_runs(page: Page, daemon: Daemon) -> None:
    with sending(daemon):
        page.show(daemon)
        page.until(lambda: page.figure("packets_per_second") > 0)
        page.until(lambda: page.figure("bits_per_second") > 0)
        assert "ready" == page.text("#health")
        assert "Run 1, active: " in page.text("#run")
        page.until(lambda: any(rate[0] in "123456789" for rate in page.column("streams", "packets/s now")))


def test_charts_are_drawn_and_say_what_they_show(page: Page, daemon: Daemon) -> None:
    pytest.importorskip("plotly", reason="the extra web is not installed")
    page.show(daemon)
    lines = "document.querySelectorAll('figure:not([hidden]) path.js-line').length"
    page.until(lambda: 2 == page.run(lines))
    assert page.run("document.getElementById('packets-chart').ariaLabel").startswith("Line chart of the last minutes")


def test_streams_come_and_go(page: Page, daemon: Daemon) -> None:
    page.show(daemon)
    before = len(page.column("streams", "state"))
    with daemon.connect() as one, daemon.connect() as two:
        for client in (one, two):
            client.sendall(bytes(2048))
        page.until(lambda: 2 == page.figure("streams_open") == page.column("streams", "state").count("open"))
    page.until(lambda: 0 == page.figure("streams_open") == page.column("streams", "state").count("open"))
    assert before + 2 == page.column("streams", "state").count("closed")


def test_what_strangers_name_is_text_and_renamed_fields_have_their_new_names(page: Page, daemon: Daemon) -> None:
    assert "OK" in daemon.ask(f'run start "{STRANGER}"', "rename peer inet_peer", "rename streams_open now_open")
    assert "OK" in daemon.ask(f"rename mode {'n' * 64}")
    page.show(daemon)
    page.until(lambda: STRANGER in page.column("runs", "name"))
    assert [0, True] == [page.run("document.querySelectorAll('img').length"), "ctrlserver" in page.browser.title]
    assert page.column("streams", "inet_peer")[0].startswith("127.0.0.1:")
    assert "now_open" == page.text("[data-field=streams_open] dt")
    assert f"“\u2068{STRANGER}\u2069”" in page.text("#run"), "isolated: it may run from right to left"
    widths = "[...document.querySelectorAll('#streams th')].map(each => each.offsetWidth)"
    assert 200 < max(page.run(widths)) <= 24 * 16
    daemon.ask("run stop", "unrename inet_peer", "unrename now_open", f"unrename {'n' * 64}")


@pytest.mark.parametrize("width", [400, 2000])
def test_no_width_makes_the_page_wider_than_the_window(page: Page, daemon: Daemon, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.show(daemon)
    page.until(lambda: page.column("listeners", "name") == ["data"])
    assert page.run("document.documentElement.scrollWidth") <= width
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_streams_are_sorted_and_found_by_keyboard(page: Page, daemon: Daemon) -> None:
    with daemon.connect() as one, daemon.connect() as two, daemon.connect() as three:
        for client, packets in ((one, 2), (two, 3), (three, 1)):
            client.sendall(bytes(1024 * packets))
        page.show(daemon, anew=True)
        page.run("document.getElementById('find').focus()")
        page.press("open", Keys.TAB)
        page.until(lambda: ["open"] * 3 == page.column("streams", "state"))
        page.tab_to("packets")
        page.press(Keys.ENTER)
        page.until(lambda: ["3", "2", "1"] == page.column("streams", "packets"))
        assert "descending" == page.run("document.activeElement.parentElement.ariaSort")
        page.press(Keys.ENTER)
        page.until(lambda: ["1", "2", "3"] == page.column("streams", "packets"))
        assert "ascending" == page.run("document.activeElement.parentElement.ariaSort")
        page.press(Keys.SHIFT, Keys.TAB, Keys.NULL)
        assert "packets" != page.focus()


def test_of_more_streams_than_the_page_has_the_server_sorts_finds_and_pages(page: Page, daemon: Daemon) -> None:
    most = 120
    with ExitStack() as stack:
        for packets in range(1, most + 1):
            stack.enter_context(daemon.connect()).sendall(bytes(1024 * packets))
        daemon.await_stats(streams_open=most)
        page.show(daemon, anew=True)
        page.until(lambda: "the 100 fastest, " in page.text("#place"))
        page.run("document.getElementById('state').focus()")
        page.press("o")
        page.tab_to("packets")
        page.press(Keys.ENTER)
        page.until(lambda: [f"{most - at}" for at in range(25)] == page.column("streams", "packets"))
        assert f"1 to 25 of {most}" == page.text("#place")
        page.run("document.getElementById('after').focus()")
        page.press(Keys.ENTER)
        page.until(lambda: [f"{most - at}" for at in range(25, 50)] == page.column("streams", "packets"))
        page.run("document.getElementById('find').focus()")
        page.press("no such peer")
        page.until(lambda: "no such stream" == page.text("#place"))
    daemon.await_stats(streams_open=0)


def test_the_console_has_no_error_and_no_other_host_was_asked(page: Page, daemon: Daemon) -> None:
    assert [] == page.log()
    assert {f"127.0.0.1:{daemon.ports['http']}"} == page.asked()


def test_a_restart_of_the_server_is_survived_and_shows_the_runs_of_before(
    page: Page, start: Start, tmp_path: Path
) -> None:
    kept = ("--history", str(tmp_path / "runs.sqlite3"))
    first = start("--http", LOOPBACK, *kept)
    page.show(first)
    with sending(first):
        page.until(lambda: page.figure("packets_total") > 0)
    first.stop()
    page.until(lambda: "connection lost, trying again" == page.text("#link"))
    assert "not known" == page.text("#health")
    start("--http", f"tcp:{first.ports['http']}:interface=127.0.0.1", *kept)
    page.until(lambda: "live" == page.text("#link"))
    page.until(lambda: 0 == page.figure("packets_total"))
    page.until(lambda: ["ended"] == page.column("runs", "state"))
    assert [] == [each for each in page.log() if "net::ERR_" not in each]
