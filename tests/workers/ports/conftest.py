"""TLS listeners and their clients."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from ctrlserver.config import ListenerConfig
from tests.certificates import certificate
from tests.net.conftest import PATIENCE


def asked(client: socket.socket, line: bytes = b"a\n") -> bytes:
    """The answer to a line."""
    with client:
        client.sendall(line)
        return client.recv(100)


class Tls:
    """TLS clients of a listener in mode echo, whose certificate they know."""

    def __init__(self, folder: Path) -> None:
        (folder / "pem").write_bytes(certificate("localhost"))
        self.context = ssl.create_default_context(cafile=str(folder / "pem"))
        endpoint = f"ssl:7:privateKey={folder / 'pem'}"
        self.config = ListenerConfig(name="one", endpoint=endpoint, mode="echo", framing="line")

    def asked(self, plain: socket.socket) -> bytes:
        """The answer to a line, or OpenSSL's words against the certificate."""
        plain.settimeout(PATIENCE)
        try:
            with self.context.wrap_socket(plain, server_hostname="localhost") as client:
                return asked(client)
        except ssl.SSLCertVerificationError as error:
            return error.verify_message.encode()


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    """The listener's files are in the test's folder."""
    pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")
    return Tls(tmp_path)
