"""The receiving script of 2013, written anew: blocking reads of 1 KiB, each appended to a list, until all came.

    server.py [PACKETS]     10000 packets of 1024 bytes unless said

Prints its port first, then total time (from the accept on), number of packets (reads), bytes, and rate.
"""

from __future__ import annotations

import socket
import sys
import time


def main(packets: int) -> None:
    """Takes one connection and says how fast its packets came."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    print(f"listening 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    connection, _ = listener.accept()
    received = []
    total = 0
    begin = time.perf_counter()
    while total < packets * 1024:
        packet = connection.recv(1024)
        if not packet:
            break
        received.append(packet)
        total += len(packet)
    seconds = time.perf_counter() - begin
    connection.close()
    listener.close()
    print(f"total time {seconds:.6f} s")
    print(f"number of packets {len(received)}")
    print(f"number of bytes {total}")
    print(f"rate {len(received) / seconds:.1f} packets/s", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
