"""What a service tells the service manager: ``sd_notify(3)``, a datagram to the socket that ``$NOTIFY_SOCKET`` names.

Rules: nothing is told where there is no such socket. Telling never waits and never raises; ``tell`` says if it failed.
The socket is connected when it is made, so that a later ``chroot`` or change of user does not cut it off.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

from ctrlserver.words import printable


class Notify:
    """``address``: a path, or a name of the abstract namespace behind "@"; None or empty: nobody is told."""

    def __init__(self, address: str | None) -> None:
        self._socket: socket.socket | None = None
        if address and address[0] in "/@":
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            with suppress(OSError):
                self._socket.connect("\0" + address[1:] if address[0] == "@" else address)
                return
            self.close()

    @property
    def is_heard(self) -> bool:
        """Whether there is somebody to tell."""
        return self._socket is not None

    def tell(self, **values: object) -> bool:
        """Send ``NAME=value`` lines in one datagram; False if the socket could not take it now."""
        if self._socket is None:
            return True
        try:
            self._socket.send("\n".join(f"{name}={printable(str(value))}" for name, value in values.items()).encode())
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Tell nobody any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def watchdog_seconds(environment: Mapping[str, str], pid: int | None = None) -> float:
    """Seconds within which the service manager wants to hear of this process again and again; 0 where it does not."""
    wanted, whose = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not (wanted.isascii() and wanted.isdigit()) or (whose and whose != str(os.getpid() if pid is None else pid)):
        return 0.0
    return int(wanted) / 1e6
