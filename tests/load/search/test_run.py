"""Whole searches, against small real servers: what is concluded, never how fast.

What makes a rate bad is a condition on the rate that was asked for, so that the knee is where the test says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve, field

from ctrlserver.client.target import Target
from ctrlserver.load.commands.outputs import Outputs
from ctrlserver.load.commands.search import search
from ctrlserver.load.measure.intervals import Interval, Progress, Waiting
from ctrlserver.load.measure.timing import Latencies
from ctrlserver.load.measure.verdict import Bottleneck, Scheduled, Slip
from ctrlserver.load.plan.asked import Asked
from ctrlserver.load.plan.flag import flags_of
from ctrlserver.load.plan.sought import Sought
from ctrlserver.load.results.result import as_json
from ctrlserver.load.results.thresholds import Judgement, parse_threshold
from ctrlserver.load.search.document import SearchResult, Step
from ctrlserver.load.search.run import SearchRun
from ctrlserver.load.search.words import answer_lines, search_error_lines, step_line
from ctrlserver.stats.latency import Latency
from tests.load.command_line import finished, refused, start
from tests.load.documents import check_schema, validated_search
from tests.load.results.test_result import FULL
from tests.peers import Admin, Counting, Echo, Resetting, Silent, Sink
from tests.runs import options, reached
from tests.servers import Servers, reactor, refusing

#: Whatever the machine does meanwhile, that much of the rate is achieved.
LENIENT = 0.99
SOUGHT = Sought(1_000.0, 1e6, 0.1, LENIENT, 1)


def knee(rate: str) -> Any:
    return (parse_threshold(f"schedule.target_packets_per_second>{rate}"),)


@define
class Watching:
    """Keeps the rates and the steps it is told of."""

    rates: list[float] = field(factory=list)
    steps: list[Step] = field(factory=list)
    progressed: list[Progress] = field(factory=list)
    search: SearchRun | None = None

    def begin(self, number: int, rate: float) -> None:
        assert len(self.rates) + 1 == number
        self.rates.append(rate)

    def step(self, step: Step) -> None:
        self.steps.append(step)

    def interval(self, interval: Interval) -> None:
        raise AssertionError("a step has no intervals")

    def progress(self, progress: Progress) -> None:
        self.progressed.append(progress)
        if self.search is not None:
            self.search.interrupt()

    def starting(self, seconds: float | None) -> None:
        pass

    def waiting(self, waiting: Waiting) -> None:
        pass

    def note(self, text: str) -> None:
        pass


async def searched(target: Target, sought: Sought = SOUGHT, watcher: Watching | None = None, **flags: Any) -> Any:
    """The result of a search, and its document."""
    given = options(target, **{"rate": sought.from_packets_per_second, "duration": 0.02, "interval": 0.0, **flags})
    result = await SearchRun(reactor, given, sought, watcher or Watching()).run()
    return result, validated_search(as_json(result))


@pytest_twisted.ensureDeferred
async def test_the_highest_good_rate_is_found_and_each_step_is_told(servers: Servers) -> None:
    watcher = Watching()
    result, document = await searched(servers.listen(Sink), watcher=watcher, fail_if=knee("3k"))
    assert [1_000, 2_000, 4_000, 3_000, 3_500, 3_200] == watcher.rates
    assert watcher.steps == result.steps
    assert (3_000, 0) == (document["highest_packets_per_second"], result.exit_code)
    assert watcher.rates == [step["rate_packets_per_second"] for step in document["steps"]]
    assert [20, 40, 80, 60, 70, 64] == [step["result"]["sent"]["packets"] for step in document["steps"]]
    assert [True, True, False, True, False, False] == [step["verdict"] == "good" for step in document["steps"]]
    assert document["options"]["rate_packets_per_second"] is None
    assert "highest     " in answer_lines(result)[0]
    assert "3000 packets/s, found in 6 runs" in answer_lines(result)[0]
    assert "schedule.target_packets_per_second>3k held, the value is 3200" in answer_lines(result)[1]


@pytest_twisted.ensureDeferred
async def test_connections_are_searched_too(servers: Servers) -> None:
    result, document = await searched(
        servers.listen(Sink), evolve(SOUGHT, precision=1.0), mode="connect", fail_if=knee("1k")
    )
    assert 1_000 == document["highest_packets_per_second"]
    words = " ".join(answer_lines(result))
    assert "1000 connections/s, found in 2 runs" in words
    assert "packets/s" not in words.replace("target_packets_per_second", "")
    assert [20, 40] == [step["result"]["connections"]["opened"] for step in document["steps"]]


@pytest_twisted.ensureDeferred
async def test_rates_that_decide_are_repeated(servers: Servers) -> None:
    watcher = Watching()
    sought = evolve(SOUGHT, repeats=3, precision=1.0)
    await searched(servers.listen(Sink), sought, watcher, fail_if=knee("1k"))
    assert [1_000, 2_000, 2_000, 1_000] == watcher.rates


@pytest_twisted.ensureDeferred
async def test_where_to_is_good_the_answer_is_a_lower_bound(servers: Servers) -> None:
    result, document = await searched(servers.listen(Sink), evolve(SOUGHT, to_packets_per_second=1_500.0))
    assert (1_500, True, "to") == tuple(document[key] for key in ("highest_packets_per_second", "lower_bound", "limit"))
    assert [
        "highest     at least 1500 packets/s, found in 2 runs",
        "because     --to allows no higher rate",
    ] == answer_lines(result)


@pytest_twisted.ensureDeferred
async def test_where_not_even_the_lowest_rate_is_good_there_is_none(servers: Servers) -> None:
    result, document = await searched(servers.listen(Sink), fail_if=knee("10"))
    assert (4, None, None) == (result.exit_code, document["highest_packets_per_second"], document["error"])
    assert "not even the lowest rate: " in search_error_lines(result)[0]
    assert "none, after 1 run" in answer_lines(result)[0]


@pytest_twisted.ensureDeferred
async def test_counts_that_do_not_reconcile_are_bad(servers: Servers) -> None:
    target, admin = servers.listen(Counting), servers.listen(Admin)

    def lossy(record: dict[str, Any]) -> None:
        """Loses a packet of every stream of more than 50."""
        if record["packets"] > 50:
            record["packets"] -= 1

    servers.tamper = lossy
    result, document = await searched(target, evolve(SOUGHT, precision=1.0), admin=admin)
    assert (2_000, "target") == (document["highest_packets_per_second"], document["limit"])
    assert "1 packet fewer" in result.why
    assert "9.9.9" == document["environment"]["server"]


@pytest_twisted.ensureDeferred
async def test_what_breaks_at_a_rate_is_bad_where_less_was_good(servers: Servers) -> None:
    """The server resets after 100 000 bytes: 20 packets of 1 KiB are fewer, 320 are more."""
    sought = evolve(SOUGHT, precision=1.0)
    result, document = await searched(servers.listen(Resetting), sought)
    assert (0, None) == (result.exit_code, document["error"])
    assert 1_000 <= document["highest_packets_per_second"] <= 8_000
    assert document["steps"][-1]["result"]["error"] is not None or document["steps"][-2]["result"]["error"] is not None
    assert "target" == document["limit"]


@pytest_twisted.ensureDeferred
async def test_what_breaks_before_anything_was_good_is_a_failure(servers: Servers) -> None:
    sought = evolve(SOUGHT, from_packets_per_second=1e5)
    result, document = await searched(servers.listen(Resetting), sought)
    assert (1, 1) == (result.exit_code, len(document["steps"]))
    assert document["error"] is not None
    assert search_error_lines(result) == [document["error"]]


@pytest_twisted.ensureDeferred
async def test_a_target_that_has_gone_ends_the_search(servers: Servers) -> None:
    target = servers.listen(Sink)

    class Closing(Watching):
        def step(self, step: Step) -> None:
            super().step(step)
            if servers._ports:
                servers._ports.pop().stopListening()

    result, document = await searched(target, watcher=Closing())
    assert (1, None, 2) == (result.exit_code, document["highest_packets_per_second"], len(document["steps"]))
    assert "nothing listens there" in document["error"]
    assert "1000 packets/s was good so far" in document["why"]


@pytest_twisted.ensureDeferred
async def test_an_interrupted_step_does_not_count(servers: Servers) -> None:
    watcher = Watching()
    given = options(servers.listen(Silent), mode="request", rate=1_000.0, duration=60.0, interval=0.0)
    watcher.search = SearchRun(reactor, given, SOUGHT, watcher)
    result = await watcher.search.run()
    document = validated_search(as_json(result))
    assert (130, True, [], None) == (
        result.exit_code,
        document["interrupted"],
        document["steps"],
        document["highest_packets_per_second"],
    )
    assert [] == search_error_lines(result)


@pytest_twisted.ensureDeferred
async def test_an_interrupted_search_says_at_least_what_was_good_so_far(servers: Servers) -> None:
    class Leaving(Watching):
        def step(self, step: Step) -> None:
            self.steps.append(step)
            if len(self.steps) == 2 and self.search is not None:
                self.search.interrupt()

        def progress(self, progress: Progress) -> None:
            pass

    watcher = Leaving()
    given = options(servers.listen(Sink), rate=1_000.0, duration=0.02, interval=0.0)
    watcher.search = SearchRun(reactor, given, SOUGHT, watcher)
    result = await watcher.search.run()
    assert (130, None) == (result.exit_code, validated_search(as_json(result))["highest_packets_per_second"])
    assert "highest     at least 2000 packets/s, after 2 runs" == answer_lines(result)[0]


@pytest_twisted.ensureDeferred
async def test_a_search_interrupted_before_it_begins_is_whole(servers: Servers) -> None:
    given = options(servers.listen(Sink), rate=1_000.0, duration=60.0)
    run = SearchRun(reactor, given, SOUGHT, Watching())
    run.interrupt()
    result = await run.run()
    assert (130, []) == (result.exit_code, validated_search(as_json(result))["steps"])


def scheduled(achieved: float | None, bottleneck: str, planned: int = 1_000, sent: int = 900) -> Scheduled:
    return Scheduled(1_000.0, achieved, planned, sent, 0, 0, Slip(0.0, 0.0, 0.0, 0.0, 0.0), Bottleneck(bottleneck))


def judged(**changes: Any) -> Step:
    given = options(Target("127.0.0.1:5"), rate=1_000.0, duration=1.0)
    return Step.of(1, 1_000.0, 0.01, given, evolve(FULL, **changes))


def test_a_run_is_held_to_its_rate_its_conditions_its_counts_and_its_end() -> None:
    held = [Judgement("p99>2ms", 0.003, True), Judgement("p99>1s", 0.003, False), Judgement("lost>0", None, True)]
    fine = scheduled(990.1, "none")
    assert ("good", []) == (judged(schedule=fine).verdict, judged(schedule=fine).why)
    slow = judged(schedule=scheduled(989.9, "target"))
    assert ("bad", ["the achieved rate is more than 1 % below"]) == (slow.verdict, slow.why)
    conditions = judged(schedule=fine, thresholds=held)
    assert "bad" == conditions.verdict
    assert ["p99>2ms held, the value is 3.000 ms", "lost>0 held, the value is unknown"] == conditions.why
    assert ["the counts do not reconcile: 1 fewer"] == judged(schedule=fine, reconciled=False, difference="1 fewer").why
    assert ["reset"] == judged(schedule=None, error="reset").why


def test_a_run_of_one_packet_has_no_rate_and_is_good_if_that_was_the_plan() -> None:
    whole = judged(schedule=scheduled(None, "none", planned=1, sent=1))
    assert ("good", "1 1000/s achieved - good") == (whole.verdict, " ".join(step_line(whole).split()))
    assert "bad" == judged(schedule=scheduled(None, "target", planned=5, sent=1)).verdict


def test_a_late_generator_is_not_the_targets_fault() -> None:
    held = [Judgement("p99>2ms", 0.003, True)]
    assert "good" == judged(schedule=scheduled(999.0, "generator")).verdict
    assert "generator" == judged(schedule=scheduled(500.0, "generator")).verdict
    assert "generator" == judged(schedule=scheduled(999.0, "generator"), thresholds=held).verdict
    lost = judged(schedule=scheduled(999.0, "generator"), reconciled=False, difference="1 fewer")
    assert "bad" == lost.verdict


def test_a_poisson_arrival_is_held_to_its_plan() -> None:
    assert "good" == judged(schedule=scheduled(950.0, "none", planned=955)).verdict
    assert "bad" == judged(schedule=scheduled(930.0, "none", planned=955)).verdict


def test_a_step_is_a_line() -> None:
    late, failed = judged(schedule=scheduled(500.0, "generator")), judged(schedule=None, error="gone")
    assert ("1 1000/s achieved 500.0/s ctrlload was late: the achieved rate is more than 1 % below") == " ".join(
        step_line(late).split()
    )
    assert "1 1000/s achieved nothing BAD: gone" == " ".join(step_line(failed).split())


def test_the_line_of_a_good_step_fits_a_terminal() -> None:
    times = Latency(9, 0.2, 0.1, 0.3, 0.1234, 0.2, 0.1234, 0.2, 0.2, "")
    step = judged(schedule=scheduled(999_999.9, "none"), latency=Latencies(response=times, service=times))
    step = evolve(step, rate_packets_per_second=1_000_000.0)
    assert len(step_line(step)) <= 80
    assert "response p50 123.4 ms p99 123.4 ms  good" in step_line(step)


def test_the_schema_is_one_and_keeps_to_the_summary() -> None:
    from ctrlserver.load.results.schemas import shipped_schema

    check_schema("search")
    step = shipped_schema("search")["$defs"]["step"]
    assert list(judged().result) == list(step["properties"]["result"]["properties"])
    assert set(SearchResult.__annotations__) == set(shipped_schema("search")["required"])


def test_a_flag_of_run_is_a_flag_of_search_and_written_once() -> None:
    declared = [*flags_of(Asked), *flags_of(Outputs)]
    shared = {name for name, flag in declared if flag.search is not None}
    ours = {param.name for param in search.params}
    alone = {"packets", "total_bytes", "until", "at_most", "rate", "profile", "interval", "inject"}
    alone |= {"shard", "processes", "dask", "shards", "start_at", "events", "progress", "junit", "history", "metrics"}
    alone |= {"history_runs", "history_age"}
    assert alone == {name for name, flag in declared if flag.search is None}
    assert {"target", *shared, *(name for name, _ in flags_of(Sought))} == ours


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("search", "TARGET is missing: ctrlload search TARGET [OPTIONS]"),
        ("serach localhost:1", 'did you mean "search"?'),
        ("search localhost:1 --from 0", "--from: must be more than 0"),
        ("search localhost:1 --to 10", '--to: "10/s" is less than --from, 1000/s'),
        ("search localhost:1 --from 2G", '--from: "2000000000/s" is more than --to, 1000000000/s'),
        ("search localhost:1 --to 2Mbit/s", '--to: "244.140625/s" is less than --from, 1000/s'),
        ("search localhost:1 -m connect --to 2Mbit/s", "--to: not in bits with --mode connect"),
        ("search localhost:1 --precision 0%", "--precision: must be from 0.1% to 100%"),
        ("search localhost:1 --precision 5", '--precision: share "5"'),
        ("search localhost:1 --tolerance 100%", "--tolerance: must be less than 100%"),
        ("search localhost:1 --repeats 0", "--repeats: must be from 1 to 99"),
        ("search localhost:1 -t 0", "--duration: must be more than 0"),
        ("search localhost:1 -r 5", 'unknown option "-r"'),
        ("search localhost:1 -m receive", "--mode: not receive, where the target says how fast"),
        ("search localhost:1 -o /no/such/folder/x", "--output: there is no directory /no/such/folder"),
        ("search localhost:1 --label a=1 --label a=2", '--label: "a" is given twice'),
    ],
)
def test_a_usage_error_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str], arguments: str, words: str) -> None:
    assert words in refused(capsys, *arguments.split())


QUICK = ("-t", "20ms", "--tolerance", "99%", "--precision", "100%", "--repeats", "1")


@pytest_twisted.ensureDeferred
async def test_the_ends_of_a_search_may_be_in_bits(servers: Servers) -> None:
    ends = ("--from", "1Mbit/s", "--to", "2Mbit/s", "-l", "1250", "-J")
    code, out, _ = await finished("search", servers.listen(Sink).text, *ends, *QUICK)
    assert 0 == code
    told = validated_search(out)
    assert (100, 200) == (told["search"]["from_packets_per_second"], told["search"]["to_packets_per_second"])
    assert 100 == told["steps"][0]["rate_packets_per_second"]


@pytest_twisted.ensureDeferred
async def test_the_answer_goes_to_stdout_and_the_steps_to_stderr(servers: Servers) -> None:
    condition = "schedule.target_packets_per_second>1k"
    code, out, err = await finished(
        "search", servers.listen(Echo).text, "-m", "request", *QUICK, "--fail-if", condition
    )
    assert 0 == code, err
    assert "1000 packets/s, found in 2 runs" in out.splitlines()[0]
    assert ["1", "2"] == [line.split()[0] for line in err.splitlines()]
    assert "response p50" in err
    assert err.splitlines()[0].endswith("  good")


@pytest_twisted.ensureDeferred
async def test_the_document_goes_to_stdout_or_a_file(servers: Servers, tmp_path: Path) -> None:
    place = tmp_path / "search.json"
    target = servers.listen(Sink).text
    code, out, err = await finished("search", target, *QUICK, "--to", "1k", "-J", "-o", str(place), "--label", "a=b")
    assert 0 == code, err
    document = validated_search(out)
    assert document == validated_search(place.read_text())
    assert (1_000, {"a": "b"}) == (document["highest_packets_per_second"], document["labels"])
    assert "highest     at least 1000 packets/s" in err


@pytest_twisted.ensureDeferred
async def test_a_target_that_refuses_is_one_line_and_exit_1() -> None:
    target = refusing().text
    code, out, err = await finished("search", target, "-J")
    line = f"cannot connect to {target}: connection refused: nothing listens there"
    assert (1, line) == (code, validated_search(out)["error"])
    assert f"ctrlload: {line}" == err.splitlines()[-1]


@pytest_twisted.ensureDeferred
async def test_a_signal_ends_a_search_within_a_step_and_the_document_is_whole(servers: Servers) -> None:
    process = start("search", servers.listen(Sink).text, "--to", "1.5k", "-t", "0.1", "-J", "-O", "60s")
    await reached(lambda: servers.bytes)
    process.transport.signalProcess("INT")
    assert 130 == await process.ended
    document = validated_search(process.out.decode())
    assert (True, []) == (document["interrupted"], document["steps"])
    assert b"nothing was good so far" in process.err
