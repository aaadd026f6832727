"""Functions of the C library that the standard library lacks."""

from __future__ import annotations

import ctypes
import sys
from typing import Any


def library_function(name: str) -> Any:
    """Function ``name``, for ``ctypes``; None on systems other than Linux, and if the library lacks it."""
    try:
        return getattr(ctypes.CDLL(None), name) if sys.platform == "linux" else None
    except (AttributeError, OSError):
        return None
