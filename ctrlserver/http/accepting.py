"""Which form of the metrics a client wants, by its header Accept. PURE.

Rules: OpenMetrics if it is named, and liked no less than text/plain; otherwise the form that every client reads.
"""

from __future__ import annotations

from ctrlserver.render.openmetrics import OPENMETRICS, PROMETHEUS


def form_of(accept: str) -> str:
    """``application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3`` -> ``openmetrics``."""
    likes: dict[str, float] = {}
    for each in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        likes[kind] = max(likes.get(kind, 0.0), _quality(parameters))
    liked = likes.get("application/openmetrics-text", 0.0)
    return OPENMETRICS if liked > 0 and liked >= likes.get("text/plain", 0.0) else PROMETHEUS


def _quality(parameters: list[str]) -> float:
    for each in parameters:
        name, _, value = each.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
