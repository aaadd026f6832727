"""The pages that monitors ask for."""

from __future__ import annotations

from ctrlserver.desk import Desk
from ctrlserver.http.request import TEXT, Request
from ctrlserver.http.site import Page


def pages(desk: Desk) -> dict[str, Page]:
    """All pages by their paths, those that a person asks for first."""

    def livez(request: Request) -> None:
        health = desk.health()
        request.answer(b"live\n" if health.live else b"not live\n", TEXT, 200 if health.live else 503)

    def readyz(request: Request) -> None:
        health = desk.health()
        line = "ready" if health.ready else f"not ready: {', '.join(health.reasons)}"
        request.answer(f"{line}\n".encode(), TEXT, 200 if health.ready else 503)

    return {"/livez": livez, "/readyz": readyz}
