"""Certificates that clients reject: for just the reason that was ordered, told by OpenSSL as Python has it."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ctrlserver.config import ListenerConfig
from ctrlserver.errors import InjectionError
from ctrlserver.inject.parsing import parse_spec
from tests.certificates import Made, made, pem_of

pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")

from ctrlserver.net.injected.minting import ELSEWHERE, Minted, minted_for

HAS_EXPIRED, SELF_SIGNED, OTHER_HOST = 10, 18, 62
"""X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_HOSTNAME_MISMATCH."""

REASONS = [("expired", HAS_EXPIRED), ("wrong-host", OTHER_HOST), ("self-signed", SELF_SIGNED)]


def listener_of(folder: Path, shown: Made, *, ca: Made | None = None, chain: bytes = b"") -> ListenerConfig:
    (folder / "shown.pem").write_bytes(pem_of(shown) + chain)
    path = folder / "shown.pem"
    file = None
    if ca is not None:
        file = str(folder / "ca.pem")
        (folder / "ca.pem").write_bytes(pem_of(ca))
    return ListenerConfig(endpoint=f"ssl:0:privateKey={path}:extraCertChain={path}", inject_ca=file)


def verdict(folder: Path, shown: Minted, trusted: Made) -> int:
    """What a strict client that trusts ``trusted`` makes of the certificate: OpenSSL's number, 0 if it is good."""
    path = folder / "minted.pem"
    path.write_bytes(
        pem_of(Made(shown.certificate, shown.key)) + b"".join(Made(each, None).pem for each in shown.chain)
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(path)
    asking = ssl.create_default_context(cadata=trusted.pem.decode())
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    client = asking.wrap_bio(to_client, to_server, server_hostname="localhost")
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            return error.verify_code
    return 0


def the_only(action: str, listener: ListenerConfig) -> Minted:
    (minted,) = minted_for(parse_spec(action), listener).values()
    return minted


@pytest.fixture
def ca() -> Made:
    return made("lab CA", authority=True)


@pytest.mark.parametrize(("action", "reason"), REASONS)
def test_who_trusts_the_self_signed_certificate_of_the_listener_sees_just_the_reason(
    tmp_path: Path, action: str, reason: int
) -> None:
    own = made("localhost", authority=True)
    assert reason == verdict(tmp_path, the_only(action, listener_of(tmp_path, own)), own)


@pytest.mark.parametrize(("action", "reason"), REASONS)
def test_who_trusts_the_ca_sees_just_the_reason(tmp_path: Path, ca: Made, action: str, reason: int) -> None:
    listener = listener_of(tmp_path, made("localhost", by=ca), ca=ca)
    assert reason == verdict(tmp_path, the_only(action, listener), ca)


@pytest.mark.parametrize(("action", "reason"), REASONS[:2])
def test_a_ca_below_the_one_that_clients_trust_goes_into_the_chain(
    tmp_path: Path, ca: Made, action: str, reason: int
) -> None:
    between = made("lab CA of the day", by=ca, authority=True)
    listener = listener_of(tmp_path, made("localhost", by=between), ca=between, chain=between.pem)
    assert reason == verdict(tmp_path, the_only(action, listener), ca)


def test_what_is_minted_is_wrong_in_nothing_else(tmp_path: Path, ca: Made) -> None:
    listener = listener_of(tmp_path, made("localhost", by=ca), ca=ca)
    minted = minted_for(parse_spec("expired"), listener, datetime(2226, 1, 1, tzinfo=UTC))["expired"]
    assert 9 == verdict(tmp_path, minted, ca)  # X509_V_ERR_CERT_NOT_YET_VALID: by then the client's clock is behind


def test_the_names_of_the_listener_stay_but_for_the_wrong_host(tmp_path: Path) -> None:
    from cryptography import x509

    own = made("localhost", authority=True)
    spec = parse_spec("1*expired->1*self-signed->wrong-host")
    minted = minted_for(spec, listener_of(tmp_path, own))
    assert ["expired", "self-signed", "wrong-host"] == list(minted)
    names = {
        action: each.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        for action, each in minted.items()
    }
    assert ["localhost"] == names["expired"].get_values_for_type(x509.DNSName)
    assert ["localhost"] == names["self-signed"].get_values_for_type(x509.DNSName)
    assert [ELSEWHERE] == names["wrong-host"].get_values_for_type(x509.DNSName)
    assert own.certificate.subject == minted["expired"].certificate.subject


def test_other_actions_need_no_certificate() -> None:
    listener = ListenerConfig(endpoint="ssl:0:privateKey=/nowhere")
    assert {} == minted_for(parse_spec("2*close-at-once->handshake-hang"), listener)


def test_an_order_that_nobody_can_sign_is_refused_with_the_reason(tmp_path: Path, ca: Made) -> None:
    listener = listener_of(tmp_path, made("localhost", by=ca))
    with pytest.raises(InjectionError, match='"expired" cannot strike listener "data": the private key of "CN=') as bad:
        minted_for(parse_spec("2*self-signed->expired"), listener)
    assert 409 == bad.value.code
    assert ["self-signed"] == list(minted_for(parse_spec("self-signed"), listener))
