"""ctrlload over TLS against a real daemon and ``openssl s_server``."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import BIN, PATIENCE, Start, needs, run, running
from tests.load.documents import validated
from tests.ports import free_port

pytestmark = [
    needs("openssl"),
    pytest.mark.skipif(find_spec("OpenSSL") is None, reason="pyOpenSSL is not installed: ctrlserver[tls]"),
]


def load(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    """The valid document of a run that ends with ``code``."""
    done = run(BIN / "ctrlload", "run", *arguments, "-J")
    assert done.returncode == code, done
    return validated(done.stdout.decode())


def listening(shared: Start, certificate: Path, *flags: str) -> tuple[int, str]:
    """The TLS port and the admin port of a daemon."""
    daemon = shared("--data", f"ssl:0:privateKey={certificate}:interface=127.0.0.1", *flags)
    return daemon.ports["data"], daemon.admin


@pytest.mark.parametrize("flags", [("-P", "3"), ("--no-write-combine",), ("-t", "300ms"), ("-r", "2k", "-n", "200")])
def test_packets_over_tls_are_reconciled(shared: Start, certificate: Path, flags: tuple[str, ...]) -> None:
    port, admin = listening(shared, certificate)
    document = load(f"ssl:localhost:{port}", "--cafile", certificate, "--admin", admin, *flags)
    assert (True, None) == (document["reconciled"], document["error"])
    assert document["received"]["packets"] == document["sent"]["packets"] > 0
    assert [str(certificate), False] == [document["options"][name] for name in ("cafile", "insecure")]


@pytest.mark.parametrize("flags", [("-P", "3", "-q", "4"), ("-r", "1k")])
def test_replies_over_tls_are_counted(shared: Start, certificate: Path, flags: tuple[str, ...]) -> None:
    port, admin = listening(shared, certificate, "--mode", "echo")
    target = f"tls:localhost:{port}"
    document = load(target, "--insecure", "-m", "request", "-n", "300", "--admin", admin, *flags)
    assert (300, True, True) == (
        document["replies"]["packets"],
        document["reconciled"],
        document["options"]["insecure"],
    )


def test_an_endpoint_string_keeps_its_own_parameters(shared: Start, certificate: Path, tmp_path: Path) -> None:
    port, admin = listening(shared, certificate)
    authorities = tmp_path / "authorities"
    authorities.mkdir()
    (authorities / "one.pem").write_bytes(certificate.with_name("cert.pem").read_bytes())
    document = load(f"tls:localhost:{port}:trustRoots={authorities}", "-n", "100", "--admin", admin)
    assert document["reconciled"] is True


def test_a_certificate_that_nobody_vouches_for_is_one_line_with_the_flags(shared: Start, certificate: Path) -> None:
    port, _ = listening(shared, certificate)
    error = load(f"ssl:localhost:{port}", code=1)["error"]
    assert "its certificate is refused: it is self-signed" in error
    assert "--cafile FILE" in error
    assert "--insecure" in error


def test_a_certificate_of_another_name_is_refused(shared: Start, certificate: Path) -> None:
    port, _ = listening(shared, certificate)
    error = load(f"ssl:127.0.0.1:{port}", "--cafile", certificate, code=1)["error"]
    assert "its certificate is refused: it is not one of 127.0.0.1" in error


def test_a_target_that_speaks_no_tls_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        error = load(f"ssl:127.0.0.1:{server.getsockname()[1]}", "--connect-timeout", "300ms", code=1)["error"]
    assert "no TLS handshake within 0.3 s" in error


@pytest.mark.parametrize(
    ("command", "flags", "words"),
    [
        ("run", ("--cafile", "/nonexistent"), "--cafile: cannot read /nonexistent: No such file or directory"),
        ("search", ("--cafile", "/dev/null"), "--cafile: /dev/null holds no certificates in PEM form"),
        ("run", ("--cafile", "/dev/null", "--insecure"), "--insecure: not with --cafile"),
        ("run", ("--greeting", "line"), "--greeting: not over TLS"),
    ],
)
def test_what_cannot_be_over_tls_is_refused_in_one_line(command: str, flags: tuple[str, ...], words: str) -> None:
    done = run(BIN / "ctrlload", command, "ssl:localhost:1", *flags)
    assert 2 == done.returncode, done
    assert words in done.stderr.decode()
    assert 1 == done.stderr.count(b"\n")


@contextmanager
def s_server(certificate: Path, stdin: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """``openssl s_server`` on a free port, which waits for one client, and is ended if none came."""
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(certificate), "-naccept", "1"]
    with running(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        while server.stdout.readline().strip() != b"ACCEPT":
            assert server.poll() is None
        yield server, port


def test_openssl_hears_what_is_sent(certificate: Path) -> None:
    with s_server(certificate, subprocess.PIPE) as (server, port):
        document = load(f"ssl:localhost:{port}", "--cafile", certificate, "--payload", "hello-ctrlload\\n", "-n", "3")
        assert 3 == document["sent"]["packets"]
        assert server.stdout is not None
        assert 3 == server.stdout.read().count(b"hello-ctrlload\n")
        server.wait(PATIENCE)


def test_a_target_that_closes_early_ends_the_run_in_one_line_and_no_flood(certificate: Path) -> None:
    """An ``s_server`` whose own input has ended closes as soon as it is connected."""
    with s_server(certificate, subprocess.DEVNULL) as (server, port):
        done = run(BIN / "ctrlload", "run", f"ssl:localhost:{port}", "--insecure", "-t", "20s", "-J")
        server.wait(PATIENCE)
    assert 1 == done.returncode, done
    document = json.loads(done.stdout)
    assert "the target" in document["error"]  # closed or reset it, by how far it had come
    assert document["sent"]["seconds"] < 15
