"""The Python blocks of the pages are files of a user's project: pytest runs them as they stand, and mypy reads one.

How a block is read: its first line is ``# NAME.py: what it shows``. The blocks of a page are files of one folder. A
file that uses one of ``TOOLS`` is a test of its own here, for that may be missing.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import needs
from tests.pages import PAGES, ROOT, blocks

pytestmark = pytest.mark.integration

TOOLS = re.compile(r'"(curl|redis-cli)"|import (urllib3)')
PAGE = ROOT / "docs" / "testing-with-ctrlserver.md"

#: A client that connects anew and begins again, where a page tests the reader's own.
MY_CLIENT = """
import socket

def send_all(address, packets):
    while True:
        try:
            with socket.create_connection(address, 30) as client:
                client.sendall(bytes(1024 * packets))
                client.shutdown(socket.SHUT_WR)
                client.recv(1)
                return
        except OSError:  # of shutdown too: ENOTCONN is no ConnectionError
            pass
"""

#: Lines of a recipe: a screen.
MOST = 50


def files_of(page: Path) -> dict[str, str]:
    """The text of each Python block by its name."""
    found: dict[str, str] = {}
    for text in blocks(page, "python"):
        first = re.match(r"# (\w+\.py): \S", text)
        assert first, text
        assert first[1] not in found, first[1]
        found[first[1]] = text
    return found


def tool_of(text: str) -> str | None:
    """The program that it runs, or the library that it tests."""
    found = TOOLS.search(text)
    return found and (found[1] or found[2])


def run_over(folder: Path, page: Path, tool: str | None) -> None:
    """Run those of the page's files that use this tool."""
    files = files_of(page)
    tests = [name for name, text in files.items() if name.startswith("test_") and tool_of(text) == tool]
    for name in {*tests, *(name for name in files if not name.startswith("test_"))}:
        (folder / name).write_text(files[name])
    (folder / "my_client.py").write_text(MY_CLIENT)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-q", *tests]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [*command, "--strict-markers", "-W", "error"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    last = done.stdout.strip().splitlines()[-1]
    assert (0, True) == (done.returncode, re.fullmatch(r"\d+ passed in .*", last) is not None), done.stdout


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_every_test_on_a_page_passes(page: Path, tmp_path: Path) -> None:
    run_over(tmp_path, page, None)


@needs("curl")
def test_the_recipe_with_curl_passes(tmp_path: Path) -> None:
    run_over(tmp_path, PAGE, "curl")


@needs("redis-cli")
def test_the_recipe_with_redis_cli_passes(tmp_path: Path) -> None:
    run_over(tmp_path, PAGE, "redis-cli")


def test_the_recipe_with_urllib3_passes(tmp_path: Path) -> None:
    pytest.importorskip("urllib3")
    run_over(tmp_path, PAGE, "urllib3")


@pytest.mark.parametrize("name", [*files_of(PAGE)])
def test_a_recipe_is_a_screen_at_most(name: str) -> None:
    assert len(files_of(PAGE)[name].splitlines()) <= MOST


def test_mypy_accepts_a_users_test(tmp_path: Path) -> None:
    (tmp_path / "test_typed.py").write_text(files_of(PAGE)["test_typed.py"])
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [*command, "test_typed.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert "Success" in done.stdout, done.stdout + done.stderr
