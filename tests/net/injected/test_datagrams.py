"""What becomes of the answers to one UDP peer, on a clock of the test."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from ctrlserver.inject.parsing import parse_spec
from ctrlserver.inject.rules import Answers
from ctrlserver.inject.strikes import Injection
from ctrlserver.lane.due import Due
from ctrlserver.linux.udp import Address
from ctrlserver.net.injected.datagrams import OVERHEAD, PORTION, Answer, Later, StruckPeer
from ctrlserver.net.injected.orders import Order
from ctrlserver.stats.counters import Origin, StreamCounters
from tests.inject.reference import struck_by_definition

MS = 10**6
PEER = ("127.0.0.1", 40_000)


class Time:
    """Nanoseconds that a test sets."""

    now = 0

    def __call__(self) -> int:
        return self.now


class Wire:
    """A stream, and what its peer gets: all datagrams in ``sent``, the sizes of the batches in ``batches``."""

    def __init__(self, *specs: str, canned: bytes | None = None, most: int = 1 << 20, seed: int = 1) -> None:
        self.counters = StreamCounters(1, Origin("data", "udp", "datagram", "echo"), "127.0.0.1:40000", 0.0)
        self.answer: Answer | None = None
        self.struck: StruckPeer | None = None
        self.held = 0
        self.sent: list[bytes] = []
        self.batches: list[int] = []
        self.full = False
        self.time = Time()
        self.later = Later(Due(None, Clock(), self.time), most)
        self.orders = [Order(at, "data", Injection(parse_spec(spec), seed)) for at, spec in enumerate(specs, 1)]
        self.canned = canned
        self.rules = Answers()
        self.strike(*self.orders)

    def strike(self, *orders: Order) -> StruckPeer:
        courses = [order.injection.stream("udp") for order in orders]
        return StruckPeer(
            self, courses, self._plain, self._send_one, self._send_one, self.canned, self.later, self.rules
        )

    def hold(self, nbytes: int) -> None:
        self.held += nbytes

    def _plain(self, content: memoryview, segment: int, packets: int, address: Address) -> int:
        if self.canned is None:
            return self._send(content, segment, packets, address)
        return self._send(memoryview(self.canned * packets), len(self.canned), packets, address)

    def _send(self, content: memoryview, segment: int, packets: int, address: Address) -> int:
        assert PEER == address
        if self.full:
            return 0
        self.batches.append(packets)
        self.sent += [bytes(content[at * segment : (at + 1) * segment]) for at in range(packets)]
        return packets

    def _send_one(self, answer: bytes, address: Address) -> int:
        return self._send(memoryview(answer), len(answer), 1, address)

    def receive(self, *datagrams: bytes) -> None:
        """The peer sent these, each in a message of its own."""
        for datagram in datagrams:
            self.batch(datagram, max(1, len(datagram)), 1)

    def batch(self, content: bytes, segment: int, packets: int) -> None:
        """The peer sent these in one message."""
        assert self.answer is not None
        self.counters.packets += packets
        self.counters.bytes += len(content)
        accepted = self.answer(memoryview(content), segment, packets, PEER)
        self.counters.unanswered += packets - accepted

    def at(self, ms: float) -> list[bytes]:
        """What had been sent by then."""
        self.time.now = round(ms * MS)
        self.later.due.tick()
        return self.sent

    def numbers(self, name: str) -> int:
        return getattr(self.counters, name)  # type: ignore[no-any-return]

    def answered(self) -> int:
        """Packets whose answers were sent, duplicates left out; all sums must be right."""
        answered = self.counters.replies()
        assert len(self.sent) == answered + self.counters.duplicated - self.waiting()
        return answered - self.waiting()

    def waiting(self) -> int:
        struck = self.struck
        return 0 if struck is None else len(struck._waiting) + (struck._behind is not None)


def datagrams(*names: str) -> list[bytes]:
    return [name.encode() for name in names]


def test_only_what_is_struck_is_cut_out_of_a_batch() -> None:
    wire = Wire("4th*swallow")
    wire.batch(b"abcdefghij", 1, 10)
    assert datagrams(*"abcefgij") == wire.sent
    assert [3, 3, 2] == wire.batches
    assert (2, 2, 0, 8) == (wire.counters.injected, wire.counters.swallowed, wire.counters.unanswered, wire.answered())


def test_the_shorter_last_datagram_of_a_batch_has_a_size_of_its_own() -> None:
    wire = Wire("5B*swallow")
    wire.batch(b"aabbc", 2, 3)
    assert ([], 3) == (wire.sent, wire.counters.swallowed)
    wire = Wire("4B*ok->swallow")
    wire.batch(b"aabbc", 2, 3)
    assert datagrams("aa", "bb") == wire.sent
    wire = Wire("3*ok->swallow")
    wire.batch(b"aabbc", 2, 3)
    assert datagrams("aa", "bb", "c") == wire.sent


def test_an_empty_datagram_is_a_packet_too() -> None:
    wire = Wire("2nd*swallow->1*corrupt->duplicate")
    wire.receive(b"", b"", b"")
    assert [b"", b"", b""] == wire.sent
    assert 3 == wire.counters.injected


def test_off_leaves_all_that_follow_alone() -> None:
    wire = Wire("1*swallow->off")
    wire.batch(b"abcdef", 1, 6)
    assert datagrams(*"bcdef") == wire.sent
    assert [5] == wire.batches


def test_a_delayed_answer_leaves_at_its_moment_and_others_overtake_it() -> None:
    wire = Wire("1*delay(100ms)->1*delay(50ms)")
    wire.receive(b"a", b"b", b"c")
    assert datagrams("c") == wire.at(49)
    assert datagrams("c", "b") == wire.at(50)
    assert datagrams("c", "b") == wire.at(99.999)
    assert datagrams("c", "b", "a") == wire.at(100)
    assert (2, 0, 3, 0, 0) == (wire.counters.injected, wire.held, wire.answered(), wire.later.held, wire.waiting())


def test_the_delay_of_packet_k_is_that_of_its_number_however_the_batches_are_cut() -> None:
    moments = []
    for cuts in ([20], [1] * 20, [7, 6, 7]):
        wire = Wire("delay(exp 20ms)", seed=7)
        for packets in cuts:
            wire.batch(b"x" * packets, 1, packets)
        assert wire.struck is not None
        moments.append([each[0] for each in sorted(wire.struck._waiting, key=lambda each: each[1])])
    assert moments[0] == moments[1] == moments[2]
    assert 20 == len(set(moments[0]))


def test_corrupt_turns_bits_of_the_answer_and_wrong_ones_are_those_of_its_number() -> None:
    one, other = Wire("corrupt(3 bit)", seed=5), Wire("corrupt(3 bit)", seed=5)
    one.receive(bytes(10), bytes(10))
    other.batch(bytes(20), 10, 2)
    assert one.sent == other.sent
    assert [3, 3] == [sum(octet.bit_count() for octet in answer) for answer in one.sent]
    assert one.sent[0] != one.sent[1]


def test_a_canned_reply_is_corrupted_delayed_and_doubled_like_an_echo() -> None:
    wire = Wire("1*corrupt->1*duplicate->1*delay(10ms)->1*swallow", canned=b"OK")
    wire.receive(b"a", b"b", b"c", b"d", b"e")
    assert [b"OK"] * 3 == wire.sent[1:]
    assert 1 == sum((mine ^ octet).bit_count() for mine, octet in zip(wire.sent[0], b"OK", strict=True))
    assert OVERHEAD == wire.held
    assert [b"OK"] * 4 == wire.at(10)[1:]
    assert (4, 1, 1, 4) == (
        wire.counters.injected,
        wire.counters.swallowed,
        wire.counters.duplicated,
        wire.answered(),
    )


def test_a_duplicate_that_the_socket_does_not_accept_is_none() -> None:
    wire = Wire("duplicate")
    wire.receive(b"a")
    wire.full = True
    wire.receive(b"b")
    assert datagrams("a", "a") == wire.sent
    assert (2, 1, 1) == (wire.counters.injected, wire.counters.duplicated, wire.counters.unanswered)


def test_reordered_answers_change_places_with_the_next() -> None:
    wire = Wire("reorder")
    wire.batch(b"abcdef", 1, 6)
    assert datagrams(*"badcfe") == wire.sent
    wire = Wire("1*reorder")
    wire.batch(b"abcdef", 1, 6)
    assert datagrams(*"bacdef") == wire.sent
    assert (1, 0) == (wire.counters.injected, wire.held)


def test_a_lone_reordered_answer_waits_for_a_second_and_no_longer() -> None:
    wire = Wire("reorder")
    wire.receive(b"a")
    assert [] == wire.at(999)
    assert datagrams("a") == wire.at(1000)
    wire.receive(b"b")
    assert datagrams("a") == wire.at(1999)
    wire.receive(b"c")
    assert datagrams("a", "c", "b") == wire.at(5000)
    assert (3, 3) == (wire.counters.injected, wire.answered())


def test_a_reordered_answer_follows_the_next_that_leaves_not_one_that_is_swallowed_or_waits() -> None:
    wire = Wire("1*reorder->1*swallow->1*delay(10ms)->1*duplicate")
    wire.receive(b"a", b"b", b"c")
    assert [] == wire.sent
    assert datagrams("c", "a") == wire.at(10)
    wire = Wire("1*reorder->1*duplicate")
    wire.receive(b"a", b"b", b"c")
    assert datagrams("b", "b", "a", "c") == wire.sent


def test_of_several_orders_each_strikes_and_what_they_make_of_an_answer_adds_up() -> None:
    wire = Wire("delay(10ms)", "2nd*duplicate", "delay(5ms)", "4th*swallow", "2nd*duplicate")
    wire.batch(b"abcd", 1, 4)
    assert [] == wire.at(14)
    assert datagrams("a", "b", "b", "b", "c") == wire.at(15)
    assert [4, 2, 4, 1, 2] == [order.injection.hits.total for order in wire.orders]
    assert (13, 1, 2) == (wire.counters.injected, wire.counters.swallowed, wire.counters.duplicated)


def test_delayed_and_reordered_an_answer_follows_the_first_that_leaves_after_its_delay() -> None:
    wire = Wire("1*delay(10ms)", "1*reorder")
    wire.receive(b"a", b"b")
    assert datagrams("b") == wire.at(500)
    wire.receive(b"c")
    assert datagrams("b", "c", "a") == wire.at(501)


def test_what_finds_no_place_is_given_up_and_its_packet_unanswered() -> None:
    wire = Wire("delay(10ms)", most=2 * OVERHEAD + 15)
    wire.receive(b"x" * 10, b"y" * 10, b"z", b"w" * 4)
    assert (4, 2, 2 * OVERHEAD + 11) == (wire.counters.injected, wire.counters.unanswered, wire.held)
    assert [b"x" * 10, b"z"] == wire.at(10)
    wire.receive(b"again")
    assert 3 == len(wire.at(20))
    assert (2, 3, 0) == (wire.counters.unanswered, wire.answered(), wire.held)


def test_the_streams_of_a_port_share_its_place() -> None:
    one, other = Wire("delay(10ms)", most=OVERHEAD + 1), Wire("delay(10ms)")
    other.later = one.later
    other.strike(*other.orders)
    one.receive(b"a")
    other.receive(b"b")
    assert (0, 1) == (one.counters.unanswered, other.counters.unanswered)


def test_what_the_socket_does_not_accept_in_the_end_is_unanswered() -> None:
    wire = Wire("1*delay(10ms)->2*reorder")
    wire.receive(b"a", b"b")
    wire.full = True
    assert [] == wire.at(2000)
    assert (0, 2, 0) == (wire.answered(), wire.counters.unanswered, wire.held)


def test_what_waits_of_a_stream_that_ends_is_unanswered_and_nothing_of_it_is_left() -> None:
    wire = Wire("5*delay(1h)->1*reorder")
    wire.batch(b"abcdef", 1, 6)
    assert 6 == wire.waiting()
    struck = wire.struck
    assert struck is not None
    struck.give_up()
    assert (6, 0, 0, None) == (wire.counters.unanswered, wire.held, wire.later.held, wire.struck)
    assert ([], {}) == (wire.at(1e7), wire.later.due._entries)


def test_as_the_last_order_ends_what_waits_leaves_in_the_order_of_its_arrival() -> None:
    wire = Wire("1*delay(3s)->1*delay(2s)->1*reorder->1*delay(1s)")
    wire.receive(b"a", b"b", b"c", b"d")
    struck, (order,) = wire.struck, wire.orders
    assert struck is not None
    struck.end(order)
    assert wire._plain == wire.answer
    assert datagrams(*"abcd") == wire.at(0)
    assert (0, None, {}) == (wire.held, wire.struck, wire.later.due._entries)
    wire.receive(b"e")
    assert (4, 5) == (wire.counters.injected, wire.answered())


def test_while_one_of_two_orders_is_left_what_waits_goes_on_waiting() -> None:
    wire = Wire("delay(1s)", "2nd*swallow")
    wire.receive(b"a", b"b")
    assert wire.struck is not None
    wire.struck.end(wire.orders[0])
    wire.receive(b"c", b"d")
    assert datagrams("c") == wire.at(999)
    assert datagrams("c", "a") == wire.at(1000)
    assert 2 == wire.counters.swallowed


def test_an_order_that_begins_while_the_last_ones_answers_leave_strikes_what_comes_then() -> None:
    wire = Wire("delay(1s)")
    wire.receive(*[b"old"] * 3)
    struck, (order,) = wire.struck, wire.orders
    assert struck is not None
    struck.end(order)
    struck.begin([Injection(parse_spec("delay(10ms)"), 1).stream("udp")])
    wire.receive(b"new")
    assert [b"old"] * 3 == wire.at(1)
    assert [*[b"old"] * 3, b"new"] == wire.at(10)
    assert struck is wire.struck


def test_a_call_of_the_timer_sends_a_bounded_number_and_the_rest_has_another() -> None:
    wire = Wire("delay(1ms)")
    wire.batch(b"x" * (PORTION + 5), 1, PORTION + 5)
    struck = wire.struck
    assert struck is not None
    wire.time.now = MS
    struck.due(MS)
    assert PORTION == len(wire.sent)
    assert PORTION + 5 == len(wire.at(1))


def test_an_answer_that_waits_takes_about_what_is_counted_and_less_than_a_kibibyte_beside_its_bytes() -> None:
    wire = Wire("delay(1h)", most=1 << 30)
    wire.receive(*[b"x"] * 10)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    held = wire.held
    wire.batch(b"x" * 1_000_000, 100, 10_000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / 10_000 - 100 <= OVERHEAD < 1024
    assert 10_000 * (100 + OVERHEAD) == wire.held - held


@given(
    st.sampled_from(
        ["7th*swallow", "5%*swallow->3*duplicate", "40B*ok->2nd*corrupt", "3*ok->10th*duplicate", "50%*swallow"]
    ),
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
    st.integers(1, 3),
)
def test_which_packets_are_struck_does_not_depend_on_how_they_come_in_batches(
    spec: str, cuts: Sequence[int], size: int
) -> None:
    wire = Wire(spec, seed=3)
    packets = sum(cuts)
    for packets_now in cuts:
        wire.batch(bytes(size * packets_now), size, packets_now)
    terms = struck_by_definition(parse_spec(spec), 3, [size] * packets)
    names = [parse_spec(spec).terms[term].action.name for term in terms if term is not None]
    counters = wire.counters
    assert (len(names), names.count("swallow"), names.count("duplicate")) == (
        counters.injected,
        counters.swallowed,
        counters.duplicated,
    )
    assert counters.packets == wire.answered() + counters.swallowed


@pytest.mark.parametrize("spec", ["swallow", "delay(1ms)", "duplicate", "reorder", "corrupt"])
def test_whatever_strikes_each_packet_is_answered_or_swallowed(spec: str) -> None:
    wire = Wire(f"3rd*{spec}")
    wire.batch(bytes(100), 1, 100)
    wire.at(1000)
    counters = wire.counters
    assert (100, 33) == (counters.packets, counters.injected)
    assert 100 == wire.answered() + counters.swallowed
