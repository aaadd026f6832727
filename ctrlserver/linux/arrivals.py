"""What comes to a UDP socket, counted before it is queued or dropped: an eBPF filter on the socket, by ctypes.

Rules:

- The kernel counts a dropped batch of datagrams (``UDP_GRO``) as one drop and tells nobody how many it held. A socket
  filter sees each message before that is decided. Ours keeps all of them and counts: messages, the datagrams beyond the
  first of each, and the most of those in one. What is dropped then follows (``stats/drops.py``).
- The counts are in a map that is mapped into our memory: to read them is to read three words.
- The filter is a dozen instructions, written out below. A datagram on its own costs one addition, some 50 ns a message
  in all: about 1 % of the way of a datagram of 64 bytes through the loopback, and less of a batch.
- It takes the privilege for bpf (root, CAP_BPF), once, when it is made; Linux 5.7; and a processor whose call number we
  know. Elsewhere ``arrivals`` gives None, and so it does for a socket that was handed to us with a filter of its own,
  or with ``UDP_GRO`` already on: batches may wait in it that nobody counted. Ask for it before ``UDP_GRO`` is set.

Beware: with a filter the kernel checks a datagram's checksum before it queues it, not when it is read. Network cards
have done so already, and on the loopback there is none to check.
Beware: a sandbox that kills for a forbidden call, as systemd's ``SystemCallFilter=`` does unless it has an error number
to give (``SystemCallErrorNumber=EPERM``), must allow bpf or be told to refuse it.
Beware: the filter stays on the socket for as long as anybody has that open; ``close`` takes it off.
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
from os import close, strerror

from ctrlserver.linux.udp import SOL_UDP, UDP_GRO
from ctrlserver.stats.drops import Look

#: Linux's numbers, which the socket module lacks.
_SO_GET_FILTER = 26
_SO_DETACH_FILTER = 27
_SO_ATTACH_BPF = 50
_SO_MEMINFO = 55
_MEMINFO = struct.Struct("=9I")
_CHARGED, _DROPS = 0, 8

#: The call's number, by processor.
_BPF_CALL = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _PROG_LOAD = 0, 5
_ARRAY, _SOCKET_FILTER, _MMAPABLE = 2, 1, 1 << 10
_NAME = b"ctrlserver"
_MAP = struct.Struct("=7I16s")  # type, key bytes, value bytes, entries, flags, inner map, node, name
_PROG = struct.Struct("=IIQQIIQII16s")  # type, number, instructions, licence; level, bytes, log; version, flags, name

#: Where the counts are in the map's one value, in bytes.
_MESSAGES, _BEYOND, _MOST_BEYOND, _VALUE_BYTES = 0, 8, 16, 24

#: Fields of struct __sk_buff in linux/bpf.h. ``len`` is with the UDP header here.
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
    """The filter, for the map of that descriptor. Jumps name the number of instructions skipped."""
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
        """Messages, datagrams beyond the first of each, and the most of those in one message, since the start."""
        words = self._words
        beyond = words[_BEYOND // 8]  # first: a message is counted before what is beyond it
        return words[_MESSAGES // 8], beyond, words[_MOST_BEYOND // 8]

    def look(self) -> Look:
        """The socket as it is: about 4 us, most of it the two calls."""
        before = self.now()
        charged_bytes, drops = charged_and_drops(self._socket)
        quiet = not self._poll.poll(0) and before == self.now()
        return Look(*before, charged_bytes, drops, quiet)

    def close(self) -> None:
        """Take the filter off the socket."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        self._words.release()
        self._pages.close()


def charged_and_drops(sock: socket.socket) -> tuple[int, int]:
    """Bytes the kernel charges for what waits, and its count of drops modulo 2**32; zeros where it does not tell."""
    try:
        figures = _MEMINFO.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size))
    except (OSError, struct.error):
        return 0, 0
    return figures[_CHARGED], figures[_DROPS]


def arrivals(sock: socket.socket) -> Arrivals | None:
    """Count what comes to a UDP socket from now on; None where that cannot be."""
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
    length = ctypes.c_uint32(0)  # asked with no room, the kernel gives the length alone; it refuses to tell of eBPF
    got = ctypes.CDLL(None).getsockopt(sock.fileno(), socket.SOL_SOCKET, _SO_GET_FILTER, None, ctypes.byref(length))
    try:
        return got == 0 and length.value == 0 and not sock.getsockopt(SOL_UDP, UDP_GRO)
    except OSError:
        return False


@cache
def _system_call() -> Callable[[int, bytes], int] | None:
    """``bpf``, which the C library does not have: a command and its attributes."""
    number = _BPF_CALL.get(platform.machine())
    if sys.platform != "linux" or number is None or sys.maxsize < 2**32 or sys.byteorder != "little":
        return None
    try:
        system_call = ctypes.CDLL(None, use_errno=True).syscall
    except (AttributeError, OSError):
        return None
    system_call.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_long)
    system_call.restype = ctypes.c_long

    def call(command: int, attributes: bytes) -> int:
        room = ctypes.create_string_buffer(attributes, len(attributes))
        got = int(system_call(number, command, ctypes.addressof(room), len(attributes)))
        if got < 0:
            error = ctypes.get_errno()
            raise OSError(error, strerror(error))
        return got

    return call
