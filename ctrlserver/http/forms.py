"""The forms of an answer: what stands in its head, and a whole one as bytes.

Rules: every answer has the headers of ``SAFETY``, a refusal too. A refusal is one line of text.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import Final

from ctrlserver.http.head import Refusal

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


def line_of(refusal: Refusal) -> bytes:
    """``404 unknown-page ...``, and the end of the line."""
    return f"{refusal.code} {refusal.why}\n".encode("utf-8", "backslashreplace")


def head_of(refusal: Refusal, *, has_body: bool) -> bytes:
    """A whole answer that refuses, for a request that never came to be one."""
    more = {"Allow": "GET, HEAD"} if refusal.code == 405 else {}
    return whole(f"{refusal.code} {refusal.name}", line_of(refusal), TEXT, has_body=has_body, **more)


def whole(status: str, body: bytes, kind: str, *, has_body: bool, **more: str) -> bytes:
    """A whole answer, the last one of its connection; without ``has_body`` its head alone. ``more`` are headers."""
    headers = {**SAFETY, "Date": formatdate(usegmt=True), "Content-Type": kind, "Content-Length": str(len(body))}
    headers |= {"Connection": "close", **more}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("ascii") + (body if has_body else b"")
