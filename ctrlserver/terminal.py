"""Standard error of whoever started the daemon, still there once ``twistd`` has sent it into the background.

Model: ``twistd`` forks. The child's descriptors 0 to 2 become ``/dev/null``; the parent waits, says how the start went
on ``sys.__stderr__``, and exits. ``keep`` puts a duplicate of standard error behind that name before the fork, so the
child's one line is seen as well. The parent's message about the same line is cut after 100 bytes and in Python's
notation, so it is left out.

Rule: whoever keeps it releases it once the ports are bound, for a shell may wait until nobody holds it.
"""

from __future__ import annotations

import io
import os
import sys

#: How twistd's own message about a CannotStart begins.
SAID_ALREADY = "An error has occurred: b'ctrlserver.service.CannotStart"


class Terminal(io.TextIOWrapper):
    """A duplicate of standard error."""

    def write(self, text: str) -> int:
        """Write at once."""
        if text.startswith(SAID_ALREADY):
            return len(text)
        written = super().write(text)
        self.flush()
        return written


def keep() -> None:
    """Before the fork: from now on ``sys.__stderr__`` is a duplicate."""
    if sys.__stderr__ is not None:
        sys.__stderr__ = Terminal(os.fdopen(os.dup(sys.__stderr__.fileno()), "wb"))  # type: ignore[misc]


def release() -> None:
    """Close the duplicate, if there is one."""
    if isinstance(sys.__stderr__, Terminal):
        sys.__stderr__.close()
        sys.__stderr__ = None  # type: ignore[misc]
