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
from collections.abc import Callable
from functools import cache
from struct import Struct, calcsize
from typing import Any

from ctrlserver.linux.library import library_function
from ctrlserver.linux.udp import Address

#: Rows of a table without room for content. Larger tables gained nothing: a call for 64 costs 20 us and more.
ROWS = 64

#: Room for a UDP datagram or batch of any size; the distance keeps rows from sharing the same cache lines.
ROOM_BYTES = 65536 + 4352

#: The structures, in ``struct``'s native alignment; ``0P`` and ``0N`` fill up to that of the next field.
_MMSGHDR = Struct("PIPNPNi0PI0P")
_ROW = _MMSGHDR.size
_IOVEC = Struct("PN")
_CONTROL = Struct("Niii0N")

#: Offsets of what the kernel writes: lengths of a row and of its control, and the bytes of a batch's datagrams.
_LENGTH_AT, _CONTROL_LENGTH_AT, _SEGMENT_AT = calcsize("PIPNPNi0P"), calcsize("PIPNP"), calcsize("Nii")

_WORD, _LONG = calcsize("I"), calcsize("L")  # on Linux the latter is also the size of size_t
_NAME_BYTES: dict[int, int] = {socket.AF_INET: 16, socket.AF_INET6: 28}
_FLOW_AND_SCOPE = Struct("=4xI16xI")
_PORT = Struct("!2xH")


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
        self._names = bytearray(self.rows * self.name_bytes)
        self._iovecs = bytearray(self.rows * _IOVEC.size if content is not None else 0)
        self._controls = bytearray(self.rows * _CONTROL.size if batches else 0)
        table = memoryview(bytearray(self.rows * _ROW))
        names, iovec, control = _address(self._names), _address(self._iovecs), _address(self._controls)
        for row in range(self.rows):
            name = names + row * self.name_bytes
            where = (iovec + row * _IOVEC.size, 1) if content is not None else (0, 0)
            controls = (control + row * _CONTROL.size, _CONTROL.size) if batches else (0, 0)
            _MMSGHDR.pack_into(table, row * _ROW, name, self.name_bytes, *where, *controls, 0, 0)
            if content is not None:
                _IOVEC.pack_into(self._iovecs, row * _IOVEC.size, _address(content) + row * ROOM_BYTES, 65536)
        self._table, self._at = table, ctypes.c_void_p(_address(table))
        self._fresh = bytes(table)
        self._stale = 0
        self._name_view = memoryview(self._names)
        self._lengths = table.cast("I")[_LENGTH_AT // _WORD :: _ROW // _WORD]
        self._control_lengths = table.cast("L")[_CONTROL_LENGTH_AT // _LONG :: _ROW // _LONG]
        self._segments: memoryview | None = None
        if batches:
            self._segments = memoryview(self._controls).cast("i")[_SEGMENT_AT // _WORD :: _CONTROL.size // _WORD]

    def read(self) -> int:
        """Fill the table; return the number of rows filled, 0 if nothing waits.

        An error counts as nothing: it belongs to an answer that was sent before, and the next call reads on.
        """
        if self._segments is not None and self._stale:
            used = self._stale * _ROW
            self._table[:used] = self._fresh[:used]
        rows = self._call(self._fd, self._at, self.rows, self._flags, None)
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


def _address(buffer: bytearray | memoryview) -> int:
    """Where a buffer is in memory; it stays there while somebody refers to it."""
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))


@cache
def _system_call() -> Any:
    """``recvmmsg`` of the C library; None without it."""
    call = library_function("recvmmsg")
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    return call


def messages(sock: socket.socket, content: memoryview | None, batches: bool) -> Messages | None:
    """A table for a UDP socket, or None without recvmmsg."""
    call = _system_call()
    if call is None or sock.family not in _NAME_BYTES or call(sock.fileno(), None, 0, socket.MSG_DONTWAIT, None) != 0:
        return None
    return Messages(sock, call, content, batches)
