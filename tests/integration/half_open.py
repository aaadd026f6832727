"""A crowd of peers that begin a TCP handshake and never end it, behind a TUN device of its own.

    python -m tests.integration.half_open PORT SYNS

Rules: each SYN has an address and a port of its own within the device's network, and right checksums, so that the
system answers each; its SYN-ACKs are read, counted once for each peer, and never answered. As soon as every SYN has its
answer, or ``PATIENCE_SECONDS`` have passed, the number of peers answered is one line on stdout; from then on SYN-ACKs,
which the system goes on repeating, are read and dropped until stdin ends.

Beware: needs CAP_NET_ADMIN, and is to be run in a network namespace made for it.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time

from tests.integration.reflecting_link import NEAR, device, tell

#: Seconds in which each SYN is answered where the system answers at all.
PATIENCE_SECONDS = 20.0

#: Addresses of the crowd, 10.77.0.2 and on; each has as many ports as it takes.
HOSTS, FIRST_PORT = 250, 20000

TCP = 6
SYN, SYN_ACK = 0x02, 0x12


def checksum(octets: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of octets."""
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source: tuple[bytes, int], target: tuple[bytes, int]) -> bytes:
    """An IPv4 packet with the first segment of a connection; addresses are 4 octets and a port."""
    option = struct.pack("!BBH", 2, 4, 1460)  # the largest segment we take
    ports = struct.pack("!HH", source[1], target[1])
    numbers = struct.pack("!LLBBH", source[1] << 8, 0, (20 + len(option)) // 4 << 4, SYN, 64240)
    segment = ports + numbers + bytes(4) + option
    pseudo = source[0] + target[0] + struct.pack("!HH", TCP, len(segment))
    segment = segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0x4000, 64, TCP, 0) + source[0] + target[0]
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + segment


def answered(tun: int) -> set[bytes]:
    """The peers, as address and port, to which the SYN-ACKs go that wait in the device."""
    peers: set[bytes] = set()
    while True:
        try:
            packet = os.read(tun, 65536)
        except BlockingIOError:
            return peers
        if packet[0] == 0x45 and packet[9] == TCP and packet[33] == SYN_ACK:
            peers.add(packet[16:20] + packet[22:24])


def main(port: int, syns: int) -> None:
    """Send the SYNs, tell how many were answered, and stay silent until stdin ends."""
    tun = device()
    target, first = (socket.inet_aton(NEAR), port), int.from_bytes(socket.inet_aton(NEAR)) + 1
    peers: set[bytes] = set()
    for number in range(syns):
        host = (first + number % HOSTS).to_bytes(4)
        os.write(tun, syn((host, FIRST_PORT + number // HOSTS), target))
        peers |= answered(tun)
    end = time.monotonic() + PATIENCE_SECONDS
    while len(peers) < syns and time.monotonic() < end:
        select.select([tun], [], [], 0.1)
        peers |= answered(tun)
    tell(len(peers))
    while 0 not in select.select([tun, 0], [], [])[0]:
        answered(tun)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
