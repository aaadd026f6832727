"""Claims about who may sign a certificate in the place of a TLS listener."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctrlserver.config.signing import ca_of, check_ca, shown_by, signer_for
from ctrlserver.errors import ConfigError
from tests.config.messages import one_line_of

pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")

from tests.certificates import Made, certificate, made, pem_of


def endpoint_of(path: Path) -> str:
    return f"ssl:0:privateKey={path}"


def written(path: Path, *parts: Made | bytes) -> Path:
    path.write_bytes(b"".join(part if isinstance(part, bytes) else part.key_pem + part.pem for part in parts))
    return path


def test_a_self_signed_certificate_that_may_sign_signs(tmp_path: Path) -> None:
    own = made("localhost", authority=True)
    signer = signer_for(endpoint_of(written(tmp_path / "own.pem", own)))
    assert own.certificate == signer.certificate
    assert signer.key.public_key() == own.certificate.public_key()


@pytest.mark.parametrize("version", ["without basic constraints", "CA:FALSE"])
def test_a_self_signed_certificate_that_may_not_sign_is_told(tmp_path: Path, version: str) -> None:
    own = certificate("localhost") if version == "without basic constraints" else made("localhost", authority=False)
    path = written(tmp_path / "own.pem", own)
    message = one_line_of(lambda: signer_for(endpoint_of(path)))
    assert "its certificate signed itself and, without CA:TRUE, may sign no other" in message
    assert 'expected inject_ca = "FILE"' in message


def test_the_ca_in_its_file_signs_whatever_the_listener_has(tmp_path: Path) -> None:
    ca = made("lab CA", authority=True)
    leaf = written(tmp_path / "leaf.pem", made("localhost", by=ca))
    file = written(tmp_path / "ca.pem", ca)
    check_ca(str(file))
    assert ca.certificate == signer_for(endpoint_of(leaf), str(file)).certificate


def test_a_ca_whose_key_is_in_the_files_of_the_listener_signs(tmp_path: Path) -> None:
    ca = made("lab CA", authority=True)
    both = written(tmp_path / "both.pem", made("localhost", by=ca), ca)
    assert ca.certificate == signer_for(endpoint_of(both)).certificate


def test_without_the_key_of_the_ca_the_error_names_the_ca_and_the_key_to_set(tmp_path: Path) -> None:
    ca = made("lab CA", authority=True)
    leaf = written(tmp_path / "leaf.pem", made("localhost", by=ca), ca.pem)
    message = one_line_of(lambda: signer_for(endpoint_of(leaf)))
    assert 'the private key of "CN=lab CA", which signed its certificate, is not here' in message
    assert 'expected inject_ca = "FILE"' in message


@pytest.mark.parametrize(
    ("expected", "content"),
    [
        ("no such file or directory", None),
        ("expected the certificate of a CA and its private key in PEM", b""),
        ("expected the certificate of a CA and its private key in PEM", "no key"),
        ("a key or a certificate in it cannot be read", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"),
        ("without CA:TRUE its certificate may sign no other: expected that of a CA", "no ca"),
    ],
)
def test_a_file_that_is_no_ca_is_one_line(tmp_path: Path, expected: str, content: str | bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content == "no key":
        content = made("lab CA", authority=True).pem
    elif content == "no ca":
        content = pem_of(made("localhost"))
    if isinstance(content, bytes):
        path.write_bytes(content)
    message = one_line_of(lambda: ca_of(str(path)), f'file "{path}": ')
    assert expected in message


def test_a_key_usage_without_signing_forbids_it(tmp_path: Path) -> None:
    path = written(tmp_path / "ca.pem", made("lab CA", authority=True, signs=False))
    with pytest.raises(ConfigError, match="may sign no other"):
        ca_of(str(path))


def test_without_its_library_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctrlserver.config.signing.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="expected cryptography to be installed: pip install pyopenssl"):
        check_ca(str(tmp_path / "ca.pem"))


def test_a_listener_shows_its_certificate_its_chain_and_the_names_of_all_its_certificates(tmp_path: Path) -> None:
    ca = made("lab CA", authority=True)
    one, two = made("one.lab", by=ca), made("two.lab", by=ca)
    written(tmp_path / "one.pem", one, ca.pem)
    written(tmp_path / "two.pem", two)
    shown = shown_by(f"tls:{tmp_path}:0")
    assert one.certificate == shown.certificate
    assert ["one.lab", "two.lab"] == [name.value for name in shown.names]
    assert (ca.certificate,) == shown.chain
