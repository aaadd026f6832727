"""How many datagrams of a UDP port the kernel dropped, from its count of drops, the arrivals and the reads.

Model:

- A *message* is what the kernel queues, drops and returns as one: a datagram, or a batch of them. The datagrams of a
  batch after its first are *beyond*. Messages and datagrams beyond are counted apart, so a single datagram costs one
  addition.
- The kernel counts dropped messages. If arrivals are counted too (``linux/arrivals.py``), then with an empty queue

      dropped datagrams = dropped messages + beyond that arrived - beyond that was read

  exactly, whatever the sizes. Such a sum is *settled*.
- While messages wait, that sum is too high by the datagrams beyond in the queue. ``total`` is then the larger of two
  lower bounds: the last settled sum plus the kernel's drops since, or the present sum less the most that the queue may
  hold. It is short by one queue at most, and exact at the first look after a read has emptied the queue.

Rules: neither number ever falls. ``in_batches`` are the dropped messages that may have been whole batches; the
kernel does not say.

Beware: the kernel drops some messages before the filter counts them: those with a wrong checksum, and those that a
firewall of the control group rejects. Each counts as one drop, and in ``in_batches`` once batches have arrived, because
a firewall drops whole batches. We detect them: dropped + read - arrived (called *unseen*) grows only by such drops.
Messages that arrive between ``bind`` and the filter also make it grow, once: the first settled look takes that as the
start.
Beware: the filter counts a message some microseconds before the kernel queues or drops it. A look between the two finds
``unseen`` too small, and settles nothing. If ``unseen`` has grown, two equal looks in a row are needed: only one such
drop and one such instant in the same look could hide each other.
"""

from __future__ import annotations

from attrs import frozen

#: A lower bound of the bytes that the kernel charges for a queued message. The least we have seen are 768.
LEAST_CHARGE_BYTES = 512

#: Most messages that the filter has counted and the kernel has not yet queued: one on each of 256 cores.
ON_THE_WAY = 256


@frozen
class Look:
    """A socket at one instant.

    ``messages`` and ``beyond`` arrived since the filter was set; ``most_beyond``: ``beyond`` of the largest message.
    ``charged_bytes``: what the kernel charges for the queue. ``quiet``: nothing waits, and nothing arrived during the
    look. ``drops``: the kernel's count modulo 2**32. Read the arrivals first, then the queue and the drops together.
    """

    messages: int
    beyond: int
    most_beyond: int
    charged_bytes: int
    drops: int
    quiet: bool


class Drops:
    """The drops of one port. ``drops``: the kernel's count at the start, which ``total`` leaves out."""

    __slots__ = ("_kernel", "_last", "_seen", "_settled", "_settled_at", "_unseen", "in_batches", "total")

    def __init__(self, drops: int = 0) -> None:
        self.total = 0
        self.in_batches = 0
        self._seen = drops
        self._kernel = 0  # messages dropped since the start
        self._settled = 0  # the last settled sum, and ``_kernel`` at that look
        self._settled_at = 0
        self._unseen: int | None = None  # at the last settled look
        self._last: tuple[int, int, int] | None = None  # the last look, if it was quiet and settled nothing

    def take_count(self, drops: int, batches_arrived: bool) -> None:
        """Add the kernel's new drops, on a port without a filter that counts arrivals."""
        new = self._count(drops)
        self.total += new
        if batches_arrived:
            self.in_batches += new

    def take_look(self, look: Look, messages_read: int, beyond_read: int) -> None:
        """Update the sums from a look at the socket and the messages and datagrams beyond that were read so far."""
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
        """Whether each message that arrived has been read or is among the drops."""
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
