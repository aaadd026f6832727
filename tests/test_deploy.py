"""The units in etc/: good for systemd, closed as far as they promise, and of one mind with the page and the config."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from ctrlserver.config import Config, load_config
from tests.pages import ROOT, blocks

ETC = ROOT / "etc"
PAGE = ROOT / "docs" / "deploy.md"
SERVICE = ETC / "ctrlserver.service"
SOCKETS = sorted(ETC.glob("*.socket"))
UNITS = [SERVICE, *SOCKETS]

#: Of 10; what "systemd-analyze security" calls OK ends at 5.
MOST_EXPOSED = 1.5

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def analyzed(*words: str | Path) -> str:
    done = subprocess.run(
        ["systemd-analyze", *map(str, words)], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


def values(unit: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)


@needs_systemd
def test_the_service_is_exposed_as_little_as_it_promises() -> None:
    told = analyzed("security", "--offline=true", "--no-pager", SERVICE)
    if "offline" in told and "unrecognized" in told:
        pytest.skip("this systemd-analyze cannot look at a file")
    found = re.search(r"Overall exposure level for ctrlserver\.service: ([\d.]+)", told)
    assert found is not None, told
    assert MOST_EXPOSED >= float(found[1])


@needs_systemd
def test_systemd_finds_nothing_to_complain_of_in_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text().replace("/opt/ctrlserver/bin/ctrlserver", shutil.which("true") or "/bin/true")
        (tmp_path / unit.name).write_text(text)
    told = analyzed("verify", "--man=no", *(tmp_path / unit.name for unit in UNITS))
    assert [] == [line for line in told.splitlines() if str(tmp_path) in line or line.startswith("ctrlserver")]


def test_the_unit_lets_tls_connections_be_made() -> None:
    """Python's OpenSSL makes code while it runs, for its callbacks."""
    assert [] == values(SERVICE, "MemoryDenyWriteExecute")


def test_the_unit_gives_streams_longer_to_end_than_the_server_does_by_default() -> None:
    (seconds,) = values(SERVICE, "TimeoutStopSec")
    assert Config().drain_timeout < float(seconds)


def test_each_socket_is_named_as_an_endpoint_that_the_page_and_its_unit_show() -> None:
    for unit in SOCKETS:
        (name,) = values(unit, "FileDescriptorName")
        (shown,) = re.findall(r'endpoint = "(systemd:\S+)"', unit.read_text())
        assert shown.endswith(f":name={name}")
        assert shown in PAGE.read_text()
        assert [SERVICE.name] == values(unit, "Service")


def test_the_credential_of_the_unit_is_the_one_that_the_page_uses() -> None:
    (name,) = values(SERVICE, "LoadCredential")
    assert f'auth = "credential:{name}"' in PAGE.read_text()
    assert f"/etc/credstore/{name}" in PAGE.read_text()


def test_the_configs_of_the_page_are_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (credential,) = values(SERVICE, "LoadCredential")
    secret = tmp_path / credential
    secret.write_text("0123456789abcdef\n")
    secret.chmod(0o600)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for number, text in enumerate(blocks(PAGE, "toml")):
        tomllib.loads(text)
        if "systemd:" not in text:  # no sockets are passed on to a test
            (tmp_path / f"{number}.toml").write_text(text)
            load_config(tmp_path / f"{number}.toml")
