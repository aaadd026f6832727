from __future__ import annotations

import pytest

from ctrlserver.client.target import parse_target
from ctrlserver.errors import UsageError
from ctrlserver.inject.parsing import parse_spec
from ctrlserver.load.plan.asked import Asked
from ctrlserver.load.plan.flag import check
from ctrlserver.load.plan.processes import Processes, crowded, parse_processes
from ctrlserver.load.plan.shard import Shard
from ctrlserver.load.plan.start import parse_start


def test_a_number_is_that_and_auto_is_one_for_each_core_but_no_more_than_streams() -> None:
    assert 3 == parse_processes("3").of(streams=8, cores=2)
    assert [2, 4, 1] == [parse_processes("Auto").of(streams, cores) for streams, cores in ((8, 2), (4, 64), (1, 64))]
    assert [3, "auto"] == [parse_processes(text).text for text in ("3", "auto")]


@pytest.mark.parametrize("text", ["0", "-1", "many", "", "1.5"])
def test_what_is_no_number_of_processes_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_processes(text)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            {"processes": Processes(4), "streams": 3},
            "--processes 4: a process has at least one stream, and --streams is 3; "
            "did you mean --processes 3, or --streams 4?",
        ),
        (
            {"processes": Processes(2), "streams": 8, "shard": Shard(1, 2)},
            "--processes: not with --shard, which is the part of one process",
        ),
        (
            {"processes": Processes(2), "streams": 8, "start_at": parse_start("-")},
            "--processes: not with --start-at -, which one process reads; give the time itself",
        ),
        (
            {"processes": Processes(None), "streams": 8, "inject": parse_spec("2*reset->off")},
            '--processes: not with --inject "2*reset", which counts over all streams of the whole',
        ),
        (
            {
                "processes": Processes(2),
                "streams": 8,
                "target": parse_target("unix:/run/x.sock"),
                "admin": (parse_target("127.0.0.1:22223"),),
            },
            "--processes: not with --admin over a unix socket, where streams of several processes cannot be told apart",
        ),
    ],
)
def test_what_cannot_be_divided_is_refused_in_a_line(flags: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as error:
        check(Asked(**{"target": parse_target("127.0.0.1:5"), **flags}))  # type: ignore[arg-type]
    assert words == str(error.value)


def test_one_process_may_do_what_one_may() -> None:
    flags = {"inject": parse_spec("2*reset->off"), "admin": (parse_target("127.0.0.1:22223"),)}
    check(Asked(target=parse_target("unix:/run/x.sock"), processes=Processes(1), streams=8, **flags))  # type: ignore[arg-type]


def test_processes_that_never_sleep_need_a_core_each() -> None:
    assert crowded(2, 2) is None
    assert "3 processes that never sleep share 2 cores, and delay one another" == crowded(3, 2)
