"""The awaitable twins of ``AdminPort.run``: for asyncio and for Twisted, which is imported only when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctrlserver.testing.admin import LONGEST_REPLY, PATIENCE, Dialogue, Result
from ctrlserver.testing.errors import AdminError

__tracebackhide__ = True  # pytest shows a failure at the test's own line

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred


async def by_asyncio(address: tuple[str, int], dialogue: Dialogue[Result]) -> Result:
    """Ask what ``dialogue`` asks, in the running event loop."""
    import asyncio

    try:
        reader, writer = await asyncio.open_connection(*address, limit=LONGEST_REPLY)
    except OSError as error:
        raise _unanswered(address, error) from None
    try:
        line, seconds = next(dialogue)
        while True:
            writer.write(f"{line}\r\n".encode())
            line, seconds = dialogue.send(await asyncio.wait_for(reader.readline(), PATIENCE + seconds))
    except StopIteration as end:
        result: Result = end.value
        return result
    except OSError as error:
        raise _unanswered(address, error) from None
    finally:
        writer.close()


def by_twisted(address: tuple[str, int], dialogue: Dialogue[Result]) -> Deferred[Result]:
    """Ask what ``dialogue`` asks, in the running reactor; cancelling ends the connection."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred, inlineCallbacks
    from twisted.internet.defer import TimeoutError as NoAnswer
    from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
    from twisted.internet.error import ConnectError
    from twisted.protocols.basic import LineOnlyReceiver
    from twisted.python.failure import Failure

    class Lines(LineOnlyReceiver):
        MAX_LENGTH = LONGEST_REPLY
        waiting: Deferred[bytes] | None = None

        def ask(self, line: str) -> Deferred[bytes]:
            self.waiting = Deferred()
            self.sendLine(line.encode())  # type: ignore[no-untyped-call]
            return self.waiting

        def lineReceived(self, line: bytes) -> None:
            if self.waiting is not None:
                waiting, self.waiting = self.waiting, None
                waiting.callback(line)

        def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
            self.lineReceived(b"")

    loop: Any = reactor
    kind = TCP6ClientEndpoint if ":" in address[0] else TCP4ClientEndpoint

    @inlineCallbacks
    def talk() -> Any:
        try:
            lines = yield connectProtocol(kind(loop, *address), Lines())
        except ConnectError as error:
            raise _unanswered(address, error) from None
        try:
            line, seconds = next(dialogue)
            while True:
                line, seconds = dialogue.send((yield lines.ask(line).addTimeout(PATIENCE + seconds, loop)))
        except StopIteration as end:
            return end.value
        except NoAnswer as error:
            raise _unanswered(address, error) from None
        finally:
            lines.transport.loseConnection()

    talking: Deferred[Result] = talk()
    return talking


def _unanswered(address: tuple[str, int], error: Exception) -> AdminError:
    return AdminError(f"admin port {address[0]}:{address[1]}", 0, "", f"no answer: {error}")
