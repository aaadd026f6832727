"""Many datagrams in one system call: Linux's ``recvmmsg``, which the socket module lacks, by ctypes.

Rules:

- ``Messages`` is a table that the kernel fills: a row for each datagram or, if the socket has ``UDP_GRO``, for each
  batch of one sender. The table is made once; a call makes no Python object for a datagram.
- Columns (``sizes``, ``segments``, ``alike``) are strided slices of the table, read at the speed of C.
- The layout is that of ``struct mmsghdr`` in <sys/socket.h>, with natural alignment:

      mmsghdr   msghdr, then the length received (unsigned int)
      msghdr    name, its length (socklen_t), iovec, their number, control, its length (size_t), flags
      iovec     base, length
      control   one cmsghdr (its length, level 17, type 104), then the size of the batch's datagrams (int)
      name      sockaddr_in in 16 bytes; sockaddr_in6 in 28

- Without recvmmsg (another system, a C library without it, a kernel or a seccomp filter that refuses it) ``messages``
  returns None, and the port reads with ``recvmsg``.

Beware: the kernel overwrites the lengths of name and control. That of a name is always the same. Those of control are
restored before each call, with one copy over the rows that the last call used.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from collections.abc import Callable
from functools import cache
from struct import Struct

Address = tuple[str, int] | tuple[str, int, int, int]

#: Rows of a table without room for content. Larger tables gained nothing: a call for 64 costs 20 us and more.
ROWS = 64

#: Room for a UDP datagram or batch of any size; the distance keeps rows from sharing the same cache lines.
ROOM_BYTES = 65536 + 4352

_FLOW_AND_SCOPE = Struct("=4xI16xI")
_PORT = Struct("!2xH")


class _IOVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iovecs", ctypes.c_void_p),
        ("iovecs_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _MMsgHdr(ctypes.Structure):
    _fields_ = (("header", _MsgHdr), ("length", ctypes.c_uint32))


class _Control(ctypes.Structure):
    _fields_ = (
        ("length", ctypes.c_size_t),
        ("level", ctypes.c_int),
        ("type", ctypes.c_int),
        ("segment", ctypes.c_int),
        ("padding", ctypes.c_int),
    )


_ROW = ctypes.sizeof(_MMsgHdr)
_WORD = ctypes.sizeof(ctypes.c_uint32)
_LONG = ctypes.sizeof(ctypes.c_ulong)  # on Linux also that of size_t
_NAME_BYTES: dict[int, int] = {socket.AF_INET: 16, socket.AF_INET6: 28}


class Messages:
    """The table of one socket; make it with ``messages``.

    ``content`` is the buffer for datagrams, ``ROOM_BYTES`` for each row; None: the kernel drops them uncopied.
    ``batches``: the socket has ``UDP_GRO``, so a row may hold many datagrams.
    """

    def __init__(
        self, sock: socket.socket, call: Callable[..., int], content: memoryview | None, batches: bool
    ) -> None:
        self.rows = ROWS if content is None else min(ROWS, len(content) // ROOM_BYTES)
        self.name_bytes = _NAME_BYTES[sock.family]
        self._family = sock.family
        self._call = call
        self._fd = sock.fileno()
        self._flags = socket.MSG_DONTWAIT | (socket.MSG_TRUNC if content is None else 0)
        self._content = content
        self._table = (_MMsgHdr * self.rows)()
        self._names = (ctypes.c_char * (self.rows * self.name_bytes))()
        self._controls = (_Control * self.rows)() if batches else None
        self._iovecs = (_IOVec * self.rows)() if content is not None else None
        self._pinned = None if content is None else (ctypes.c_char * len(content)).from_buffer(content)
        self._fill()
        table = memoryview(self._table).cast("B")
        self._table_bytes = table
        self._fresh = bytes(table)
        self._stale = 0
        self._name_view = memoryview(self._names).cast("B")
        at = _MMsgHdr.length.offset // _WORD
        self._lengths = table.cast("I")[at :: _ROW // _WORD]
        at = (_MMsgHdr.header.offset + _MsgHdr.control_length.offset) // _LONG
        self._control_lengths = table.cast("L")[at :: _ROW // _LONG]
        self._segments: memoryview | None = None
        if self._controls is not None:
            words = memoryview(self._controls).cast("B").cast("i")
            self._segments = words[_Control.segment.offset // _WORD :: ctypes.sizeof(_Control) // _WORD]

    def _fill(self) -> None:
        names = ctypes.addressof(self._names)
        for row in range(self.rows):
            header = self._table[row].header
            header.name = names + row * self.name_bytes
            header.name_length = self.name_bytes
            if self._iovecs is not None and self._pinned is not None:
                iovec = self._iovecs[row]
                iovec.base = ctypes.addressof(self._pinned) + row * ROOM_BYTES
                iovec.length = 65536
                header.iovecs = ctypes.addressof(iovec)
                header.iovecs_length = 1
            if self._controls is not None:
                header.control = ctypes.addressof(self._controls[row])
                header.control_length = ctypes.sizeof(_Control)

    def read(self) -> int:
        """Fill the table; return the number of rows filled, 0 if nothing waits.

        An error counts as nothing: it belongs to an answer that was sent before, and the next call reads on.
        """
        if self._segments is not None and self._stale:
            used = self._stale * _ROW
            self._table_bytes[:used] = self._fresh[:used]
        rows = self._call(self._fd, self._table, self.rows, self._flags, None)
        self._stale = max(rows, 0)
        return self._stale

    def sizes(self, rows: int) -> list[int]:
        """The bytes of each row."""
        lengths: list[int] = self._lengths[:rows].tolist()
        return lengths

    def segments(self, rows: int) -> list[int] | None:
        """For each row the bytes of its datagrams but the last one, 0 for a single datagram. None: all are single."""
        if self._segments is None or not any(given := self._control_lengths[:rows].tolist()):
            return None
        sizes = self._segments[:rows].tolist()
        return [size if length else 0 for size, length in zip(sizes, given, strict=True)]

    def alike(self, rows: int) -> bool:
        """Whether all rows come from one sender."""
        size = self.name_bytes
        names = self._name_view[: rows * size]
        return rows == 1 or names[size:] == names[:-size]

    def name(self, row: int) -> bytes:
        """The sender of a row as the kernel writes it: a dictionary key, which ``address`` can decode."""
        size = self.name_bytes
        return bytes(self._name_view[row * size : (row + 1) * size])

    def content(self, row: int, size: int) -> memoryview | None:
        """The first ``size`` bytes of a row; valid until the next call, or until somebody else uses the buffer."""
        content = self._content
        return None if content is None else content[row * ROOM_BYTES : row * ROOM_BYTES + size]

    def contents(self, rows: int) -> memoryview | None:
        """The first ``rows`` rows, each at the start of ``ROOM_BYTES``; the rest of that holds older bytes."""
        return None if self._content is None else self._content[: rows * ROOM_BYTES]

    def address(self, name: bytes) -> Address:
        """A sender, from ``name``, as the socket module writes it."""
        (port,) = _PORT.unpack_from(name)
        if self._family == socket.AF_INET:
            return socket.inet_ntop(socket.AF_INET, name[4:8]), port
        flow, scope = _FLOW_AND_SCOPE.unpack(name)
        return socket.inet_ntop(socket.AF_INET6, name[8:24]), port, socket.ntohl(flow), scope


@cache
def _system_call() -> Callable[..., int] | None:
    """``recvmmsg`` of the C library; None without it."""
    if sys.platform != "linux":
        return None
    try:
        call = ctypes.CDLL(None).recvmmsg
    except (AttributeError, OSError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    call.restype = ctypes.c_int
    return call


def messages(sock: socket.socket, content: memoryview | None, batches: bool) -> Messages | None:
    """A table for a UDP socket, or None without recvmmsg."""
    call = _system_call()
    if call is None or sock.family not in _NAME_BYTES or call(sock.fileno(), None, 0, socket.MSG_DONTWAIT, None) != 0:
        return None
    return Messages(sock, call, content, batches)
