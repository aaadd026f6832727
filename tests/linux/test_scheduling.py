"""Who lets others run on when it wakes up, and who keeps to one processor."""

from __future__ import annotations

import subprocess
import sys

import pytest

TELLS = (
    "import os; from ctrlserver.linux.scheduling import wait_for_the_running as wait; wait();"
    "print(os.sched_getscheduler(0) == os.SCHED_{policy})"
)


@pytest.mark.skipif(sys.platform != "linux", reason="SCHED_BATCH is Linux's")
@pytest.mark.parametrize(("started", "policy"), [("OTHER", "BATCH"), ("IDLE", "IDLE")])
def test_a_process_waits_for_those_that_run_unless_it_was_started_with_another_policy(
    started: str, policy: str
) -> None:
    begin = f"import os; os.sched_setscheduler(0, os.SCHED_{started}, os.sched_param(0)); "
    code = begin + TELLS.format(policy=policy)
    assert "True\n" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="sched_setaffinity is Linux's")
def test_processes_that_have_all_processors_keep_to_one_each_and_fewer_are_free() -> None:
    code = (
        "import os; from ctrlserver.linux.scheduling import keep_to_a_processor as keep; all = os.sched_getaffinity(0);"
        "keep(1, len(all) - 1); print(os.sched_getaffinity(0) == all);"
        "kept = []\n"
        "for number in range(2 * len(all)):\n"
        "    os.sched_setaffinity(0, all); keep(number, len(all)); kept += os.sched_getaffinity(0)\n"
        "print(sorted(kept) == sorted([*all, *all]))"
    )
    assert "True\nTrue\n" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
