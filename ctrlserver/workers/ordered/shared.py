"""Numbers that several processes count together, each by one call of the kernel.

Model: a ``Numbering`` gives the next number, from 1, to whoever asks first: it is the offset of a file that all have
open. A ``Lot`` has so many pieces, of which each is taken once: it is an eventfd that counts down. In each
row of a ``Tally`` every worker has a number of its own, and all see the sum: it is a file in memory.

Rules: nothing is locked, so a process that is stopped or killed holds up nobody. What a process had taken when it was
killed is taken.

Beware: Linux moves the offset of a file in one step if the file was opened by ``open``. That of one fresh from
``memfd_create`` may be the same for two who ask at a time (seen on 6.18), so it is opened once more.
"""

from __future__ import annotations

import os
import struct

#: The most pieces that an eventfd counts.
MOST_PIECES = 2**64 - 2

#: Bytes of a row of a tally: there are 256 workers at most, from 1.
_ROW_BYTES = 8 * 257

CLOSED = -1


class Shared:
    """What is shared is ``descriptor``, which belongs to this object."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def close(self) -> None:
        """The others go on."""
        descriptor, self.descriptor = self.descriptor, CLOSED
        os.close(descriptor)


class Numbering(Shared):
    """Numbers, each given once."""

    @classmethod
    def new(cls) -> Numbering:
        """One that begins at 1."""
        memory = os.memfd_create("numbers", os.MFD_CLOEXEC)
        try:
            return cls(os.open(f"/proc/self/fd/{memory}", os.O_RDWR | os.O_CLOEXEC))
        finally:
            os.close(memory)

    def next(self) -> int:
        """The next number."""
        return os.lseek(self.descriptor, 1, os.SEEK_CUR)


class Lot(Shared):
    """Pieces, each taken once."""

    @classmethod
    def of(cls, pieces: int) -> Lot:
        """One with so many."""
        lot = cls(os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC))
        if pieces:
            os.eventfd_write(lot.descriptor, min(pieces, MOST_PIECES))
        return lot

    def take(self) -> bool:
        """Take one; False if there is none."""
        if self.descriptor == CLOSED:
            return False
        try:
            os.eventfd_read(self.descriptor)
        except BlockingIOError:
            return False
        return True

    def give_back(self) -> None:
        """One that was taken is there again."""
        os.eventfd_write(self.descriptor, 1)


class Tally(Shared):
    """Rows of a number for each worker; ``rows`` are in use."""

    rows = 0

    @classmethod
    def new(cls) -> Tally:
        """All numbers are 0."""
        return cls(os.memfd_create("tally", os.MFD_CLOEXEC))

    def another(self) -> int:
        """A row that nobody has."""
        self.rows += 1
        return self.rows

    def tell(self, row: int, worker: int, number: int) -> int:
        """``worker``, from 1, has ``number`` in that row; the sum of the row."""
        start = row * _ROW_BYTES
        os.pwrite(self.descriptor, struct.pack("=q", number), start + worker * 8)
        told = os.pread(self.descriptor, _ROW_BYTES, start)
        return sum(struct.unpack(f"={len(told) // 8}q", told))
