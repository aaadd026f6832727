"""Certificates for a test of its own; needs the extra ``tls``."""

from __future__ import annotations

import datetime
from typing import Any

from attrs import frozen


@frozen
class Made:
    """A certificate and its key."""

    certificate: Any
    key: Any

    @property
    def pem(self) -> bytes:
        """The certificate alone."""
        from cryptography.hazmat.primitives import serialization

        return bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def key_pem(self) -> bytes:
        """The key alone."""
        from cryptography.hazmat.primitives import serialization

        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return bytes(self.key.private_bytes(serialization.Encoding.PEM, form, plain))


def pem_of(made: Made) -> bytes:
    """Key and certificate."""
    return made.key_pem + made.pem


def certificate(*hosts: str) -> bytes:
    """A key and a certificate of its own, in PEM; ``hosts`` are its alternative names."""
    return pem_of(_made("localhost", hosts, None, []))


def made(host: str, *, by: Made | None = None, authority: bool | None = None, signs: bool = True) -> Made:
    """A certificate for ``host``, signed by another or by itself, as strict clients accept it.

    ``authority``: it is that of a CA; ``signs`` False: one whose key may not be used for that.
    """
    from cryptography import x509

    usage = x509.KeyUsage(True, False, False, False, False, signs, False, False, False)
    return _made(
        host,
        [host],
        by,
        [x509.BasicConstraints(bool(authority), None), usage] if authority else [x509.BasicConstraints(False, None)],
    )


def _made(name: str, hosts: Any, by: Made | None, critical: list[Any]) -> Made:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key, day = ec.generate_private_key(ec.SECP256R1()), datetime.timedelta(days=1)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    issuer = subject if by is None else by.certificate.subject
    serial = x509.random_serial_number() if critical else 1
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), serial, now - day, now + day)
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in hosts]), False)
    for each in critical:
        builder = builder.add_extension(each, True)
    if critical:
        signing = (key if by is None else by.key).public_key()
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing), False)
    return Made(builder.sign(key if by is None else by.key, hashes.SHA256()), key)
