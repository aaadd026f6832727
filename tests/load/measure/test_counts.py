from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.load.measure.counts import Connected, Counts, Volume, per_second

counts = st.builds(Counts, *([st.integers(0, 10**12)] * 5))


@given(counts, counts)
def test_what_came_since_is_the_difference(earlier: Counts, more: Counts) -> None:
    later = Counts(
        earlier.packets + more.packets,
        earlier.bytes + more.bytes,
        earlier.writes + more.writes,
        earlier.replies + more.replies,
        earlier.reply_bytes + more.reply_bytes,
    )
    assert more == later.since(earlier)


def test_a_rate_without_time_is_unknown() -> None:
    assert per_second(10, 0.0) is None
    assert 2.5 == per_second(10, 4.0)
    assert Volume.of(Counts(), -1.0).packets_per_second is None


def test_a_volume_has_bits_for_bytes() -> None:
    volume = Volume.of(Counts(packets=10, bytes=1000, writes=2), 2.0)
    assert (5.0, 4000.0) == (volume.packets_per_second, volume.bits_per_second)


def test_packets_of_a_schedule_take_as_long_as_the_schedule_gives_them() -> None:
    volume = Volume.of(Counts(packets=2, bytes=2000, writes=2), 0.5, plan_seconds=1.0)
    assert (0.5, 2.0, 16_000.0) == (volume.seconds, volume.packets_per_second, volume.bits_per_second)
    assert 5.0 == Connected.of(2, {}, 0.2, plan_seconds=0.4).connections_per_second


def test_packets_sent_late_take_as_long_as_they_took() -> None:
    assert 1.0 == Volume.of(Counts(packets=2, bytes=2000, writes=2), 2.0, plan_seconds=1.0).packets_per_second


def test_one_packet_or_one_connection_has_no_rate() -> None:
    volume = Volume.of(Counts(packets=1, bytes=1000, writes=1), 0.001, plan_seconds=0.5)
    assert (None, None) == (volume.packets_per_second, volume.bits_per_second)
    assert Connected.of(1, {}, 0.001).connections_per_second is None


def test_one_packet_of_many_writes_has_a_rate_in_bits() -> None:
    volume = Volume.of(Counts(packets=1, bytes=1000, writes=3), 2.0)
    assert (None, 4000.0) == (volume.packets_per_second, volume.bits_per_second)
