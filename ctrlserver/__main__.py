"""The program ``ctrlserver``: ``twistd -n --pidfile= ctrlserver`` with the same flags."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the daemon in the foreground."""
    from twisted.scripts.twistd import run

    sys.argv[1:1] = ["-n", "--pidfile=", "ctrlserver"]
    run()


if __name__ == "__main__":
    main()
