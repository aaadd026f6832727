"""Who lets others run on when it wakes up."""

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
