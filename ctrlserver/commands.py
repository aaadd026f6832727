"""The names of the admin port's commands: a server carries them out, ctrlstat tells them from servers. PURE."""

from __future__ import annotations

from typing import Final

#: All names, in the order of ``help``: that of ``admin/commands/table.py``.
NAMES: Final = (
    "help",
    "version",
    "ping",
    "whoami",
    "auth",
    "health",
    "stats",
    "metrics",
    "describe",
    "streams",
    "packets",
    "peers",
    "runs",
    "run",
    "run start",
    "run stop",
    "reset",
    "rename",
    "unrename",
    "kick",
    "inject",
    "inject all",
    "inject off",
    "answer",
    "answer off",
    "listeners",
    "workers",
    "config",
    "wait",
    "watch",
    "drain",
    "log",
    "reload",
    "shutdown",
    "quit",
)

#: Other words for a command, as the first word of a line.
ALIASES: Final = {"?": "help", "exit": "quit", "bye": "quit", "q": "quit"}
