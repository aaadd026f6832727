"""The memory that a control group allows, of both versions."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from ctrlserver.linux.library import library_function
from ctrlserver.linux.memory import group_limits, look_for_garbage_seldom, memory_there_is


def test_the_limits_of_a_group_and_of_those_around_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "groups").write_text("0::/system.slice/x.service\n")
    inner = tmp_path / "root/system.slice/x.service"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text("1048576\n")
    assert [1048576] == group_limits(tmp_path / "groups", tmp_path / "root")


def test_the_limits_of_the_first_version_are_read(tmp_path: Path) -> None:
    (tmp_path / "groups").write_text("3:cpu,memory:/box\n2:cpuset:/other\n")
    (tmp_path / "root/memory/box").mkdir(parents=True)
    (tmp_path / "root/memory/box/memory.limit_in_bytes").write_text("2097152\n")
    assert [2097152] == group_limits(tmp_path / "groups", tmp_path / "root")


def test_there_is_memory_where_no_group_says_so(tmp_path: Path) -> None:
    assert [] == group_limits(tmp_path / "none", tmp_path)
    assert 1 << 20 < memory_there_is(tmp_path / "none", tmp_path) < 1 << 60


LARGE_AMONG_SMALL = """
from ctrlserver.linux.memory import give_back_large_blocks

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) << 12

give_back_large_blocks()
large, small = [], []
for _ in range(2):  # what is freed once is what glibc takes from its heap afterwards
    large.clear()
    for _ in range(64):
        large.append(bytearray(b"x" * (1 << 20)))
        small.append(bytearray(100_000))
full = resident()
large.clear()
print(full - resident())
"""


@pytest.mark.skipif(library_function("mallopt") is None, reason="the library is not glibc")
def test_a_large_block_goes_back_to_the_kernel_although_small_ones_lie_between() -> None:
    freed = int(subprocess.run([sys.executable, "-c", LARGE_AMONG_SMALL], capture_output=True, check=True).stdout)
    assert 60 << 20 <= freed


def test_what_was_there_is_no_garbage_and_what_comes_may_be() -> None:
    class Circle:
        def __init__(self) -> None:
            self.itself = self

    gc.collect()
    before, thresholds = weakref.ref(Circle()), gc.get_threshold()
    try:
        look_for_garbage_seldom()
        after = weakref.ref(Circle())
        gc.collect()
        assert (True, False) == (before() is not None, after() is not None)
        assert gc.get_threshold()[0] > thresholds[0]
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
