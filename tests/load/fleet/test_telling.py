from __future__ import annotations

from typing import Any

import attrs
import click
import pytest

from ctrlserver.load.commands.group import ctrlload
from ctrlserver.load.commands.parameters import record_of, typed_flags
from ctrlserver.load.fleet.telling import NOT_PASSED_ON, start_line, words_for
from ctrlserver.load.plan.asked import Asked
from ctrlserver.load.plan.options import Options, prepared
from ctrlserver.load.plan.shard import Shard
from ctrlserver.load.plan.start import parse_start


def parsed(*words: str) -> tuple[Options, list[str]]:
    """The options of a command line of ``run``, and its flags as a process of a fleet gets them."""
    command = ctrlload.get_command(click.Context(ctrlload), "run")
    assert command is not None
    with command.make_context("run", list(words)) as context:
        values: dict[str, Any] = context.params
        return prepared(record_of(Asked, values)), typed_flags(context, NOT_PASSED_ON)


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["-n5M", "-JP", "8", "--no-write-combine", "-i", "0"],
        ["-m", "request", "-q4", "--payload", "-x\\r\\n", "--framing", "raw", "--reply-framing=line"],
        [
            "--fail-if",
            "start.late_seconds>1s",
            "--label",
            "a=b c",
            "--fail-if",
            "rate<5",
            "--label",
            "d=",
            "--seed",
            "-3",
        ],
        ["--profile", "1s@1k..5k", "--arrival", "poisson", "--json-stream", "-o", "x.json", "--start-at", "+5s"],
    ],
)
def test_each_process_is_told_the_whole_load_and_its_shard_of_it(flags: list[str]) -> None:
    for words in ([*flags, "-P", "8", "[::1]:5"], ["-P", "8", "[::1]:5", *flags], ["-P8", *flags, "--", "[::1]:5"]):
        whole, load = parsed("--processes", "4", *words)
        part, _ = parsed(*words_for(Shard(3, 4), "[::1]:5", load)[1:])
        expected = attrs.evolve(whole, shard=Shard(3, 4), processes=None, start_at=parse_start("-"))
        assert expected.as_options() == part.as_options()
        assert (expected.fail_if, expected.labels) == (part.fail_if, part.labels)


def test_a_start_is_told_as_a_line_that_is_read_as_that_moment() -> None:
    line = start_line(1_795_708_800.25).decode()
    assert line.endswith("\n")
    assert 1_795_708_800.25 == parse_start(line).seconds
