"""Checks across keys: values that are good each by itself and wrong together.

Rules: a conflict is ``(keys, message)``. ``keys`` are the paths of all keys that take part, such as
``listener[0].mode``, the one to blame first. The message is true of each of them, so the caller can name the key or the
flag that the operator wrote. The first conflict is the one to report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from ctrlserver.config.endpoints import (
    is_any_port,
    level_without_secret,
    overlap,
    stream_address,
    takes_udp_beside,
    unix_file,
)
from ctrlserver.config.paths import step
from ctrlserver.config.places import place_of
from ctrlserver.config.signing import check_signing
from ctrlserver.config.tree import RANKS, AdminConfig, Config, ListenerConfig
from ctrlserver.config.workers import conflicts_of_workers
from ctrlserver.errors import InjectionError, RenameError, UsageError
from ctrlserver.inject.parsing import parse_spec
from ctrlserver.inject.places import check_place
from ctrlserver.inject.rules import check_rule
from ctrlserver.stats.rename import Renames
from ctrlserver.wire.datagram import LONGEST_DATAGRAM
from ctrlserver.wire.probe import HEADER_SIZE
from ctrlserver.words import did_you_mean, quoted

Conflict = tuple[tuple[str, ...], str]


def conflicts(config: Config) -> Iterator[Conflict]:
    """All conflicts of a config whose values are good each by itself."""
    yield from _shared_endpoints(config)
    yield from _shared_names(config)
    for at, listener in enumerate(config.listeners):
        for keys, message in _in_listener(listener):
            yield tuple(f"listener[{at}].{key}" for key in keys), message
    yield from conflicts_of_workers(config)
    for at, admin in enumerate(config.admin):
        if wrong := _level_too_high(admin):
            yield tuple(f"admin[{at}].{key}" for key in ("level", "endpoint", "auth")), wrong
    yield from _in_renames(config)


def _repeated(values: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Of pairs of a place and its value: the value, the place that had it first, and each later one."""
    first: dict[str, str] = {}
    for place, value in values:
        earlier = first.setdefault(value, place)
        if earlier != place:
            yield value, earlier, place


def _shared_endpoints(config: Config) -> Iterator[Conflict]:
    places = [(f"listener[{at}]", listener.endpoint) for at, listener in enumerate(config.listeners)]
    places += [(f"admin[{at}]", admin.endpoint) for at, admin in enumerate(config.admin)]
    places += [] if config.http is None else [("http", config.http.endpoint)]
    written = dict(places)
    for _, earlier, place in _repeated((place, unix_file(endpoint) or endpoint) for place, endpoint in places):
        if not is_any_port(written[place]):
            yield _one_port(earlier, written[earlier], place, written[place])
    yield from _overlapping([(place, endpoint, stream_address(endpoint)) for place, endpoint in places])
    yield from _overlapping(
        [
            (f"listener[{at}]", each.endpoint, each.datagram_address or stream_address(each.endpoint))
            for at, each in enumerate(config.listeners)
            if each.takes_datagrams
        ]
    )


def _overlapping(ports: Sequence[tuple[str, str, tuple[int, str] | None]]) -> Iterator[Conflict]:
    """Of places, their endpoints and their ports: each pair that cannot both be bound."""
    for (earlier, first, one), (place, second, other) in combinations(ports, 2):
        if first != second and overlap(one, other):
            yield _one_port(earlier, first, place, second)


def _one_port(earlier: str, first: str, place: str, second: str) -> Conflict:
    """That the endpoint ``first`` of the place ``earlier`` and ``second`` of ``place`` cannot both be bound."""
    if first == second:
        message = f"{quoted(first)} is the endpoint of both {earlier} and {place}"
    else:
        message = f"{quoted(first)} of {earlier} and {quoted(second)} of {place} are one port"
    return (f"{place}.endpoint", f"{earlier}.endpoint"), f"{message}: expected one for each"


def _shared_names(config: Config) -> Iterator[Conflict]:
    taken = {listener.name for listener in config.listeners}
    for name, earlier, place in _repeated((f"listener[{at}]", each.name) for at, each in enumerate(config.listeners)):
        free = next(free for n in range(2, len(taken) + 3) if (free := f"{name}{n}") not in taken)
        message = f"{quoted(name)} is the name of both {earlier} and {place}: expected one for each"
        yield (f"{place}.name", f"{earlier}.name"), f"{message}; did you mean {quoted(free)} for the second?"


def _in_listener(listener: ListenerConfig) -> Iterator[Conflict]:
    try:
        spec = listener.framing_spec
    except UsageError as error:
        yield ("framing", "max_packet"), str(error)
        return
    if listener.mode == "reply":
        reply = listener.reply_bytes
        if not spec.counts_packets:
            message = f'mode "reply" answers packets and framing "{spec.text}" has none: expected mode "sink"'
            yield ("mode", "framing"), f'{message} or "echo", or a framing such as "fixed:1024" or "line"'
        if not reply:
            yield ("reply", "mode"), r"""mode "reply" with an empty reply: expected a reply such as '\x06'"""
        if len(reply) > listener.reply_buffer:
            message = f"a reply of {len(reply)} bytes: expected at most the reply_buffer, {listener.reply_buffer} bytes"
            yield ("reply", "reply_buffer", "mode"), message
    if listener.mode == "source":
        if listener.takes_datagrams:
            message = 'mode "source" sends to streams, and datagrams are none: expected udp = false'
            yield ("mode", "udp", "endpoint"), f"{message} and an endpoint such as tcp:22222"
        if spec.size is None:
            message = f'mode "source" sends packets of a fixed size and framing "{spec.text}" has none:'
            yield ("mode", "framing"), f'{message} expected a framing such as "fixed:1024"'
        if listener.keep:
            yield ("keep", "mode"), 'mode "source" receives no packets to keep: expected keep = 0'
    if listener.udp and not takes_udp_beside(listener.endpoint):
        message = f"{quoted(listener.endpoint)} has no port number for UDP to share: expected udp = false"
        yield ("udp", "endpoint"), f"{message}, or an endpoint such as tcp:22222"
    if listener.takes_datagrams and listener.mode == "reply" and len(listener.reply_bytes) > LONGEST_DATAGRAM:
        message = f"a reply of {len(listener.reply_bytes)} bytes: a datagram holds at most {LONGEST_DATAGRAM}"
        yield ("reply", "udp", "endpoint"), message
    if listener.probe and not spec.counts_packets:
        yield ("probe", "framing"), f'framing "{spec.text}" has no packets to look into: expected probe = false'
    elif listener.probe and (spec.size or listener.max_packet) < HEADER_SIZE:
        message = f"probe packets begin with {HEADER_SIZE} bytes: expected packets of at least as many"
        yield ("probe", "framing", "max_packet"), message
    if listener.keep and not spec.counts_packets:
        yield ("keep", "framing"), f'framing "{spec.text}" has no packets to keep: expected keep = 0'
    yield from _cannot_strike(listener)


def _cannot_strike(listener: ListenerConfig) -> Iterator[Conflict]:
    """Injections that cannot strike this listener, whose other keys are good; and answers that it cannot give."""
    for spec in listener.inject:
        tree = parse_spec(spec)
        try:
            check_place(tree, place_of(listener))
        except InjectionError as error:
            yield ("inject", "mode", "framing", "endpoint", "reply", "reply_buffer", "udp"), str(error)
            return
        try:
            check_signing(tree, listener.name, listener.endpoint, listener.inject_ca)
        except InjectionError as error:
            yield ("inject", "inject_ca", "endpoint"), str(error)
    for rule in listener.answers:
        try:
            check_rule(rule, place_of(listener))
        except InjectionError as error:
            yield ("answers", "mode", "endpoint", "reply_buffer", "udp"), str(error)


def _level_too_high(admin: AdminConfig) -> str:
    """Why the port cannot have its ``level``, as far as its endpoint tells; empty where it can, or that is unknown."""
    if admin.level is None or admin.auth is not None or (most := level_without_secret(admin.endpoint)) is None:
        return ""
    if RANKS.index(admin.level) <= RANKS.index(most):
        return ""
    message = f"level {quoted(admin.level)} on {quoted(admin.endpoint)} without a secret"
    return f'{message}: expected auth = "FILE", or at most {quoted(most)}; did you mean level = {quoted(most)}?'


def _in_renames(config: Config) -> Iterator[Conflict]:
    known = config.published_names
    for old, _ in config.rename:
        if old not in known:
            yield (f"rename{step(old)}",), f"unknown field {quoted(old)}{did_you_mean(old, sorted(known))}"
    try:
        Renames(config.rename, fields=known)
    except RenameError as error:
        yield (f"rename{_culprit(config.rename, known, str(error))}",), str(error)


def _culprit(pairs: tuple[tuple[str, str], ...], known: frozenset[str], message: str) -> str:
    """The step to the rename to blame: the last one without which the rest is good, else the first one named."""
    for at in reversed(range(len(pairs))):
        try:
            Renames(pairs[:at] + pairs[at + 1 :], fields=known)
        except RenameError:
            continue
        return step(pairs[at][0])
    return next((step(old) for old, new in pairs if quoted(old) in message and quoted(new) in message), "")
