"""Files that each process of a fleet reads for itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ctrlserver.errors import UsageError
from ctrlserver.words import printable


def check_files(load: Sequence[str], by: str) -> None:
    """UsageError for a file, of the flags typed in ``load``, that only one process can read, such as a pipe.

    ``by``: the flag by which several send it.
    """
    for word in load:
        flag, _, value = word.partition("=")
        if flag not in ("--payload", "--profile", "--cafile"):
            continue
        if flag == "--cafile" or value.startswith("@") or (flag == "--profile" and value.casefold().endswith(".csv")):
            path = value.removeprefix("@")
            if not Path(path).is_file() or _is_own(path):
                words = f"not with {by}, each process of which would have to read it; name a file"
                raise UsageError(f"{flag} {printable(path)}: {words}")


def _is_own(path: str) -> bool:
    """Whether it is a name of a descriptor of this process."""
    return os.path.abspath(path).startswith(("/dev/std", "/dev/fd/", "/proc/"))
