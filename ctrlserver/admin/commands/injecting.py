"""Commands about injections: ordered, listed and ended."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from attrs import frozen
from twisted.internet.defer import Deferred

from ctrlserver.addresses import nearest_network
from ctrlserver.admin.arguments import Choice, Duration, Number, Parameter, Spec, Text
from ctrlserver.admin.commands.command import Command, Ended, argument, numbered, rows
from ctrlserver.admin.levels import Level
from ctrlserver.admin.refreshing.freshness import Freshness
from ctrlserver.admin.replies import Reply, Table, Word
from ctrlserver.admin.session import Session
from ctrlserver.desk import Desk
from ctrlserver.errors import CommandError, InjectionError
from ctrlserver.words import quoted

LONGEST_SECONDS: Final = 7 * 24 * 3600.0
"""Of ``for=T``: a soak test of a week."""

MOST_NETWORKS: Final = 10
"""Of ``peer=NET``: each stream that opens is held against them."""

Network = IPv4Network | IPv6Network

_IDS: Final = {404: "unknown-listener", 409: "cannot-strike"}


@frozen
class Peers(Parameter):
    """Networks with commas between them."""

    expected = "an address or a network such as 10.0.0.0/8, several with commas between them"

    def read(self, text: str) -> tuple[Network, ...]:
        """The networks."""
        words = text.split(",")
        if len(words) > MOST_NETWORKS:
            raise self.wrong(text, f", at most {MOST_NETWORKS}")
        return tuple(self._network(word.strip("[]"), text) for word in words)

    def _network(self, word: str, text: str) -> Network:
        try:
            return ip_network(word)
        except ValueError:
            near = nearest_network(word)
        raise self.wrong(text, f"; did you mean {quoted(near)}?" if near else "")


@frozen
class Inject(Command):
    """inject [LISTENER SPEC] [for=T] [streams=new|all] [peer=NET] [seed=N]

    Misbehave on order, or list the orders.
    SPEC is one action, or several with -> between them, each [WHEN*]ACTION[(ARG)]
    WHEN: 3* the first three, 10th* each tenth, 5%* by chance, 64KiB* up to there
    ok  off  refuse  close-at-once  hang  stall  slow-read(10KiB/s)  reset  close
    half-close  delay(50ms..200ms)  swallow  truncate(10)  corrupt(1 bit)
    duplicate  wrong('TEXT')  drip(1B/10ms)  reorder  expired  wrong-host
    self-signed  handshake-hang
    It ends after the time of for, or by inject off. It strikes the streams that
    open from then on, with streams=all those that are open too; with peer=NET
    those of a network. Chance with an equal seed strikes the same packets.
    """

    command = "inject"
    level = Level.OPERATOR
    reads = False
    lists = True
    journaled = False
    reads_figures = True
    answers = "The word injection and its number; in JSON the seed too. Without arguments, a row for each injection."
    example = "inject data 3*ok->1*reset->off for=10s"
    listener: str = argument(Text("listener", "LISTENER"), "")
    spec: str = argument(Spec("spec", "SPEC"), "")
    seconds: float | None = argument(Duration("for", "for=T", 0.001, LONGEST_SECONDS, positional=False), None)
    streams: str = argument(Choice("streams", "streams=new|all", ("new", "all"), positional=False), "new")
    peer: tuple[Network, ...] | None = argument(Peers("peer", "peer=NET", positional=False), None)
    seed: int | None = argument(Number("seed", "seed=N", positional=False), None)

    def only_reads(self) -> bool:
        """Without arguments it lists."""
        return self == Inject()

    def fresh(self, desk: Desk, freshness: Freshness) -> Deferred[None] | None:
        """An order waits for nothing; the list shows hits."""
        return super().fresh(desk, freshness) if self.only_reads() else None

    def answer(self, desk: Desk, session: Session) -> Reply:
        """Rows of injections, or the number of the one ordered."""
        if self.only_reads():
            return _listed(desk, over=False)
        if not self.listener or not self.spec:
            missing = "SPEC" if self.listener else "LISTENER"
            wrong = f'"inject" needs {missing}; usage: inject LISTENER SPEC [for=T] ...; "help inject" says more'
            raise CommandError(400, "missing-argument", wrong)
        try:
            record = desk.inject(
                self.listener,
                self.spec,
                seconds=self.seconds,
                everybody=self.streams == "all",
                networks=self.peer,
                seed=self.seed,
                by=session.orderer,
            )
        except InjectionError as error:
            wrong = f"spec: {error}" if error.code == 400 else str(error)
            raise CommandError(error.code, _IDS.get(error.code, "bad-spec"), wrong) from None
        return Word(f"injection {record.injection}", {"injection": record.injection, "seed": record.seed})


@frozen
class InjectAll(Command):
    """inject all

    List the injections, those that are over too.
    The last 100 that are over stay on view, with their hits.
    """

    command = "inject all"
    reads_figures = True
    answers = "A row for each injection, below a line of column names that starts with #."
    example = "inject all"

    def reply(self, desk: Desk) -> Reply:
        """Rows of injections."""
        return _listed(desk, over=True)


@frozen
class InjectOff(Command):
    """inject off [N|LISTENER]

    End injection N, a listener's, or all.
    """

    command = "inject off"
    level = Level.OPERATOR
    reads = False
    journaled = False
    reads_figures = True
    answers = "The word off and how many have ended. In JSON, their hits too."
    example = "inject off 1"
    injection: str = argument(Text("injection", "N|LISTENER"), "")

    def answer(self, desk: Desk, session: Session) -> Reply:
        """How many have ended."""
        active = [each.injection for each in desk.injections(False)]
        which = numbered(desk, "injection", self.injection, active)
        ended = desk.end_injections(which, session.orderer)
        return Word(f"off {len(ended)}", Ended(ended))


def _listed(desk: Desk, *, over: bool) -> Reply:
    records = desk.injections(over)
    return Table(rows(desk, records), len(records))
