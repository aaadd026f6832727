"""The certificate of ``Server(tls=True)``: one for the whole test run, that clients may trust as their CA.

Model: a program of its own mints it, ``python minting.py FOLDER``, so that a test run imports no ``cryptography``.
FOLDER then has ``ca.pem``, the certificate, and ``server.pem``, its key and itself. It is for localhost, 127.0.0.1 and
::1, and may sign others: those of the injections ``expired`` and ``wrong-host``.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import subprocess
import sys
import tempfile
from functools import cache

__tracebackhide__ = True  # pytest shows a failure at the test's own line

#: Seconds that it may take: only ever reached by a failure.
PATIENCE = 60.0

_DAY = datetime.timedelta(days=1)


class Certificate:
    """``ca``: the file for a client, ``server``: that of the server. They go with this object."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ctrlserver-tls-")
        self.ca = os.path.join(self._folder.name, "ca.pem")
        self.server = os.path.join(self._folder.name, "server.pem")
        from ctrlserver.sleeping import wait_for  # not by the process, which is this file alone

        command = [sys.executable, "-P", __file__, self._folder.name]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            code = wait_for(process, PATIENCE)
            process.kill()
            said = process.communicate()[1].decode("utf-8", "backslashreplace").strip()
        if code != 0:
            self._folder.cleanup()
            from ctrlserver.testing.errors import StartError

            raise StartError(f"no certificate for the server: {said or f'none after {PATIENCE:g} s'}")


@cache
def minted() -> Certificate:
    """The one of this process."""
    return Certificate()


def mint(folder: str) -> None:
    """Write the two files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ctrlserver of a test run")])
    hosts = [x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "::1"))]
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - _DAY, now + 30 * _DAY)
        .add_extension(x509.SubjectAlternativeName(hosts), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(usage, True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    for file, octets in (
        ("ca.pem", pem),
        ("server.pem", key.private_bytes(serialization.Encoding.PEM, form, plain) + pem),
    ):
        with open(os.path.join(folder, file), "xb") as opened:
            opened.write(octets)


if __name__ == "__main__":
    try:
        mint(sys.argv[1])
    except ImportError as error:
        sys.exit(f"{error}: pip install pyopenssl service-identity")
