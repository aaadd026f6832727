"""The pages of the live page by their paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ctrlserver.desk import Desk
from ctrlserver.http.page.files import File, find_charts, own_files
from ctrlserver.http.page.readers import Readers

if TYPE_CHECKING:
    from ctrlserver.http.request import Request


def live_pages(desk: Desk, reactor: Any) -> dict[str, Callable[[Request], None]]:
    """``/``, ``/events`` and what the page is made of."""
    charts = find_charts(reactor)
    path = None if charts is None else f"/static/{charts.name}"
    found: dict[str, Callable[[Request], None]] = {"/events": Readers(desk, reactor, path).events}
    for name, body in own_files().items():
        found["/" if name == "index.html" else f"/static/{name}"] = File(name, body).page
    if charts is not None and path is not None:
        found[path] = charts.page
    return found
