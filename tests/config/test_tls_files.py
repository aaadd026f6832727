"""Claims about the key and certificate files of TLS endpoints; each fault is one line that names the file."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ctrlserver.config import check_endpoint
from tests.certificates import certificate
from tests.config.messages import one_line_of
from tests.integration.conftest import BIN, PATIENCE, needs

pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")


def blocks() -> tuple[bytes, bytes]:
    """A key and its certificate."""
    key, mark, rest = certificate().partition(b"-----BEGIN CERTIFICATE")
    return key, mark + rest


def encrypted(pem: bytes, traditional: bool) -> bytes:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    form = PrivateFormat.TraditionalOpenSSL if traditional else PrivateFormat.PKCS8
    return load_pem_private_key(pem, None).private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"secret"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of every kind, in the current directory."""
    monkeypatch.chdir(tmp_path)
    key, cert = blocks()
    files = {
        "key": key,
        "cert": cert,
        "both": key + cert,
        "other": blocks()[0],
        "locked": encrypted(key, traditional=False),
        "locked-old": encrypted(key, traditional=True),
        "locked-both": encrypted(key, traditional=False) + cert,
        "empty": b"",
        "blank": b"\n",
        "text": b"hello\n",
        "cut": key[: len(key) // 2],
        "broken-key": b"-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n",
        "broken-cert": b"-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
        "binary": os.urandom(500),
    }
    for name, content in files.items():
        (tmp_path / f"{name}.pem").write_bytes(content)
    return tmp_path


def message_of(text: str) -> str:
    return one_line_of(lambda: check_endpoint(text), f'endpoint "{text}": ')


@pytest.mark.parametrize(
    "files",
    [
        "privateKey=both.pem",
        "privateKey=key.pem:certKey=cert.pem",
        "privateKey=key.pem:certKey=both.pem",
        "privateKey=both.pem:extraCertChain=cert.pem",
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_key_with_its_certificate_is_taken(files: str) -> None:
    check_endpoint(f"ssl:22222:{files}")


LOCKED = "the key is encrypted and nobody is there to give the pass phrase: expected a plain one"


@pytest.mark.parametrize(
    ("expected", "files"),
    [
        ("no privateKey=, the file of its key: expected ssl:PORT:privateKey=FILE", "interface=127.0.0.1"),
        ("no privateKey=", "certKey=cert.pem"),
        ('privateKey "gone.pem": no such file or directory', "privateKey=gone.pem"),
        ('certKey "gone.pem": no such file or directory', "privateKey=key.pem:certKey=gone.pem"),
        ('privateKey ".": is a directory', "privateKey=."),
        ('privateKey "empty.pem": the file is empty', "privateKey=empty.pem"),
        ('certKey "blank.pem": the file is empty', "privateKey=key.pem:certKey=blank.pem"),
        (f'privateKey "locked.pem": {LOCKED}', "privateKey=locked.pem:certKey=cert.pem"),
        (f'privateKey "locked-old.pem": {LOCKED}', "privateKey=locked-old.pem:certKey=cert.pem"),
        (f'privateKey "locked-both.pem": {LOCKED}', "privateKey=locked-both.pem"),
        (f'certKey "locked-both.pem": {LOCKED}', "privateKey=key.pem:certKey=locked-both.pem"),
        ('privateKey "other.pem": not the key of the certificate', "privateKey=other.pem:certKey=cert.pem"),
        ('privateKey "text.pem": expected a private key in PEM', "privateKey=text.pem:certKey=cert.pem"),
        ('privateKey "cut.pem": expected a private key in PEM', "privateKey=cut.pem:certKey=cert.pem"),
        ('privateKey "binary.pem": expected a private key in PEM', "privateKey=binary.pem:certKey=cert.pem"),
        ('privateKey "cert.pem": expected a private key in PEM', "privateKey=cert.pem"),
        ('"broken-key.pem": the private key in it cannot be read', "privateKey=broken-key.pem:certKey=cert.pem"),
        ('privateKey "key.pem": it holds no certificate: expected certKey=FILE too', "privateKey=key.pem"),
        ('certKey "text.pem": expected a certificate in PEM', "privateKey=key.pem:certKey=text.pem"),
        ('"broken-cert.pem": the certificate in it cannot be read', "privateKey=key.pem:certKey=broken-cert.pem"),
        ('extraCertChain "gone.pem": no such file', "privateKey=both.pem:extraCertChain=gone.pem"),
        ('extraCertChain "key.pem": expected certificates in PEM', "privateKey=both.pem:extraCertChain=key.pem"),
        ('dhParameters "empty.pem": the file is empty', "privateKey=both.pem:dhParameters=empty.pem"),
        ('dhParameters "key.pem": expected parameters', "privateKey=both.pem:dhParameters=key.pem"),
        ('unknown argument "key": expected ssl:PORT:privateKey=FILE', "key=both.pem"),
        ('did you mean "privateKey"?', "PrivateKey=both.pem"),
        ('backlog "x": expected a number from 1 to 65535', "privateKey=both.pem:backlog=x"),
    ],
)
@pytest.mark.parametrize("front", ["", "haproxy:"])
@pytest.mark.usefixtures("folder")
def test_wrong_files_of_ssl_are_one_line(expected: str, files: str, front: str) -> None:
    assert expected in message_of(f"{front}ssl:22222:{files}")


@pytest.mark.usefixtures("folder")
def test_without_a_key_the_missing_argument_is_named() -> None:
    assert message_of("ssl:22222").startswith("no privateKey=")


def keep(folder: Path, *names: str) -> None:
    for path in folder.iterdir():
        if path.stem not in names:
            path.unlink()


@pytest.mark.filterwarnings("ignore:X509:DeprecationWarning")  # Twisted's own call
@pytest.mark.parametrize("names", [("both",), ("key", "cert", "other"), ("both", "empty", "text")])
def test_a_folder_with_a_key_and_its_certificate_is_taken(folder: Path, names: tuple[str, ...]) -> None:
    keep(folder, *names)
    check_endpoint(f"tls:{folder}:0")


@pytest.mark.parametrize(
    ("expected", "names"),
    [
        (LOCKED, ("both", "locked")),
        ("the private key in it cannot be read", ("both", "broken-key")),
        ("the certificate in it cannot be read", ("both", "broken-cert")),
        ("expected a private key and its certificate in files NAME.pem", ()),
        ("expected a private key and its certificate in files NAME.pem", ("key",)),
        ("expected a private key and its certificate in files NAME.pem", ("other", "cert")),
    ],
)
def test_a_folder_with_wrong_files_is_one_line(folder: Path, expected: str, names: tuple[str, ...]) -> None:
    keep(folder, *names)
    assert expected in message_of(f"tls:{folder}:0")


@needs("setsid")
@pytest.mark.parametrize("command", [["--check"], []])
def test_nobody_is_asked_for_a_pass_phrase_on_the_terminal(folder: Path, command: list[str]) -> None:
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            ["setsid", "-c", "-w", BIN / "ctrlserver", "--data", "ssl:0:privateKey=locked-both.pem", *command],
            stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, timeout=PATIENCE, check=False,
        )  # fmt: skip
        shown = os.read(ours, 4096).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert 1 == done.returncode
    assert 1 == len(shown.splitlines()), shown
    assert LOCKED in shown
    assert "Enter" not in shown
