"""Arrivals at a UDP socket, counted before the kernel queues or drops them: an eBPF filter on the socket, by ctypes.

Rules:

- The kernel counts a dropped batch of datagrams (``UDP_GRO``) as one drop and does not report how many it held. A
  socket filter sees each message before the kernel queues or drops it. Ours keeps all messages and counts three
  numbers: messages, the datagrams beyond the first of each, and the most of those in one message. The drops follow
  from these (``stats/drops.py``).
- The counts are in a map that is mapped into our memory: to read them is to read three words.
- The filter has 16 instructions, listed below. It costs about 50 ns a message: 1 % of the time that a datagram of 64
  bytes takes through the loopback, and less for a batch.
- To load it takes the privilege for bpf (root, CAP_BPF), Linux 5.7, and a processor whose call number we know. Else
  ``arrivals`` returns None. So it does for an inherited socket with a filter of its own or with ``UDP_GRO`` on, since
  batches that nobody counted may wait in it. Call it before you set ``UDP_GRO``.

Beware: with a filter the kernel checks a datagram's checksum before it queues it, not when we read it. Network cards
have checked it already, and the loopback has none.
Beware: a sandbox may kill the process for a forbidden call. systemd's ``SystemCallFilter=`` does, unless it has an
error number to return (``SystemCallErrorNumber=EPERM``).
Beware: the filter stays on the socket while any process has the socket open; ``close`` removes it.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import select
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from os import close

from ctrlserver.linux.library import library_function
from ctrlserver.linux.udp import SOL_UDP, UDP_GRO
from ctrlserver.stats.drops import Look

#: Linux's numbers, which the socket module lacks.
_SO_GET_FILTER = 26
_SO_DETACH_FILTER = 27
_SO_ATTACH_BPF = 50
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")
_CHARGED, _DROPS = 0, 8

#: The number of the system call, by processor.
_BPF_CALL = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _PROG_LOAD = 0, 5
_ARRAY, _SOCKET_FILTER, _MMAPABLE = 2, 1, 1 << 10
_NAME = b"ctrlserver"
_MAP = struct.Struct("=7I16s")  # type, key bytes, value bytes, entries, flags, inner map, node, name
_PROG = struct.Struct("=IIQQIIQII16s")  # type, number, instructions, licence; level, bytes, log; version, flags, name

#: Offsets of the counts in the map's one value, in bytes.
_MESSAGES, _BEYOND, _MOST_BEYOND, _VALUE_BYTES = 0, 8, 16, 24

#: Fields of struct __sk_buff in linux/bpf.h. ``len`` includes the UDP header here.
_LEN, _GSO_SIZE = 0, 176
_UDP_HEADER = 8

#: Instructions: operation, class and size as in linux/bpf_common.h and linux/bpf.h.
_MOV, _MOV_IMM, _MOV32_IMM = 0xBF, 0xB7, 0xB4
_SUB32_IMM, _DIV32 = 0x14, 0x3C
_LOAD_MAP, _LOAD32, _LOAD64, _STORE64, _ATOMIC64 = 0x18, 0x61, 0x79, 0x7B, 0xDB
_IF_ZERO, _IF_BELOW, _IF_NOT_BELOW, _EXIT = 0x15, 0xA5, 0x3D, 0x95
_MAP_VALUE = 2


def _instruction(code: int, to: int = 0, by: int = 0, offset: int = 0, number: int = 0) -> bytes:
    return struct.pack("<BBhi", code, to | by << 4, offset, number)


def _filter(counts: int) -> bytes:
    """The filter; ``counts`` is the descriptor of its map. A jump's offset is the number of instructions it skips."""
    message, each, beyond, most, context, value = 1, 2, 3, 4, 6, 7
    return b"".join(
        [
            _instruction(_MOV, context, 1),
            _instruction(_LOAD_MAP, value, _MAP_VALUE, 0, counts) + _instruction(0),
            _instruction(_MOV_IMM, message, number=1),
            _instruction(_ATOMIC64, value, message, _MESSAGES),
            _instruction(_LOAD32, each, context, _GSO_SIZE),
            _instruction(_IF_ZERO, each, offset=8),  # not a batch
            _instruction(_LOAD32, beyond, context, _LEN),
            _instruction(_IF_BELOW, beyond, offset=6, number=_UDP_HEADER + 1),
            _instruction(_SUB32_IMM, beyond, number=_UDP_HEADER + 1),
            _instruction(_DIV32, beyond, each),  # (bytes - 1) / bytes of each: all but the first
            _instruction(_ATOMIC64, value, beyond, _BEYOND),
            _instruction(_LOAD64, most, value, _MOST_BEYOND),
            _instruction(_IF_NOT_BELOW, most, beyond, 1),
            _instruction(_STORE64, value, beyond, _MOST_BEYOND),
            _instruction(_MOV32_IMM, 0, number=-1),  # keep all of it
            _instruction(_EXIT),
        ]
    )


class Arrivals:
    """The counts of one socket; make it with ``arrivals``."""

    def __init__(self, sock: socket.socket, counts: int) -> None:
        self._socket = sock
        self._pages = mmap.mmap(counts, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        self._words = memoryview(self._pages).cast("Q")
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)

    def now(self) -> tuple[int, int, int]:
        """Since the start: messages, datagrams beyond the first of each, and the most of those in one message."""
        words = self._words
        beyond = words[_BEYOND // 8]  # first, for the filter counts a message before the datagrams beyond its first
        return words[_MESSAGES // 8], beyond, words[_MOST_BEYOND // 8]

    def look(self) -> Look:
        """The counts beside the kernel's own figures: about 4 us, most of it for two system calls."""
        before = self.now()
        charged_bytes, drops = charged_and_drops(self._socket)
        quiet = not self._poll.poll(0) and before == self.now()
        return Look(*before, charged_bytes, drops, quiet)

    def close(self) -> None:
        """Remove the filter from the socket."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        self._words.release()
        self._pages.close()


def charged_and_drops(sock: socket.socket) -> tuple[int, int]:
    """Bytes that the kernel charges for the queue, and its count of drops modulo 2**32; zeros if it reports neither."""
    try:
        figures = _MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))
    except (OSError, struct.error):
        return 0, 0
    return figures[_CHARGED], figures[_DROPS]


def arrivals(sock: socket.socket) -> Arrivals | None:
    """Count the arrivals at a UDP socket from now on; None if that is impossible."""
    call = _system_call()
    if call is None or not _is_plain(sock):
        return None
    counts = program = -1
    try:
        counts = call(_MAP_CREATE, _MAP.pack(_ARRAY, 4, _VALUE_BYTES, 1, _MMAPABLE, 0, 0, _NAME))
        program = _load(call, _filter(counts))
        made = Arrivals(sock, counts)
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, program)
    except OSError:
        return None
    finally:  # the filter lives with the socket, and the map with the filter and the mapping
        for descriptor in (counts, program):
            if descriptor >= 0:
                close(descriptor)
    return made


def _load(call: Callable[[int, bytes], int], code: bytes) -> int:
    instructions, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"MIT")
    at, licence_at = ctypes.addressof(instructions), ctypes.addressof(licence)
    return call(_PROG_LOAD, _PROG.pack(_SOCKET_FILTER, len(code) // 8, at, licence_at, 0, 0, 0, 0, 0, _NAME))


def _is_plain(sock: socket.socket) -> bool:
    """Whether a socket has no filter yet, and no batches wait in it."""
    length = ctypes.c_uint32(0)  # given no room, the kernel returns the filter's length; of an eBPF filter an error
    got = ctypes.CDLL(None).getsockopt(sock.fileno(), socket.SOL_SOCKET, _SO_GET_FILTER, None, ctypes.byref(length))
    try:
        return got == 0 and length.value == 0 and not sock.getsockopt(SOL_UDP, UDP_GRO)
    except OSError:
        return False


@cache
def _system_call() -> Callable[[int, bytes], int] | None:
    """The system call ``bpf``, which the C library lacks: it takes a command and attributes."""
    number = _BPF_CALL.get(platform.machine())
    system_call = library_function("syscall")
    if system_call is None or number is None or sys.maxsize < 2**32 or sys.byteorder != "little":
        return None
    system_call.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_long)
    system_call.restype = ctypes.c_long

    def call(command: int, attributes: bytes) -> int:
        room = ctypes.create_string_buffer(attributes, len(attributes))
        got = int(system_call(number, command, ctypes.addressof(room), len(attributes)))
        if got < 0:
            raise OSError(f"the kernel refuses command {command} of bpf")
        return got

    return call
