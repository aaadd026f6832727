"""PURE: what was dropped of a UDP port, in datagrams, from the kernel's count of drops, what came and what was read.

Rules:

- A *message* is what the kernel queues, drops and gives as one: a datagram, or a batch of them. Of a message of n
  datagrams, n - 1 are *beyond* the first. Messages are counted in one place and what is beyond in another, so that a
  datagram on its own costs one addition.
- The kernel counts dropped messages. Where what comes is counted too (``linux/arrivals.py``), then with nothing waiting

      dropped datagrams = dropped messages + beyond that came - beyond that was read

  exactly, whatever the sizes. That is a *settled* sum.
- While something waits the sum would be too high by what is beyond in the queue. Then ``total`` is the most that is
  certain: the last settled sum and the kernel's drops since, or today's sum less the most that the queue may hold. It
  lags by a queue at most, and is exact at the first look after the port has been read empty.
- Neither number ever goes down. ``in_batches`` is what cannot be told: drops that may have been whole batches.

Beware: the kernel counts some drops before it asks the filter that counts for us: a wrong checksum, or what a firewall
of the control group refuses. They count as one each, and in ``in_batches`` where batches have come, for a firewall
drops whole batches. They are seen as *unseen*: dropped + read - came, which only they can make grow. What came between
``bind`` and the filter makes it grow as well, once, until the first settled look: that much is taken for such.
Beware: a message is counted as it comes, and queued or dropped up to some microseconds later. A look between the two
finds ``unseen`` too small, so it settles nothing. Where ``unseen`` grows, two equal looks in a row are needed: only
such a drop and such an instant in one look could hide each other.
"""

from __future__ import annotations

from attrs import frozen

#: The least that the kernel charges a queued message with, in bytes; rather too small than too large. 768 was seen.
LEAST_CHARGE_BYTES = 512

#: Messages that may be between being counted and being queued: one on each of so many cores.
ON_THE_WAY = 256


@frozen
class Look:
    """A socket at one instant.

    ``messages`` and ``beyond`` came since the filter was there, ``most_beyond`` is that of the largest message. Of the
    queue, ``charged_bytes`` are what the kernel charges for it, and ``quiet`` says that nothing waits and nothing came
    during the look. ``drops`` is the kernel's count modulo 2**32. What came must be taken first, then the queue and the
    drops together.
    """

    messages: int
    beyond: int
    most_beyond: int
    charged_bytes: int
    drops: int
    quiet: bool


class Drops:
    """The drops of one port. ``drops`` is the kernel's count at its start: those are not ours."""

    __slots__ = ("_kernel", "_last", "_seen", "_settled", "_settled_at", "_unseen", "in_batches", "total")

    def __init__(self, drops: int = 0) -> None:
        self.total = 0
        self.in_batches = 0
        self._seen = drops
        self._kernel = 0  # messages dropped since the start
        self._settled = 0  # the last settled sum, and the kernel's at that look
        self._settled_at = 0
        self._unseen: int | None = None  # at the last settled look
        self._last: tuple[int, int, int] | None = None  # of a quiet look that settled nothing

    def told(self, drops: int, batches_came: bool) -> None:
        """Take the kernel's word: all there is where what comes is not counted."""
        new = self._count(drops)
        self.total += new
        if batches_came:
            self.in_batches += new

    def weighed(self, look: Look, messages_read: int, beyond_read: int) -> None:
        """Take a look at the socket, with what was read of it so far."""
        self._count(look.drops)
        total = self._kernel + look.beyond - beyond_read
        if self._is_settled(look, messages_read):
            self._settled, self._settled_at = total, self._kernel
        else:
            waiting = look.charged_bytes // LEAST_CHARGE_BYTES + ON_THE_WAY
            total -= waiting * look.most_beyond
        self.total = max(self.total, total, self._settled + self._kernel - self._settled_at)

    def _count(self, drops: int) -> int:
        new = (drops - self._seen) & 0xFFFFFFFF  # the kernel's counter has 32 bits
        self._seen = drops
        self._kernel += new
        return new

    def _is_settled(self, look: Look, messages_read: int) -> bool:
        """Whether each message that came has been read or is among the drops."""
        known = self._unseen or 0
        unseen = self._kernel + messages_read - look.messages
        if not look.quiet or unseen < known:
            self._last = None
            return False
        if unseen > known:
            last, self._last = self._last, (self._kernel, look.messages, messages_read)
            if last != self._last:
                return False
            if self._unseen is not None and look.beyond:
                self.in_batches += unseen - known
        self._unseen = unseen
        return True
