"""For all tests: no claim depends on how fast the machine is just now, so Hypothesis sets no time for an example."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
