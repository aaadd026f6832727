"""Files that each process of a fleet reads for itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from hashlib import file_digest
from pathlib import Path

from ctrlserver.errors import UsageError
from ctrlserver.words import printable


def check_files(load: Sequence[str], by: str) -> None:
    """UsageError for a file, of the flags typed in ``load``, that only one process can read, such as a pipe.

    ``by``: the flag by which several send it.
    """
    for flag, path in _named(load):
        if not Path(path).is_file() or _is_own(path):
            words = f"not with {by}, each process of which would have to read it; name a file"
            raise UsageError(f"{flag} {printable(path)}: {words}")


def contents(load: Sequence[str]) -> dict[str, str]:
    """A hash of each file of the flags typed in ``load``, by its path."""
    return {path: _hash(path) for _, path in _named(load)}


def unlike(hashes: Mapping[str, str]) -> str | None:
    """What is wrong with the files of this machine, whose ``contents`` are to be these; None if nothing is."""
    for path, expected in hashes.items():
        found = _hash(path)
        if found != expected:
            lacks = f"{printable(path)} is another file there" if found else f"there is no file {printable(path)} there"
            return f"{lacks}; a shard reads it on its worker"
    return None


def _named(load: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The flags of files, and their paths."""
    for word in load:
        flag, _, value = word.partition("=")
        if flag not in ("--payload", "--profile", "--cafile"):
            continue
        if flag == "--cafile" or value.startswith("@") or (flag == "--profile" and value.casefold().endswith(".csv")):
            yield flag, value.removeprefix("@")


def _hash(path: str) -> str:
    """Empty if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _is_own(path: str) -> bool:
    """Whether it is a name of a descriptor of this process."""
    return os.path.abspath(path).startswith(("/dev/std", "/dev/fd/", "/proc/"))
