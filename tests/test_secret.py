from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ctrlserver.errors import UsageError
from ctrlserver.secret import answer_to, read_secret
from tests.integration.conftest import needs

SECRET = b"correct horse battery"


def kept(folder: Path, content: bytes, mode: int = 0o600) -> str:
    place = folder / "secret"
    place.write_bytes(content)
    place.chmod(mode)
    return str(place)


@pytest.mark.parametrize("mode", [0o600, 0o400])
@pytest.mark.parametrize("content", [SECRET, SECRET + b"\n"])
def test_a_secret_is_the_file_without_its_last_newline(tmp_path: Path, content: bytes, mode: int) -> None:
    assert SECRET == read_secret(kept(tmp_path, content, mode))


@pytest.mark.parametrize("size", [16, 4096])
def test_a_secret_has_16_to_4096_bytes(tmp_path: Path, size: int) -> None:
    assert size == len(read_secret(kept(tmp_path, (b"12345678" * 512)[:size] + b"\n")))


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (SECRET, 0o640, "has mode 0640, and others may use it: chmod 600 "),
        (SECRET, 0o604, "has mode 0604, and others may use it"),
        (SECRET, 0o602, "has mode 0602, and others may use it"),
        (b"fifteen bytes..", 0o600, "holds 15 bytes: expected a secret of 16 to 4096"),
        (b"", 0o600, "holds 0 bytes"),
        (b"x" * 5000, 0o600, "holds more than 4096 bytes"),
        (b" " * 64, 0o600, "holds 0 bytes besides white space and NULs: expected a secret of 16 to 4096"),
        (b"\n" * 64, 0o600, "holds 0 bytes besides white space and NULs"),
        (b" \t\r\nfifteen bytes.. \r\n\n", 0o600, "holds 15 bytes besides white space and NULs"),
        (b"\0" * 64, 0o600, "holds 0 bytes besides white space and NULs"),
    ],
)
def test_a_file_that_is_no_good_secret_is_one_line_without_what_is_in_it(
    tmp_path: Path, content: bytes, mode: int, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read_secret(kept(tmp_path, content, mode))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "horse" not in str(caught.value)
    assert "fifteen" not in str(caught.value)


def test_a_pipe_a_folder_and_a_file_that_is_not_there_are_told_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, words in (("pipe", "is not a regular file"), (".", "is not a regular file"), ("no", "No such file")):
        with pytest.raises(UsageError, match=words):
            read_secret(str(tmp_path / name))
    with pytest.raises(UsageError, match="cannot read"):
        read_secret("a\0b")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    place = kept(tmp_path, SECRET)
    os.chown(place, 65534, -1)
    with pytest.raises(UsageError, match="belongs to user 65534"):
        read_secret(place)


@needs("openssl")
def test_the_answer_is_that_of_openssl() -> None:
    challenge = "0123456789abcdef" * 4
    command = ["openssl", "dgst", "-sha256", "-hmac", SECRET.decode()]
    told = subprocess.check_output(command, input=challenge.encode()).decode()
    assert told.split()[-1] == answer_to(challenge, SECRET)
