"""Probe packets into a real daemon, with numpy and without it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from ctrlserver.stats.records import PROBE_FIELDS
from ctrlserver.wire.probe import encode_into
from tests.integration.conftest import PATIENCE, Start

CONFIG = """
[[listener]]
name = "probed"
endpoint = "tcp:0:interface=127.0.0.1"
framing = "fixed:64"
probe = true

[[listener]]
name = "plain"
endpoint = "tcp:0:interface=127.0.0.1"
framing = "fixed:64"

[[admin]]
endpoint = "tcp:0:interface=127.0.0.1"
"""

NO_NUMPY = "import sys; sys.modules['numpy'] = None\n"


@pytest.mark.parametrize("numpy", [True, False])
def test_a_probing_listener_shows_its_figures_and_another_none(start: Start, tmp_path: Path, numpy: bool) -> None:
    (tmp_path / "probe.toml").write_text(CONFIG)
    environment = {}
    if not numpy:
        (tmp_path / "sitecustomize.py").write_text(NO_NUMPY)
        environment = {"env": {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}}
    daemon = start("--config", "probe.toml", listeners=2, **environment)
    assert numpy != ("numpy is not installed" in daemon.log.text)

    buffer = bytearray(64 * 10_000)
    encode_into(buffer, 64, 0, [time.time_ns()] * 10_000)
    octets = bytes(buffer[: 64 * 5_000] + buffer[64 * 5_010 :])
    for name in ("probed", "plain"):
        with daemon.connect(name) as client:
            client.sendall(octets)
    daemon.await_stats(packets_total=2 * 9_990, streams_open=0)

    plain, probed = sorted(daemon.ask_json("streams"), key=lambda stream: stream["listener"])
    assert not set(PROBE_FIELDS) & set(plain)
    assert (10, 0, 0) == (probed["lost"], probed["duplicate"], probed["out_of_order"])
    assert probed["jitter_seconds"] >= 0
    assert 0 < probed["delay_p50_seconds"] <= probed["delay_p99_seconds"] < PATIENCE
    names = list(probed)
    assert list(PROBE_FIELDS) == names[names.index("run") + 1 :][: len(PROBE_FIELDS)]
    assert daemon.ask("describe jitter_seconds").splitlines()[-1].startswith("OK")


@pytest.mark.parametrize("probe", [True, False])
def test_numpy_is_imported_only_for_a_probing_listener(probe: bool) -> None:
    script = f"""
import sys
from twisted.internet.task import Clock
from ctrlserver.config import Config, ListenerConfig
from ctrlserver.service import ControlService

ControlService(Config(listeners=(ListenerConfig(probe={probe}),)), Clock())
print("numpy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert f"{probe}\n" == done.stdout


def test_without_numpy_packets_are_encoded_and_decoded_alike() -> None:
    script = (
        NO_NUMPY
        + """
from ctrlserver.stats.probing import Probing
from ctrlserver.wire.probe import decode, encode_into, has_numpy

buffer = bytearray(64 * 100)
encode_into(buffer, 64, 7, range(100), session=3)
(run,) = decode(buffer, 64, 100)
probing = Probing()
probing.take_all(*run, 1000)
print(has_numpy(), run == (3, list(range(7, 107)), list(range(100))), probing.lost, probing.delays.seconds((1.0,)))
"""
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.startswith("False True 0 [1.0")
