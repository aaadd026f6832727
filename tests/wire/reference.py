"""A second opinion on every framing: packets cut by the definition alone, byte by byte, slowly.

Rules: it shares no code with the package and keeps the whole packet begun; after each byte it asks only whether these
bytes are a whole packet, can still become one, or never will. So it also says at which byte a fault is due.
"""

from __future__ import annotations

import re


class Reference:
    """``packets`` cut so far, ``begun`` bytes of the one not yet whole, and whether the stream is at ``fault``."""

    def __init__(self, text: str, limit: int) -> None:
        self._name, _, self._argument = text.partition(":")
        self._width = int(self._name[3:]) // 8 if self._name.startswith("int") else 0
        self._limit = min(limit, (1 << 8 * self._width) - 1) if self._width else limit
        self._delimiter = b"\n" if text == "line" else b""
        if self._name == "delimited":
            self._delimiter = bytes.fromhex(self._argument)
        self.packets: list[bytes] = []
        self.begun = b""
        self.fault = False

    def take(self, octets: bytes) -> None:
        """The next bytes of the stream."""
        for octet in octets:
            if not self.fault:
                self._take(bytes([octet]))

    def _take(self, octet: bytes) -> None:
        self.begun += octet
        if self._name == "fixed":
            packet = self.begun if len(self.begun) == int(self._argument) else None
        elif self._width:
            packet = self._integer()
        elif self._name == "varint":
            packet = self._varint()
        elif self._name == "netstring":
            packet = self._netstring()
        elif self._delimiter:
            packet = self._delimited()
        else:
            raise LookupError(f"no definition of {self._name} here yet: add how to cut it byte by byte")
        if self.fault:
            self.begun = b""
        elif packet is not None:
            self.packets.append(packet)
            self.begun = b""

    def _behind(self, head: int, length: int) -> bytes | None:
        """The payload of so many bytes behind a header, where it is whole."""
        self.fault = length > self._limit
        return self.begun[head:] if len(self.begun) == head + length else None

    def _integer(self) -> bytes | None:
        if len(self.begun) < self._width:
            return None
        order = "little" if self._argument == "little" else "big"
        return self._behind(self._width, int.from_bytes(self.begun[: self._width], order))  # type: ignore[arg-type]

    def _varint(self) -> bytes | None:
        head = next((at + 1 for at, octet in enumerate(self.begun) if octet < 128), 0)
        length = sum((octet & 127) << 7 * at for at, octet in enumerate(self.begun[: head or None]))
        if not head:
            self.fault = length > self._limit or len(self.begun) == 10
            return None
        return self._behind(head, length)

    def _netstring(self) -> bytes | None:
        digits, colon, _ = self.begun.partition(b":")
        if not re.fullmatch(rb"0|[1-9][0-9]*", digits):
            self.fault = True
            return None
        head, length = len(digits) + 1, int(digits)
        self.fault = length > self._limit
        if not colon or len(self.begun) < head + length + 1:
            return None
        self.fault = not self.begun.endswith(b",")
        return self.begun[head:-1]

    def _delimited(self) -> bytes | None:
        delimiter = self._delimiter
        if self.begun.endswith(delimiter):
            packet = self.begun[: -len(delimiter)]
            if self._name == "line":
                packet = packet.removesuffix(b"\r")
            self.fault = len(packet) > self._limit
            return packet
        endings = [b"\r"] if self._name == "line" else [delimiter[:k] for k in range(1, len(delimiter))]
        maybe_end = max((len(ending) for ending in endings if self.begun.endswith(ending)), default=0)
        self.fault = len(self.begun) - maybe_end > self._limit
        return None
