"""The program of the seed of workers: ``python -m ctrlserver.workers SOCKET``, as the parent starts it.

Rule: what has to hold from the first moment comes before the imports, which take half a second: the signals that are
the parent's are ignored, and the seed ends with its parent. Nothing that is imported is garbage: until a worker begins
none is looked for, which saves a tenth of the time.
"""

from __future__ import annotations

import gc
import signal
import socket
import sys
from importlib import import_module

#: What all workers import: the reactor is made in each, of what is imported here.
ALL_THEY_NEED = "ctrlserver.workers.orders"

IGNORED_AT_ONCE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def main() -> None:
    """Be the seed, and each worker that comes of it."""
    gc.disable()
    for number in IGNORED_AT_ONCE:
        signal.signal(number, signal.SIG_IGN)
    from ctrlserver.linux.naming import end_with_parent, name_process

    end_with_parent()
    name_process("ctrlserver: seed of workers", "ctrlseed")
    try:
        pair = socket.socket(fileno=int(sys.argv[1]))
    except (IndexError, ValueError, OSError):
        sys.exit("ctrlserver: workers are started by their parent: there is no socket")
    import_module(ALL_THEY_NEED)
    from ctrlserver.workers.seed import sow
    from ctrlserver.workers.worker import adopted, run

    sow(pair)
    name_process("ctrlserver: worker", "ctrlworker")
    run(*adopted())


if __name__ == "__main__":
    main()
