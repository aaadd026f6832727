"""A process's name, as ``ps`` and ``top`` show it, its end together with its parent's, and whose orphans it takes.

Rules: each function says whether it did it. On systems other than Linux nothing is done.

The kernel shows as the command line what stands where the arguments were. If the last byte of that place is not zero,
it shows the text up to the first zero byte. So nothing shows after a name that is shorter than the arguments.

Beware: the kernel ends a process with its parent's thread, not with its parent: it has to be started by a thread that
stays. It asks for the parent of now, so whoever may have lost its own by then finds out otherwise.
"""

from __future__ import annotations

import ctypes
import signal
from pathlib import Path

from ctrlserver.linux.library import library_function

_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 1, 15, 36

#: Bytes of a thread's name, without the zero after it.
SHORT_BYTES = 15

#: Places of the first and the last address of the arguments in /proc/self/stat, behind the name in parentheses.
_ARGUMENTS_BEGIN, _ARGUMENTS_END = 45, 46


def name_process(name: str, short: str) -> bool:
    """Show ``name`` as the command line, as much of it as fits, and ``short`` as the name of the thread."""
    control = library_function("prctl")
    if control is None:
        return False
    control(_PR_SET_NAME, ctypes.create_string_buffer(short.encode()[:SHORT_BYTES]), 0, 0, 0)
    try:
        figures = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        begin, end = int(figures[_ARGUMENTS_BEGIN]), int(figures[_ARGUMENTS_END])
    except (OSError, ValueError, IndexError):
        return False
    room = end - begin
    if begin <= 0 or room < 2:
        return False
    written = name.encode()[: room - 2]
    ctypes.memmove(begin, written.ljust(room - 1, b"\0") + b".", room)
    return True


def end_with_parent() -> bool:
    """Have the kernel end this process by SIGKILL when the thread that started it ends."""
    control = library_function("prctl")
    return control is not None and control(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) == 0


def adopt_orphans() -> bool:
    """Have the kernel make this process the parent of its children's children whose own parent has ended."""
    control = library_function("prctl")
    return control is not None and control(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
