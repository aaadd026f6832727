"""The program of a worker: ``python -m ctrlserver.workers``, as the parent starts it.

Rule: what has to hold from the first moment comes before the imports, which take half a second: the signals that are
the parent's are ignored, and the worker ends with its parent. Nothing that is imported is garbage: until the worker
begins none is looked for, which saves a tenth of the time.
"""

from __future__ import annotations

import gc
import signal
import sys

IGNORED_AT_ONCE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def main() -> None:
    """Run a worker."""
    gc.disable()
    for number in IGNORED_AT_ONCE:
        signal.signal(number, signal.SIG_IGN)
    from ctrlserver.linux.naming import end_with_parent, name_process

    end_with_parent()
    name_process("ctrlserver: worker", "ctrlworker")
    from ctrlserver.workers.worker import adopted, run

    try:
        ends = adopted()
    except OSError:
        sys.exit("ctrlserver: a worker is started by its parent: it has no sockets")
    run(*ends)


if __name__ == "__main__":
    main()
