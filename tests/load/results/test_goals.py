from __future__ import annotations

import pytest
from attrs import evolve

from ctrlserver.errors import UsageError
from ctrlserver.load.measure.confidence import Estimate, Precision
from ctrlserver.load.results.goals import Goal, parse_goal, precision_words


@pytest.mark.parametrize(
    ("text", "path", "width", "relative"),
    [
        ("p99+-5%", "latency.response.p99", 0.05, True),
        ("P99.9 ± 2.5 %", "latency.response.p99_9", 0.025, True),
        ("latency.service.p50+-0.2ms", "latency.service.p50", 0.0002, False),
        ("mean +/- 10us", "latency.response.mean", 1e-5, False),
        ("rate+-1k/s", "sent.packets_per_second", 1000.0, False),
        ("rate+-1Mbit/s", "sent.bits_per_second", 1e6, False),
        ("slip.p99+-50%", "schedule.slip.p99", 0.5, True),
        ("connections_per_second+-5%", "connections.connections_per_second", 0.05, True),
    ],
)
def test_a_goal_is_a_figure_and_a_width(text: str, path: str, width: float, relative: bool) -> None:
    goal = parse_goal(text)
    assert (path, relative) == (".".join(goal.paths[0]), goal.relative)
    assert pytest.approx(width) == goal.width


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("p99<5%", "expected NAME+-WIDTH"),
        ("p99", "expected NAME+-WIDTH"),
        ("p99+-", "expected NAME+-WIDTH"),
        ("p99+-0%", "must be more than 0"),
        ("p99+-100%", "must be less than 100%"),
        ("p99+-5q", 'unknown unit "q"'),
        ("avg+-5%", 'did you mean "mean"?'),
        ("max+-5%", "max is one extreme time"),
        ("latency.service.min+-5%", "is one extreme time"),
        ("packets+-5%", "a longer run does not make it surer"),
        ("errors+-1", "a longer run does not make it surer"),
        ("received.packets_per_second+-5%", "is known only after the run; take the same of sent"),
        ("lost+-1", "is known only after the run"),
        ("unreached+-1", "says how sure the others are"),
    ],
)
def test_what_is_no_goal_is_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_goal(text)
    assert words in str(caught.value)


def test_a_goal_is_reached_by_the_farther_end_and_by_independent_batches() -> None:
    share, absolute = parse_goal("p99+-5%"), parse_goal("p99+-1ms")
    estimate = Estimate(0.1, 0.097, 0.104, 10, True)

    def narrow(goal: Goal, low: float | None, high: float, independent: bool = True) -> bool:
        return goal.narrow(evolve(estimate, low=low, high=high, independent=independent))

    assert [True, False, False] == [narrow(share, 0.097, high) for high in (0.104, 0.106, 0.2)]
    assert not narrow(share, None, 0.101)
    assert not narrow(share, 0.097, 0.104, independent=False)
    assert [True, False] == [narrow(absolute, 0.0995, high) for high in (0.1009, 0.102)]


SURE = Precision("p99+-5%", "latency.service.p99", True, 0.00192, 0.00186, 0.001999, 10, True, 31.2)


@pytest.mark.parametrize(
    ("precision", "words"),
    [
        (SURE, "p99 1.920 ms +-4.1 % (95 %, 10 batches)"),
        (evolve(SURE, asked="p99+-0.1ms"), "p99 1.920 ms +-79.00 us (95 %, 10 batches)"),
        (evolve(SURE, independent=False, high=0.0025), "p99 1.920 ms +-30 % (95 %, 10 batches, not independent)"),
        (evolve(SURE, high=None), "p99 1.920 ms, too few of them for an interval"),
        (evolve(SURE, estimate=None), "p99 is not known yet"),
        (
            Precision("rate+-5%", "sent.packets_per_second", True, 1000.0, 990.0, 1010.0, 32, True, 9.0),
            "rate 1000.0/s +-1 % (95 %, 32 batches)",
        ),
    ],
)
def test_how_sure_a_figure_is_reads_so(precision: Precision, words: str) -> None:
    assert words == precision_words(precision)
