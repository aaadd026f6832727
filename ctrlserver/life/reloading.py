"""The config is read again while the server runs: by ``reload`` on the admin port, or by SIGHUP.

Rules:

- The whole config is checked before anything changes, with the flags of the command line over it. If it is not good, or
  a new port cannot be bound, the old one stays. Either is counted.
- What changed is told in a line each, in the reply and in the log; so is what needs a restart, each certificate and
  secret whose files have another content, and each unix socket whose file somebody had removed and that has it again.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from ctrlserver.config import Config
from ctrlserver.config.changes import differences, needs_restart
from ctrlserver.config.contents import contents_of, read_anew
from ctrlserver.errors import CommandError, UsageError
from ctrlserver.life.supervision import Supervision
from ctrlserver.net.accepting import has_lost_its_file
from ctrlserver.net.listeners import CannotBind
from ctrlserver.stats.book import Book

Read = Callable[[], Config]
NOTHING_TO_READ = "there is no config file to read: the server was started without --config"


class Reloading:
    """``read`` gives the config of now, or is None where there is no file.

    ``apply(config)`` goes from the config in use to another; it raises ``CannotBind`` if it cannot, and nothing has
    changed then. ``ending()``: whether the server is about to end, and reloads nothing any more.
    """

    log = Logger()

    def __init__(
        self,
        book: Book,
        in_use: Callable[[], Config],
        read: Read | None,
        apply: Callable[[Config], None],
        supervision: Supervision,
        ending: Callable[[], bool],
    ) -> None:
        self._book = book
        self._in_use = in_use
        self._read = read
        self._apply = apply
        self._supervision = supervision
        self._ending = ending
        self._contents = {} if read is None else contents_of(in_use())

    def reload(self) -> list[str]:
        """Read the config and go to it. A line for each change; ``CommandError`` if all stays as it was."""
        if self._read is None:
            raise CommandError(409, "no-config", NOTHING_TO_READ)
        if self._ending():
            raise CommandError(503, "stopping", "the server is stopping")
        before = self._in_use()
        endpoints = [*(each.endpoint for each in before.listeners), *(each.endpoint for each in before.admin)]
        endpoints += [] if before.http is None else [before.http.endpoint]
        lost = [each for each in endpoints if has_lost_its_file(each)]
        self._supervision.reloading()
        try:
            config = self._read()
            contents = contents_of(config)
            self._apply(config)
        except (UsageError, CannotBind) as error:
            self._book.config_reload_failures += 1
            self.log.warn("the config is not reloaded, the old one stays: {error}", event="not-reloaded", error=error)
            raise CommandError(400, "bad-config", f"{error}; the old config stays") from None
        else:
            self._book.config_reloads += 1
        finally:
            self._supervision.ready()
        made = [f"{each}: its file was gone and is made anew" for each in lost if not has_lost_its_file(each)]
        anew, self._contents = read_anew(self._contents, contents), contents
        lines = [*differences(before, config), *needs_restart(before, config), *anew, *made] or ["nothing has changed"]
        for line in lines:
            self.log.info("config reloaded: {line}", event="reloaded", line=line)
        return lines

    def by_signal(self) -> None:
        """As SIGHUP does: nobody waits for an answer, the log has it."""
        try:
            self.reload()
        except CommandError as error:
            if error.id != "bad-config":
                self.log.warn("SIGHUP changes nothing: {why}", event="nothing-to-reload", why=error.message)
