"""Numbers that processes count together: real processes, which begin at the same time."""

from __future__ import annotations

import os
import subprocess
import sys

from ctrlserver.workers.ordered.shared import Lot, Numbering, Tally

PROGRAM = """
import sys
from ctrlserver.workers.ordered.shared import Lot, Numbering
numbering, lot = Numbering(int(sys.argv[1])), Lot(int(sys.argv[2]))
print(sum(lot.take() for _ in range(2000)), *(numbering.next() for _ in range(100_000)))
"""


def test_processes_that_ask_at_the_same_time_have_each_number_once_and_no_piece_twice() -> None:
    numbering, lot = Numbering.new(), Lot.of(3333)
    both = (numbering.descriptor, lot.descriptor)
    command = [sys.executable, "-c", PROGRAM, *map(str, both)]
    processes = [subprocess.Popen(command, pass_fds=both, stdout=subprocess.PIPE) for _ in range(2)]
    told = [list(map(int, process.communicate()[0].split())) for process in processes]
    assert 3333 == sum(each[0] for each in told)
    assert list(range(1, 200_001)) == sorted(number for each in told for number in each[1:])
    assert not lot.take()
    assert 200_001 == numbering.next()
    numbering.close()
    lot.close()


def test_a_piece_that_is_given_back_is_there_for_others() -> None:
    lot = Lot.of(1)
    other = Lot(os.dup(lot.descriptor))
    assert lot.take()
    assert not other.take()
    lot.give_back()
    assert other.take()
    other.close()
    assert not other.take()
    lot.close()


def test_a_number_that_the_kernel_cannot_count_to_is_never_used_up() -> None:
    lot = Lot.of(2**80)
    assert lot.take()
    lot.close()


def test_a_worker_sees_what_all_have_and_one_that_is_gone_has_nothing() -> None:
    parent = Tally.new()
    worker = Tally(os.dup(parent.descriptor))
    row, other = parent.another(), parent.another()
    assert 2 == worker.tell(row, 1, 2)
    assert 5 == worker.tell(row, 256, 3)
    assert 7 == worker.tell(other, 1, 7)
    assert 3 == parent.tell(row, 1, 0)
    parent.close()
    assert 4 == worker.tell(row, 2, 1)
    worker.close()
