"""The pages of the live page by their paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ctrlserver.admin.ports import AdminPorts
from ctrlserver.http.page.files import File, find_charts, own_files
from ctrlserver.http.page.readers import Readers

if TYPE_CHECKING:
    from ctrlserver.http.request import Request


def live_pages(ports: AdminPorts) -> dict[str, Callable[[Request], None]]:
    """``/``, ``/events`` and what the page is made of."""
    charts = find_charts(ports.reactor)
    path = None if charts is None else f"/static/{charts.name}"
    found: dict[str, Callable[[Request], None]] = {"/events": Readers(ports, path).events}
    for name, body in own_files().items():
        found["/" if name == "index.html" else f"/static/{name}"] = File(name, body).page
    if charts is not None and path is not None:
        found[path] = charts.page
    return found
