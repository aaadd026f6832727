"""The sending script of 2013, written anew: one blocking `sendall` for each packet of 1 KiB.

client.py PORT [PACKETS]     10000 packets of 1024 bytes unless said
"""

from __future__ import annotations

import socket
import sys


def main(port: int, packets: int) -> None:
    """Sends the packets and goes."""
    connection = socket.create_connection(("127.0.0.1", port))
    packet = b"x" * 1024
    for _ in range(packets):
        connection.sendall(packet)
    connection.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)
