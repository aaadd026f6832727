"""What the plugin costs a user's test run: what it imports, in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ctrlserver.testing import process
from ctrlserver.testing.keys import config_of
from ctrlserver.testing.toml import toml_of


def imported(code: str) -> str:
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, timeout=60)
    assert 0 == done.returncode, done.stderr
    return done.stdout + done.stderr


def names(said: str) -> set[str]:
    """The modules that were imported, whole names."""
    return {line.rpartition("|")[2].strip() for line in said.splitlines() if line.startswith("import time:")}


def test_the_plugin_brings_in_neither_twisted_nor_attrs_nor_anything_that_is_not_pythons() -> None:
    pytest_alone, with_plugin = names(imported("import pytest")), names(imported("import ctrlserver.testing.plugin"))
    more = {name.partition(".")[0] for name in with_plugin - pytest_alone}
    assert {"ctrlserver"} == more - set(sys.stdlib_module_names)


def test_of_ours_the_plugin_imports_its_room_and_three_small_files() -> None:
    said = names(imported("import ctrlserver.testing.plugin"))
    others = {name for name in said if name.startswith("ctrlserver.") and not name.startswith("ctrlserver.testing")}
    assert {"ctrlserver.errors", "ctrlserver.addresses", "ctrlserver.sleeping"} == others


def test_a_server_that_is_used_brings_in_no_twisted_either() -> None:
    code = (
        "import sys\n"
        "from ctrlserver.testing import Server\n"
        "with Server() as server:\n"
        "    server.wait(packets=0)\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'twisted', 'attr', 'zope', 'asyncio'}))\n"
    )
    assert "[]\n" == imported(code).partition("import time:")[0]


def test_a_server_without_tls_brings_in_neither_openssl_nor_what_else_it_does_not_need(tmp_path: Path) -> None:
    path = tmp_path / "ctrlserver.toml"
    path.write_text(toml_of(config_of({})))
    command = [sys.executable, "-P", "-X", "importtime", process.DAEMON, str(path), str(tmp_path / "none")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert (0, True) == (done.returncode, '"data"' in done.stdout), done.stderr
    said = names(done.stderr)
    assert "ctrlserver.service" in said
    heavy = {"OpenSSL.crypto", "cryptography", "service_identity", "twisted.trial", "http.client", "numpy", "re2"}
    rooms = {f"ctrlserver.{room}" for room in ("testing", "workers", "load", "client", "console", "overview")}
    assert set() == said & {*heavy, *rooms, "twisted.internet.testing"}
