"""The words of ``--mode``, what the streams of a run do, and of ``--arrival``, how far apart paced packets are."""

from __future__ import annotations

SEND = "send"
REQUEST = "request"
RECEIVE = "receive"
CONNECT = "connect"
MODES = (SEND, REQUEST, RECEIVE, CONNECT)

CONSTANT = "constant"
POISSON = "poisson"
ARRIVALS = (CONSTANT, POISSON)
