"""The descriptors this process may have open.

Rule: raised to the hard limit once, at the start; whoever wants less for a server says so by ``max_streams``.
"""

from __future__ import annotations

import os
import resource

#: Taken for "no limit": more sockets than a machine has ports, peers and memory for.
UNLIMITED = 1 << 30


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one where the system lets us; gives the soft limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError):  # a system that lets no process have what its hard limit says
            pass
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft


def descriptors_in_use() -> int:
    """How many are open, where the lower numbers are: at the start. The system gives the lowest number that is free."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor
