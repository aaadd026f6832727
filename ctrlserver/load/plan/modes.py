"""The modes of a run: what its streams do, as ``--mode`` names it."""

from __future__ import annotations

SEND = "send"
REQUEST = "request"
RECEIVE = "receive"
CONNECT = "connect"
MODES = (SEND, REQUEST, RECEIVE, CONNECT)
