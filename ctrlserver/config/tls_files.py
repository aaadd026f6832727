"""The files that a TLS endpoint names, checked before Twisted reads them.

Rules: Twisted loads the first private key and the first certificate of the certificate's file and the key's file
together, so both are looked for in both. OpenSSL would ask the terminal for the pass phrase of an encrypted key, and
report anything else in its own terms. Each fault is one line here that names the argument and the file.

Beware: the functions import ``cryptography``, so they may be called only where it is installed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ctrlserver.errors import ConfigError
from ctrlserver.words import quoted

KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?-----END [^\n]*", re.DOTALL)
CERTIFICATE = re.compile(rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----.*?-----END [^\n]*", re.DOTALL)
_PARAMETERS = re.compile(rb"-----BEGIN (?:X9\.42 )?DH PARAMETERS-----.*?-----END [^\n]*", re.DOTALL)

FILES = ("privateKey", "certKey", "extraCertChain", "dhParameters")
"""The arguments of ``ssl`` that name a file."""
DEFAULT_KEY = "server.pem"
"""The file that Twisted reads without ``privateKey``."""

_MOST_BYTES = 1 << 20
"""More than any of these files has."""


def check_ssl_files(values: Mapping[str, str]) -> None:
    """``ConfigError`` unless ``privateKey`` and ``certKey``, or ``privateKey`` alone, are a key and its certificate."""
    if "privateKey" not in values and not os.path.isfile(DEFAULT_KEY):
        raise ConfigError("no privateKey=, the file of its key")
    given = {name: (values[name], _content(name, values[name])) for name in FILES if name in values}
    key_file = given.get("privateKey") or (DEFAULT_KEY, _content("privateKey", DEFAULT_KEY))
    certificate_file = given.get("certKey", key_file)
    places = [("privateKey", *key_file)]
    if "certKey" in given:
        places.insert(0, ("certKey", *certificate_file))
    key = _first(KEY, places)
    certificate = _first(CERTIFICATE, places)
    if key is None:
        raise ConfigError(f"privateKey {quoted(key_file[0])}: expected a private key in PEM")
    where, octets = key
    public = _public_half(f"{where[0]} {quoted(where[1])}", octets)
    if certificate is None and "certKey" not in values:
        raise ConfigError(f"privateKey {quoted(key_file[0])}: it holds no certificate: expected certKey=FILE too")
    if certificate is None:
        raise ConfigError(f"certKey {quoted(certificate_file[0])}: expected a certificate in PEM")
    whose, octets = certificate
    if _certified(f"{whose[0]} {quoted(whose[1])}", octets) != public:
        other = "" if whose[1] == where[1] else f", {quoted(whose[1])}"
        raise ConfigError(f"{where[0]} {quoted(where[1])}: not the key of the certificate{other}")
    for name, pattern, what in (
        ("extraCertChain", CERTIFICATE, "certificates"),
        ("dhParameters", _PARAMETERS, "parameters of Diffie-Hellman"),
    ):
        if name in given and not pattern.search(given[name][1]):
            raise ConfigError(f"{name} {quoted(given[name][0])}: expected {what} in PEM")


def check_folder(folder: str) -> None:
    """``ConfigError`` unless the ``.pem`` files below ``folder`` hold a key and its certificate, in plain text."""
    keys, certified = [], []
    for path in pem_files(folder):
        what = f"file {quoted(path)}"
        octets = _read("file", path)
        keys += [_public_half(what, key) for key in KEY.findall(octets)]
        certified += [_certified(what, certificate) for certificate in CERTIFICATE.findall(octets)]
    if not any(key in certified for key in keys):
        raise ConfigError(f"folder {quoted(folder)}: expected a private key and its certificate in files NAME.pem")


def pem_files(folder: str) -> Iterable[str]:
    """The files below ``folder`` that Twisted may find a key or a certificate in."""
    for at, _, names in os.walk(folder):
        yield from (path for name in sorted(names) if name.endswith(".pem") and os.path.isfile(path := f"{at}/{name}"))


def read_pem(path: str) -> bytes:
    """The file's content, of a bounded length; ``ConfigError`` if it cannot be read."""
    return _read("file", path)


def _first(
    pattern: re.Pattern[bytes], places: Iterable[tuple[str, str, bytes]]
) -> tuple[tuple[str, str], bytes] | None:
    """The first match, and the argument and the file that it is in."""
    found = ((place[:2], match[0]) for place in places if (match := pattern.search(place[2])))
    return next(found, None)


def _content(name: str, path: str) -> bytes:
    octets = _read(name, path)
    if not octets.strip():
        raise ConfigError(f"{name} {quoted(path)}: the file is empty")
    return octets


def _read(name: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            octets = file.read(_MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ConfigError(f"{name} {quoted(path)}: {reason}") from None
    return octets


def _public_half(what: str, octets: bytes) -> Any:
    """The public key that belongs to a private one."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if b"ENCRYPTED" in octets:
        raise ConfigError(
            f"{what}: the key is encrypted and nobody is there to give the pass phrase:"
            ' expected a plain one, such as "openssl pkey -in FILE -out PLAIN" writes'
        )
    try:
        return load_pem_private_key(octets, None).public_key()
    except Exception:  # it may raise anything, and in OpenSSL's terms
        raise ConfigError(f"{what}: the private key in it cannot be read") from None


def _certified(what: str, octets: bytes) -> Any:
    """The public key that a certificate is for."""
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return load_pem_x509_certificate(octets).public_key()
    except Exception:
        raise ConfigError(f"{what}: the certificate in it cannot be read") from None
