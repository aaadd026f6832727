"""Echo by uvloop and an `asyncio.Protocol`. Prints its port first."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    transport: Any

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def main() -> None:
    """Echoes until ended."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=4096)
    print(f"listening 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
