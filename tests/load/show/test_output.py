from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ctrlserver.errors import LoadError, UsageError
from ctrlserver.load.show.output import check_output, deliver, write_output

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}


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


def test_a_named_pipe_may_find_its_reader_later(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write_output, str(pipe), "text")
        assert "text" == pipe.read_text()
        written.result()


def test_what_a_named_pipe_without_a_reader_does_not_take_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ctrlserver.load.show.output.PIPE_SECONDS", 0.0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    assert 1 == deliver([(str(pipe), "text")], "", "", [], 0)
    (kept,) = tmp_path.glob("ctrlload.*")
    assert "text" == kept.read_text()
    assert f"the result to {pipe}: nobody reads this pipe; it is in {kept}\n" in capsys.readouterr().err


def refusing_rename(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def rename(_beside: Path, _place: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", rename)


def test_a_file_keeps_its_mode_and_a_new_one_has_that_of_the_umask(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.touch()
    old.chmod(0o604)
    before = os.umask(0o027)
    try:
        write_output(str(old), "text")
        write_output(str(new), "text")
    finally:
        os.umask(before)
    assert (0o604, 0o640) == (old.stat().st_mode & 0o7777, new.stat().st_mode & 0o7777)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
def test_a_file_keeps_its_owner(tmp_path: Path) -> None:
    place = tmp_path / "x.json"
    place.touch()
    os.chown(place, 12345, 23456)
    write_output(str(place), "text")
    assert ("text", 12345, 23456) == (place.read_text(), place.stat().st_uid, place.stat().st_gid)


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_stays_one_and_its_target_is_written(tmp_path: Path, there: bool) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "x.json", tmp_path / "link.json"
    if there:
        target.write_text("old")
    link.symlink_to("folder/x.json")
    check_output(str(link))
    write_output(str(link), "new")
    assert (True, "new") == (link.is_symlink(), target.read_text())
    assert [target] == list(target.parent.iterdir())


def test_a_file_with_two_names_keeps_both(tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    one.write_text("old and longer")
    os.link(one, other)
    write_output(str(one), "new")
    assert ("new", "new") == (one.read_text(), other.read_text())


@pytest.mark.parametrize("refused", [errno.EBUSY, errno.EACCES, errno.EROFS])
def test_where_no_rename_is_possible_a_file_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    refusing_rename(monkeypatch, refused)
    place = tmp_path / "x.json"
    place.write_text("old and longer")
    number = place.stat().st_ino
    write_output(str(place), "new")
    assert ("new", number) == (place.read_text(), place.stat().st_ino)
    assert [place] == list(tmp_path.iterdir())


def test_a_file_in_a_folder_that_we_may_not_write_is_no_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "x.json"
    place.touch()
    monkeypatch.setattr(os, "access", lambda path, _mode: path != tmp_path)
    check_output(str(place))
    with pytest.raises(UsageError, match="no permission"):
        check_output(str(tmp_path / "new.json"))


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing_rename(monkeypatch, errno.ENOSPC)
    place = tmp_path / "x.json"
    place.write_text("old")
    with pytest.raises(LoadError, match="No space left"):
        write_output(str(place), "new")
    assert "old" == place.read_text()
    assert [place] == list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["/dev/stdout", "out.txt"])
def test_the_file_of_stdout_is_written_through_stdout(tmp_path: Path, name: str) -> None:
    code = "import sys; from ctrlserver.load.show.output import *; deliver([(sys.argv[1], '1')], '2', '', [], 0)"
    place = tmp_path / "out.txt"
    with place.open("w") as out:
        subprocess.run([sys.executable, "-c", code, name], stdout=out, check=True, cwd=tmp_path, env=ENVIRONMENT)
    assert "12" == place.read_text()
    assert [place] == list(tmp_path.iterdir())


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


def test_an_error_is_one_printable_line_whatever_it_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    assert 1 == deliver([], "", "words\n", ["a\x1b[31m\u202e\x9b\nb"], 1)
    assert "words\nctrlload: a\\x1b[31m\\u202e\\x9b\\nb\n" == capsys.readouterr().err


@pytest.mark.parametrize(("code", "expected"), [(0, 1), (3, 3)])
def test_what_cannot_be_written_is_an_error_and_the_rest_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, code: int, expected: int
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended: list[tuple[list[str], int]] = []
    nowhere = str(tmp_path / "none" / "x.json")
    given = deliver([(nowhere, "{}")], lambda errors, code: ended.append((list(errors), code)), "", [], code)
    (kept,) = tmp_path.iterdir()
    line = f"cannot write the result to {nowhere}: No such file or directory; it is in {kept}"
    assert (expected, [([line], expected)]) == (given, ended)
    assert f"ctrlload: {line}\n" == capsys.readouterr().err
    assert ("{}", ".json") == (kept.read_text(), kept.suffix)


def test_without_a_place_in_tmpdir_the_result_goes_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = str(tmp_path / "none")
    monkeypatch.setattr(tempfile, "tempdir", nowhere)
    assert 1 == deliver([(nowhere + "/x.json", "{}\n")], "words\n", "", [], 0)
    captured = capsys.readouterr()
    line = f"ctrlload: cannot write the result to {nowhere}/x.json: No such file or directory; it is on stderr\n"
    assert ("words\n", "{}\n" + line) == (captured.out, captured.err)
