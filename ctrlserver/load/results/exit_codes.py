"""The exit codes of ctrlload, as shells and CI systems see them."""

from __future__ import annotations

EXIT_GOOD = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNRECONCILED = 3
EXIT_THRESHOLD = 4
EXIT_INTERRUPTED = 130
