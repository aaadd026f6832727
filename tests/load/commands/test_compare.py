from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ctrlserver.console.interrupts import Interrupts
from ctrlserver.history.results import keep_result
from ctrlserver.load.commands import group as commands
from tests.load.documents import changed, check_schema, validator
from tests.load.results.test_comparison import BASE, rate


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the current one, with results a1 to a3 and, by a tenth slower, b1 to b3."""
    monkeypatch.chdir(tmp_path)
    for number, value in enumerate((99.0, 100.0, 101.0), start=1):
        (tmp_path / f"a{number}.json").write_text(json.dumps(rate(value)))
        (tmp_path / f"b{number}.json").write_text(json.dumps(rate(value * 0.9)))
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], words: str) -> tuple[int, str, str]:
    code = commands.exit_code(["compare", *words.split()], Interrupts())
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def row(out: str, words: str) -> list[str]:
    (line,) = [line for line in out.splitlines() if line.startswith(words)]
    return line.removeprefix(words).split()


@pytest.mark.usefixtures("files")
def test_two_results_are_a_table_of_80_columns_and_exit_0(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = told(capsys, "a2.json b2.json")
    assert (0, "") == (code, err)
    assert ["A  a2.json", "B  b2.json"] == out.splitlines()[:2]
    assert ["100/s", "90/s", "0.900", "A"] == row(out, "sent packets/s")
    assert ["300.0", "ms", "300.0", "ms", "1.000", "same"] == row(out, "response p99.9 ")
    assert max(map(len, out.splitlines())) <= 80


def test_results_are_taken_from_a_history(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    for name in ("a2.json", "b2.json"):
        keep_result("runs.sqlite3", (files / name).read_text(), "2026-11-26T21:00:00.000Z", 9, None)
    code, out, err = told(capsys, "runs.sqlite3:last~1 runs.sqlite3:last")
    assert (0, "") == (code, err)
    assert ["100/s", "90/s", "0.900", "A"] == row(out, "sent packets/s")
    code, out, err = told(capsys, "runs.sqlite3:last runs.sqlite3:9")
    assert (2, "") == (code, out)
    assert "runs.sqlite3:9: there is none; runs.sqlite3 has 2 results, 1 to 2\n" in err
    code, out, err = told(capsys, "runs.sqlite3 runs.sqlite3:last")
    assert (2, "") == (code, out)
    assert "runs.sqlite3: a history: expected one of its results, such as runs.sqlite3:last" in err


@pytest.mark.usefixtures("files")
def test_several_results_have_an_interval(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = told(capsys, "a1.json a2.json a3.json --to b1.json b2.json b3.json")
    assert 0 == code
    assert "A  a1.json a2.json a3.json" in out
    number, low, to, high, better = row(out, "sent packets/s")[2:]
    assert ("0.900", "to", "A") == (number, to, better)
    assert float(low) < 0.9 < float(high) < 1
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("a2.json b2.json --tolerance 5%", 4),
        ("a2.json b2.json --tolerance 0.05", 4),
        ("a2.json b2.json --tolerance 15%", 0),
        ("b2.json a2.json --tolerance 5%", 0),
        ("--tolerance 5% a1.json a2.json a3.json --to b1.json b2.json b3.json", 4),
        ("a1.json a2.json --to b1.json b2.json --tolerance 15%", 0),
        ("a2.json b2.json --tolerance 5% --figure latency.service.p99", 0),
    ],
)
@pytest.mark.usefixtures("files")
def test_a_loss_beyond_the_tolerance_is_exit_4_and_one_line(
    capsys: pytest.CaptureFixture[str], words: str, code: int
) -> None:
    given, out, err = told(capsys, words)
    assert code == given
    told_so = "ctrlload: sent packets/s: B is 10.0 % below A, the tolerance is 5 %\n"
    assert (told_so if code else "") == err
    assert (" !" in out) == bool(code)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "no file given: expected A.json B.json"),
        ("a1.json", "one file given"),
        ("a1.json a2.json a3.json", "3 files given: expected A.json B.json, or A.json... --to B.json..."),
        ("--to a1.json", "side A is missing"),
        ("a1.json --to", "--to: expected the files of side B after it"),
        ("a1.json --to -J", "--to: expected the files of side B after it"),
        ("a1.json none.json", "none.json: cannot be read: No such file or directory"),
        ("a1.json text.txt", "text.txt: no result of ctrlload: not JSON"),
        ("a1.json a2.json --tolerance 5", '--tolerance: share "5": expected a percentage'),
        ("a1.json a2.json --tolerance 5", 'did you mean "5%"?'),
        ("a1.json a2.json --tolerance -5%", '--tolerance: share "-5%"'),
        ("a1.json a2.json --figure latency.servce.p99", 'did you mean "latency.service.p99"?'),
        ("a1.json a2.json --figure xyzzy", "known are sent.packets_per_second"),
        ("a1.json a2.json --tolernce 5%", 'did you mean "--tolerance"?'),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], files: Path, words: str, message: str
) -> None:
    (files / "text.txt").write_text("hello")
    code, out, err = told(capsys, words)
    assert (2, "", 1) == (code, out, err.count("\n"))
    assert message in err


def test_json_is_one_document_that_keeps_to_its_schema(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    check_schema("comparison")
    (files / "empty.json").write_text(json.dumps(changed(BASE, latency=None, sent__packets_per_second=None)))
    for words in (
        "a1.json a2.json --to b1.json b2.json -J --tolerance 5%",
        "a1.json empty.json -J",
        "empty.json a1.json -J",
    ):
        code, out, _ = told(capsys, words)
        document: dict[str, Any] = json.loads(out)
        validator("comparison").validate(document)
        assert code == document["exit_code"]
    assert [None, None] == [document["figures"][0]["ratio"], document["figures"][0]["mean_a"]]


def test_what_makes_figures_doubtful_is_told(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    doubtful = changed(BASE, options__streams=4, error="no\nprogress", schedule={"bottleneck": "generator"})
    (files / "c.json").write_text(json.dumps(doubtful))
    (files / "d.json").write_text(json.dumps(changed(BASE, interrupted=True, reconciled=False, difference="x")))
    code, _, err = told(capsys, "c.json d.json")
    assert 0 == code
    assert [
        "ctrlload: note: the runs differ in streams 4 | 1",
        "ctrlload: note: c.json: the run failed: no\\nprogress",
        "ctrlload: note: c.json: the generator was the bottleneck: the figures are its own",
        "ctrlload: note: d.json: the run was interrupted",
    ] == err.splitlines()


@pytest.mark.parametrize(("words", "code"), [("a2.json c.json", 4), ("c.json a2.json", 0)])
def test_a_run_of_b_that_failed_is_exit_4_whatever_the_tolerance(
    capsys: pytest.CaptureFixture[str], files: Path, words: str, code: int
) -> None:
    (files / "c.json").write_text(json.dumps(changed(BASE, error="no progress", sent__packets_per_second=None)))
    line = "ctrlload: c.json: a run of B failed"
    for tolerance in (" --tolerance 50%", ""):
        given, _, err = told(capsys, f"{words}{tolerance} --figure sent.packets_per_second")
        assert (code, bool(code)) == (given, line in err.splitlines())


def test_columns_do_not_touch_however_small_a_ratio_is(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    sides = ((0.352, "fast.json"), (0.0001888, "slow.json"))
    for value, name in sides:
        (files / name).write_text(json.dumps(changed(BASE, latency__response__mean=value)))
    _, out, _ = told(capsys, "fast.json slow.json --figure latency.response.mean")
    assert ["352.0", "ms", "188.8", "us", "0.000536", "B"] == row(out, "response mean")
    assert 1 == len({len(line) - len(line.split("  ")[-1]) for line in out.splitlines()[3:]})


def test_a_name_of_a_file_steers_no_terminal(capsys: pytest.CaptureFixture[str], files: Path) -> None:
    name = "\x1b[31m\u202e\x9bx.json"
    (files / name).write_text(json.dumps(changed(BASE, error="\x1b]0;x")))
    code, out, err = told(capsys, f"{name} {name}")
    assert 4 == code
    assert (out + err).replace("\n", "").isprintable()
    assert r"A  \x1b[31m\u202e\x9bx.json" == out.splitlines()[0]
