"""The exit codes of ctrlload and ctrlstat, as shells and CI systems see them."""

from __future__ import annotations

EXIT_GOOD = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNRECONCILED = 3
EXIT_THRESHOLD = 4
EXIT_INTERRUPTED = 130


def gravest(*, interrupted: bool, failed: bool, unreconciled: bool = False, held: bool = False) -> int:
    """The exit code of the gravest thing that applies; ``held``: a threshold held, or no rate was good."""
    if interrupted:
        return EXIT_INTERRUPTED
    if failed:
        return EXIT_FAILED
    if unreconciled:
        return EXIT_UNRECONCILED
    return EXIT_THRESHOLD if held else EXIT_GOOD
