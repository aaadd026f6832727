from __future__ import annotations

import base64
import zlib

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.stats.hdr import encoded, summed
from ctrlserver.stats.latency import DIGITS, HIGHEST, LAST_BUCKET, LOWEST, bucket_of, lowest_in

COUNTS = st.dictionaries(st.integers(0, LAST_BUCKET), st.integers(1, 2**61), max_size=30)
LAYOUT = LOWEST, HIGHEST, DIGITS


def decoded(*texts: str) -> dict[int, int]:
    return summed(texts, LAYOUT, LAST_BUCKET + 1)


@given(COUNTS)
def test_counts_are_the_same_after_a_round_trip(counts: dict[int, int]) -> None:
    assert counts == decoded(encoded(counts, *LAYOUT))


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
    assert counts == decoded(made.encode().decode())


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


@given(COUNTS, COUNTS)
def test_counts_of_several_texts_are_added(one: dict[int, int], other: dict[int, int]) -> None:
    whole = {bucket: one.get(bucket, 0) + other.get(bucket, 0) for bucket in one | other}
    assert whole == decoded(encoded(one, *LAYOUT), encoded(other, *LAYOUT))


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([{LAST_BUCKET + 1: 1}], "an HDR histogram with more buckets than its layout has"),
        ([{LAST_BUCKET: 1, LAST_BUCKET + 9: 1}], "an HDR histogram with more buckets than its layout has"),
        ([{5: 2**62 - 1}] * 5, "no HDR histogram: 64-bit overflow"),
    ],
)
def test_what_does_not_fit_is_refused(counts: list[dict[int, int]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decoded(*(encoded(each, *LAYOUT) for each in counts))
