"""A request that was let in, and the forms of an answer.

Rules: every answer has the headers of ``SAFETY``, a refusal too. A refusal is one line of text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

from twisted.web.http import Request as TwistedRequest
from twisted.web.http import datetimeToString

from ctrlserver.http.head import Refusal

if TYPE_CHECKING:
    from ctrlserver.http.channel import Channel

TEXT: Final = "text/plain; charset=utf-8"

SAFETY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "ctrlserver",
}
"""No script or style but our own files, no frame around them, nothing kept by anybody, nothing for other sites."""


class Request(TwistedRequest):
    """``is_endless``: its answer goes on until the peer has gone. ``asked``: path and query, for the log."""

    channel: Channel
    is_endless = False

    def process(self) -> None:
        """Have the page of its path answer."""
        for name, value in SAFETY.items():
            self.setHeader(name, value)  # type: ignore[no-untyped-call]
        self.setHeader("Date", datetimeToString())  # type: ignore[no-untyped-call]
        self.channel.site.serve(self)

    def write(self, data: bytes) -> None:
        """Some of the answer, after its headers."""
        super().write(data)  # type: ignore[no-untyped-call]

    def answer(self, body: bytes, kind: str = TEXT, code: int = 200) -> None:
        """The whole answer; of a HEAD its headers alone."""
        self.setResponseCode(code)
        self.setHeader("Content-Type", kind)  # type: ignore[no-untyped-call]
        self.setHeader("Content-Length", str(len(body)))  # type: ignore[no-untyped-call]
        self.write(body)
        self.finish()  # type: ignore[no-untyped-call]

    def refuse(self, refusal: Refusal) -> None:
        """One line that says why there is no answer."""
        self.setResponseCode(refusal.code, refusal.name.encode())
        self.answer(line_of(refusal), TEXT, refusal.code)

    @property
    def page(self) -> str:
        """Its path, without the query."""
        return self.path.decode("ascii", "backslashreplace")

    @property
    def words(self) -> tuple[str, ...]:
        """What stands after the question mark, in its order: ``limit=5``, or a word alone."""
        query = self.uri.partition(b"?")[2].decode("ascii", "backslashreplace")
        return tuple(unquote_plus(each) for each in query.split("&") if each)


def line_of(refusal: Refusal) -> bytes:
    """``404 no page ...``, and the end of the line."""
    return f"{refusal.code} {refusal.why}\n".encode("utf-8", "backslashreplace")


def head_of(refusal: Refusal, *, has_body: bool) -> bytes:
    """A whole answer that refuses, for a request that never came to be one."""
    line = line_of(refusal)
    headers: dict[str, Any] = {**SAFETY, "Date": datetimeToString().decode("ascii"), "Content-Type": TEXT}
    headers |= {"Content-Length": len(line), "Connection": "close"}
    headers |= {"Allow": "GET, HEAD"} if refusal.code == 405 else {}
    lines = [f"HTTP/1.1 {refusal.code} {refusal.name}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (line if has_body else b"")
