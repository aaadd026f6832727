from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.overview.figures import SORTS, Known, Wish
from ctrlserver.overview.top_view import PLAIN_BARS, sparkline, view

CLOCK = "07:00:00"


def lab(name: str, rate: float = 1000.0, streams: int = 2) -> Known:
    known = Known(name)
    stats = {"packets_per_second": rate, "bits_per_second": rate * 8192, "streams_open": streams, "packets_total": 5}
    runs = [{"run": 1, "name": f"soak of {name}", "state": "active", "packets": 5, "started": "2026"}]
    for packets in (0, 500):
        rows = [
            {"stream": at, "peer": f"10.0.0.{at}:5", "listener": "data", "packets": packets * at, "bytes": 0}
            for at in range(1, streams + 1)
        ]
        known.learn(packets / 500, stats, rows, runs)
    return known


def shown(known: list[Known], wish: Wish | None = None, width: int = 80, height: int = 24) -> list[str]:
    return [line.text.rstrip() for line in view(known, wish or Wish(), CLOCK, width, height)]


def test_servers_streams_and_runs_stand_below_each_other() -> None:
    lines = shown([lab("lab1"), lab("lab2", 500.0)])
    assert "ctrlstat top   2 of 2 servers   07:00:00" == lines[0]
    assert ["lab1", "lab2", "total"] == [line.split()[0] for line in lines[2:5]]
    assert "1.50 k/s" in lines[4]
    assert ["server", "stream", "listener", "peer", "packets/s"] == lines[6].split()[:5]
    assert ["lab1", "2", "data", "10.0.0.2:5", "1.00", "k/s"] == lines[7].split()[:6]
    assert "soak of lab1" in "\n".join(lines)
    assert lines[-1].startswith("s sort (packets/s)")
    assert 24 == len(lines)


def test_one_server_has_no_total_and_no_column_of_its_own_for_streams() -> None:
    lines = shown([lab("lab1")])
    assert not any(line.startswith("total") for line in lines)
    assert "stream" == lines[4].split()[0]


def test_a_server_that_does_not_answer_says_why_and_stays() -> None:
    gone, old = Known("gone"), lab("old")
    gone.lose("nothing listens there")
    old.lose("no answer")
    lines = shown([gone, old])
    assert lines[0].startswith("ctrlstat top   0 of 2 servers")
    assert "gone  nothing listens there" == lines[2]
    assert "old  no answer" == lines[3]
    assert "no open streams" in lines


def test_a_server_that_is_not_ready_says_why_in_its_row() -> None:
    ready, drains = lab("lab1"), lab("lab2")
    assert "not ready" not in shown([ready, drains])[1]
    drains.learn(2.0, drains.stats, [], [], "draining")
    lines = shown([ready, drains])
    assert ["server", "not", "ready", "packets/s"] == lines[1].split()[:4]
    assert ["lab1", "1.00"] == lines[2].split()[:2]
    assert ["lab2", "draining", "1.00", "k/s"] == lines[3].split()[:4]
    assert ["total", "2.00"] == lines[4].split()[:2]
    drains.learn(3.0, drains.stats, [], [])
    assert "not ready" not in shown([ready, drains])[1]


@pytest.mark.parametrize("width", [1, 20, 40, 80, 200])
@pytest.mark.parametrize("height", [1, 3, 8, 24, 60])
@pytest.mark.parametrize("servers", [1, 3, 40])
def test_nothing_is_wider_or_higher_than_the_terminal(width: int, height: int, servers: int) -> None:
    known = [lab(f"lab{number}", 10.0**12, 50) for number in range(servers)]
    for wish in (Wish(), Wish(helping=True), Wish(typing=True, filter="x" * 60), Wish(paused=True)):
        lines = shown(known, wish, width, height)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width


def test_the_keys_are_told_on_the_lowest_terminal() -> None:
    for height in range(1, 10):
        assert "q quit" in shown([lab("lab1"), lab("lab2")], height=height)[-1]


def test_streams_that_have_no_room_are_counted() -> None:
    lines = shown([lab("lab1", streams=50)])
    (more,) = [line for line in lines if line.startswith("... and ")]
    assert 50 == int(more.split()[2]) + sum("10.0.0." in line for line in lines)


def test_a_rate_is_what_came_between_two_looks() -> None:
    known = Known("lab1")
    known.learn(10.0, {}, [{"stream": 1, "packets": 100, "bytes": 1000}], [])
    assert [None] == [stream.packets_per_second for stream in known.streams]
    known.learn(12.0, {}, [{"stream": 1, "packets": 500, "bytes": 3000}, {"stream": 2, "packets": 9}], [])
    assert [(200.0, 8000.0), (None, None)] == [
        (stream.packets_per_second, stream.bits_per_second) for stream in known.streams
    ]


def test_a_sparkline_has_its_highest_bar_at_the_highest_rate() -> None:
    assert "▁▄█ " == sparkline([1.0, 5.0, 10.0, 0.0], 10)
    assert "█" == sparkline([1.0, 5.0, 10.0], 1)
    assert ".=%" == sparkline([1.0, 5.0, 10.0], 10, PLAIN_BARS)
    assert "" == sparkline([], 10) == sparkline([1.0], 0)


@given(st.lists(st.floats(0, 1e15), max_size=300), st.integers(0, 250))
def test_a_sparkline_is_never_longer_than_its_place(rates: list[float], width: int) -> None:
    assert len(sparkline(rates, width)) <= width


def keys(typed: str) -> Wish:
    wish = Wish()
    for key in typed:
        assert not wish.key(key)
    return wish


@pytest.mark.parametrize(
    ("typed", "wish"),
    [
        ("s", Wish(sort=SORTS[1])),
        ("s" * len(SORTS), Wish()),
        ("r", Wish(turned=True)),
        ("p", Wish(paused=True)),
        ("p ", Wish()),
        ("h", Wish(helping=True)),
        ("?x", Wish()),
        ("/lab\x7f1\r", Wish(filter="la1")),
        ("fq", Wish(filter="q", typing=True)),
        ("flab\x1b", Wish()),
        ("flab\r\x1b", Wish()),
        ("z", Wish()),
    ],
)
def test_a_key_changes_what_is_shown(typed: str, wish: Wish) -> None:
    assert wish == keys(typed)


@pytest.mark.parametrize("key", ["q", "\x03", "\x04"])
def test_q_leaves(key: str) -> None:
    assert Wish().key(key)
    assert Wish(helping=True).key("q")


def test_streams_are_filtered_and_sorted() -> None:
    known = lab("lab1", streams=3)
    assert ["3", "2", "1"] == [str(stream.record["stream"]) for stream in Wish().chosen(known.streams)]
    assert ["1", "2", "3"] == [str(stream.record["stream"]) for stream in Wish(turned=True).chosen(known.streams)]
    assert [1, 2, 3] == [stream.record["stream"] for stream in Wish(sort="peer").chosen(known.streams)]
    assert [2] == [stream.record["stream"] for stream in Wish(filter="10.0.0.2").chosen(known.streams)]
    assert [] == Wish(filter="lab2").chosen(known.streams)
