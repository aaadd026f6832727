"""An echo server that stalls once, to test a load generator: does its report show the stall?

    python etc/stalling_echo.py ctrlload run TARGET -m request -r 1k/s -t 5s

starts the server on a free port of this machine, runs the command with the server's address in place of TARGET, and
exits with the command's exit code. The server echoes every byte. Two seconds after the first byte it does nothing for
half a second (``--after``, ``--stall``).
"""

from __future__ import annotations

import argparse
import selectors
import socket
import subprocess
import sys
import threading
import time


def serve(listening: socket.socket, after: float, stall: float) -> None:
    """Echo until the process ends."""
    ready = selectors.DefaultSelector()
    ready.register(listening, selectors.EVENT_READ)
    stall_at = None
    while True:
        for key, _ in ready.select():
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            if connection is listening:
                accepted, _ = listening.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.register(accepted, selectors.EVENT_READ)
                continue
            try:
                chunk = connection.recv(65536)
                connection.sendall(chunk)
            except OSError:
                chunk = b""
            if not chunk:
                ready.unregister(connection)
                connection.close()
            elif stall_at is None:
                stall_at = time.monotonic() + after
        if stall_at is not None and time.monotonic() >= stall_at:
            time.sleep(stall)
            stall_at = float("inf")


def main() -> int:
    """Run the command against the server."""
    parser = argparse.ArgumentParser(description="Runs COMMAND against an echo server that stalls once.")
    parser.add_argument("--after", type=float, default=2.0, help="seconds from the first byte to the stall [2]")
    parser.add_argument("--stall", type=float, default=0.5, help="seconds of the stall [0.5]")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="with TARGET for the server's address")
    options = parser.parse_args()
    if not options.command:
        parser.error("COMMAND is missing: such as ctrlload run TARGET -m request -r 1k/s -t 5s")
    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listening, options.after, options.stall), daemon=True).start()
    host, port = listening.getsockname()
    command = [word.replace("TARGET", f"{host}:{port}") for word in options.command]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
