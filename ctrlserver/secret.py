"""The secret that an admin port and its askers share: its file, and the answer to a challenge.

Rules: the secret is the bytes of a file without their last newline: 16 to 4 096 of them, white space and
NULs around them not counted. The file is a regular one, belongs to us or to root, and nobody else may read or write
it. No error says a byte of what is in it. The answer is the HMAC-SHA-256 over the challenge's 64 hex digits as text:
``printf %s CHALLENGE | openssl dgst -sha256 -hmac SECRET``.
"""

from __future__ import annotations

import hmac
import os
import stat

from ctrlserver.errors import UsageError
from ctrlserver.words import quoted

#: Bytes of a secret: fewer may be guessed, more are another file.
SHORTEST, LONGEST = 16, 4096

#: What a file holds that was made and never filled.
BLANK = b"\0 \t\r\n\v\f"


def read_secret(path: str, *, forbidden: int = 0o077) -> bytes:
    """What is in the file; UsageError, one line that says what to do, where it is no good.

    ``forbidden`` are the permissions that nobody may have.
    """
    name = quoted(path)
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            _check(name, path, os.fstat(number), forbidden)
            secret = os.read(number, LONGEST + 2).removesuffix(b"\n")
        finally:
            os.close(number)
    except (OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from None
    if len(secret) > LONGEST:
        raise UsageError(f"{name} holds more than {LONGEST} bytes: expected a secret of {SHORTEST} to {LONGEST}")
    if (size := len(secret.strip(BLANK))) < SHORTEST:
        around = " besides white space and NULs" if size < len(secret) else ""
        raise UsageError(f"{name} holds {size} bytes{around}: expected a secret of {SHORTEST} to {LONGEST}")
    return secret


def _check(name: str, path: str, about: os.stat_result, forbidden: int) -> None:
    mode = stat.S_IMODE(about.st_mode)
    if not stat.S_ISREG(about.st_mode):
        raise UsageError(f"{name} is not a regular file")
    if about.st_uid not in (os.geteuid(), 0):
        raise UsageError(f"{name} belongs to user {about.st_uid}: expected it to belong to us or to root")
    if mode & forbidden:
        raise UsageError(f"{name} has mode {mode:04o}, and others may use it: chmod 600 {path!r} makes it private")


def answer_to(challenge: str, secret: bytes) -> str:
    """64 hex digits, lower case."""
    return hmac.new(secret, challenge.encode("ascii"), "sha256").hexdigest()
