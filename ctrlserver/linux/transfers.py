"""Many sockets in one system call: Linux's AIO (``io_submit``), which the socket module lacks, by ctypes.

Rules:

- ``Transfers`` is a table of rows. ``read`` fills one row from each socket, ``send`` sends each row back to its socket.
  Either makes two system calls, ``io_submit`` and ``io_getevents``, for any number of sockets. The table is made once.
- Sockets are non-blocking, so a transfer is done, or refused with EAGAIN, when ``io_submit`` returns. Linux returns the
  results in the order of the rows; any other order is sorted by the row numbers that they carry.
- A row that the kernel did not accept counts as refused with EAGAIN: nothing was read or sent for it.
- ``Transfers`` waits for all results, even if a kernel completes transfers later or a signal interrupts the wait. The
  data is in the rows only, so a lost result would be lost data.
- The layout is that of ``struct iocb`` and ``struct io_event`` in <linux/aio_abi.h>, for 64-bit little-endian systems:

      iocb      data (8), key and flags (4, 4), opcode and priority (2, 2), socket (4), address, bytes, offset (8 each),
                reserved (8), flags and eventfd (4, 4)
      io_event  data, iocb, result, second result (8 each)

- Without AIO (another system or processor, a kernel or a seccomp filter that refuses it, all requests of the system in
  use) ``transfers`` returns None, and sockets are read and written one by one. That the calls exist proves little: a
  kernel may support files only, a filter may allow ``io_setup`` and nothing else. So each table first echoes a byte.

Beware: rows are parts of the lane's buffer. What ``read`` put there is valid until somebody else reads into it.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import socket
import sys
from array import array
from collections.abc import Callable
from struct import Struct

from ctrlserver.linux.library import library_function

#: Bytes of one read into a row, and the distance between rows, chosen so that they do not share the same cache lines.
ROW_BYTES = 1 << 14
STRIDE_BYTES = ROW_BYTES + 1088

#: System call numbers of io_setup, io_destroy, io_getevents and io_submit, by processor.
_CALLS = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}

_IOCB = Struct("=QIIHhIQqqQII")
#: How often in a row the wait for results may fail before we give up; signals interrupt it now and then.
_WAITS = 100

_READ, _WRITE = 0, 1
_SOCKET_AT, _BYTES_AT = 5, 4  # in words of 4 and of 8 bytes
_EVENT_WORDS, _MARK_AT, _RESULT_AT = 4, 0, 2  # in words of 8 bytes


class _Requests:
    """One iocb for each row, and views of the fields that change: sockets and sizes."""

    def __init__(self, rows: int, opcode: int, content: int) -> None:
        self._iocbs = bytearray(rows * _IOCB.size)
        for row in range(rows):
            address = content + row * STRIDE_BYTES
            _IOCB.pack_into(self._iocbs, row * _IOCB.size, row, 0, 0, opcode, 0, 0, address, ROW_BYTES, 0, 0, 0, 0)
        first = ctypes.addressof((ctypes.c_char * len(self._iocbs)).from_buffer(self._iocbs))
        self.pointers = (ctypes.c_uint64 * rows)(*(first + row * _IOCB.size for row in range(rows)))
        table = memoryview(self._iocbs)
        self.sockets = table.cast("I")[_SOCKET_AT :: _IOCB.size // 4]
        self.sizes = table.cast("q")[_BYTES_AT :: _IOCB.size // 8]


class Transfers:
    """The table; make it with ``transfers``. ``content`` holds ``rows`` rows of ``STRIDE_BYTES``."""

    def __init__(self, content: memoryview, rows: int, call: Callable[..., int], context: int) -> None:
        self.rows = rows
        self._call = call
        numbers = (ctypes.c_long(number) for number in _CALLS[platform.machine()])
        _, self._destroy, self._getevents, self._submit = numbers
        self._content = content
        self._pinned = (ctypes.c_char * len(content)).from_buffer(content)
        address = ctypes.addressof(self._pinned)
        self._reads = _Requests(rows, _READ, address)
        self._sends = _Requests(rows, _WRITE, address)
        self._events = (ctypes.c_int64 * (rows * _EVENT_WORDS))()
        words = memoryview(self._events).cast("B").cast("q")
        self._marks = words[_MARK_AT::_EVENT_WORDS]
        self._results = words[_RESULT_AT::_EVENT_WORDS]
        self._rows = memoryview(array("q", range(rows)))
        self._context = ctypes.c_ulong(context)
        self._numbers = [ctypes.c_long(number) for number in range(rows + 1)]

    def read(self, sockets: list[int]) -> list[int]:
        """Read once from each socket: the bytes read into each row, 0 at the end of data, or a negative errno."""
        rows = len(sockets)
        numbers = array("I", sockets)
        self._reads.sockets[:rows] = numbers
        self._sends.sockets[:rows] = numbers
        return self.read_again(rows)

    def read_again(self, rows: int) -> list[int]:
        """As ``read``, from the first ``rows`` sockets of the last one."""
        return self._run(self._reads, rows)

    def send(self, rows: int) -> list[int]:
        """Send the first ``rows`` rows of the last ``read`` back: the bytes sent of each, or a negative errno."""
        self._sends.sizes[:rows] = self._results[:rows]
        return self._run(self._sends, rows)

    def send_blocks(self, sockets: list[int], blocks: list[memoryview]) -> list[int]:
        """Send to each socket its block, of at most ``ROW_BYTES``: the bytes sent of each, or a negative errno."""
        rows = len(sockets)
        self._sends.sockets[:rows] = array("I", sockets)
        self._sends.sizes[:rows] = array("q", map(len, blocks))
        at = 0
        for block in blocks:
            self._content[at : at + len(block)] = block
            at += STRIDE_BYTES
        return self._run(self._sends, rows)

    def _run(self, requests: _Requests, rows: int) -> list[int]:
        taken = self._call(self._submit, self._context, self._numbers[rows], requests.pointers)
        if taken <= 0:
            return [-errno.EAGAIN] * rows
        number = self._numbers[taken]
        done = self._call(self._getevents, self._context, number, number, self._events, None)
        if done != taken:
            self._await(max(done, 0), taken)
        results: list[int] = self._results[:taken].tolist()
        if self._marks[:taken] != self._rows[:taken]:
            results = [result for _, result in sorted(zip(self._marks[:taken], results, strict=True))]
            self._results[:taken] = array("q", results)
        return results if taken == rows else results + [-errno.EAGAIN] * (rows - taken)

    def _await(self, done: int, taken: int) -> None:
        """Wait for the results after the first ``done``."""
        fails = 0
        while done < taken:
            number = self._numbers[taken - done]
            place = ctypes.byref(self._events, done * _EVENT_WORDS * 8)
            more = self._call(self._getevents, self._context, number, number, place, None)
            fails = 0 if more > 0 else fails + 1
            if fails == _WAITS:
                raise OSError(errno.EIO, "the kernel accepted transfers and does not return their results")
            done += max(more, 0)

    def echoes(self) -> bool:
        """Whether a byte is echoed: the proof that this kernel's AIO serves sockets."""
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            far.setblocking(False)
            far.send(b"?")
            return self.read([near.fileno()]) == [1] == self.send(1) and far.recv(2) == b"?"

    def row(self, row: int, size: int) -> memoryview:
        """The first ``size`` bytes of a row."""
        start = row * STRIDE_BYTES
        return self._content[start : start + size]

    def close(self) -> None:
        """Release what the kernel holds for the table."""
        self._call(self._destroy, self._context)


def transfers(content: memoryview, rows: int) -> Transfers | None:
    """A table of at most ``rows`` rows in ``content``, or None without AIO."""
    calls, call = _CALLS.get(platform.machine()), library_function("syscall")
    if call is None or calls is None or sys.byteorder != "little" or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    call.restype = ctypes.c_long
    context = ctypes.c_ulong(0)
    if call(ctypes.c_long(calls[0]), ctypes.c_long(rows), ctypes.byref(context)) != 0:
        return None
    table = Transfers(content, min(rows, len(content) // STRIDE_BYTES), call, context.value)
    try:
        if table.echoes():
            return table
    except OSError:
        pass
    table.close()
    return None
