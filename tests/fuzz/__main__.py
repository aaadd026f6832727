"""Searches for inputs that break a promise, by the code they reach: ``python -m tests.fuzz NAME [SECONDS [FOLDER]]``.

It needs atheris (``pip install atheris``), which nothing else here does. It ends after ``SECONDS`` (600), or at the
first finding: an exception, more than a second of processor time for one input, or more than 512 MiB. That input is
then in a file ``crash-...`` in the current folder; ``python -m tests.fuzz NAME FILE`` tries it again. ``FOLDER`` keeps
the inputs that reached new code, and the next search goes on from them.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import NamedTemporaryFile

import atheris  # type: ignore[import-untyped,unused-ignore]
from twisted.logger import LogPublisher, globalLogBeginner


def main(name: str, how: str = "600", *corpus: str) -> None:
    """Search for ``how`` seconds, from the inputs in the folder ``corpus`` on; or try the input in the file ``how``."""
    with atheris.instrument_imports(include=["ctrlserver", "twisted.protocols.tls"]):
        from tests.fuzz.targets import TARGETS, WORDS

    globalLogBeginner.beginLoggingTo([LogPublisher()], discardBuffer=True, redirectStandardIO=False)
    target = TARGETS.get(name)
    if target is None:
        sys.exit(f"unknown target {name!r}: expected one of {', '.join(TARGETS)}")

    def timed(octets: bytes) -> None:
        began = time.process_time()
        target(octets)
        if (seconds := time.process_time() - began) > 1:
            raise TimeoutError(f"{len(octets)} bytes took {seconds:.1f} s of processor time")

    if how.isdecimal():
        bounds = [f"-max_total_time={how}", "-timeout=30", "-rss_limit_mb=512", "-max_len=20000", "-verbosity=0"]
        with NamedTemporaryFile("w", suffix=".dict") as words:
            words.writelines(f'"{word}"\n' for word in WORDS)
            words.flush()
            atheris.Setup([sys.argv[0], *bounds, "-print_final_stats=1", f"-dict={words.name}", *corpus], timed)
            atheris.Fuzz()
    else:
        timed(Path(how).read_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
