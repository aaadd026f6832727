"""A user's own project: a fresh environment with what ``pip install ctrlserver pytest`` brings, and one test file.

Rules: the first tests have no package more than that; those of other plugins come after, in the same environment.

Beware: the packages come from an index, so these tests are skipped where there is none.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.packages import output_of

pytestmark = pytest.mark.integration

#: pip, in an environment of which it is no part. Seconds and tries are few: without an index this is to end soon.
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--retries", "1", "--timeout", "20")

HEAD = """
import asyncio, os, signal, socket, sys
import pytest

def send(address, data):
    with socket.create_connection(address, 30) as client:
        client.sendall(data)
"""


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel and pytest."""
    folder = tmp_path_factory.mktemp("fresh")
    tried = [*PIP, "download", "--no-deps", "--dest", str(folder / "index"), "pytest-asyncio"]
    index = subprocess.run(tried, capture_output=True, text=True, timeout=120, check=False)
    if index.returncode:
        pytest.skip(f"no packages can be installed here: {index.stderr.strip().splitlines()[-1]}")
    output_of(sys.executable, "-m", "venv", "--without-pip", folder / "environment", cwd=folder)
    python = folder / "environment" / "bin" / "python"
    output_of(*PIP, "--python", python, "install", wheel, "pytest", cwd=folder)
    return python


@pytest.fixture(scope="module")
def with_others(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the plugins that people have beside ours."""
    plugins = ("pytest-asyncio", "pytest-twisted", "pytest-xdist")
    output_of(*PIP, "--python", python, "install", *plugins, cwd=tmp_path_factory.mktemp("plugins"))
    return python


def tried(python: Path, folder: Path, text: str, *words: str) -> str:
    """What pytest prints of a file with ``text``, all of whose tests pass."""
    (folder / "test_it.py").write_text(HEAD + text)
    return output_of(python, "-m", "pytest", "-p", "no:cacheprovider", *words, cwd=folder)


def test_one_file_is_enough(python: Path, tmp_path: Path) -> None:
    said = tried(
        python,
        tmp_path,
        """
@pytest.mark.ctrlserver(framing="line", mode="reply", reply="OK\\n", keep=10)
def test_it_retries(ctrlserver):
    tries = 0
    with ctrlserver.inject("2*reset->off"):
        while ctrlserver.stats().replies_total == 0:
            tries += 1
            with socket.create_connection(ctrlserver.address, 30) as client:
                client.sendall(b"x\\n")
                try:
                    client.recv(10)
                except ConnectionResetError:
                    pass
    assert 3 == tries
    assert 2 == ctrlserver.wait(packets=3, streams_open=0).closed_injected_total
    assert [b"x"] == ctrlserver.packets(3)
    assert not {"twisted", "attr"} & set(sys.modules)
""",
        "--strict-markers",
        "-W",
        "error",
    )
    assert "1 passed" in said


def test_without_pytest_a_server_is_had_too(python: Path, tmp_path: Path) -> None:
    code = (
        "from ctrlserver.testing import Server\n"
        "with Server(mode='echo') as server:\n"
        "    print(server.wait(streams_open=0).packets, server.port > 0)\n"
    )
    assert "0 True\n" == output_of(python, "-c", code, cwd=tmp_path)


def test_asyncio_waits(with_others: Path, tmp_path: Path) -> None:
    said = tried(
        with_others,
        tmp_path,
        """
@pytest.mark.asyncio
@pytest.mark.ctrlserver(framing="line")
async def test_counts(ctrlserver):
    _, writer = await asyncio.open_connection(*ctrlserver.address)
    writer.write(b"a\\nb\\n")
    assert 2 == (await ctrlserver.wait_async(packets=2)).packets_total
    writer.close()
    await writer.wait_closed()
""",
        "-p",
        "no:twisted",
    )
    assert "1 passed" in said


def test_twisted_waits(with_others: Path, tmp_path: Path) -> None:
    said = tried(
        with_others,
        tmp_path,
        """
import pytest_twisted

@pytest_twisted.inlineCallbacks
def test_counts(ctrlserver):
    send(ctrlserver.address, bytes(2048))
    record = yield ctrlserver.wait_deferred(packets=2, streams_open=0)
    assert 2 == record.packets_total
""",
    )
    assert "1 passed" in said


def test_workers_do_not_meet(with_others: Path, tmp_path: Path) -> None:
    said = tried(
        with_others,
        tmp_path,
        """
@pytest.mark.parametrize("n", range(30))
def test_counts(ctrlserver, n):
    send(ctrlserver.address, bytes(1024 * n))
    assert n == ctrlserver.wait(packets=n, closed_eof_total=1, timeout=30).packets_total
""",
        "-n",
        "3",
        "-p",
        "no:twisted",
    )
    assert "30 passed" in said
