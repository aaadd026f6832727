"""Certificates that a client must not accept, made for one order: expired, of another host, self-signed.

Model: ``mint(action, shown, signer, now)`` derives a certificate from that which the listener shows, with a fresh P-256
key. It takes a millisecond, or a few where the signer has an RSA key.

============== ==================================== =============== ===================================
action         names                                signed by       valid
============== ==================================== =============== ===================================
expired        the listener's                       the signer      for a month, until yesterday
wrong-host     ``wrong-host.invalid`` alone         the signer      now
self-signed    the listener's                       itself          now
============== ==================================== =============== ===================================

Rules: a certificate is wrong in one thing, so that a client which trusts the signer names just that. In all others it
is what strict clients ask for (RFC 5280): key identifiers, key usage, purpose.

Beware: the functions import ``cryptography``, so they may be called only where it is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import define, field

from ctrlserver.config.signing import Shown, Signer, minted_actions, sources_of
from ctrlserver.config.tree import ListenerConfig
from ctrlserver.inject.spec import Spec

ELSEWHERE = "wrong-host.invalid"
"""A host name that nobody has (RFC 2606)."""

#: So long ago an expired certificate ended, and others began: clocks differ by less.
A_DAY = timedelta(days=1)
#: So long ago an expired one began.
A_MONTH = timedelta(days=31)
#: How long the others are good: as long as clients accept.
LIFE = timedelta(days=397)


@define(eq=False)
class Minted:
    """A certificate with its private key, and those between it and a root."""

    certificate: Any
    key: Any
    chain: tuple[Any, ...]
    _options: Any = field(default=None, init=False)

    def options(self) -> Any:
        """What a TLS factory of Twisted's is to be given, made once: it keeps the context of OpenSSL."""
        if self._options is None:
            from OpenSSL.crypto import X509, PKey
            from twisted.internet.ssl import CertificateOptions

            certificate, *chain = map(X509.from_cryptography, (self.certificate, *self.chain))
            self._options = CertificateOptions(PKey.from_cryptography_key(self.key), certificate, extraCertChain=chain)
        return self._options


def minted_for(spec: Spec, listener: ListenerConfig, now: datetime | None = None) -> Mapping[str, Minted]:
    """The certificates that ``spec`` needs at ``listener``, by the names of the actions; mostly none.

    ``InjectionError`` (409) where one cannot be made. ``now``: another time than now.
    """
    return {action: minted(action, listener, now) for action in minted_actions(spec)}


def minted(action: str, listener: ListenerConfig, now: datetime | None = None) -> Minted:
    """The certificate of one action at ``listener``; ``InjectionError`` (409) where it cannot be made."""
    shown, signer = sources_of(action, listener.name, listener.endpoint, listener.inject_ca)
    return mint(action, shown, signer, now or datetime.now(UTC))


def mint(action: str, shown: Shown, signer: Signer | None, now: datetime) -> Minted:
    """The certificate of ``action``; ``signer`` None: it signs itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    signing, issuer = (key, None) if signer is None else (signer.key, signer.certificate)
    subject, names = shown.certificate.subject, shown.names
    if action == "wrong-host":
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ELSEWHERE)])
        names = (x509.DNSName(ELSEWHERE),)
    begin, end = (now - A_MONTH, now - A_DAY) if action == "expired" else (now - A_DAY, now + LIFE)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not len(list(subject)))
    if issuer is not None:  # OpenSSL before 3 takes one that says it signs nothing for no self-signed one
        builder = builder.add_extension(_usage(), critical=True).add_extension(_signed_by(issuer), critical=False)
    of_itself = isinstance(signing, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    certificate = builder.sign(signing, None if of_itself else hashes.SHA256())
    between = () if issuer is None or issuer.subject == issuer.issuer else (issuer,)
    return Minted(certificate, key, () if issuer is None else tuple(dict.fromkeys((*between, *shown.chain))))


def _usage() -> Any:
    from cryptography import x509

    return x509.KeyUsage(True, False, False, False, False, False, False, False, False)


def _signed_by(issuer: Any) -> Any:
    """The key identifier of ``issuer``, as it says it itself."""
    from cryptography import x509

    try:
        known = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)
