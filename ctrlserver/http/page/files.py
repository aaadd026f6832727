"""The files of the live page, and the library for its charts, which the package plotly brings.

Rules: the names are known; nothing is looked up by what was asked. Our own files are small and asked for anew each
time, which costs a 304 while they are the same. The library has its version in its name and is kept by whoever has it.

Beware: the library has 5 MB, and compressing it takes a good part of a second: a thread does it, once.
"""

from __future__ import annotations

import gzip
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.web.http import CACHED
from zope.interface import implementer

if TYPE_CHECKING:
    from ctrlserver.http.request import Request

_KINDS: Final = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript"}
_SCRIPT: Final = "text/javascript; charset=utf-8"
_PIECE: Final = 64 * 1024
_FOREVER: Final = "public, max-age=31536000, immutable"


def own_files() -> dict[str, bytes]:
    """The files of the page by their names."""
    return {each.name: each.read_bytes() for each in files(f"{__package__}.static").iterdir() if _kind(each.name)}


def _kind(name: str) -> str | None:
    return _KINDS.get(Path(name).suffix)


@define(eq=False)
class File:
    """One of our own."""

    name: str
    body: bytes
    _etag: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._etag = b'"%s"' % sha256(self.body).hexdigest()[:16].encode()

    def page(self, request: Request) -> None:
        """Answer with it, or say that the peer has it."""
        request.setHeader("Cache-Control", "no-cache")  # type: ignore[no-untyped-call]
        if request.setETag(self._etag) is CACHED:  # type: ignore[no-untyped-call]
            request.finish()  # type: ignore[no-untyped-call]
        else:
            request.answer(self.body, _kind(self.name) or "")


@define(eq=False)
class Charts:
    """The library for charts: ``path`` of its file, ``name`` under which we give it."""

    path: Path
    name: str
    reactor: Any
    _compressed: bytes | None = field(default=None, init=False)
    _waiting: list[Deferred[Any]] | None = field(default=None, init=False)

    def page(self, request: Request) -> None:
        """Answer with it, compressed where the peer takes that."""
        request.setHeader("Cache-Control", _FOREVER)  # type: ignore[no-untyped-call]
        request.setHeader("Vary", "Accept-Encoding")  # type: ignore[no-untyped-call]
        request.setHeader("Content-Type", _SCRIPT)  # type: ignore[no-untyped-call]
        if request.setETag(f'"{self.name}"'.encode()) is CACHED:  # type: ignore[no-untyped-call]
            request.finish()  # type: ignore[no-untyped-call]
        elif "gzip" not in (request.getHeader("Accept-Encoding") or ""):
            _Giving(request, self.path.open("rb")).begin(self.path.stat().st_size)
        elif self._compressed is not None:
            self._give_compressed(request)
        else:
            gone: list[object] = []
            request.notifyFinish().addBoth(gone.append)
            made = self._compress()
            made.addCallback(lambda _: None if gone else self._give_compressed(request))
            made.addErrback(lambda failure: None if gone else request.channel.site.tell(request, failure))

    def _give_compressed(self, request: Request) -> None:
        assert self._compressed is not None
        request.setHeader("Content-Encoding", "gzip")  # type: ignore[no-untyped-call]
        _Giving(request, BytesIO(self._compressed)).begin(len(self._compressed))

    def _compress(self) -> Deferred[Any]:
        """Fires when it is done, or fails."""
        over: Deferred[Any] = Deferred()
        if self._waiting is not None:
            self._waiting.append(over)
            return over
        self._waiting = [over]
        pool = self.reactor.getThreadPool()
        work = deferToThreadPool(self.reactor, pool, lambda: gzip.compress(self.path.read_bytes(), 6, mtime=0))
        work.addBoth(self._compressed_now)
        return over

    def _compressed_now(self, made: bytes | Failure) -> None:
        waiting, self._waiting = self._waiting or [], None
        if isinstance(made, bytes):
            self._compressed = made
        for each in waiting:
            each.callback(made if isinstance(made, Failure) else None)


@implementer(IPushProducer)
@define(eq=False)
class _Giving:
    """A long answer, read from ``body`` in pieces as the peer takes them."""

    request: Request
    body: IO[bytes]
    is_paused: bool = field(default=False, init=False)

    def begin(self, length: int) -> None:
        """The headers, and of anything but a HEAD the first piece."""
        self.request.setHeader("Content-Length", str(length))  # type: ignore[no-untyped-call]
        if self.request.method == b"HEAD":
            self.body.close()
            self.request.finish()  # type: ignore[no-untyped-call]
        else:
            self.request.registerProducer(self, True)  # type: ignore[no-untyped-call]
            self.resumeProducing()

    def resumeProducing(self) -> None:
        """On until the peer has to read."""
        self.is_paused = False
        while not self.is_paused:
            if piece := self.body.read(_PIECE):
                self.request.write(piece)
            else:
                self.stopProducing()
                self.request.unregisterProducer()  # type: ignore[no-untyped-call]
                self.request.finish()  # type: ignore[no-untyped-call]

    def pauseProducing(self) -> None:
        """It has to."""
        self.is_paused = True

    def stopProducing(self) -> None:
        """It is over."""
        self.is_paused = True
        self.body.close()


def find_charts(reactor: Any, package: str = "plotly") -> Charts | None:
    """The library of the installed package; None where the extra ``web`` is not there."""
    try:
        spec, name = find_spec(package), f"{package}-{version(package)}.min.js"
    except PackageNotFoundError:
        return None
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    return Charts(path, name, reactor) if path.is_file() else None
