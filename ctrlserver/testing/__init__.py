"""The test peer: a real server in a test of a network client, and the plugin of pytest.

Model: ``Server`` is the user's side, ``daemon`` the process it starts. ``plugin`` gives tests the fixture
``ctrlserver``.

Rules: nothing here but ``daemon`` imports Twisted or attrs when it is imported: a user's test run may have its own
reactor or none, and pays for the plugin at each start.
"""

from __future__ import annotations

from ctrlserver.testing.errors import AdminError, NotReached, StartError
from ctrlserver.testing.injection import Answer, Injection
from ctrlserver.testing.record import Record
from ctrlserver.testing.server import RunningServer, Server

__all__ = ["AdminError", "Answer", "Injection", "NotReached", "Record", "RunningServer", "Server", "StartError"]
