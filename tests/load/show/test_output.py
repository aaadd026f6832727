from __future__ import annotations

import os
from pathlib import Path

import pytest

from ctrlserver.errors import LoadError, UsageError
from ctrlserver.load.show.output import check_output, deliver, write_output


def test_a_file_is_written_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    place = tmp_path / "result.json"
    place.write_text("old")
    write_output(str(place), "new\n")
    assert "new\n" == place.read_text()
    assert [place] == list(tmp_path.iterdir())


def test_what_is_no_regular_file_is_written_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_output(str(pipe), "text")
        assert b"text" == os.read(reading, 100)
        assert pipe.is_fifo()
    finally:
        os.close(reading)


@pytest.mark.parametrize(("name", "words"), [(".", "is a directory"), ("none/x.json", "there is no directory")])
def test_a_place_that_cannot_be_written_is_seen_before_the_run(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_output(str(tmp_path / name))
    check_output(str(tmp_path / "good.json"))


def test_a_write_that_fails_after_all_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="cannot write the result to"):
        write_output(str(tmp_path / "none" / "x.json"), "text")


def test_all_that_a_command_ends_with_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "x.json"
    assert 4 == deliver([(str(place), "{}\n")], "document\n", "words\n", ["one", "two"], 4)
    assert "{}\n" == place.read_text()
    captured = capsys.readouterr()
    assert "document\n" == captured.out
    assert "words\nctrlload: one\nctrlload: two\n" == captured.err


@pytest.mark.parametrize(("code", "expected"), [(0, 1), (3, 3)])
def test_what_cannot_be_written_is_an_error_and_the_rest_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int, expected: int
) -> None:
    ended: list[tuple[list[str], int]] = []
    nowhere = str(tmp_path / "none" / "x.json")
    assert expected == deliver([(nowhere, "")], lambda errors, code: ended.append((list(errors), code)), "", [], code)
    line = f"cannot write the result to {nowhere}: No such file or directory"
    assert [([line], expected)] == ended
    assert f"ctrlload: {line}\n" == capsys.readouterr().err
