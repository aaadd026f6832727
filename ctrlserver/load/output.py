"""Where the result document goes: stdout, or a file that is there whole or not at all.

Rules: a file is written beside its place and renamed into it, so a reader never sees half a document; what is no
regular file (a pipe, ``/dev/stdout``) is written as it is. That it can be written is looked at before the run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ctrlserver.errors import LoadError, UsageError


def check_output(path: str) -> None:
    """UsageError where a result could not be written to ``path``, as far as that can be seen beforehand."""
    place = Path(path)
    folder = place.parent
    if place.is_dir():
        raise UsageError(f"--output: {path} is a directory")
    if not folder.is_dir():
        raise UsageError(f"--output: there is no directory {folder}")
    if not os.access(place if place.exists() else folder, os.W_OK):
        raise UsageError(f"--output: no permission to write {path}")


def write_output(path: str, text: str) -> None:
    """Write ``text``; LoadError where it cannot be done after all."""
    place = Path(path)
    try:
        if place.exists() and not place.is_file():
            place.write_text(text, encoding="utf-8")
            return
        beside = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise LoadError(f"cannot write the result to {path}: {error.strerror or error}") from None


def print_output(text: str) -> None:
    """Print to stdout; a reader that has gone is no matter of ours."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered would be tried once more at exit, loudly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
