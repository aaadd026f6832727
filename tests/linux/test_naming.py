"""What ``ps`` shows of a process that names itself, and its end with the thread that started it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the calls are Linux's")

NAMES = """
from pathlib import Path
from ctrlserver.linux.naming import name_process
for name in ("ctrlserver: worker 12", "short", "long" * 1000):
    print(name_process(name, name), *(Path("/proc/self", file).read_bytes() for file in ("cmdline", "comm")))
print(Path("/proc/self/environ").read_bytes().endswith(b"\\0"))
"""

# The middle one of three starts the last one and is killed; the last one would sleep on.
ENDS = """
import os, signal, subprocess, sys, time
last = "import time; from ctrlserver.linux import naming; print(naming.end_with_parent(), flush=True); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", last])
time.sleep(60)
"""


def test_the_name_is_the_whole_command_line_and_cut_where_there_is_no_room() -> None:
    shown = subprocess.run([sys.executable, "-c", NAMES], capture_output=True, text=True, check=True).stdout
    first, second, third, environment = shown.splitlines()
    assert r"True b'ctrlserver: worker 12\x00' b'ctrlserver: wor\n'" == first
    assert r"True b'short\x00' b'short\n'" == second
    assert third.startswith("True b'longlong")
    assert third.endswith(r"b'longlonglonglon\n'")
    assert "True" == environment


def test_a_process_that_asked_for_it_is_killed_with_its_parent() -> None:
    middle = subprocess.Popen([sys.executable, "-c", ENDS], stdout=subprocess.PIPE, text=True)
    assert middle.stdout is not None
    with middle.stdout:
        assert "True\n" == middle.stdout.readline()
        middle.kill()
        middle.wait()
        assert "" == middle.stdout.read()  # the last one held the other end
