"""Everything at once: whatever happens to a book, its numbers add up."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ctrlserver.stats.counters import REASONS, StreamCounters
from ctrlserver.stats.records import RunRecord
from tests.stats.books import ORIGIN, WALL, a_book, send


class AnyDay(RuleBasedStateMachine):
    """Streams come, send and go, time passes, an operator starts and stops runs: the numbers always add up."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 500.0
        self.ended: list[RunRecord] = []
        self.book = a_book(closed_kept=5, on_run_end=self.ended.append)
        self.streams: list[StreamCounters] = []
        self.outside = 0
        self.read = 0
        self.before = self.book.counters.totals()
        self.brought = 0
        self.questions: list[tuple[int, int]] = []  # the number of each, and the packets counted when it arrived

    def chosen(self, which: int) -> StreamCounters | None:
        still_open = [stream for stream in self.streams if stream.state == "open"]
        return still_open[which % len(still_open)] if still_open else None

    @rule(eighths=st.integers(1, 16))
    def wait(self, eighths: int) -> None:
        self.now += eighths / 8

    @rule()
    def tick(self) -> None:
        self.book.tick(self.now, 0.001, WALL + self.now - 500)

    @rule()
    def open(self) -> None:
        self.streams.append(self.book.stream_opened(ORIGIN, "a:1", self.now))

    @rule()
    def ask(self) -> None:
        self.questions.append((self.book.asked(), self.brought))

    @rule(which=st.integers(0, 5))
    def answer(self, which: int) -> None:
        """The record is of one instant since the question arrived."""
        if self.questions:
            asked, brought = self.questions.pop(which % len(self.questions))
            stats = self.book.stats(self.now, asked)
            assert brought <= stats.packets_total <= self.brought
            assert self.read + stats.packets == stats.packets_total
            by_reason = [getattr(stats, f"closed_{reason.replace('-', '_')}_total") for reason in REASONS]
            assert stats.streams_total - stats.streams_open == sum(by_reason)

    @rule(which=st.integers(0, 5), packets=st.integers(0, 20), rest=st.integers(1, 999))
    def send(self, which: int, packets: int, rest: int) -> None:
        stream = self.chosen(which)
        if stream is not None:
            send(self.book, stream, packets, self.now)
            stream.bytes += rest
            self.brought += packets
            records = self.book.runs.records(self.now)
            if not records or records[0].state != "active":
                self.outside += packets

    @rule(which=st.integers(0, 5), reason=st.sampled_from(REASONS), incomplete_bytes=st.integers(0, 999))
    def close(self, which: int, reason: str, incomplete_bytes: int) -> None:
        stream = self.chosen(which)
        if stream is not None:
            self.book.stream_closed(stream, reason, incomplete_bytes, self.now)

    @rule(expect=st.none() | st.integers(0, 30))
    def start_run(self, expect: int | None) -> None:
        assert 0 == self.book.runs.start("by order", expect, self.now).packets

    @rule()
    def stop_run(self) -> None:
        self.book.runs.stop(self.now)

    @rule()
    def reset(self) -> None:
        self.read += self.book.reset(self.now).packets

    @invariant()
    def totals_are_the_sum_over_the_streams_and_only_grow(self) -> None:
        totals = self.book.counters.totals()
        assert totals.packets == sum(stream.packets for stream in self.streams)
        assert totals.bytes == sum(stream.bytes for stream in self.streams)
        assert totals.incomplete_bytes == sum(stream.incomplete_bytes for stream in self.streams)
        assert totals.packets >= self.before.packets
        self.before = totals

    @invariant()
    def the_packets_of_all_runs_and_those_outside_add_up(self) -> None:
        records = self.book.runs.records(self.now)
        assert [record.run for record in records] == list(range(len(records), 0, -1))
        assert sum(record.packets for record in records) + self.outside == self.brought
        assert [record for record in records if record.state == "ended"] == self.ended[::-1]

    @invariant()
    def a_record_is_sound(self) -> None:
        for record in self.book.runs.records(self.now):
            assert 0.0 <= record.seconds <= self.now - 500.0
            assert record.packets == 0 or record.streams > 0
            assert (record.complete is None) == (record.expected_packets is None)

    @invariant()
    def readings_add_up(self) -> None:
        stats = self.book.stats(self.now)
        assert self.read + stats.packets == stats.packets_total
        assert stats.runs_total == len(self.book.runs.records(self.now))

    @invariant()
    def only_the_bound_of_closed_streams_is_on_view(self) -> None:
        shown = self.book.streams()
        assert [record.stream for record in shown] == sorted((record.stream for record in shown), reverse=True)
        assert len(shown) == len(self.book.counters.open) + min(5, sum(s.state == "closed" for s in self.streams))


TestAnyDay = AnyDay.TestCase
TestAnyDay.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
