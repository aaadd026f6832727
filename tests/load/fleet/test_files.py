from __future__ import annotations

import os
from pathlib import Path

import pytest

from ctrlserver.errors import UsageError
from ctrlserver.load.fleet.files import check_files, contents, unlike


def test_files_that_each_process_can_read_are_good(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.touch()
    check_files([f"--payload=@{file}", f"--profile={file}", f"--profile=@{file}", f"--cafile={file}"], "--dask")
    check_files(["--payload=x/y", "--profile=1s@5", "--label=x=@y", "--no-write-combine"], "--dask")


@pytest.mark.parametrize("form", ["--payload=@{}", "--profile=@{}", "--cafile={}"])
def test_what_can_be_read_once_is_refused(tmp_path: Path, form: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/stdin", "/dev/fd/63"):
        with pytest.raises(UsageError) as error:
            check_files(["-P=8", form.format(path)], "--processes")
        assert f"{form.partition('=')[0]} {path}: not with --processes, " in str(error.value)


def test_a_file_that_is_not_the_same_elsewhere_is_told(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"ours")
    hashes = contents([f"--payload=@{file}", "--label=x=@y"])
    assert ([str(file)], None) == (list(hashes), unlike(hashes))
    file.write_bytes(b"theirs")
    assert f"{file} is another file there; a shard reads it on its worker" == unlike(hashes)
    file.unlink()
    assert f"there is no file {file} there; a shard reads it on its worker" == unlike(hashes)
