"""The errors of ctrlserver, named by whose fault they are.

Rules: every error is one line for a person; it names what was given, what was expected and, where there is one, the
nearest good value. The pure core stores a peer's fault, it never raises it; the shell decides what to close.

::

    CtrlServerError
    +-- UsageError              the operator's: what was given is wrong, nothing has been started
    |   +-- UnitError           a size, duration, count or rate that does not parse
    |   +-- FramingSpecError    a framing spec that does not parse
    |   +-- RenameError         a rename that would lose or hide a field
    |   +-- ConfigError         a key of a config file, or the file itself
    |   +-- InjectionError      an injection that does not parse, or that cannot strike where it is ordered; has a code
    +-- PeerError               the peer's: what came over the wire is wrong
    |   +-- FramingError        a stream that breaks its framing
    |   +-- CommandError        an admin line that cannot be carried out; has a code and an id
    +-- LoadError               a load run that failed: the target refused, vanished or stalled
    +-- HistoryError            the history file cannot be used now
"""

from __future__ import annotations


def lacks_memory(error: BaseException | None) -> bool:
    """Whether it says that the system has no memory; OpenSSL says so in an error of its own."""
    if isinstance(error, MemoryError):
        return True
    return type(error).__module__.startswith("OpenSSL.") and "malloc failure" in str(error)


class CtrlServerError(Exception):
    """The root of the tree."""


class UsageError(CtrlServerError, ValueError):
    """What an operator gave is wrong."""


class UnitError(UsageError):
    """A size, duration, count or rate that does not parse."""


class FramingSpecError(UsageError):
    """A framing spec that does not parse."""


class RenameError(UsageError):
    """A rename that would lose or hide a field."""


class ConfigError(UsageError):
    """A config file that cannot be read, or one key of it."""


class InjectionError(UsageError):
    """An injection that does not parse (``code`` 400), of no listener (404), or that cannot strike there (409)."""

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code = code


class PeerError(CtrlServerError):
    """What came over the wire is wrong."""


class FramingError(PeerError):
    """A stream that breaks its framing; the packets before it stay good."""


class CommandError(PeerError):
    """An admin line that cannot be carried out.

    ``code`` is an HTTP-like number (400 bad request, 403 denied, 404 unknown, 409 conflict, 413 too long, 500 our own
    fault, 503 too many); ``id`` a stable word for scripts, such as ``unknown-command``.
    """

    def __init__(self, code: int, id: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.id = id
        self.message = message


class LoadError(CtrlServerError):
    """A load run that failed: the target refused, vanished or stalled."""


class HistoryError(CtrlServerError):
    """The history file cannot be used now; the text says why."""
