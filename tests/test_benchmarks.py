"""The benchmarks' own rules: what a ratio is, and that counts are believed before speeds.

Rules: rows here measure constants, so that the arithmetic and the exit status are what is tested; the programs behind
the real rows are tried by `make bench`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.bench import BEGIN, END, GROUPS, ROWS, Bench, main, tables
from benchmarks.beside import interval, pooled, ratio, trimmed
from benchmarks.figures import FigureRow
from benchmarks.pairs import (
    Asked,
    Figure,
    Measure,
    MissingError,
    Outcome,
    aligned,
    figure_cells,
    markdown,
    measured,
    outcome_cells,
    short,
    table,
)
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
    assert (2.0, 4.0, 3.0) == outcome.ratios
    assert outcome.reached is False


def test_the_table_shows_median_least_and_greatest_ratio_and_what_is_asked_for() -> None:
    lines = table([Outcome("a row", "packets/s", (2e6, 4e6, 3e6), (1e6, 1e6, 1e6), 1.3)])
    assert ["what", "ours", "peer", "unit", "ratio", "min", "max", "reach"] == lines[0].split()
    assert "a row   3 M   1 M  packets/s   3.00  2.00  4.00    1.3  reached" == lines[1]


def test_a_figure_is_reached_from_the_side_it_is_asked_for() -> None:
    samples = (4.0, 6.0, 5.0)
    assert Figure(Asked("p99", "ms", 5.0), samples).reached is True
    assert Figure(Asked("p99", "ms", 4.9), samples).reached is False
    assert Figure(Asked("accepted", "streams/s", 5.1, at_most=False), samples).reached is False
    assert Figure(Asked("accepted", "streams/s"), samples).reached is None


def test_the_figures_show_median_least_and_greatest_and_what_is_asked_for() -> None:
    lines = aligned(figure_cells([Figure(Asked("p99", "ms", 5.0), (4.0, 6.0, 4.5))]))
    assert ["p99", "4.5", "4", "6", "ms", "<=", "5", "reached"] == lines[1].split()


def test_markdown_is_one_line_a_row_with_numbers_to_the_right() -> None:
    lines = markdown(outcome_cells([Outcome("a row", "packets/s", (3e6,), (1e6,), None)]))
    assert "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | --- |" == lines[1]
    assert "| a row | 3 M | 1 M | packets/s | 3.00 | 3.00 | 3.00 | - |  |" == lines[2]


def test_every_row_is_in_a_group_that_can_be_chosen() -> None:
    assert {*GROUPS} == {"decode", *(each.group for each in ROWS)}


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (999.0, "999"), (72377.8, "72.4 k"), (999_999.0, "1 M"), (2.5e10, "25 G")]
)
def test_a_speed_is_shown_in_three_digits(value: float, text: str) -> None:
    assert text == short(value)


def test_a_slow_row_does_not_fail_the_run() -> None:
    bench = Bench(repeats=1, seconds=0.1)
    bench.run_rows([row(lambda: 0.001)])
    assert 0 == bench.code
    assert [False] == [outcome.reached for outcome in bench.outcomes]


def test_counts_that_differ_fail_the_run_and_show_no_speed() -> None:
    def ours() -> float:
        same(10_000, 9_999, "packets sent and received")
        return 1e9

    bench = Bench(repeats=1, seconds=0.1)
    bench.run_rows([row(ours), row(lambda: 3.0)])
    assert 1 == bench.code
    assert ["counts differ: a row: packets sent and received: expected 10000, got 9999"] == bench.failed
    assert [(3.0,)] == [outcome.ours for outcome in bench.outcomes]


def test_a_missing_peer_is_named_and_does_not_fail_the_run() -> None:
    def peer() -> float:
        raise MissingError("iperf3 (Debian package iperf3)")

    bench = Bench(repeats=1, seconds=0.1)
    bench.run_rows([row(lambda: 1.0, peer)])
    assert 0 == bench.code
    assert ['iperf3 (Debian package iperf3): no row "a row"'] == bench.missing


def test_figures_are_sampled_once_a_repeat_and_all_samples_are_in_the_document() -> None:
    taken = iter([(1.0, 9.0), (2.0, 8.0), (3.0, 7.0)])

    @contextmanager
    def figures(_seconds: float) -> Iterator[Callable[[], tuple[float, ...]]]:
        yield lambda: next(taken)

    bench = Bench(repeats=3, seconds=0.1)
    bench.run_rows([FigureRow("idle", (Asked("one", "ms"), Asked("two", "ms", 8.0)), figures)])
    document = json.loads(json.dumps(bench.document(), allow_nan=False))
    assert [[1.0, 2.0, 3.0], [9.0, 8.0, 7.0]] == [figure["samples"] for figure in document["figures"]]
    assert [(2.0, None), (8.0, True)] == [(figure["median"], figure["reached"]) for figure in document["figures"]]


def test_a_document_is_shown_again_as_it_was_without_measuring(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def peer() -> float:
        raise MissingError("iperf3 (Debian package iperf3)")

    bench = Bench(repeats=1, seconds=0.1)
    bench.run_rows([row(lambda: 4.0), row(lambda: 1.0, peer), row(lambda: 2.0, peer)])
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(bench.document()))
    assert 0 == main(["--show", str(path)])
    shown = capsys.readouterr().out.splitlines()
    assert tables(json.loads(path.read_text()), aligned) == shown
    assert "missing peers: iperf3 (Debian package iperf3)" == shown[-1]
    assert 0 == main(["--show", str(path), "--markdown"])
    assert capsys.readouterr().out.startswith("| what | ours |")


def test_the_processor_is_named_and_a_document_from_before_is_shown_without_it() -> None:
    bench = Bench(repeats=1, seconds=0.1)
    document = json.loads(json.dumps(bench.document()))
    name = document["environment"]["processor"]
    assert name
    assert f" processors ({name})," in tables(document, aligned)[-2]
    del document["environment"]["processor"]
    assert " processors, load" in tables(document, aligned)[-2]


def test_the_tables_are_put_between_the_marks_of_a_page_and_nothing_else_is_touched(tmp_path: Path) -> None:
    bench = Bench(repeats=1, seconds=0.1)
    bench.run_rows([row(lambda: 4.0)])
    path, page = tmp_path / "bench.json", tmp_path / "page.md"
    path.write_text(json.dumps(bench.document()))
    page.write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n")
    for _ in range(2):
        assert 0 == main(["--show", str(path), "--fill", str(page)])
        expected = "\n".join(tables(bench.document(), markdown))
        assert f"above\n{BEGIN}\n{expected}\n{END}\nbelow\n" == page.read_text()
    page.write_text("no marks")
    assert 2 == main(["--show", str(path), "--fill", str(page)])
    assert "no marks" == page.read_text()


def test_the_page_on_performance_has_the_marks() -> None:
    page = (Path(__file__).parent.parent / "docs" / "performance.md").read_text()
    assert [1, 1] == [page.count(BEGIN), page.count(END)]


def test_what_is_no_document_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(["--show", str(tmp_path / "none.json")])
    assert 1 == len(capsys.readouterr().err.splitlines())


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


def test_a_block_of_four_slots_does_not_see_a_drift() -> None:
    rates = [100.0, 90.0 * 1.1, 90.0 * 1.1**2, 100.0 * 1.1**3]
    turns = (False, True, True, False)
    assert pytest.approx(math.log(0.9)) == ratio([(on, rate, 0.5) for on, rate in zip(turns, rates, strict=True)])


def test_what_blocks_say_is_their_mean_without_the_outer_fifths_and_an_interval_of_it() -> None:
    values = [0.0, 1.0, 2.0, 3.0, 1000.0]
    assert 2.0 == trimmed(values)
    low, high = interval([2.0] * 10 + [1.0, 3.0] * 10)
    assert 1.5 < low < 2.0 < high < 2.5


def test_blocks_of_several_runs_are_pooled_by_kind_and_number_of_streams(tmp_path: Path) -> None:
    slots = [[on, 9e9 if on else 10e9, 0.25] for on in (False, True, True, False)]
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.write_text("".join(json.dumps({"kind": "runs", "streams": n, "slots": slots}) + "\n" for n in (1, 8)))
    assert [
        f"runs, {streams} streams: 0.9000 of the rate (0.9000 to 0.9000), 2 blocks;"
        " 10.0 and 9.0 Gbit/s without and with it; the server takes 25.0 and 25.0 % of a processor"
        for streams in (1, 8)
    ] == pooled(files)
