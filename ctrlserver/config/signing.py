"""The certificate of a TLS listener, and who may sign another in its place: for injections such as ``expired``.

A client fails because a certificate is expired only if it trusts whoever signed it. So the signer has to be one that
the listener's clients trust already:

- the CA in the file that ``inject_ca`` names, which holds its certificate and its private key; or
- the listener's own certificate if it is self-signed and may sign others, as those of ``openssl req -x509`` may.

Where there is neither, a client would fail for want of trust, whatever else is wrong. So the order is refused.

Rules: each fault is one line. Nothing is kept: the files are read when they are asked for.

Beware: the functions import ``cryptography``, which comes with pyOpenSSL; ``check_library`` tells if it is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from attrs import frozen

from ctrlserver.config.endpoints import tls_files
from ctrlserver.config.tls_files import CERTIFICATE, KEY, read_pem
from ctrlserver.errors import ConfigError, InjectionError
from ctrlserver.inject.spec import Spec
from ctrlserver.words import quoted

SIGNED = ("expired", "wrong-host")
"""The actions whose certificate somebody has to sign whom the clients trust."""
MINTED = (*SIGNED, "self-signed")
"""All actions that need a certificate of their own."""

INSTALL = "pip install pyopenssl service-identity"
HOW = 'expected inject_ca = "FILE", the certificate and the private key of a CA that its clients trust'


@frozen
class Signer:
    """A certificate that may sign others, and its private key."""

    certificate: Any
    key: Any


@frozen
class Shown:
    """What a listener shows its clients: a certificate, the alternative ``names`` of all that it has, and a chain."""

    certificate: Any
    names: tuple[Any, ...]
    chain: tuple[Any, ...]


@frozen
class _Pems:
    """The certificates of some files, those of them whose keys are there with their keys, and the others."""

    owned: tuple[tuple[Any, Any], ...]
    others: tuple[Any, ...]


def minted_actions(spec: Spec) -> tuple[str, ...]:
    """The actions of ``spec`` that need a certificate of their own."""
    return tuple(dict.fromkeys(term.action.name for term in spec.terms if term.action.name in MINTED))


def check_signing(spec: Spec, name: str, endpoint: str, ca: str | None) -> None:
    """``InjectionError`` (409) where a certificate that ``spec`` needs cannot be made for the listener ``name``."""
    for action in minted_actions(spec):
        sources_of(action, name, endpoint, ca)


def sources_of(action: str, name: str, endpoint: str, ca: str | None) -> tuple[Shown, Signer | None]:
    """What the certificate of ``action`` is made from; ``InjectionError`` (409) where there is not enough."""
    try:
        check_library()
        return shown_by(endpoint), signer_for(endpoint, ca) if action in SIGNED else None
    except ConfigError as error:
        raise InjectionError(f'"{action}" cannot strike listener {quoted(name)}: {error}', 409) from None


def shown_by(endpoint: str) -> Shown:
    """The certificate of a good TLS endpoint; ``ConfigError`` where its files are no good any more."""
    pems = _pems(tls_files(endpoint))
    if not pems.owned:
        raise ConfigError(f"endpoint {quoted(endpoint)}: its files hold no certificate with its private key any more")
    names = dict.fromkeys(name for certificate, _ in pems.owned for name in _names(certificate))
    return Shown(pems.owned[0][0], tuple(names), pems.others)


def signer_for(endpoint: str, ca: str | None = None) -> Signer:
    """Who signs in the place of a good TLS endpoint; ``ca`` is the file of ``inject_ca``, if any.

    ``ConfigError`` where nobody can.
    """
    if ca:
        return ca_of(ca)
    owned = _pems(tls_files(endpoint)).owned
    shown = owned[0][0] if owned else None
    for certificate, key in owned:
        if shown is not None and _signed(certificate, shown):
            if may_sign(certificate):
                return Signer(certificate, key)
            raise ConfigError(f"its certificate signed itself and, without CA:TRUE, may sign no other: {HOW}")
    issuer = "its issuer" if shown is None else quoted(shown.issuer.rfc4514_string())
    raise ConfigError(f"the private key of {issuer}, which signed its certificate, is not here: {HOW}")


def check_ca(path: str) -> None:
    """``ConfigError`` unless the file ``path`` holds the certificate of a CA and its private key."""
    check_library()
    ca_of(path)


def check_library() -> None:
    """``ConfigError`` where ``cryptography`` is not installed."""
    if find_spec("cryptography") is None:
        raise ConfigError(f"expected cryptography to be installed: {INSTALL}")


def ca_of(path: str) -> Signer:
    """The CA whose certificate and key are in the file ``path``; ``ConfigError`` if they are not."""
    expected = "expected the certificate of a CA and its private key in PEM"
    try:
        owned = _pems([path]).owned
    except ConfigError as error:
        raise ConfigError(f"{error}: {expected}") from None
    if not owned:
        raise ConfigError(f"file {quoted(path)}: {expected}")
    for certificate, key in owned:
        if may_sign(certificate):
            return Signer(certificate, key)
    raise ConfigError(f"file {quoted(path)}: without CA:TRUE its certificate may sign no other: expected that of a CA")


def may_sign(certificate: Any) -> bool:
    """Whether clients accept others that ``certificate`` signed."""
    from cryptography import x509

    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return False
    constraints = _extension(certificate, x509.BasicConstraints)
    return usage is not None if constraints is None else bool(constraints.ca)


def _signed(signer: Any, certificate: Any) -> bool:
    try:
        certificate.verify_directly_issued_by(signer)
    except Exception:  # not by this one, or by an algorithm that the library lacks
        return False
    return True


def _names(certificate: Any) -> Iterable[Any]:
    from cryptography import x509

    return _extension(certificate, x509.SubjectAlternativeName) or ()


def _extension(certificate: Any, kind: Any) -> Any:
    """The value of an extension; None without it, and where the certificate's are not to be read."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except Exception:  # no such one; or one that is twice or malformed, which the library raises for as well
        return None


def _pems(paths: Iterable[str]) -> _Pems:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificate

    keys, certificates = [], []
    for path in paths:
        octets = read_pem(path)
        try:
            keys += [load_pem_private_key(key, None) for key in KEY.findall(octets)]
            certificates += [load_pem_x509_certificate(certificate) for certificate in CERTIFICATE.findall(octets)]
        except Exception:  # it may raise anything, and in OpenSSL's terms; TypeError for an encrypted key
            raise ConfigError(f"file {quoted(path)}: a key or a certificate in it cannot be read") from None
    owners = {certificate: next((key for key in keys if _fits(key, certificate)), None) for certificate in certificates}
    owned = tuple((certificate, key) for certificate, key in owners.items() if key is not None)
    return _Pems(owned, tuple(certificate for certificate, key in owners.items() if key is None))


def _fits(key: Any, certificate: Any) -> bool:
    try:
        return bool(key.public_key() == certificate.public_key())
    except Exception:  # a key of an algorithm that the library lacks
        return False
