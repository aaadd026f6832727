"""``ctrlload search`` against a real daemon. The knee is set by a condition on the rate asked for, not by speed."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import BIN, PATIENCE, Start, run, running
from tests.load.documents import validated_search

#: Whatever the machine does meanwhile, that much of the rate is achieved.
LENIENT = ("--tolerance", "99%", "-t", "50ms")


def knee(rate: str) -> tuple[str, str]:
    return "--fail-if", f"schedule.target_packets_per_second>{rate}"


@pytest.mark.parametrize("mode", ["send", "request"])
def test_the_highest_rate_below_the_condition_is_found_and_every_packet_counted(start: Start, mode: str) -> None:
    daemon = start("--mode", "echo" if mode == "request" else "sink")
    target = f"127.0.0.1:{daemon.ports['data']}"
    done = run(
        *(BIN / "ctrlload", "search", target, "-m", mode, "-P", "4", "--admin", daemon.admin, "-J"),
        *(*LENIENT, *knee("20k")),
    )
    assert 0 == done.returncode, done
    document = validated_search(done.stdout.decode())
    assert 19_000 <= document["highest_packets_per_second"] <= 20_000
    steps: list[dict[str, Any]] = document["steps"]
    assert {True} == {step["result"]["reconciled"] for step in steps}
    asked = [step["rate_packets_per_second"] for step in steps]
    assert [1_000, 2_000, 4_000, 8_000, 16_000] == asked[:5]
    assert all((step["verdict"] == "good") is (step["rate_packets_per_second"] <= 20_000) for step in steps)
    sent = sum(step["result"]["sent"]["packets"] for step in steps)
    assert daemon.await_stats(packets_total=sent, streams_open=0)["streams_total"] == 4 * len(steps)


def test_counts_of_another_framing_are_never_good(start: Start) -> None:
    daemon = start("--framing", "fixed:512")
    target = f"127.0.0.1:{daemon.ports['data']}"
    done = run(BIN / "ctrlload", "search", target, "--admin", daemon.admin, "-o", "-", *LENIENT)
    document = validated_search(done.stdout.decode())
    assert (4, None) == (done.returncode, document["highest_packets_per_second"])
    assert "do not reconcile" in document["why"]
    assert {"bad"} == {step["verdict"] for step in document["steps"]}


def test_ctrl_c_in_a_step_leaves_the_steps_before_it(start: Start, tmp_path: Path) -> None:
    daemon = start()
    place = tmp_path / "search.json"
    command = [
        str(BIN / "ctrlload"),
        "search",
        f"127.0.0.1:{daemon.ports['data']}",
        "-o",
        str(place),
        "--tolerance",
        "99%",
    ]
    with running(
        [*command, "-t", "300ms", "--to", "1e5"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert ["1", "1000/s"] == process.stderr.readline().split()[:2]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    document = validated_search(place.read_text())
    assert (130, True, None) == (process.returncode, document["interrupted"], document["highest_packets_per_second"])
    assert len(document["steps"]) >= 1
    assert "was good so far" in document["why"]
