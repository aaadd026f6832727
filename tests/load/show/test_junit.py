from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import pytest_twisted
from attrs import evolve

from ctrlserver.load.measure.counts import Connected, Counts, Volume
from ctrlserver.load.measure.injections import Injections, ServerInjections
from ctrlserver.load.results.result import Result, as_document
from ctrlserver.load.results.shards import Merged, ShardOf, division_words
from ctrlserver.load.results.thresholds import Judgement
from ctrlserver.load.show.junit import junit_xml
from tests.load.command_line import finished, start
from tests.load.results.test_result import EMPTY, FULL
from tests.peers import Silent, Sink
from tests.servers import Servers, refusing

REQUIRED = {
    "testsuite": {"name", "package", "id", "timestamp", "hostname", "tests", "failures", "errors", "time"},
    "testcase": {"name", "classname", "time"},
    "property": {"name", "value"},
    "failure": {"type"},
    "error": {"type"},
}
ORDER = ["properties", "testcase", "system-out", "system-err"]


def suite(text: str) -> ElementTree.Element:
    """The one suite in ``text``, which keeps to the rules of Ant's schema."""
    root = ElementTree.fromstring(text.encode("utf-8"))
    assert ("testsuites", {}, ["testsuite"]) == (root.tag, root.attrib, [child.tag for child in root])
    for element in root.iter():
        assert REQUIRED.get(element.tag, set()) <= set(element.attrib)
    (found,) = root
    tags = [child.tag for child in found]
    assert sorted(tags, key=ORDER.index) == tags
    assert {1} == {tags.count(tag) for tag in ORDER if tag != "testcase"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", found.attrib["timestamp"])
    cases = found.findall("testcase")
    for case in cases:
        assert len(case) <= 1
    assert int(found.attrib["tests"]) == len(cases)
    for kind in ("failure", "error", "skipped"):
        named = "skipped" if kind == "skipped" else f"{kind}s"
        assert int(found.attrib[named]) == sum(case.find(kind) is not None for case in cases)
    for element in (found, *cases):
        assert re.fullmatch(r"\d+(\.\d{1,3})?", element.attrib["time"])
    return found


def outcomes(found: ElementTree.Element) -> dict[str, tuple[str, str] | None]:
    """What became of each case: the kind and the message; None where it passed."""
    return {
        case.attrib["name"]: (case[0].tag, case[0].attrib["message"]) if len(case) else None
        for case in found.findall("testcase")
    }


def of(result: Result, **changes: Any) -> dict[str, tuple[str, str] | None]:
    return outcomes(suite(junit_xml(evolve(result, **changes), "host", ["a summary"], [])))


def test_a_good_run_passes_every_case() -> None:
    assert {"run": None, "reconciliation": None, "fail-if packets<5": None} == of(FULL)


def test_each_outcome_is_the_case_it_belongs_to() -> None:
    wrong = of(
        FULL,
        error="no progress",
        reconciled=False,
        difference="stream 1 differs",
        thresholds=[Judgement("p99>2ms", 0.003, True), Judgement("packets<5", None, True)],
    )
    assert {
        "run": ("error", "no progress"),
        "reconciliation": ("failure", "the counts do not reconcile: stream 1 differs"),
        "fail-if p99>2ms": ("failure", "p99>2ms held: the value is 3.000 ms, the bound is 2.000 ms"),
        "fail-if packets<5": ("failure", "packets<5 held: the value is unknown, the bound is 5"),
    } == wrong


@pytest.mark.parametrize(
    ("words", "of"),
    [
        ("shard 2 of 4", {"shard": ShardOf(2, 4)}),
        ("4 shards", {"merged": Merged(4, [], None, [], [])}),
        ("2 of 4 shards, without 1, 3", {"merged": Merged(4, [1, 3], None, [], [])}),
    ],
)
def test_a_shard_is_named_and_a_merged_result_says_of_how_many_it_is(words: str, of: dict[str, Any]) -> None:
    found = suite(junit_xml(evolve(FULL, **of), "host", [], []))
    assert f"ctrlload run {FULL.target}, {words}" == found.attrib["name"]
    assert {"name": "division", "value": words} in [each.attrib for each in found.findall("properties/property")]
    assert words == division_words(as_document(evolve(FULL, **of)))


def test_datagrams_that_were_lost_are_no_failure() -> None:
    assert of(FULL, reconciled=False, difference=None)["reconciliation"] is None


def test_a_run_that_was_interrupted_or_never_asked_a_server_says_so() -> None:
    assert ("error", "interrupted: the counts are those up to then") == of(FULL, interrupted=True)["run"]
    assert ("skipped", "no server was asked: there was no --admin") == of(EMPTY)["reconciliation"]
    asked = of(EMPTY, options={**EMPTY.options, "admin": "127.0.0.1:5"})
    assert ("skipped", "the server's counts are not known") == asked["reconciliation"]


def test_whatever_is_in_labels_targets_and_errors_can_be_read_again() -> None:
    nasty = "<&\"']]> \x00\x01\x1b\x7f\ud800\ufffe \U0001f980 \n\t"
    shown = nasty.replace("\x00", "\\x00").replace("\x01", "\\x01").replace("\x1b", "\\x1b")
    shown = shown.replace("\ud800", "\\ud800").replace("\ufffe", "\\ufffe")
    result = evolve(FULL, labels={nasty: nasty}, target=nasty, error=nasty)
    found = suite(junit_xml(result, nasty, [nasty], [nasty]))
    assert shown == found.attrib["hostname"]
    assert f"ctrlload run {shown}" == found.attrib["name"]
    assert {"name": f"label.{shown}", "value": shown} == found.findall("properties/property")[0].attrib
    assert ("error", shown) == outcomes(found)["run"]
    assert f"{shown}\n" == found.findtext("system-out")


def figures(result: Result) -> dict[str, str]:
    """The properties that hold figures, and the time."""
    found = suite(junit_xml(result, "host", [], []))
    named = {one.attrib["name"]: one.attrib["value"] for one in found.findall("properties/property")}
    others = ("label.site", "target", "mode", "streams", "ctrlserver")
    return {name: value for name, value in named.items() if name not in others} | {"time": found.attrib["time"]}


def test_what_injections_did_is_among_the_properties() -> None:
    ours = Injections("3*duplicate", 7, 3, [], 3, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    found = figures(evolve(FULL, injections=ours, server_injections=ServerInjections(1, 5, 0, 0, 0, 0, 0)))
    assert ("3*duplicate", "7", "3 hits: 3 packets duplicated", "5 hits, 1 active") == (
        found["inject"],
        found["seed"],
        found["injected"],
        found["server_injections"],
    )


def test_the_figures_are_those_of_what_the_mode_measures() -> None:
    nothing = evolve(FULL, sent=EMPTY.sent, warm_up=None)
    volume = {"packets": "20", "bytes": "640", "packets_per_second": "8.0", "time": "2.500"}
    moved = Volume.of(Counts(packets=20, bytes=640), 2.5)
    assert volume == figures(evolve(nothing, sent=moved))
    assert volume == figures(evolve(nothing, downloaded=moved))
    assert {"connections": "5", "failed_connections": "2", "connections_per_second": "2.0", "time": "2.500"} == figures(
        evolve(nothing, connections=Connected.of(5, {"refused": 2}, 2.5))
    )
    assert {"packets": "0", "bytes": "0", "time": "0.000"} == figures(nothing)


@pytest_twisted.ensureDeferred
async def test_a_dash_is_stdout_and_the_summary_goes_to_stderr(servers: Servers, tmp_path: Path) -> None:
    process = start("run", servers.listen(Sink).text, "-n", "10", "--junit", "-", folder=tmp_path)
    assert 0 == await process.ended
    assert process.err.decode().endswith(suite(process.out.decode()).findtext("system-out") or "-")
    assert [] == list(tmp_path.iterdir())


@pytest_twisted.ensureDeferred
async def test_a_run_writes_it_beside_the_other_outputs(servers: Servers, tmp_path: Path) -> None:
    place = tmp_path / "junit.xml"
    arguments = ("-n", "10", "--fail-if", "packets<1k", "--junit", str(place), "--label", "a=<&>")
    code, out, _ = await finished("run", servers.listen(Sink).text, *arguments)
    found = suite(place.read_text())
    assert 4 == code
    assert out == found.findtext("system-out")
    assert "ctrlload: --fail-if packets<1k held\n" == found.findtext("system-err")
    assert ("failure", "packets<1k held: the value is 10, the bound is 1000") == outcomes(found)["fail-if packets<1k"]


@pytest_twisted.ensureDeferred
async def test_a_run_that_fails_or_is_interrupted_writes_it_too(servers: Servers, tmp_path: Path) -> None:
    place = tmp_path / "junit.xml"
    target = refusing().text
    assert 1 == (await finished("run", target, "--junit", str(place)))[0]
    assert f"cannot connect to {target}" in (outcomes(suite(place.read_text()))["run"] or ("", ""))[1]
    process = start("run", servers.listen(Silent).text, "-m", "request", "-i", "0.1", "--junit", str(place))
    await process.begun
    process.transport.signalProcess("TERM")
    process.transport.signalProcess("INT")
    assert 130 == await process.ended
    assert "interrupted" in (outcomes(suite(place.read_text()))["run"] or ("", ""))[1]


@pytest_twisted.ensureDeferred
async def test_a_file_that_cannot_be_written_is_one_line_exit_1_and_kept_elsewhere(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    arguments = ("-n", "10", "-i", "0", "--junit", "/dev/full")
    code, out, err = await finished("run", servers.listen(Sink).text, *arguments)
    (kept,) = tmp_path.iterdir()
    line = f"ctrlload: cannot write the result to /dev/full: No space left on device; it is in {kept}\n"
    assert (1, line) == (code, err)
    assert out == suite(kept.read_text()).findtext("system-out")
