"""The pages that monitors and programs ask for.

Rules: a page of JSON is the reply of the admin port's command of its name, to a viewer; what stands after the question
mark are the command's arguments. So both ports have the same records, the same checks and the same errors.
"""

from __future__ import annotations

from collections.abc import Iterator

from ctrlserver.admin.commands.command import Command
from ctrlserver.admin.commands.metrics import Metrics, collect
from ctrlserver.admin.commands.table import call_of, carry_out
from ctrlserver.admin.dialogue import Request as Line
from ctrlserver.admin.ports import AdminPorts
from ctrlserver.admin.replies import Reply, encode_in_steps
from ctrlserver.admin.session import LOOKING_ONLY, Session
from ctrlserver.desk import Desk
from ctrlserver.errors import CommandError
from ctrlserver.http.accepting import form_of
from ctrlserver.http.answers import Answering, Steps
from ctrlserver.http.forms import TEXT
from ctrlserver.http.request import Request
from ctrlserver.http.site import Page
from ctrlserver.render.openmetrics import CONTENT_TYPES, text

JSON = "application/json"

COMMANDS = ("stats", "streams", "runs")
"""Those with a page, ``/stats.json`` and the like."""


def pages(ports: AdminPorts) -> dict[str, Page]:
    """All pages by their paths, those that a person asks for first; they share what the admin ``ports`` do."""
    desk = ports.desk

    def livez(request: Request) -> None:
        health = desk.health()
        request.answer(b"live\n" if health.live else b"not live\n", TEXT, 200 if health.live else 503)

    def readyz(request: Request) -> None:
        health = desk.health()
        line = "ready" if health.ready else f"not ready: {', '.join(health.reasons)}"
        request.answer(f"{line}\n".encode(), TEXT, 200 if health.ready else 503)

    def metrics(request: Request) -> None:
        desk = ports.desk.for_questions()
        form = form_of(request.getHeader("accept") or "")
        steps = lambda _: iter(("".join(f"{line}\n" for line in text(collect(desk), form)).encode(),))  # noqa: E731
        _begin(ports, request, Metrics(), CONTENT_TYPES[form], desk, steps)

    records = {f"/{name}.json": _page_of(ports, name) for name in COMMANDS}
    return {"/metrics": metrics, "/livez": livez, "/readyz": readyz, **records}


def _page_of(ports: AdminPorts, name: str) -> Page:
    """That of a command which looks."""

    def page(request: Request) -> None:
        desk = ports.desk.for_questions()
        session = Session("http", "http", LOOKING_ONLY, ports.readings, ports.journal, ports.accesses)
        line = Line((name, *request.words), json=True)
        command = call_of(line, desk, session)

        def steps(found: object) -> Iterator[bytes]:
            reply = found if isinstance(found, Reply) else carry_out(command, line, desk, session)
            if not isinstance(reply, Reply):
                raise CommandError(409, "not-available", f"/{name}.json has no answer that comes later")
            return encode_in_steps(name, reply, json=True)

        _begin(ports, request, command, JSON, desk, steps)

    return page


def _begin(ports: AdminPorts, request: Request, command: Command, kind: str, desk: Desk, steps: Steps) -> None:
    Answering(ports, request, kind, steps).begin(command.fresh(desk, ports.readings.freshness))
