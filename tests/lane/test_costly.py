"""Whose bytes cost much, and when they are cheap again."""

from __future__ import annotations

import pytest

from ctrlserver.lane.costly import CHEAP_BYTES, CHEAP_RATE, CHEAP_TIMES, COSTLY_SECONDS, Costly, is_costly


class Nobody:
    """An owner that is never called."""

    def ready(self, events: int) -> None:
        raise AssertionError

    def failed(self) -> None:
        raise AssertionError


def costly() -> Costly:
    return Costly(Nobody(), 3, lambda _fd, _events: None)


@pytest.mark.parametrize(
    ("took", "seconds", "is_so"),
    [
        (1, COSTLY_SECONDS * 0.9, False),
        (1, COSTLY_SECONDS * 1.1, True),
        (0, 1.0, True),
        (None, 1.0, False),
        (1 << 20, (1 << 20) / CHEAP_RATE * 0.9, False),
        (1 << 20, (1 << 20) / CHEAP_RATE * 1.1, True),
    ],
)
def test_much_time_for_few_bytes_is_costly(took: int | None, seconds: float, is_so: bool) -> None:
    assert is_so == is_costly(took, seconds)


def test_an_owner_is_cheap_again_after_some_times_in_a_row() -> None:
    each = costly()
    rows = [each.is_cheap(1, 0.0) for _ in range(CHEAP_TIMES - 1)]
    each.is_cheap(1, 1.0)
    rows += [each.is_cheap(1, 0.0) for _ in range(CHEAP_TIMES)]
    assert [False] * (2 * CHEAP_TIMES - 2) + [True] == rows


def test_an_owner_that_reads_much_is_cheap_again_at_once() -> None:
    assert costly().is_cheap(CHEAP_BYTES * CHEAP_TIMES, 0.0)


def test_an_event_of_a_costly_owner_waits() -> None:
    waiting: list[tuple[int, int]] = []
    Costly(Nobody(), 3, lambda fd, events: waiting.append((fd, events))).ready(1)
    assert [(3, 1)] == waiting
