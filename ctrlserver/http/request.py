"""A request that was let in, and how it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from twisted.web.http import Request as TwistedRequest
from twisted.web.http import datetimeToString

from ctrlserver.http.forms import SAFETY, TEXT, line_of
from ctrlserver.http.head import Refusal

if TYPE_CHECKING:
    from ctrlserver.http.channel import Channel


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
