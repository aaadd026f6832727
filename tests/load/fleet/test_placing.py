from __future__ import annotations

import pytest

from ctrlserver.errors import LoadError
from ctrlserver.load.fleet.placing import Versions, Worker, check_versions, clock_words, placed


def worker(name: str, threads: int) -> Worker:
    return Worker(f"tcp://{name}:1", name, threads)


def names(workers: list[Worker]) -> str:
    return "".join(each.name for each in workers)


def test_shards_go_to_all_workers_in_turn_and_no_worker_has_more_than_threads() -> None:
    workers = [worker("a", 3), worker("b", 1), worker("c", 2)]
    assert "abcaca" == names(placed(workers, 6, 8, "x"))
    assert "ab" == names(placed(workers, 2, 8, "x"))


def test_without_a_number_there_is_a_shard_for_each_thread_but_no_more_than_streams() -> None:
    assert ["abab", "aba"] == [names(placed([worker("a", 2), worker("b", 2)], None, most, "x")) for most in (8, 3)]


def test_too_few_workers_are_told_with_what_there_is() -> None:
    with pytest.raises(LoadError) as error:
        placed([worker("a", 2), worker("b", 1)], 4, 8, "x")
    there = "2 workers with a thread for each (a (tcp://a:1): 2, b (tcp://b:1): 1)"
    assert f"--shards 4: the cluster runs 3 at a time, {there}; did you mean --shards 3?" == str(error.value)


def test_of_many_workers_the_first_are_named() -> None:
    with pytest.raises(LoadError, match=r"tcp://w7:1\): 1, and 2 more\);"):
        placed([worker(f"w{number}", 1) for number in range(10)], 11, 20, "x")


@pytest.mark.parametrize("workers", [[], [worker("a", 0)]])
def test_no_worker_is_told_as_that(workers: list[Worker]) -> None:
    with pytest.raises(LoadError, match=r"--dask 10\.0\.0\.1: the cluster has no worker"):
        placed(workers, None, 8, "10.0.0.1")


OURS = Versions("1.2.0", "3.11.7")


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (Versions("1.1.0", "3.11.7"), "worker a (tcp://a:1) has ctrlload 1.1.0, here it is 1.2.0; they must agree"),
        (Versions("1.2.0", "3.12.1"), "worker a (tcp://a:1) has Python 3.12.1, here it is 3.11.7; they must agree"),
        (Versions(None, "3.11.7"), "worker a (tcp://a:1) has no ctrlload; install ctrlserver 1.2.0 there"),
    ],
)
def test_a_worker_of_another_version_is_refused_with_both(theirs: Versions, words: str) -> None:
    with pytest.raises(LoadError) as error:
        check_versions(OURS, {worker("b", 1): OURS, worker("a", 1): theirs})
    assert words == str(error.value)


def test_another_release_of_the_same_python_is_good_enough() -> None:
    check_versions(OURS, {worker("a", 1): Versions("1.2.0", "3.11.9")})


def test_a_worker_without_a_name_is_told_by_its_address() -> None:
    assert ["tcp://a:1", "a (tcp://a:1)"] == [Worker("tcp://a:1", name, 1).text for name in ("tcp://a:1", "a")]


def test_a_clock_that_is_surely_wrong_is_told() -> None:
    assert "ahead of ours, give or take 2.000 ms: it begins as much earlier" in str(clock_words(0.052, 0.002))
    words = "the clock of its worker is 3.000 s behind ours, give or take 500.0 ms: it begins as much later"
    assert words == clock_words(-3.0, 0.5)


@pytest.mark.parametrize(("offset", "within"), [(0.0, 0.001), (-0.009, 0.0), (0.5, 0.6)])
def test_a_clock_that_may_be_right_is_not_told(offset: float, within: float) -> None:
    assert clock_words(offset, within) is None
