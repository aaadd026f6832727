from __future__ import annotations

from pathlib import Path

import pytest

from ctrlserver.config.credentials import secret_of
from ctrlserver.errors import UsageError

GOOD = b"0123456789abcdef"


def credential(path: Path, mode: int = 0o600) -> dict[str, str]:
    path.write_bytes(GOOD)
    path.chmod(mode)
    return {"CREDENTIALS_DIRECTORY": str(path.parent)}


def message_of(auth: str, environ: dict[str, str]) -> str:
    with pytest.raises(UsageError) as caught:
        secret_of(auth, environ)
    return str(caught.value)


@pytest.mark.parametrize("mode", [0o400, 0o440])
def test_a_credential_is_read_from_the_folder_that_systemd_names(tmp_path: Path, mode: int) -> None:
    assert GOOD == secret_of("credential:admin", credential(tmp_path / "admin", mode))


@pytest.mark.parametrize("mode", [0o460, 0o444])
def test_a_credential_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    assert f"has mode {mode:04o}" in message_of("credential:admin", credential(tmp_path / "admin", mode))


def test_a_path_is_read_as_it_is_and_only_its_owner_may(tmp_path: Path) -> None:
    credential(tmp_path / "admin")
    assert GOOD == secret_of(str(tmp_path / "admin"), {})
    credential(tmp_path / "admin", 0o640)
    assert "has mode 0640" in message_of(str(tmp_path / "admin"), {})


def test_a_credential_that_was_not_passed_is_told(tmp_path: Path) -> None:
    folder = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert "expected LoadCredential=admin:FILE" in message_of("credential:admin", {})
    assert "cannot read" in message_of("credential:admin", folder)
    assert "expected credential:NAME" in message_of("credential:../x", folder)
    assert "expected credential:NAME" in message_of("credential:", folder)
