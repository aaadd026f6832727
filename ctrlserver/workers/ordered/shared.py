"""Numbers that several processes count together, each by one call of the kernel.

Model: a ``Numbering`` gives the next number, from 1, to whoever asks first: it is the offset of a file that all have
open. A ``Lot`` has so many pieces, of which each is taken once: it is an eventfd that counts down.

Rules: nothing is locked, so a process that is stopped or killed holds up nobody. What a process had taken when it was
killed is taken.

Beware: Linux moves the offset of a file in one step if the file was opened by ``open``. That of one fresh from
``memfd_create`` may be the same for two who ask at a time (seen on 6.18), so it is opened once more.
"""

from __future__ import annotations

import os

#: The most pieces that an eventfd counts.
MOST_PIECES = 2**64 - 2


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
