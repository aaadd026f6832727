"""`python -m benchmarks` is `benchmarks/bench.py`."""

from __future__ import annotations

import sys

from benchmarks.bench import main

if __name__ == "__main__":
    sys.exit(main())
