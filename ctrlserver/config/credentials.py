"""What ``auth`` of an admin port names: the file of a secret, or a credential that systemd passes.

Beware: systemd lets a service's user read a credential by an access list, whose mask looks like a permission of the
group. Its folder is private.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ctrlserver.errors import ConfigError
from ctrlserver.secret import read_secret
from ctrlserver.words import quoted

CREDENTIAL = "credential:"
"""What stands before the name of a credential (LoadCredential=)."""


def secret_of(auth: str, environ: Mapping[str, str] = os.environ) -> bytes:
    """The secret that ``auth`` names; ``UsageError``, one line without a byte of it, where it is not good."""
    if not auth.startswith(CREDENTIAL):
        return read_secret(auth)
    name = auth.removeprefix(CREDENTIAL)
    if not name or "/" in name or name in (".", ".."):
        raise ConfigError(f"{quoted(auth)}: expected {CREDENTIAL}NAME, the NAME of a LoadCredential= of the unit")
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ConfigError(f"{quoted(auth)}: systemd has passed no credentials; expected LoadCredential={name}:FILE")
    return read_secret(os.path.join(folder, name), forbidden=0o037)
