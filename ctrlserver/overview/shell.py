"""``ctrlstat shell``: commands typed one after another, over connections that stay open.

Model: the main thread reads lines (readline), a second one runs the reactor; the main thread waits for each answer.

Rules: a server that has closed its connection is connected to again before the next command. Ctrl-C gives up the line
or the command, Ctrl-D or ``quit`` leaves. The history is a file that only its owner can read; an answer to a challenge
is not kept in it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from attrs import define, evolve, field
from twisted.internet import threads
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.epollreactor import EPollReactor

from ctrlserver.client.admin import AdminClient
from ctrlserver.commands import ALIASES
from ctrlserver.console.exit_codes import EXIT_FAILED, EXIT_GOOD, EXIT_INTERRUPTED
from ctrlserver.console.streams import print_words
from ctrlserver.errors import CtrlServerError, LoadError
from ctrlserver.overview.answers import Answer
from ctrlserver.overview.asking import Question, answer_over, at_once, connected, without_json
from ctrlserver.overview.completing import Vocabulary, vocabulary_of
from ctrlserver.overview.servers import Server
from ctrlserver.overview.watching import watched

Show = Callable[..., int]
T = TypeVar("T")

#: Lines of the history.
MOST_LINES = 1000


class _Ended(BaseException):
    """SIGTERM or SIGHUP: the terminal is as it was once this has unwound."""


def shell(servers: Sequence[Server], question: Question, show: Show) -> int:
    """Read lines until their end, and ``show`` the answers; the exit code, of a script 1 if any answer was no good."""
    from twisted.internet import reactor as installed

    def end(*_: object) -> None:
        raise _Ended

    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    reactor: Any = installed
    thread = Thread(target=reactor.run, kwargs={"installSignalHandlers": False}, daemon=True)
    thread.start()
    made = _Shell(reactor, servers, question, show)
    try:
        return made.run(interactive=sys.stdin is not None and sys.stdin.isatty())
    except _Ended:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # nobody reads any more
        return EXIT_GOOD
    except OSError as error:
        print_words(f"ctrlstat: cannot go on: {error.strerror or error}\n")
        return EXIT_FAILED
    finally:
        reactor.callFromThread(reactor.stop)
        thread.join(1.0)


@define(eq=False)
class _Shell:
    _reactor: EPollReactor
    _servers: Sequence[Server]
    _question: Question
    _show: Show
    _clients: dict[str, AdminClient] = field(factory=dict, init=False)
    _words: Vocabulary = field(factory=lambda: Vocabulary({}), init=False)

    def run(self, *, interactive: bool) -> int:
        """Until the input ends."""
        code = EXIT_GOOD
        several = len(self._servers) > 1
        prompt = f"{len(self._servers)} servers> " if several else f"{self._servers[0].name}> "
        if interactive:
            self._learn()
        history = _History() if interactive else None
        if history is not None:
            history.begin(self._complete)
        try:
            while True:
                try:
                    line = input(prompt if interactive else "").strip()
                    line = ALIASES.get(line.casefold(), line)
                    if line.casefold() == "quit":
                        break
                    if line and self.carry_out(line) != EXIT_GOOD:
                        code = EXIT_FAILED
                except KeyboardInterrupt:
                    print_words("\n")
        except EOFError:
            if interactive:
                print_words("\n")
        finally:
            if history is not None:
                history.end()
        return EXIT_GOOD if interactive else code

    def carry_out(self, given: str) -> int:
        """Ask one command, and show what comes."""
        line, in_json = without_json(given)
        several = len(self._servers) > 1
        question = evolve(self._question, line=line, in_json=in_json or several, sums=several)
        try:
            if not line.isprintable():
                raise LoadError("the command has a character that no line may have")
            if line.casefold().split()[0] == "watch":
                watch = partial(watched, self._reactor, self._servers, question, together=several, in_json=in_json)
                return self._wait(watch)
            answers = self._wait(partial(self._ask_all, question))
            return self._show(answers, in_json=in_json, in_csv=False, together=several)
        except CtrlServerError as error:
            print_words(f"ctrlstat: {error}\n")
            return EXIT_FAILED

    def _wait(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What ``work`` gives in the reactor's thread; Ctrl-C cancels it."""
        begun: list[Deferred[T]] = []

        def begin() -> Any:
            begun.append(Deferred.fromCoroutine(work()))
            return begun[0]

        try:
            found: T = threads.blockingCallFromThread(self._reactor, begin)
        except CancelledError:
            raise LoadError("given up") from None
        except BaseException:
            for each in begun:
                self._reactor.callFromThread(each.cancel)
            raise
        return found

    async def _ask_all(self, question: Question) -> list[Answer]:
        return await at_once(self._ask(server, question) for server in self._servers)

    async def _ask(self, server: Server, question: Question) -> Answer:
        client = self._clients.pop(server.name, None)
        try:
            if client is None or client.lost:
                client = await connected(self._reactor, server, question.timeout, question.secret)
            answer = await answer_over(client, server, question)
        except LoadError as error:
            if client is not None:
                client.close()
            return Answer(server.name, problem=str(error))
        except BaseException:
            if client is not None:
                client.close()
            raise
        self._clients[server.name] = client
        return answer

    def _learn(self) -> None:
        """The commands and fields of the first server that tells them."""
        answers = self._wait(partial(self._ask_all, evolve(self._question, line="help", in_json=True)))
        print_words("".join(f"ctrlstat: {answer.server}: {answer.wrong}\n" for answer in answers if answer.wrong))
        if any(answer.good for answer in answers):
            described = self._wait(partial(self._ask_all, evolve(self._question, line="describe", in_json=True)))
            self._words = vocabulary_of(_first(answers), _first(described))

    def _complete(self, before: str, begun: str) -> list[str]:
        return self._words.offered(before, begun)


def _first(answers: Sequence[Answer]) -> object:
    """What the first server that answered gave."""
    return next(((answer.envelope or {}).get("data") for answer in answers if answer.good), None)


class _History:
    """readline, if there is one: completion, and a history that lasts."""

    def __init__(self) -> None:
        state = os.environ.get("XDG_STATE_HOME") or ""
        folder = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
        self._path = folder / "ctrlserver" / "ctrlstat_history"
        try:
            import readline
        except ImportError:
            self._readline: Any = None
        else:
            self._readline = readline

    def begin(self, offered: Callable[[str, str], list[str]]) -> None:
        """Read the history; Tab offers what ``offered`` gives for a word and what stands before it."""
        if self._readline is None:
            return
        found: list[str] = []

        def complete(begun: str, at: int) -> str | None:
            if at == 0:
                found[:] = offered(self._readline.get_line_buffer()[: self._readline.get_begidx()], begun)
            return found[at] if at < len(found) else None

        self._readline.set_completer(complete)
        self._readline.set_completer_delims(" ")
        self._readline.parse_and_bind("tab: complete")
        self._readline.set_history_length(MOST_LINES)
        with suppress(OSError):
            self._readline.read_history_file(self._path)

    def end(self) -> None:
        """Write the history, without answers to challenges, for the owner's eyes alone."""
        if self._readline is None:
            return
        for at in reversed(range(self._readline.get_current_history_length())):
            if self._readline.get_history_item(at + 1).casefold().startswith("auth "):
                self._readline.remove_history_item(at)
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._readline.write_history_file(self._path)
