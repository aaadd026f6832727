"""The benchmarks' own rules: what a ratio is, and that counts are believed before speeds.

Rules: rows here measure constants, so that the arithmetic and the exit status are what is tested; the programs behind
the real rows are tried by `make bench`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.bench import Bench
from benchmarks.pairs import Measure, MissingError, Outcome, measured, short, table
from benchmarks.programs import ProgramFailedError, output_of, python_peer, server
from benchmarks.rows import Row, same


def row(ours: Measure, peer: Measure = lambda: 1.0, *, reach: float | None = 2.0) -> Row:
    """A row that starts nothing."""

    @contextmanager
    def sides(_seconds: float) -> Iterator[tuple[Measure, Measure]]:
        yield ours, peer

    return Row("bulk", "a row", "packets/s", reach, sides)


def test_ours_and_the_peer_are_measured_in_turn() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return 1.0

    measured("a row", "packets/s", None, lambda: side("ours"), lambda: side("peer"), 3)
    assert ["ours", "peer"] * 3 == order


def test_a_ratio_is_taken_pair_by_pair() -> None:
    outcome = Outcome("a row", "packets/s", (10.0, 20.0, 90.0), (5.0, 5.0, 30.0), 3.5)
    assert outcome.ratios == (2.0, 4.0, 3.0)
    assert outcome.reached is False


def test_the_table_shows_median_least_and_greatest_ratio_and_what_is_asked_for() -> None:
    lines = table([Outcome("a row", "packets/s", (2e6, 4e6, 3e6), (1e6, 1e6, 1e6), 1.3)])
    assert ["what", "ours", "peer", "unit", "ratio", "min", "max", "reach"] == lines[0].split()
    assert lines[1] == "a row   3 M   1 M  packets/s   3.00  2.00  4.00    1.3  reached"


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (999.0, "999"), (72377.8, "72.4 k"), (999_999.0, "1 M"), (2.5e10, "25 G")]
)
def test_a_speed_is_shown_in_three_digits(value: float, text: str) -> None:
    assert text == short(value)


def test_a_slow_row_does_not_fail_the_run() -> None:
    bench = Bench(repeats=1, seconds=0.1)
    bench.run_rows([row(lambda: 0.001)])
    assert bench.code == 0
    assert [False] == [outcome.reached for outcome in bench.outcomes]


def test_counts_that_differ_fail_the_run_and_show_no_speed() -> None:
    def ours() -> float:
        same(10_000, 9_999, "packets sent and received")
        return 1e9

    bench = Bench(repeats=1, seconds=0.1)
    bench.run_rows([row(ours), row(lambda: 3.0)])
    assert bench.code == 1
    assert ["counts differ: a row: packets sent and received: expected 10000, got 9999"] == bench.failed
    assert [(3.0,)] == [outcome.ours for outcome in bench.outcomes]


def test_a_missing_peer_is_named_and_does_not_fail_the_run() -> None:
    def peer() -> float:
        raise MissingError("iperf3 (Debian package iperf3)")

    bench = Bench(repeats=1, seconds=0.1)
    bench.run_rows([row(lambda: 1.0, peer)])
    assert bench.code == 0
    assert ['iperf3 (Debian package iperf3): no row "a row"'] == bench.missing


def test_the_document_is_json_and_holds_every_measurement() -> None:
    bench = Bench(repeats=2, seconds=0.1)
    bench.run_rows([row(lambda: 4.0, reach=None)])
    document = json.loads(json.dumps(bench.document(), allow_nan=False))
    (only,) = document["rows"]
    assert {"median": 4.0, "min": 4.0, "max": 4.0} == only["ratio"]
    assert ([4.0, 4.0], [1.0, 1.0], None) == (only["ours"], only["peer"], only["reached"])


def test_the_scripts_of_2013_receive_what_they_send() -> None:
    with server(*python_peer("scripts2013", "server.py"), "50") as listening:
        output_of(*python_peer("scripts2013", "client.py"), str(listening.port()), "50")
        assert listening.line(r"^number of bytes (\d+)").group(1) == str(50 * 1024)


def test_a_server_that_never_listens_is_reported_with_its_last_words() -> None:
    with (
        server(*python_peer("scripts2013", "server.py"), "many") as broken,
        pytest.raises(ProgramFailedError) as failure,
    ):
        broken.port()
    assert "invalid literal" in str(failure.value)
