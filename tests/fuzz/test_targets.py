"""A few inputs for each target, so that the targets themselves stay right; ``__main__.py`` searches for long."""

from __future__ import annotations

from random import Random

import pytest

from tests.fuzz.targets import TARGETS, WORDS

pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed: ctrlserver[tls]")

#: What the inputs are made of, beside random bytes: pieces of all that is spoken here.
PIECES = [
    *(
        b"\n",
        b"\r\n",
        b"\0",
        b"\xff",
        b"\xff\xfb\x01",
        b"\xff\xfd\x06",
        b"\xff\xfa",
        b"\xff\xf0",
        b"\xff\xf4",
        b" json",
    ),
    *(
        b"stats",
        b" json",
        b"streams limit=5",
        b"GET / HTTP/1.1\r\n",
        b"GET /stats.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"Host: [::1]:9\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ),
    *(b'{"ok":true,"data":{"version":"1"}}\r\n', b'{"ok":true,"data":[],"total":0}\r\n', b'{"ok":false,"error":5}\n'),
    *(
        b'{"event":"end","result":{}}',
        b'{"schema":"ctrlload/1","target":"x","options":{},"sent":{}',
        b"1e999",
        b"[" * 99,
    ),
    *(b"PROXY TCP4 1.2.3.4 1.2.3.5 1 2\r\n", b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", b"PROXY UNKNOWN\r\n"),
    *(word.encode() + b" " for word in WORDS),
    *(b"0:,", b"3:abc,", b"00", b"\0\1a", b"\x80\x80", b"\x7f" * 300, b"x0x0", b"9" * 30),
]


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted's own call
@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_promise(name: str) -> None:
    chance = Random(name)
    for _ in range(40):
        pieces = [
            chance.choice(PIECES) if chance.random() < 0.7 else chance.randbytes(9)
            for _ in range(chance.randint(0, 12))
        ]
        TARGETS[name](chance.randbytes(4) + b"".join(pieces))
