"""A bad network of one host: a TUN device whose packets come back with their two addresses exchanged.

    python reflecting_link.py SECONDS_OF_DELAY

Rules: what this host sends to any address behind the device is given back to it as sent from there, so a client that
connects to the far address meets a server on the near one, and all their packets in both directions pass through here.
(Exchanged addresses leave every checksum right.) Packets are delayed; every fourth overtakes those before it; while
loss is on, one in twenty is dropped, chosen by a fixed seed. On stdin ``loss`` and ``whole`` turn the loss on and off;
each is answered on stdout by one line, the number of UDP packets dropped so far.

Beware: needs CAP_NET_ADMIN, and is to be run in a network namespace made for it.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000

DEVICE, NEAR, FAR = "tun0", "10.77.0.1", "10.77.0.2"
UDP = 17
LOSS, OVERTAKE = 1 / 20, 1 / 4


def device() -> int:
    """The TUN device, up and with its address."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    for words in (f"addr add {NEAR}/24 dev {DEVICE}", f"link set {DEVICE} up txqueuelen 10000"):
        subprocess.run(["ip", *words.split()], check=True)
    return tun


def tell(word: object) -> None:
    """One line on stdout."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(delay: float) -> None:
    """Reflect until stdin ends."""
    tun, chance = device(), random.Random(5)
    on_the_way: list[tuple[float, int, bytes]] = []
    number = dropped = 0
    lossy = False
    tell("ready")
    while True:
        wait = max(0.0, on_the_way[0][0] - time.monotonic()) if on_the_way else None
        ready = select.select([tun, 0], [], [], wait)[0]
        now = time.monotonic()
        if tun in ready:
            packet = os.read(tun, 65536)
            if packet[0] >> 4 == 4:
                if lossy and chance.random() < LOSS:
                    dropped += packet[9] == UDP
                else:
                    number += 1
                    back = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
                    late = delay / 5 if chance.random() < OVERTAKE else delay
                    heapq.heappush(on_the_way, (now + late, number, back))
        if 0 in ready:
            words = os.read(0, 100).decode().split()
            if not words:
                return
            lossy = words[-1] == "loss"
            tell(dropped)
        while on_the_way and on_the_way[0][0] <= now:
            os.write(tun, heapq.heappop(on_the_way)[2])


if __name__ == "__main__":
    main(float(sys.argv[1]))
