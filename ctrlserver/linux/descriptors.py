"""How many descriptors this process may open.

Rule: the limit is raised to the hard limit once, at the start. ``max_streams`` limits a server further.
"""

from __future__ import annotations

import os
import resource

#: Stands for "no limit": more sockets than any machine has memory for.
UNLIMITED = 1 << 30


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one if the system allows it; return the soft limit that is now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError):  # some systems allow no process their own hard limit
            pass
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft


def descriptor_limit() -> int:
    """The soft limit of now."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft


def descriptors_in_use() -> int:
    """How many descriptors are open, at the start of a process: then the lowest free number is their count."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor
