from __future__ import annotations

import base64
import zlib

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.stats.hdr import decoded, encoded
from ctrlserver.stats.latency import DIGITS, HIGHEST, LAST_BUCKET, LOWEST, bucket_of, lowest_in

COUNTS = st.dictionaries(st.integers(0, LAST_BUCKET), st.integers(1, 2**62), max_size=30)
LAYOUT = LOWEST, HIGHEST, DIGITS


@given(COUNTS)
def test_counts_are_the_same_after_a_round_trip(counts: dict[int, int]) -> None:
    assert (counts, LAYOUT) == decoded(encoded(counts, *LAYOUT))


@settings(max_examples=15)
@given(st.dictionaries(st.integers(0, LAST_BUCKET), st.integers(1, 2**40), max_size=20))
def test_the_library_reads_and_writes_the_same(counts: dict[int, int]) -> None:
    library = HdrHistogram.decode(encoded(counts, *LAYOUT))
    found = {
        bucket_of(item.value_iterated_to): item.count_added_in_this_iter_step
        for item in library.get_recorded_iterator()
    }
    assert counts == found
    made = HdrHistogram(*LAYOUT)
    for bucket, count in counts.items():
        made.record_value(lowest_in(bucket), count)
    assert (counts, LAYOUT) == decoded(made.encode().decode())


@given(st.binary(max_size=60))
def test_any_other_text_is_a_value_error(octets: bytes) -> None:
    for text in (base64.b64encode(octets), base64.b64encode(bytes(8) + zlib.compress(octets))):
        with pytest.raises(ValueError, match="no HDR histogram"):
            decoded(text.decode())


def test_a_text_that_is_cut_short_is_refused() -> None:
    text = base64.b64decode(encoded({5: 3, 700: 2}, *LAYOUT))
    for end in range(len(text)):
        with pytest.raises(ValueError, match="no HDR histogram"):
            decoded(base64.b64encode(text[:end]).decode())
