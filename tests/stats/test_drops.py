"""Drops in datagrams: never more than is true, never less than before, and exact once nothing waits."""

from __future__ import annotations

from collections import deque

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.stats.drops import LEAST_CHARGE_BYTES, Drops, Look


@define
class Socket:
    """A socket as the kernel has it: a message is its number of datagrams; the queue holds ``room`` of them."""

    room: int = 3
    queue: deque[int] = field(factory=deque)
    messages: int = 0
    beyond: int = 0
    most_beyond: int = 0
    counted: int = 0
    drops: int = 0
    dropped: int = 0
    messages_read: int = 0
    beyond_read: int = 0

    def count(self, datagrams: int) -> None:
        """The filter."""
        self.messages += 1
        self.beyond += datagrams - 1
        self.most_beyond = max(self.most_beyond, datagrams - 1)

    def take(self, datagrams: int) -> None:
        """Queue or drop what was counted."""
        if len(self.queue) < self.room:
            self.queue.append(datagrams)
        else:
            self.drop(datagrams)

    def come(self, *messages: int) -> None:
        for datagrams in messages:
            self.count(datagrams)
            self.take(datagrams)

    def drop(self, datagrams: int = 1) -> None:
        """Without more, what the kernel drops before it asks the filter."""
        self.drops += 1
        self.dropped += datagrams

    def read(self, most: int = 1 << 30) -> None:
        while self.queue and most:
            self.messages_read += 1
            self.beyond_read += self.queue.popleft() - 1
            most -= 1

    def show(self, drops: Drops, start: int = 0) -> int:
        """A look; gives the total."""
        charged, counted = len(self.queue) * LEAST_CHARGE_BYTES, (start + self.drops) & 0xFFFFFFFF
        look = Look(self.messages, self.beyond, self.most_beyond, charged, counted, not self.queue)
        drops.take_look(look, self.messages_read, self.beyond_read)
        return drops.total


def test_a_dropped_batch_counts_as_its_datagrams_at_the_first_look_after_all_is_read() -> None:
    socket, drops = Socket(), Drops()
    socket.come(10, 1, 7, 40, 1, 64)
    assert 3 == socket.show(drops), "what is certain while something waits: each drop is at least one datagram"
    socket.read()
    assert 40 + 1 + 64 == socket.show(drops)
    assert 0 == drops.in_batches
    socket.come(2, 2, 2, 5)
    assert 105 + 1 == socket.show(drops)
    socket.read()
    assert 105 + 5 == socket.show(drops)


def test_under_load_that_never_ends_the_total_lags_by_a_queue_and_not_more() -> None:
    socket, drops = Socket(), Drops()
    for _ in range(5000):
        socket.come(64, 64, 64, 64)
        socket.read(1)
    assert 0.9 * socket.dropped < socket.show(drops) <= socket.dropped
    assert 0 == drops.in_batches


def test_a_message_that_is_counted_and_not_yet_queued_is_not_taken_for_a_drop() -> None:
    socket, drops = Socket(), Drops()
    socket.come(5)
    socket.read()
    assert 0 == socket.show(drops)
    socket.count(64)
    assert (0, 0) == (socket.show(drops), socket.show(drops))
    socket.take(64)
    socket.read()
    assert 0 == socket.show(drops)


def test_drops_that_no_filter_saw_count_as_one_each_and_are_told_apart_where_batches_came() -> None:
    socket, drops = Socket(), Drops()
    socket.come(64)
    socket.read()
    socket.show(drops)
    socket.drop()
    socket.drop()
    assert (2, 0) == (socket.show(drops), drops.in_batches), "the first look of its kind settles nothing"
    assert (2, 2) == (socket.show(drops), drops.in_batches)
    socket.come(3, 3, 3, 3)
    socket.read()
    assert (2 + 3, 2) == (socket.show(drops), drops.in_batches)


def test_of_a_port_without_batches_no_drop_is_perhaps_one() -> None:
    socket, drops = Socket(), Drops()
    socket.show(drops)
    socket.drop()
    assert (1, 1, 0) == (socket.show(drops), socket.show(drops), drops.in_batches)


def test_what_waited_before_the_filter_was_there_is_neither_dropped_nor_perhaps_a_batch() -> None:
    socket, drops = Socket(), Drops()
    socket.queue.extend([1, 1])
    socket.come(64, 64)
    assert 1 == socket.show(drops)
    socket.read()
    assert (1, 64) == (socket.show(drops), socket.show(drops)), "two equal looks are needed, this once"
    socket.come(64, 64, 64, 20)
    socket.read()
    assert (84, 0) == (socket.show(drops), drops.in_batches)


def test_the_kernel_counts_in_32_bits_and_what_it_had_counted_before_is_not_ours() -> None:
    socket, start = Socket(), 0xFFFFFFFE
    drops, plain = Drops(start), Drops(start)
    socket.come(1, 1, 1, 5, 5, 5, 5)
    socket.read()
    assert 20 == socket.show(drops, start)
    plain.take_count(2, False)
    assert (4, 0) == (plain.total, plain.in_batches)


def test_the_kernels_word_alone_is_told_to_be_batches_perhaps_once_one_has_come() -> None:
    drops = Drops()
    drops.take_count(3, False)
    drops.take_count(5, True)
    drops.take_count(5, True)
    assert (5, 2) == (drops.total, drops.in_batches)


_EVENTS = st.one_of(
    st.lists(st.integers(1, 64), min_size=1, max_size=6),  # so many messages come
    st.integers(1, 4),  # so many are read
    st.sampled_from(["look", "unseen", "on its way"]),
)


@given(st.integers(0, 3), st.lists(_EVENTS, max_size=60))
def test_no_total_is_ever_too_high_or_goes_down_and_the_last_one_is_exact(
    before: int, events: list[list[int] | int | str]
) -> None:
    socket, drops = Socket(), Drops()
    socket.queue.extend([1] * before)
    last = (0, 0)
    hidden = before > 0
    for event in events:
        match event:
            case list():
                socket.come(*event)
            case int():
                socket.read(event)
            case "unseen":
                socket.drop()
                hidden = True
            case "on its way" if not hidden:  # see the module's last warning
                socket.count(64)
                socket.show(drops)
                socket.take(64)
            case _:
                socket.show(drops)
        now = (drops.total, drops.in_batches)
        assert drops.total <= socket.dropped
        assert last[0] <= now[0]
        assert last[1] <= now[1]
        last = now
    socket.read()
    socket.show(drops)
    assert socket.dropped == socket.show(drops)
    assert hidden or not drops.in_batches
