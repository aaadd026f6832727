from __future__ import annotations

import os
from pathlib import Path

import pytest

from ctrlserver.errors import LoadError, UsageError
from ctrlserver.load.show.output import check_output, write_output


def test_a_file_is_written_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    place = tmp_path / "result.json"
    place.write_text("old")
    write_output(str(place), "new\n")
    assert place.read_text() == "new\n"
    assert [place] == list(tmp_path.iterdir())


def test_what_is_no_regular_file_is_written_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_output(str(pipe), "text")
        assert os.read(reading, 100) == b"text"
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
