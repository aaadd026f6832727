"""What goes over the wire of one port on loopback: TCP flags and windows, by a raw socket. Needs root."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

import pytest

from tests.integration.conftest import PATIENCE

FIN, RST, ACK = 0x01, 0x04, 0x10
_ETH_P_IP = 0x0800

_ATTACH_FILTER = 26  # SO_ATTACH_FILTER
_INSTRUCTION = struct.Struct("HBBI")


class Segment(NamedTuple):
    """One TCP segment that the server sent."""

    flags: int
    window: int
    nbytes: int


def filter_of(port: int) -> bytes:
    """Has the kernel pass TCP segments from ``port`` alone (classic BPF): all else on loopback would fill the queue."""
    program = (
        (0x30, 0, 0, 9),  # the protocol
        (0x15, 0, 4, socket.IPPROTO_TCP),
        (0xB1, 0, 0, 0),  # x: the length of the IP header
        (0x48, 0, 0, 0),  # the source port behind it
        (0x15, 0, 1, port),
        (0x06, 0, 0, 1 << 18),
        (0x06, 0, 0, 0),
    )
    return b"".join(_INSTRUCTION.pack(*each) for each in program)


class Wire:
    """The segments that come from ``port`` while it is entered."""

    def __init__(self, port: int) -> None:
        if os.geteuid() != 0:
            pytest.skip("to see segments needs root")
        self._port = port
        self.segments: list[Segment] = []

    def __enter__(self) -> Wire:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        code = ctypes.create_string_buffer(instructions := filter_of(self._port), len(instructions))
        length = len(instructions) // _INSTRUCTION.size
        program = struct.pack("HP", length, ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        self._socket.bind(("lo", _ETH_P_IP))
        self._socket.settimeout(0.05)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def until(self, seen: Callable[[Segment], bool]) -> Segment:
        """The first segment of that kind, of those there are and those to come."""
        end = time.monotonic() + PATIENCE
        at = 0
        while True:
            for segment in self.segments[at:]:
                if seen(segment):
                    return segment
            at = len(self.segments)
            assert time.monotonic() < end, f"not among {self.segments[-9:]}"
            self._read()

    def _read(self) -> None:
        try:
            octets, address = self._socket.recvfrom(1 << 16)
        except TimeoutError:
            return
        head = (octets[0] & 15) * 4
        if octets[9] == socket.IPPROTO_TCP and address[2] != 4:  # 4: the same segment on its way out
            source, _, _, _, offset, flags, window = struct.unpack_from("!HHIIBBH", octets, head)
            if source == self._port:
                (total,) = struct.unpack_from("!H", octets, 2)
                self.segments.append(Segment(flags, window, total - head - (offset >> 4) * 4))

    def flags(self) -> int:
        """All flags seen so far."""
        while True:
            before = len(self.segments)
            self._read()
            if len(self.segments) == before:
                break
        seen = 0
        for segment in self.segments:
            seen |= segment.flags
        return seen
