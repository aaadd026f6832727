from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ctrlserver.console.interrupts import Interrupts
from ctrlserver.load.commands.group import exit_code
from ctrlserver.load.results.result import as_document
from tests.load.command_line import refused
from tests.load.documents import changed, validated
from tests.load.results.made import document
from tests.load.results.test_merging import shards
from tests.load.show.test_junit import suite


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """The results of the three shards of a load, in another order."""
    made = {name: as_document(each) for name, each in shards(3, mode="request", rate=60.0, warm=1).items()}
    return [written(tmp_path / name, made[name]) for name in sorted(made, reverse=True)]


def written(path: Path, result: dict[str, Any]) -> str:
    path.write_text(json.dumps(result))
    return str(path)


def carried_out(*arguments: str) -> int:
    return exit_code(arguments, Interrupts())


def test_a_merged_result_goes_through_every_command_and_junit(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, files: list[str]
) -> None:
    whole, junit, page = (str(tmp_path / name) for name in ("all.json", "junit.xml", "all.html"))
    assert 0 == carried_out("merge", *files, "-o", whole, "--junit", junit)
    result = validated(Path(whole).read_text())
    shown = capsys.readouterr()
    assert f"sent        {result['sent']['packets']} packets" in shown.out
    assert "" == shown.err
    found = suite(Path(junit).read_text())
    assert ("0", "0") == (found.attrib["errors"], found.attrib["failures"])
    assert 0 == carried_out("check", whole, *files)
    assert 4 == capsys.readouterr().out.count(": agrees with itself\n")
    assert 0 == carried_out("compare", whole, whole)
    assert "response p99" in capsys.readouterr().out
    assert 0 == carried_out("plot", whole, files[0], "-o", page)
    assert "all.json" in Path(page).read_text()


def test_the_document_goes_to_stdout_and_the_report_to_stderr(
    capsys: pytest.CaptureFixture[str], files: list[str]
) -> None:
    assert 0 == carried_out("merge", *files, "-J")
    shown = capsys.readouterr()
    assert [1, 2, 3] == [part["shard"] for part in validated(shown.out)["merged"]["shards"]]
    assert shown.err.startswith("total time ")


def test_what_cannot_be_merged_is_one_line_that_names_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, files: list[str]
) -> None:
    bad = written(tmp_path / "bad.json", changed(document(), sent__packets=1))
    out = str(tmp_path / "all.json")
    for arguments, words in (
        ([], "SHARD.json is missing: ctrlload merge SHARD.json... -o all.json"),
        (files[:2], "shard 1 of 3 is missing: expected the results of all 3 shards"),
        ([files[0], files[0]], f"{files[0]}: given twice, expected each shard once"),
        ([bad], f"{bad}: contradicts itself: intervals have "),
        ([files[0], "-o", files[0]], f"--output: {files[0]} is one of the shards"),
        ([str(tmp_path / "4.json")], f"{tmp_path}/4.json: cannot be read: No such file or directory"),
    ):
        assert refused(capsys, "merge", *arguments, *([] if "-o" in arguments else ["-o", out])).startswith(words)
    assert not Path(out).exists()


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == carried_out("merge", "--help")
    assert "ctrlload merge shard1.json shard2.json -o all.json\n" in capsys.readouterr().out


def test_a_histogram_that_cannot_be_read_is_named_with_its_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, files: list[str]
) -> None:
    bad = changed(json.loads(Path(files[1]).read_text()), latency__service__hdr="HISTFAAA")
    name = written(tmp_path / "bad.json", bad)
    said = refused(capsys, "merge", files[0], name, files[2])
    assert said.startswith(f"{name}: contradicts itself: latency.service.hdr: no HDR histogram: ")


EARLIER = Path(__file__).parent.parent / "results" / "earlier"


def test_shards_of_an_earlier_version_are_checked_and_merged(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """They have no ``began``, ``until``, ``busy_poll``, ``plan_seconds`` and no histogram of the slip."""
    whole, *files = (str(path) for path in (tmp_path / "all.json", EARLIER / "shard1.json", EARLIER / "shard2.json"))
    assert 0 == carried_out("check", *files)
    assert 2 == capsys.readouterr().out.count(": agrees with itself\n")
    assert 0 == carried_out("merge", *files, "-o", whole)
    assert "slip" not in capsys.readouterr().out
    result = validated(Path(whole).read_text())
    assert ([], False) == (result["options"]["until"], result["options"]["busy_poll"])
    assert (20, 20, 20) == (
        result["sent"]["packets"],
        result["received"]["packets"],
        result["latency"]["response"]["count"],
    )
    schedule = result["schedule"]
    assert (20, 2, 0.1, 200.0) == tuple(
        schedule[key] for key in ("planned_packets", "late_packets", "plan_seconds", "achieved_packets_per_second")
    )
    assert {None} == set(schedule["slip"].values())
    assert "generator" == schedule["bottleneck"]
    assert "schedule.slip: not all have its histogram" in result["merged"]["unknown"]
    assert 0 == carried_out("check", whole)


def test_what_an_earlier_version_had_too_may_not_be_missing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    first = json.loads((EARLIER / "shard1.json").read_text())
    del first["sent"]["packets"]
    bad = written(tmp_path / "bad.json", first)
    line = refused(capsys, "merge", bad, str(EARLIER / "shard2.json"))
    assert line.endswith("bad.json: contradicts itself: sent.packets is missing; ctrlload check says more")
